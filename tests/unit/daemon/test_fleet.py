"""Workers born, briefed, killed and replaced, by a supervisor that is played: who notices what, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import crew
import pytest
from crew import Boss
from hurry import hurry
from structlog.testing import capture_logs

from xdpsec.channel import messages as words
from xdpsec.channel.framing import Received
from xdpsec.channel.hub import ACK_SECONDS, Peer
from xdpsec.daemon import fleet
from xdpsec.daemon.fleet import Fleet

SNAPSHOT = words.PolicyReplace(())


class Control:
    """The fleet with the rest of control around it."""

    def __init__(self, workers: int) -> None:
        self.boss = Boss()
        self.said: list[tuple[int, words.Message]] = []
        accepts = frozenset({words.Done, words.WorkerDied})
        self.supervisor = Peer(self.boss.wire, accepts, self._hear, lambda reason: None)
        self.fleet = Fleet(self.supervisor, [-1] * workers, self._brief, lambda *said: self.said.append(said))
        self.life = asyncio.create_task(self.fleet.run())

    async def cancel(self) -> None:
        self.life.cancel()
        await asyncio.gather(self.life, return_exceptions=True)

    def _hear(self, received: Received) -> None:
        assert isinstance(received.message, words.WorkerDied)
        self.fleet.died(received.message.worker, received.message.status)

    async def _brief(self, worker: int, peer: Peer) -> None:
        await peer.call(SNAPSHOT, ACK_SECONDS)


@asynccontextmanager
async def control(workers: int) -> AsyncIterator[Control]:
    made = Control(workers)
    try:
        yield made
    finally:
        await made.cancel()
        made.supervisor.close()
        made.boss.close()


def test_a_worker_serves_after_its_snapshot_and_not_before() -> None:
    async def test() -> None:
        async with control(2) as c:
            await c.boss.serve(2)
            for worker in c.boss.workers.values():
                assert worker.kinds() == [words.PolicyReplace, words.Go]
            assert [(view.pid, view.restarts) for view in c.fleet.views()] == [(4000, 0), (4001, 0)]

    hurry(test)


def test_a_dead_worker_is_replaced_and_the_others_notice_nothing() -> None:
    async def test() -> None:
        async with control(2) as c:
            await c.boss.serve(2)
            dead, other = c.boss.workers[0], c.boss.workers[1]
            c.boss.kill(0)
            await c.boss.serve(1)
            assert c.boss.workers[0] is not dead
            assert c.boss.workers[0].kinds() == [words.PolicyReplace, words.Go]
            assert other.kinds() == [words.PolicyReplace, words.Go]
            c.fleet.tell_all(words.NextHop(0, "10.0.0.9", b"\1" * 6))
            c.fleet.tell(0, words.SeqGrant(3, 9))
            while len(c.boss.workers[0].heard) < 4 or len(other.heard) < 3:
                await asyncio.sleep(0)
            assert [view.restarts for view in c.fleet.views()] == [1, 0]

    hurry(test)


def test_what_dies_at_once_is_tried_again_ever_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    async def test() -> None:
        async with control(1) as c:
            c.boss.stillborn = 9
            monkeypatch.setattr(asyncio, "sleep", noted)
            await c.boss.serve(1)
            assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]

    hurry(test)


def test_one_that_served_for_long_is_replaced_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with control(1) as c:
            await c.boss.serve(1)
            await asyncio.sleep(fleet.STEADY_SECONDS + 1.0)
            monkeypatch.setattr(asyncio, "sleep", None)  # who calls it fails
            c.boss.kill(0)
            await c.boss.serve(1)

    hurry(test)


def test_a_worker_that_misspeaks_is_let_go_and_replaced() -> None:
    async def test() -> None:
        async with control(1) as c:
            await c.boss.serve(1)
            first = c.boss.workers[0]
            first.peer.tell(words.Go())  # not a worker's word
            await first.ended.wait()
            await c.boss.serve(1)
            assert c.boss.births == [0, 0]

    hurry(test)


def test_a_worker_whose_answer_is_another_question_s_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control goes on: it is the worker that is wrong."""

    async def ask(_: Control, worker: int, peer: Peer) -> None:
        reply = await peer.call(words.SaQuery(), ACK_SECONDS)
        assert isinstance(reply.message, words.SaEngines)

    monkeypatch.setattr(Control, "_brief", ask)
    right = crew.Worker._hear

    def lie(self: crew.Worker, received: Received) -> None:
        monkeypatch.setattr(crew.Worker, "_hear", right)
        self.peer.tell(words.Ack(received.seq))

    monkeypatch.setattr(crew.Worker, "_hear", lie)

    async def test() -> None:
        async with control(1) as c:
            with capture_logs() as lines:
                await c.boss.serve(1)
            assert c.boss.births == [0, 0]
            assert [line["error"] for line in lines if line["event"] == "worker misspoke"] == ["Ack answers no SaQuery"]

    hurry(test)


def test_what_a_worker_reports_is_heard() -> None:
    async def test() -> None:
        async with control(1) as c:
            await c.boss.serve(1)
            c.boss.workers[0].peer.tell(words.GrantWanted(5, 600))
            while not c.said:
                await asyncio.sleep(0)
            assert c.said == [(0, words.GrantWanted(5, 600))]

    hurry(test)


def test_stop_reaches_all_and_says_who_is_gone() -> None:
    async def test() -> None:
        async with control(3) as c:
            await c.boss.serve(3)
            hung = c.boss.workers[2]
            hung.peer._on_message = lambda received: None
            await c.cancel()
            assert await c.fleet.stop() == {0, 1}
            assert c.boss.workers[0].kinds()[-1] is words.Stop

    hurry(test)


@pytest.mark.parametrize("turns", range(40))
def test_a_stop_at_any_moment_of_a_birth_ends_the_fleet(turns: int) -> None:
    """Each await of a worker's life is met by a cancellation in some turn of the loop: none may swallow it."""

    async def test() -> None:
        async with control(1) as c:
            for _ in range(turns):
                await asyncio.sleep(0)
            await c.cancel()

    hurry(test)


def test_a_death_is_told_and_the_end_of_a_worker_that_was_to_stop_is_not() -> None:
    """A gateway that is stopped while it starts has workers that never said their pid."""

    async def test() -> None:
        async with control(1) as c:
            with capture_logs() as lines:
                c.fleet.died(0, 9)
                await c.cancel()
                await c.fleet.stop()
                c.fleet.died(0, 0)
            died = [line for line in lines if line["event"] == "worker died"]
            assert died == [{"event": "worker died", "log_level": "warning", "worker": 0, "status": 9}]

    hurry(test)
