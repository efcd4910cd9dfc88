"""Children that are not as the configuration has them: of peers that come from anywhere, one for each guest, and those
that a peer narrowed (RFC 7296 sec. 2.9). Workers tell them apart.

Each has a number of its own beyond those of the configuration, and policies of its own before the others': what was
negotiated for it, no more. Rekeyed SAs of a guest keep its number. The rest of what a peer narrowed stays with the
configured child: protected, and dropped where that has no SA. Knows no SA.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdpsec.channel.messages import Policy, PolicyFirst, Selector

#: A machine, a child of the configuration, what was negotiated for it.
Key = tuple[int, int, tuple[Selector, ...]]


@dataclass(slots=True)
class _Guest:
    number: int
    owner: int
    pairs: int = 0  # of SAs that have the number
    listed: bool = False


class Guests:
    """Numbers from `first` on. `tell(word)` is given what workers must hear: the guest that changed, no other."""

    def __init__(self, first: int, tell: Callable[[PolicyFirst], None]) -> None:
        self._next, self._tell = first, tell
        self._free: list[int] = []
        self._guests: dict[Key, _Guest] = {}

    def __len__(self) -> int:
        return len(self._guests)

    def admit(self, key: Key, owner: int) -> int:
        """The number for a pair of SAs at worker `owner`; give it back with `leave`."""
        guest = self._guests.get(key)
        if guest is None:
            guest = self._guests[key] = _Guest(self._number(), owner)
        guest.pairs += 1
        return guest.number

    def serve(self, key: Key) -> None:
        """Its SAs are in use from now on: its policies come before all others."""
        guest = self._guests.get(key)
        if guest is not None and not guest.listed:
            guest.listed = True
            self._guests[key] = self._guests.pop(key)
            self._tell(PolicyFirst(guest.number, guest.owner, key[2]))

    def withdraw(self, key: Key) -> None:
        """None of its SAs lasts: what it had goes where other policies send it."""
        guest = self._guests[key]
        if guest.listed:
            guest.listed = False
            self._tell(PolicyFirst(guest.number, guest.owner, ()))

    def leave(self, key: Key) -> None:
        """One pair of SAs less; with the last the guest is gone."""
        guest = self._guests[key]
        guest.pairs -= 1
        if guest.pairs:
            return
        self.withdraw(key)
        del self._guests[key]
        self._free.append(guest.number)

    def _number(self) -> int:
        if self._free:
            return self._free.pop(0)
        self._next += 1
        return self._next - 1

    def rows(self) -> list[Policy]:
        """The policies of all guests, the newest first, for a worker that has heard nothing yet."""
        return [
            Policy(selector, guest.number, guest.owner)
            for (_, _, selectors), guest in reversed(self._guests.items())
            if guest.listed
            for selector in selectors
        ]
