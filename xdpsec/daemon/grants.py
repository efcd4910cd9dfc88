"""Sequence grants: a worker asks, the disk learns of the next block, then the worker hears of it. Never another order.

What is asked for while the disk writes is granted together, with one write for all. The loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import structlog

from xdpsec.channel.messages import SeqGrant
from xdpsec.daemon.ledger import Ledger, Place
from xdpsec.daemon.seats import Seat
from xdpsec.daemon.slots import Slots
from xdpsec.policy.sa import Sa
from xdpsec.policy.sequence import Grant, Want, next_grant

#: A disk that refused (full, read-only) is tried again after so long: an operator mends it in minutes.
RETRY_SECONDS = 1.0

log = structlog.get_logger()


def want_of(sa: Sa) -> Want:
    """What the durable state must know of an SA."""
    return Want(sa.sa_id, sa.label, sa.key_file, sa.outbound, 0 if sa.outbound else sa.replay_window, sa.esn)


class Grants:
    """`seats`: slot -> SA; `places`: sa_id -> where it started. `send(worker, grant)` may find the worker gone: its
    successor asks `granted`."""

    def __init__(
        self,
        seats: Mapping[int, Seat],
        places: Mapping[bytes, Place],
        ledger: Ledger,
        slots: Slots,
        send: Callable[[int, SeqGrant], None],
    ) -> None:
        self._seats, self._ledger, self._slots, self._send = seats, ledger, slots, send
        self._last = {seat.slot: places[seat.sa.sa_id].grant for seat in seats.values()}
        self._wanted: dict[int, int] = {}
        self._asked = asyncio.Event()
        self._closing = asyncio.Event()
        self._clock = asyncio.get_running_loop().time

    def granted(self, slot: int) -> SeqGrant:
        """The block that is on disk."""
        return SeqGrant(slot, self._last[slot].end)

    def want(self, slot: int, number: int) -> None:
        """A worker has used half of its block, or wants this number beyond it."""
        if slot in self._seats:
            self._wanted[slot] = max(number, self._wanted.get(slot, 0))
            self._asked.set()

    def close(self) -> None:
        """`run` ends when what it is writing is on disk."""
        self._closing.set()
        self._asked.set()

    async def run(self) -> None:
        """Until closed."""
        failing = False
        while True:
            await self._asked.wait()
            self._asked.clear()
            if self._closing.is_set():
                return
            wanted, self._wanted = self._wanted, {}
            try:
                await self._grant(wanted)
                failing = False
            except OSError as error:
                if not failing:
                    log.error("sequence state cannot be saved", error=str(error), fix="make room on its disk")
                failing = True
                self._wanted = wanted | self._wanted  # the later number is the higher one
                self._asked.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_SECONDS):
                        await self._closing.wait()

    async def _grant(self, wanted: Mapping[int, int]) -> None:
        fresh = {slot: self._next(slot, number) for slot, number in wanted.items()}
        higher = {slot: grant for slot, grant in fresh.items() if grant.end > self._last[slot].end}
        if higher:
            ends = {self._seats[slot].sa.sa_id: grant.end for slot, grant in higher.items()}
            await asyncio.to_thread(self._ledger.raise_to, ends)
        self._last.update(fresh)
        for slot in fresh:
            self._send(self._seats[slot].owner, self.granted(slot))

    def _next(self, slot: int, number: int) -> Grant:
        # the number is the worker's own word: what stands in the slot any worker can write
        packets = self._slots.packets(slot)
        return next_grant(want_of(self._seats[slot].sa), number, packets, self._clock(), self._last[slot])
