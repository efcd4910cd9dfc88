"""Negotiated SAs in their places: a slot, a worker that has them installed, uses them, forgets them.

A slot is given again only when its worker has acknowledged that it forgot it. What an SA carried is added to its
child's sums before that, so that counters never fall back. Knows no IKE.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import structlog

from xdpsec.channel import messages as words
from xdpsec.channel.framing import ChannelClosed
from xdpsec.channel.hub import Refused, Reply
from xdpsec.daemon.fleet import Fleet
from xdpsec.daemon.seats import Seat, Seats
from xdpsec.daemon.slots import Slots
from xdpsec.daemon.snapshot import Snapshots, wipe
from xdpsec.metrics.values import Carried
from xdpsec.policy.sa import Sa
from xdpsec.policy.sequence import FIRST, LIMIT, LIMIT_ESN, Numbers
from xdpsec.workers import native

#: A slot rests so long where nobody acknowledged: its worker is gone by then, or has its successor's snapshot.
REST_SECONDS = 5.0

log = structlog.get_logger()
Done = Callable[[str], None]


class Sas:
    """`sums`: (child, outbound) -> what SAs that are gone have carried."""

    def __init__(self, seats: Seats, slots: Slots, fleet: Fleet, snapshots: Snapshots) -> None:
        self._seats, self._slots, self._fleet, self._snapshots = seats, slots, fleet, snapshots
        # one that has a seat is taken, even where a worker wrote over its id
        self._free = deque(slot for slot in slots.free() if seats.get(slot) is None)
        self._mtus: dict[int, int] = {}  # path MTU that an outbound SA was installed with, by slot
        self._freed: dict[int, Callable[[], None]] = {}
        self.sums: dict[tuple[int, bool], Carried] = {}

    @property
    def free(self) -> int:
        """Slots."""
        return len(self._free)

    def install(self, sa: Sa, owner: int, done: Done, freed: Callable[[], None] = lambda: None) -> int:
        """Give the SA a slot and its worker the SA; `done` hears "" when the worker has it, or why not, and `freed` is
        called when the slot is free again. The slot, or -1 when there is none."""
        if not self._free:
            done("no slot of sa_state is free")
            freed()
            return -1
        slot = self._free.popleft()
        limit = LIMIT_ESN if sa.esn else LIMIT
        self._slots.take(slot, sa.sa_id, sa.spi, Numbers(sa.outbound, FIRST if sa.outbound else 0, limit, 0, 0), True)
        seat = Seat(sa, slot, owner)
        self._seats.add(seat)
        message = self._snapshots.install(seat)
        self._mtus[slot] = message.path_mtu
        self._freed[slot] = freed
        self._post(owner, message, lambda error: self._installed(seat, error, done))
        wipe(message)
        return slot

    def _installed(self, seat: Seat, error: str, done: Done) -> None:
        if not error and self._snapshots.unproven(seat):
            call = self._fleet.post(seat.owner, words.SaQuery())
            if call is not None:
                call.add_done_callback(self._told_engines)
        done(error)

    def _told_engines(self, call: asyncio.Future[Reply]) -> None:
        if not outcome(call):
            answer = call.result().message
            assert isinstance(answer, words.SaEngines)
            self._snapshots.engines(answer)

    def use(self, slot: int) -> None:
        """The child's packets of that worker go out on this SA, from its next burst on."""
        seat = self._seats.get(slot)
        if seat is None or self._seats.in_use(seat):
            return
        before = self._seats.used_by(seat.owner, seat.sa.called)
        if before is not None:
            self._snapshots.forget(before.slot)
        self._seats.use(seat)
        self._post(seat.owner, words.SaUse(seat.sa.called, slot), self._complain(seat, "not used"))
        self._snapshots.used(seat, self._mtus[slot], lambda message: self._fleet.tell(seat.owner, message))

    def in_use(self, slot: int) -> bool:
        seat = self._seats.get(slot)
        return seat is not None and self._seats.in_use(seat)

    def move(self, slot: int, local: str, remote: str, encap: tuple[int, int]) -> None:
        """Between other outer addresses and ports from now on; a successor of its worker will find it so."""
        seat = self._seats.get(slot)
        if seat is None:
            return
        moved = replace(seat, sa=replace(seat.sa, local=local, remote=remote, encap=encap))
        self._seats.add(moved)
        self._post(seat.owner, words.SaMove(slot, local, remote, *encap), self._complain(moved, "not moved"))

    def remove(self, slot: int) -> None:
        """The worker forgets the SA and wipes its keys; ours go too."""
        seat = self._seats.get(slot)
        if seat is None:
            return
        self._seats.remove(slot)
        self._mtus.pop(slot)
        self._snapshots.forget(slot)
        native.wipe(seat.sa.key.encryption)
        native.wipe(seat.sa.key.integrity)
        call = self._fleet.post(seat.owner, words.SaRemove(slot))
        if call is None:
            asyncio.get_running_loop().call_later(REST_SECONDS, self._release, seat)
        else:
            call.add_done_callback(lambda done: self._removed(seat, done))

    def idle_ns(self, slot: int) -> int:
        """CLOCK_MONOTONIC, ns, of the last packet; 0 = none yet."""
        return self._slots.last_seen(slot)

    # --- below ---------------------------------------------------------------------------------------------------

    def _removed(self, seat: Seat, done: asyncio.Future[Reply]) -> None:
        if outcome(done):  # its worker is gone, or never had it
            asyncio.get_running_loop().call_later(REST_SECONDS, self._release, seat)
        else:
            self._release(seat)

    def _release(self, seat: Seat) -> None:
        carried = self._slots.carried(seat.slot)
        key = (seat.sa.child, seat.sa.outbound)
        before = self.sums.get(key)
        if before is not None:
            drops = tuple(map(sum, zip(before.drops, carried.drops, strict=True)))
            carried = Carried(before.packets + carried.packets, before.bytes + carried.bytes, drops)
        self.sums[key] = carried
        self._slots.clear(seat.slot)
        self._free.append(seat.slot)
        self._freed.pop(seat.slot)()

    def _post(self, worker: int, message: words.Message, done: Done) -> None:
        call = self._fleet.post(worker, message)
        if call is None:
            done(f"worker {worker} is not up")  # it will find it in its snapshot
        else:
            call.add_done_callback(lambda call: done(outcome(call)))

    @staticmethod
    def _complain(seat: Seat, what: str) -> Done:
        def complain(error: str) -> None:
            if error:
                log.warning(f"SA {what}", child=seat.sa.label, worker=seat.owner, error=error)

        return complain


def outcome(call: asyncio.Future[Reply]) -> str:
    """Of a call that is done: "" when it was acknowledged, else one sentence."""
    if call.cancelled():
        return "given up"
    error = call.exception()
    if error is None:
        return str(getattr(call.result().message, "error", ""))
    if isinstance(error, ChannelClosed | Refused):
        return str(error)
    raise error
