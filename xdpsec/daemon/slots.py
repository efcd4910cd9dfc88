"""sa_state as control sees it: whose slot it is, and the numbers an SA starts with. Layout: struct xs_sa_slot.

Control writes a slot only while no worker uses it. A slot gets its sa_id last and loses it first: one that has an id
has numbers. The rules: policy/sequence.py.
"""

from __future__ import annotations

import mmap
from typing import Any

from xdpsec.daemon.regions import HEADER_SIZE, SLOT_SIZE
from xdpsec.metrics.values import Carried
from xdpsec.policy.sequence import Numbers
from xdpsec.policy.slots import FREE
from xdpsec.workers.native import ffi, lib


class Slots:
    """The slots of the file behind `descriptor`, `size` bytes, mapped until we end."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._memory = ffi.from_buffer(mmap.mmap(descriptor, size))
        self.count = (size - HEADER_SIZE) // SLOT_SIZE  # not what the header says: workers can write it

    def _slot(self, slot: int) -> Any:
        if not 0 <= slot < self.count:
            raise IndexError(f"slot {slot} of {self.count}")
        return ffi.cast("struct xs_sa_slot *", self._memory + HEADER_SIZE + slot * SLOT_SIZE)

    def sa_ids(self) -> list[bytes]:
        """Of every slot; FREE = none."""
        return [bytes(ffi.buffer(self._slot(slot).sa_id)) for slot in range(self.count)]

    def numbers(self, slot: int) -> Numbers:
        """Exact when no worker is using the slot, else of a moment ago."""
        at = self._slot(slot)
        return Numbers(at.direction == lib.XS_OUTBOUND, at.next_seq, at.granted, at.floor, at.top)

    def packets(self, slot: int) -> int:
        """Carried since the key was first used in this boot."""
        return int(self._slot(slot).packets)

    def carried(self, slot: int) -> Carried:
        """What the SA carried and dropped, of a moment ago."""
        at = self._slot(slot)
        return Carried(int(at.packets), int(at.bytes), tuple(at.drops))

    def last_seen(self, slot: int) -> int:
        """CLOCK_MONOTONIC, ns, of the last packet; 0 = none yet."""
        return int(self._slot(slot).last_seen_ns)

    def take(self, slot: int, sa_id: bytes, spi: int, numbers: Numbers, negotiated: bool = False) -> None:
        """The slot is this SA's, with these numbers. If it was before, its window and its counters go on."""
        at = self._slot(slot)
        if bytes(ffi.buffer(at.sa_id)) != sa_id:
            self.clear(slot)
        at.spi = spi
        at.negotiated = negotiated
        at.direction = lib.XS_OUTBOUND if numbers.outbound else lib.XS_INBOUND
        self.set_numbers(slot, numbers)
        ffi.memmove(at.sa_id, sa_id, len(sa_id))

    def set_numbers(self, slot: int, numbers: Numbers) -> None:
        at = self._slot(slot)
        at.next_seq, at.granted = numbers.next_seq, numbers.granted
        at.floor, at.top = numbers.floor, numbers.top

    def free(self) -> list[int]:
        """Every slot that is nobody's."""
        return [slot for slot, sa_id in enumerate(self.sa_ids()) if sa_id == FREE]

    def drop_negotiated(self) -> None:
        """Those of a control that is gone, and its keys with it. No worker runs."""
        for slot in range(self.count):
            if self._slot(slot).negotiated:
                self.clear(slot)

    def clear(self, slot: int) -> None:
        """Free again."""
        at = self._slot(slot)
        ffi.memmove(at.sa_id, FREE, len(FREE))
        ffi.memmove(at, bytes(SLOT_SIZE), SLOT_SIZE)
