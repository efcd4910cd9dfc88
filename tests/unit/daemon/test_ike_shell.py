"""The shell with a gate that is played: who is called when, with which time, and how often."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from crew import run
from hurry import hurry

from xdpsec.daemon.ike.shell import GRAIN, Shell
from xdpsec.ike.events import Counted, Event, Fault, Note, Path
from xdpsec.net.udp import Memory, Way

WAY = Way("198.51.100.1", 500, "203.0.113.7", 500)
PATH = Path(*WAY)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class PlayedGate:
    """Does nothing by itself; `calls` remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.events: deque[Event] = deque()
        self.out: list[tuple[bytes, Path]] = []
        self.timer: float | None = None
        self.counts: dict[str, int] = {}
        self.openings: list[int] = []
        self.on_timer: Callable[[], None] = lambda: None

    def receive(self, data: bytes, path: Path, now: float) -> None:
        self.calls.append(("receive", data, path, now))
        self.out.append((b"re: " + data, path))

    def messages_to_send(self, now: float) -> list[tuple[bytes, Path]]:
        out, self.out = self.out, []
        return out

    def get_timer(self) -> float | None:
        return self.timer

    def handle_timer(self, now: float) -> None:
        self.calls.append(("timer", now))
        self.timer = None
        self.on_timer()

    def next_event(self) -> Event | None:
        return self.events.popleft() if self.events else None

    def connect(self, peer: str, now: float, wanted: Sequence[tuple[str, int | None]] = ()) -> int:
        self.calls.append(("connect", peer, now, *wanted))
        self.out.append((b"hello", PATH))
        return 5

    def answer(self, ike: int, ticket: int, result: object, now: float) -> None:
        self.calls.append(("answer", ike, ticket, result, now))

    def wish(self, ike: int, action: Callable[[Any], None]) -> bool:
        action(f"machine {ike}")
        return ike == 5

    def awaits(self, ike: int, ticket: int) -> bool:
        return True

    def fault(self, ike: int, error: Exception, now: float) -> None:
        self.calls.append(("fault", ike, str(error), now))
        self.events.append(Fault(ike, "", error, False))


class Desk:
    def __init__(self) -> None:
        self.gate, self.net, self.clock = PlayedGate(), Memory(), Clock()
        self.heard: list[tuple[Event, float]] = []
        self.shell = Shell(self.gate, self.net, self.hear, self.clock)
        self.shell.start()

    def hear(self, event: Event, now: float) -> None:
        if isinstance(event, Counted):
            raise RuntimeError("not today")
        self.heard.append((event, now))


def test_a_burst_is_followed_up_once() -> None:
    async def test() -> None:
        d = Desk()
        d.gate.events.append(Note(1, "info", "said"))
        d.net.deliver((b"one", WAY), (b"two", WAY))
        assert d.gate.calls == [("receive", b"one", PATH, 100.0), ("receive", b"two", PATH, 100.0)]
        assert list(d.net.sent) == [(b"re: one", WAY), (b"re: two", WAY)]
        assert d.heard == [(Note(1, "info", "said"), 100.0)]

    run(test)


def test_wishes_are_followed_up_in_the_next_turn() -> None:
    async def test() -> None:
        d = Desk()
        said: list[object] = []
        assert d.shell.connect("branch", [("lan", None)]) == 5
        assert d.shell.wish(5, lambda machine, now: said.append((machine, now)))
        assert not d.shell.wish(6, lambda machine, now: None)
        d.shell.answer(5, 9, "")
        assert not d.net.sent
        await asyncio.sleep(0)
        assert said == [("machine 5", 100.0)]
        assert d.gate.calls == [("connect", "branch", 100.0, ("lan", None)), ("answer", 5, 9, "", 100.0)]
        assert list(d.net.sent) == [(b"hello", WAY)]

    run(test)


def test_the_timer_rings_at_its_time_and_not_before() -> None:
    async def test() -> None:
        d = Desk()
        rang = asyncio.Event()
        d.gate.on_timer = rang.set
        loop = asyncio.get_running_loop()
        began = loop.time()
        d.gate.timer = 100.05
        d.shell.follow_soon()
        await rang.wait()
        assert loop.time() - began == pytest.approx(0.05 + GRAIN)
        assert d.gate.calls == [("timer", 100.0)]

    hurry(test)


def test_an_earlier_timer_takes_the_place_of_a_later_one() -> None:
    async def test() -> None:
        d = Desk()
        rang = asyncio.Event()
        d.gate.on_timer = rang.set
        d.gate.timer = 200.0
        d.net.deliver()
        d.gate.timer = 100.01
        d.net.deliver()
        await rang.wait()
        assert asyncio.get_running_loop().time() == pytest.approx(0.01 + GRAIN)

    hurry(test)


def test_what_is_on_its_way_out_leaves_before_the_end() -> None:
    async def test() -> None:
        d = Desk()
        d.shell.connect("branch", [("lan", None)])
        d.shell.close()
        assert list(d.net.sent) == [(b"hello", WAY)]
        await asyncio.sleep(1.0)
        assert len(d.gate.calls) == 1

    hurry(test)


def test_an_event_that_cannot_be_heard_ends_its_machine_and_nothing_else() -> None:
    async def test() -> None:
        d = Desk()
        d.gate.events += [Counted(7, "x"), Note(1, "info", "said")]
        d.net.deliver((b"one", WAY))
        assert ("fault", 7, "not today", 100.0) in d.gate.calls
        assert [type(event) for event, _ in d.heard] == [Note, Fault]
        assert list(d.net.sent) == [(b"re: one", WAY)]

    run(test)


def test_a_datagram_that_the_gate_cannot_take_does_not_take_the_next_with_it() -> None:
    async def test() -> None:
        d = Desk()
        take = d.gate.receive

        def receive(data: bytes, path: Path, now: float) -> None:
            if data == b"bad":
                raise RuntimeError("not this one")
            take(data, path, now)

        d.gate.receive = receive  # type: ignore[method-assign]
        d.net.deliver((b"bad", WAY), (b"two", WAY))
        assert list(d.net.sent) == [(b"re: two", WAY)]
        assert [type(event) for event, _ in d.heard] == [Fault]

    run(test)
