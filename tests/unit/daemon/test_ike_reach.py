"""Who is called, and when again: at start, with traffic, after failures, never when nobody wants it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest
from hurry import hurry
from ike_rig import CONFIG, config

from xdpsec.config.loader import parse
from xdpsec.config.values import Child
from xdpsec.daemon.ike import reach as module
from xdpsec.daemon.ike.reach import Reach
from xdpsec.numbers import NotifyType

#: Nothing that is to come comes later.
DAY = 86400.0


class Desk:
    """Machines are numbers; `called` and `opened` say what was wanted."""

    def __init__(self, more: str = "") -> None:
        self.called: list[str] = []
        self.with_children: list[list[str]] = []
        self.opened: list[tuple[int, str]] = []
        self.up: set[int | tuple[int, int]] = set()
        self.reach = Reach(config(more), self._connect, self._open, self._is_up)

    def _is_up(self, child: int, worker: int | None) -> bool:
        return (child if worker is None else (child, worker)) in self.up

    def _connect(self, peer: str, wanted: Sequence[tuple[str, int | None]]) -> int:
        self.called.append(peer)
        self.with_children.append([name if worker is None else f"{name} {worker}" for name, worker in wanted])
        return len(self.called)

    def _open(self, ike: int, child: Child, worker: int | None) -> None:
        self.opened.append((ike, child.name if worker is None else f"{child.name} {worker}"))

    async def until(self, calls: int) -> None:
        while len(self.called) < calls:
            await asyncio.sleep(0.001)


def test_at_start_once_for_all_children() -> None:
    async def test() -> None:
        d = Desk('start = "on-start"\n')
        d.reach.start()
        assert (d.called, d.with_children) == (["branch"], [["lan"]])
        d.reach.came("branch", 1)
        await asyncio.sleep(DAY)
        assert d.opened == []  # the call did

    hurry(test)


def test_with_the_first_packet_only() -> None:
    async def test() -> None:
        d = Desk('start = "on-traffic"\n')
        d.reach.start()
        assert d.called == []
        d.reach.acquire(0)
        d.reach.acquire(0)
        d.reach.acquire(1)
        assert (d.called, d.with_children) == (["branch"], [["lan"]])
        d.reach.came("branch", 1)
        await asyncio.sleep(DAY)
        assert d.opened == [(1, "lab")]

    hurry(test)


def test_never_where_the_peer_is_to_begin() -> None:
    async def test() -> None:
        d = Desk('start = "wait"\n')
        d.reach.start()
        d.reach.acquire(0)
        assert d.called == []

    hurry(test)


def test_a_packet_opens_a_child_of_a_peer_that_is_up() -> None:
    async def test() -> None:
        d = Desk('start = "wait"\n')
        d.reach.came("branch", 7)
        d.reach.acquire(1)
        d.reach.acquire(1)
        assert (d.called, d.opened) == ([], [(7, "lab")])

    hurry(test)


def test_again_after_a_failure_and_later_each_time() -> None:
    async def test() -> None:
        d = Desk()
        d.reach.start()
        loop = asyncio.get_running_loop()
        at = [loop.time()]
        for number in range(1, 5):
            d.reach.went("branch", number)
            await d.until(number + 1)
            at.append(loop.time())
        pauses = [later - before for before, later in itertools.pairwise(at)]
        # each twice the one before, a quarter more or less by chance
        for number, pause in enumerate(pauses):
            assert 0.75 <= pause / (module.BACKOFF_FIRST * 2**number) <= 1.26

    hurry(test)


def test_an_end_after_success_begins_the_pauses_anew() -> None:
    async def test() -> None:
        d = Desk()
        d.reach.start()
        for number in range(1, 7):
            d.reach.came("branch", number)
            d.reach.went("branch", number)
            await d.until(number + 1)
        assert asyncio.get_running_loop().time() <= 6 * 1.26 * module.BACKOFF_FIRST

    hurry(test)


def test_another_ike_sa_is_enough() -> None:
    async def test() -> None:
        d = Desk()
        d.reach.start()
        d.reach.came("branch", 9)  # the peer called us meanwhile
        d.reach.went("branch", 1)
        assert d.reach.established("branch") == 9
        await asyncio.sleep(DAY)
        assert d.called == ["branch"]

    hurry(test)


def test_down_means_down_and_up_means_up() -> None:
    async def test() -> None:
        d = Desk()
        d.reach.start()
        assert d.reach.drop_peer("branch") == (1,)
        d.reach.went("branch", 1)
        await asyncio.sleep(DAY)
        assert d.called == ["branch"]
        d.reach.want(0)
        assert d.called == ["branch", "branch"]

    hurry(test)


def test_a_child_that_went_is_asked_for_again() -> None:
    async def test() -> None:
        d = Desk()
        d.reach.start()
        d.reach.came("branch", 1)
        d.up.add(0)
        d.reach.changed(0)
        d.up.discard(0)
        d.reach.changed(0)
        while not d.opened:
            await asyncio.sleep(0.001)
        assert d.opened == [(1, "lan")]
        d.reach.failed(0, None, 0)
        while len(d.opened) < 2:
            await asyncio.sleep(0.001)

    hurry(test)


def test_nothing_after_the_end() -> None:
    async def test() -> None:
        d = Desk()
        d.reach.start()
        d.reach.went("branch", 1)
        d.reach.close()
        await asyncio.sleep(DAY)
        assert d.called == ["branch"]

    hurry(test)


# --- a pair for each worker (RFC 9611) ---


def test_one_call_for_all_workers() -> None:
    async def test() -> None:
        d = Desk("per_worker = true\n")
        d.reach.start()
        assert d.with_children == [["lan 0", "lan 1"]]
        d.reach.came("branch", 1)
        d.up.add((0, 0))
        d.reach.changed(0)
        await asyncio.sleep(DAY)
        assert d.opened == []  # the other one is still being asked for

    hurry(test)


def test_a_workers_pair_that_went_is_asked_for_again() -> None:
    async def test() -> None:
        d = Desk("per_worker = true\n")
        d.reach.start()
        d.reach.came("branch", 1)
        d.up |= {(0, 0), (0, 1)}
        d.reach.changed(0)
        d.up.discard((0, 1))
        d.reach.changed(0)
        while not d.opened:
            await asyncio.sleep(0.001)
        assert d.opened == [(1, "lan 1")]

    hurry(test)


def test_a_peer_with_fewer_workers_is_not_asked_again() -> None:
    async def test() -> None:
        d = Desk("per_worker = true\n")
        d.reach.start()
        d.reach.want(0)
        d.reach.came("branch", 1)
        d.up.add((0, 0))
        d.reach.changed(0)
        d.reach.failed(0, 1, NotifyType.TS_MAX_QUEUE)
        await asyncio.sleep(DAY)
        assert d.opened == []

    hurry(test)


@pytest.mark.parametrize("again", [True, False])
def test_a_peer_that_had_enough_is_asked_again_in_the_next_talk(again: bool) -> None:
    """It may have had no room just then, or be another machine by now."""

    async def test() -> None:
        d = Desk("per_worker = true\n")
        d.reach.start()
        d.reach.want(0)
        d.reach.came("branch", 1)
        d.up |= {0, (0, 0)}
        d.reach.changed(0)
        d.reach.failed(0, 1, NotifyType.NO_ADDITIONAL_SAS)
        if again:
            d.up.clear()
            d.reach.went("branch", 1)
            await d.until(2)
            assert d.with_children[1] == ["lan 0", "lan 1"]
        else:
            d.reach.came("branch", 2)  # it takes over from the one before
            await asyncio.sleep(DAY)
            assert d.opened == [(2, "lan 1")]

    hurry(test)


def test_thousands_are_called_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    monkeypatch.setattr(module, "BETWEEN_SECONDS", 0.01)
    one = CONFIG.replace("MORE", "").split("[peers.branch]")[1].split("\n[peers.road]")[0]
    lan = one.split("[peers.branch.children.lab]")[0]
    peers = [
        ("[peers.branch]" + lan)
        .replace("branch", f"b{n}")
        .replace("10.2.", f"10.{n + 10}.")
        .replace(".113.7", f".113.{n}")
        for n in range(1, 6)
    ]
    text = CONFIG.split("[peers.branch]")[0] + "\n".join(peers)

    async def test() -> None:
        d = Desk()
        d.reach = Reach(parse(text, "gw.toml", (0, 1)), d._connect, d._open, d._is_up)
        d.reach.start()
        assert d.called == ["b1", "b2"]
        await d.until(5)
        assert d.called == [f"b{n}" for n in range(1, 6)]

    hurry(test)
