"""Parts of messages that wait for the rest of them, sent by peers that nobody has authenticated: a budget for all.

Each IKE SA holds at most one message's worth (wire/fragments.py); this is about thousands of them. When it is too much
the oldest goes first: an honest peer's parts come together within a moment. RFC 7383 sec. 2.6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Held(Protocol):
    """wire.fragments.Reassembly."""

    @property
    def cost(self) -> int: ...

    def drop(self) -> None: ...


class Parked:
    """`most` bytes of memory in all; `dropped` is called for each message that had to go."""

    def __init__(self, most: int, dropped: Callable[[], None]) -> None:
        self.most, self.total, self._dropped = most, 0, dropped
        self._held: dict[int, tuple[Held, int]] = {}  # by machine, the oldest first

    def __len__(self) -> int:
        return len(self._held)

    def keep(self, machine: int, held: Held | None) -> None:
        """What this machine holds now; None or nothing in it = no more."""
        before = self._held.get(machine)
        cost = held.cost if held is not None else 0
        self.total += cost - (before[1] if before is not None else 0)
        if held is not None and cost:
            self._held[machine] = held, cost
        elif before is not None:
            del self._held[machine]
        while self.total > self.most:
            oldest = next(iter(self._held))
            self._held[oldest][0].drop()
            self.keep(oldest, None)
            self._dropped()
