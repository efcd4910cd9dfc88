"""Streams of numbered UDP packets between the hosts, and what became of them: who arrived, who did not, for how long
nobody did. Every payload carries a marker, so that a packet in the clear is known wherever it turns up.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import socket
import struct
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from netns.rig.patience import HANG_SECONDS
from netns.rig.spaces import udp

#: One port at each end; the addresses tell the flows apart.
PORT = 7001
HEAD = struct.Struct("!16sHQ")  # marker, flow, number
#: Packets are not all alike: lengths go round in these.
SIZES = (40, 200, 1200)


@dataclass(frozen=True, slots=True)
class Way:
    """One direction of one child: from an address in a namespace to an address in another."""

    name: str
    source: tuple[str, str]
    target: tuple[str, str]


@dataclass
class Record:
    """What happened on a way. `sent[n]` and `arrived[n]` are when packet n was, in seconds of CLOCK_MONOTONIC."""

    sent: list[float] = field(default_factory=list)
    arrived: dict[int, float] = field(default_factory=dict)
    twice: int = 0

    def lost(self, since: float, until: float) -> list[int]:
        """Packets sent between these times that have not arrived."""
        return [n for n in range(bisect_left(self.sent, since), bisect_left(self.sent, until)) if n not in self.arrived]

    def first_after(self, moment: float) -> float | None:
        """When the first of the packets sent after `moment` that arrived did so."""
        after = range(bisect_left(self.sent, moment), len(self.sent))
        return next((self.arrived[n] for n in after if n in self.arrived), None)


class Flows:
    """Sends on every way, `rate` packets a second each, from its making to `close`."""

    def __init__(self, ways: Sequence[Way], rate: float) -> None:
        self.marker = secrets.token_bytes(16)
        self.ways = list(ways)
        self.records = [Record() for _ in ways]
        self._rate = rate
        self._changed = threading.Condition()
        self._sending = True
        ends = {end for way in ways for end in (way.source, way.target)}
        self._sockets = {end: udp(*end, PORT) for end in sorted(ends)}
        self._end, self._stop = os.pipe()
        self._threads = [threading.Thread(target=work) for work in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def pause(self) -> None:
        """Send nothing more; what is on its way arrives."""
        self._sending = False
        self._threads[0].join()

    def close(self) -> None:
        """Safe to call twice."""
        if not self._threads[1].is_alive():
            return
        self.pause()
        os.write(self._stop, b"!")
        self._threads[1].join()
        for opened in self._sockets.values():
            opened.close()
        os.close(self._end)
        os.close(self._stop)

    def wait(self, since: float | None = None, seconds: float = HANG_SECONDS) -> float:
        """Until something sent after `since`, or after now, has arrived on every way; seconds from `since` to the last
        way's first. TimeoutError names the ways that stay silent."""
        begun = time.monotonic() if since is None else since
        until = time.monotonic() + seconds
        with self._changed:
            while True:
                firsts = [record.first_after(begun) for record in self.records]
                silent = [way.name for way, at in zip(self.ways, firsts, strict=True) if at is None]
                if not silent:
                    return max(at for at in firsts if at is not None) - begun
                if not self._changed.wait(until - time.monotonic()):
                    raise TimeoutError(f"nothing arrives on {', '.join(silent)} after {seconds:.0f} s")

    def sent_since(self, since: float) -> int:
        """Packets on each way."""
        return min(len(record.sent) - bisect_left(record.sent, since) for record in self.records)

    def settle(self, since: float = 0.0) -> None:
        """After `pause`: until all that was sent after `since` has arrived. TimeoutError says what did not."""
        until = time.monotonic() + HANG_SECONDS
        with self._changed:
            while missing := self._lost(since, time.monotonic()):
                if not self._changed.wait(until - time.monotonic()):
                    raise TimeoutError(f"lost on the way: {missing}")

    def lost(self, since: float, until: float) -> dict[str, int]:
        """Way -> packets sent between these times that have not arrived, where there are some."""
        with self._changed:
            return self._lost(since, until)

    def _lost(self, since: float, until: float) -> dict[str, int]:
        counts = {way.name: len(rec.lost(since, until)) for way, rec in zip(self.ways, self.records, strict=True)}
        return {name: count for name, count in counts.items() if count}

    def _send(self) -> None:
        """All ways a round, one after the other within it."""
        due, number = time.monotonic(), 0
        while self._sending:
            for n, way in enumerate(self.ways):
                body = HEAD.pack(self.marker, n, number)
                body += bytes(SIZES[number % len(SIZES)] - len(body))
                with self._changed:
                    self.records[n].sent.append(time.monotonic())
                with contextlib.suppress(OSError):  # no route, no room: a lost packet like others
                    self._sockets[way.source].sendto(body, (way.target[1], PORT))
            number += 1
            due += 1 / self._rate
            time.sleep(max(0.0, due - time.monotonic()))  # the rate is the purpose, nothing is waited for

    def _receive(self) -> None:
        poll = select.poll()
        by_descriptor = {opened.fileno(): opened for opened in self._sockets.values()}
        for descriptor in (*by_descriptor, self._end):
            poll.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self._end:
                    return
                self._take(by_descriptor[descriptor])

    def _take(self, opened: socket.socket) -> None:
        try:
            data = opened.recv(2048)
        except OSError:
            return  # an ICMP error about something sent
        marker, flow, number = HEAD.unpack_from(data)
        if marker != self.marker:
            return
        with self._changed:
            record = self.records[flow]
            record.twice += number in record.arrived
            record.arrived.setdefault(number, time.monotonic())
            self._changed.notify_all()
