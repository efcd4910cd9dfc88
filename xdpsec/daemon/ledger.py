"""The durable numbers in step: state file and markers, raised before a block is used, lowered after a clean stop.

Raising writes the state file first, lowering writes it last: whoever dies in between leaves it at or above every
marker, which is how a restored state file is told apart. Blocks while the disk writes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from xdpsec.daemon.slots import Slots
from xdpsec.policy import sequence
from xdpsec.policy.sequence import Grant, Numbers, Saved, Want
from xdpsec.policy.slots import FREE, allocate

#: Rows of the state file. SAs that neither it nor the configuration knows are saved as long as there are fewer: ids
#: that a worker made up fill no disk.
MOST_ROWS = 10_000


class State(Protocol):
    """durable.StateFile."""

    def read(self) -> dict[bytes, Saved]: ...

    def write(self, rows: Mapping[bytes, Saved]) -> None: ...


class Mark(Protocol):
    """durable.Marker."""

    def read(self, known: bool) -> dict[bytes, Saved]: ...

    def write(self, rows: Mapping[bytes, Saved], current: Collection[bytes]) -> None: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where an SA starts: its slot, and the block that is on disk and in the slot."""

    slot: int
    grant: Grant


class Ledger:
    """What the disk allows. `markers`: key file -> its marker; every key file of `wants` has one."""

    def __init__(self, state: State, markers: Mapping[str, Mark], wants: Sequence[Want]) -> None:
        self._state, self._markers = state, markers
        self._wants = {want.sa_id: want for want in wants}
        self._rows = state.read()
        self._marked = {file: marker.read(self._knows(file)) for file, marker in markers.items()}

    def _knows(self, file: str) -> bool:
        return any(want.key_file == file and sa_id in self._rows for sa_id, want in self._wants.items())

    @property
    def room(self) -> int:
        """Rows that may still be added."""
        return max(0, MOST_ROWS - len(self._rows))

    def saved(self, sa_id: bytes) -> Saved | None:
        return self._rows.get(sa_id)

    def marked(self, sa_id: bytes) -> Saved | None:
        """Of all markers the highest: a key may have moved to another file."""
        found = [rows[sa_id] for rows in self._marked.values() if sa_id in rows]
        return max(found, key=lambda row: row.end, default=None)

    def raise_to(self, ends: Mapping[bytes, int], others: Mapping[bytes, Saved] | None = None) -> None:
        """On disk when this returns. OSError when the disk refuses: then nothing may be granted."""
        for sa_id, end in ends.items():
            self._rows[sa_id] = self._row(self._wants[sa_id], max(end, self._end(sa_id)))
        self._rows.update(others or {})
        self._state.write(self._rows)
        self._mark(ends)

    def lower_to(self, ends: Mapping[bytes, int]) -> None:
        """The same downwards. No worker may hold a block any more that ends above."""
        rows = {sa_id: self._row(self._wants[sa_id], min(end, self._end(sa_id))) for sa_id, end in ends.items()}
        self._rows.update(rows)
        self._mark(ends)
        self._state.write(self._rows)

    def _end(self, sa_id: bytes) -> int:
        row = self._rows.get(sa_id)
        return row.end if row else 0

    @staticmethod
    def _row(want: Want, end: int) -> Saved:
        return Saved(want.outbound, end, want.window, want.label)

    def _mark(self, sa_ids: Iterable[bytes]) -> None:
        changed = set(sa_ids)
        for file in sorted({self._wants[sa_id].key_file for sa_id in changed}):
            current = {sa_id for sa_id, want in self._wants.items() if want.key_file == file}
            self._marked[file].update({sa_id: self._rows[sa_id] for sa_id in current & changed})
            self._markers[file].write(self._marked[file], current)


def start(
    ledger: Ledger, slots: Slots, wants: Sequence[Want], spis: Mapping[bytes, int], now: float
) -> dict[bytes, Place]:
    """Every SA in its slot, with a block that is on disk. UnsafeState before anything was changed. Slots of SAs that
    are wanted no more are saved and freed. No worker runs yet; `spis`: sa_id -> SPI."""
    held = {sa_id: (slot, slots.numbers(slot)) for slot, sa_id in enumerate(slots.sa_ids()) if sa_id != FREE}
    numbers: dict[bytes, Numbers] = {}
    for want in wants:
        known = held[want.sa_id][1] if want.sa_id in held else None
        numbers[want.sa_id] = sequence.resume(want, ledger.saved(want.sa_id), ledger.marked(want.sa_id), known)
    for sa_id in held.keys() & numbers.keys():
        # a floor that a changed window calls for stands before the state file says that the window changed
        slots.set_numbers(held[sa_id][0], numbers[sa_id])
    grants = {want.sa_id: _first(ledger, slots, want, numbers[want.sa_id], held, now) for want in wants}
    retired = {sa_id: row for sa_id, row in held.items() if sa_id not in numbers}
    strange = [sa_id for sa_id in retired if ledger.saved(sa_id) is None][ledger.room :]
    kept = retired.keys() - strange
    ledger.raise_to(
        {sa_id: grant.end for sa_id, grant in grants.items()},
        {sa_id: _retire(ledger.saved(sa_id), retired[sa_id][1]) for sa_id in kept},
    )
    for slot, _ in retired.values():
        slots.clear(slot)
    taken = allocate(slots.sa_ids(), [want.sa_id for want in wants])
    for sa_id, slot in taken.items():
        slots.take(slot, sa_id, spis[sa_id], replace(numbers[sa_id], granted=grants[sa_id].end))
    return {sa_id: Place(slot, grants[sa_id]) for sa_id, slot in taken.items()}


def _first(
    ledger: Ledger, slots: Slots, want: Want, numbers: Numbers, held: Mapping[bytes, tuple[int, Numbers]], now: float
) -> Grant:
    saved = ledger.saved(want.sa_id)
    packets = slots.packets(held[want.sa_id][0]) if want.sa_id in held else 0
    return sequence.first_grant(want, numbers, saved.end if saved else numbers.granted, packets, now)


def _retire(saved: Saved | None, numbers: Numbers) -> Saved:
    if saved:
        numbers = replace(numbers, outbound=saved.outbound)
    end = max(numbers.granted, numbers.used, saved.end if saved else 0)
    return Saved(numbers.outbound, end, 0, saved.label if saved else "")


def finish(ledger: Ledger, slots: Slots, places: Mapping[bytes, int]) -> None:
    """After a clean stop: exact numbers in the slots, then on disk. `places`: sa_id -> slot, of SAs whose worker is
    gone."""
    ends: dict[bytes, int] = {}
    for sa_id, slot in places.items():
        exact = sequence.exact(slots.numbers(slot))
        slots.set_numbers(slot, exact)
        ends[sa_id] = exact.granted
    ledger.lower_to(ends)
