"""Every SA in its place: its slot of sa_state, its worker, and which outbound SA of a child a worker uses.

Manual SAs are there from the start and stay; negotiated ones come and go. Who replaces a worker reads here what to
install (snapshot.py). Knows no message.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from xdpsec.policy.sa import Sa


@dataclass(frozen=True, slots=True)
class Seat:
    """An SA in its place: the slot of sa_state, and the worker that its packets are steered to."""

    sa: Sa
    slot: int
    owner: int

    @property
    def durable(self) -> bool:
        """Its numbers outlive us (manual keys): they are granted in blocks."""
        return bool(self.sa.key_file)


class Seats:
    """By slot. An outbound manual SA is in use as long as it is here."""

    def __init__(self, seats: Mapping[int, Seat]) -> None:
        self._by_slot: dict[int, Seat] = {}
        self._of_child: defaultdict[int, list[int]] = defaultdict(list)  # slots, in the order in which they came
        for seat in seats.values():
            self.add(seat)
        self._in_use = {(seat.owner, seat.sa.called): slot for slot, seat in seats.items() if seat.sa.outbound}

    def __iter__(self) -> Iterator[Seat]:
        return iter(list(self._by_slot.values()))

    def __len__(self) -> int:
        return len(self._by_slot)

    def get(self, slot: int) -> Seat | None:
        return self._by_slot.get(slot)

    def of(self, worker: int) -> list[Seat]:
        return [seat for seat in self._by_slot.values() if seat.owner == worker]

    def children(self) -> list[int]:
        """Those that have an SA, in order."""
        return sorted(self._of_child)

    def of_child(self, child: int) -> Iterator[Seat]:
        """As they are when their turn comes, inbound first; those that go meanwhile are left out."""
        slots = tuple(self._of_child.get(child, ()))
        for outbound in (False, True):
            for slot in slots:
                seat = self._by_slot.get(slot)
                if seat is not None and seat.sa.child == child and seat.sa.outbound is outbound:
                    yield seat

    def add(self, seat: Seat) -> None:
        """Also the one that is there, changed."""
        if seat.slot not in self._by_slot:
            self._of_child[seat.sa.child].append(seat.slot)
        self._by_slot[seat.slot] = seat

    def use(self, seat: Seat) -> None:
        """From now on its worker sends the child's packets on it."""
        self._in_use[seat.owner, seat.sa.called] = seat.slot

    def in_use(self, seat: Seat) -> bool:
        return self._in_use.get((seat.owner, seat.sa.called)) == seat.slot

    def used_by(self, worker: int, child: int) -> Seat | None:
        """What the worker sends the child's packets on."""
        slot = self._in_use.get((worker, child))
        return None if slot is None else self._by_slot[slot]

    def remove(self, slot: int) -> None:
        seat = self._by_slot.pop(slot)
        slots = self._of_child[seat.sa.child]
        slots.remove(slot)
        if not slots:
            del self._of_child[seat.sa.child]
        if self.in_use(seat):
            del self._in_use[seat.owner, seat.sa.called]
