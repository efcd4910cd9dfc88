"""The shell around the gate: datagrams in and out, one timer, events to their handler. Nothing is decided here.

After whatever touches the gate its events are heard, its messages sent and its timer set; within one turn of the loop
that happens once. Time is CLOCK_MONOTONIC in seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, Protocol

from xdpsec.ike.events import Event, Fault, Path
from xdpsec.net.udp import Datagrams, Way

#: How late a timer may ring: some more are due by then, and one turn does for them all.
GRAIN = 0.02


class Gate(Protocol):
    """ike.gate.Gate: the five verbs, a way to one machine, and what metrics ask."""

    @property
    def counts(self) -> Mapping[str, int]: ...

    @property
    def openings(self) -> Sized: ...

    def receive(self, data: bytes, path: Path, now: float) -> None: ...

    def messages_to_send(self, now: float) -> list[tuple[bytes, Path]]: ...

    def get_timer(self) -> float | None: ...

    def handle_timer(self, now: float) -> None: ...

    def next_event(self) -> Event | None: ...

    def connect(self, peer: str, now: float, wanted: Sequence[tuple[str, int | None]] = ()) -> int: ...

    def answer(self, ike: int, ticket: int, result: object, now: float) -> None: ...

    def wish(self, ike: int, action: Callable[[Any], None]) -> bool: ...

    def awaits(self, ike: int, ticket: int) -> bool: ...

    def fault(self, ike: int, error: Exception, now: float) -> None: ...


class Shell:
    """`hear(event, now)` must not call the gate; what it wants of it goes through `answer`, `connect` and `wish`."""

    def __init__(
        self, gate: Gate, datagrams: Datagrams, hear: Callable[[Event, float], None], clock: Callable[[], float]
    ) -> None:
        self._gate, self._datagrams, self._hear, self._clock = gate, datagrams, hear, clock
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # of the timer that is set
        self._soon: asyncio.Handle | None = None

    def start(self) -> None:
        self._datagrams.start(self._receive, self._follow)

    def close(self) -> None:
        """What is on its way out has left."""
        self._follow()
        self._datagrams.close()
        for handle in (self._timer, self._soon):
            if handle is not None:
                handle.cancel()

    # --- wishes --------------------------------------------------------------------------------------------------

    def connect(self, peer: str, wanted: Sequence[tuple[str, int | None]]) -> int:
        """Call a peer and open these children (name and worker, None = any); the number of the machine that does."""
        number = self._gate.connect(peer, self._clock(), wanted)
        self.follow_soon()
        return number

    def answer(self, ike: int, ticket: int, result: object) -> None:
        """Of an event with a ticket; now or later."""
        self._loop.call_soon(self._answer, ike, ticket, result)

    def _answer(self, ike: int, ticket: int, result: object) -> None:
        self._gate.answer(ike, ticket, result, self._clock())
        self.follow_soon()

    def wish(self, ike: int, action: Callable[[Any, float], None]) -> bool:
        """Let a machine do something; False when there is no such machine any more."""
        now = self._clock()
        found = self._gate.wish(ike, lambda machine: action(machine, now))
        self.follow_soon()
        return found

    # --- the turn ------------------------------------------------------------------------------------------------

    def _receive(self, data: bytes, way: Way) -> None:
        now = self._clock()
        try:
            self._gate.receive(data, Path(*way), now)
        except Exception as error:  # outside any machine: the next datagram is another one
            self._gate.fault(0, error, now)

    def follow_soon(self) -> None:
        if self._soon is None:
            self._soon = self._loop.call_soon(self._follow)

    def _follow(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        gate, now = self._gate, self._clock()
        while (event := gate.next_event()) is not None:
            self._heed(event, now)
        for data, path in gate.messages_to_send(now):
            self._datagrams.send(data, path)
        self._arm(now)

    def _heed(self, event: Event, now: float) -> None:
        """What we cannot do with an event ends the machine that said it: the next one may say another."""
        try:
            self._hear(event, now)
        except Exception as error:
            if isinstance(event, Fault):
                raise
            self._gate.fault(event.ike, error, now)

    def _arm(self, now: float) -> None:
        """A timer that rings too early costs less than one that is set anew with every message."""
        due = self._gate.get_timer()
        if due is None or (self._timer is not None and self._due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_later(max(0.0, due - now) + GRAIN, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._gate.handle_timer(self._clock())
        self._follow()
