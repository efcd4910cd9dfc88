"""Who may have how many slots of sa_state: no peer takes what another one may need. Knows no slot and no SA.

Every negotiated peer has a share for each of its children, a peer that comes from anywhere one for each guest. Beyond
its share one gets what is left over when all others have theirs: whoever rekeys too often does it at his own cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from xdpsec.config.values import Peer

#: Two SAs that are used, as many that replace them, as many that were replaced and still take what is on its way.
SLOTS_PER_CHILD = 6
#: A peer that may come from anywhere is many peers: so many at most.
ROAD_WARRIORS = 1024
PAIR = 2


def slots_of(peer: Peer, workers: int) -> int:
    """Of one that talks to us as this peer."""
    spread = [child.negotiated is not None and child.negotiated.per_worker for child in peer.children]
    return sum(SLOTS_PER_CHILD * (workers if wide else 1) for wide in spread)


def slots_of_all(peer: Peer, workers: int) -> int:
    return slots_of(peer, workers) * (1 if peer.remote else ROAD_WARRIORS)


class Shares:
    """`ike` is a machine's number: it tells the guests of one peer apart."""

    def __init__(self, peers: Iterable[Peer], workers: int) -> None:
        known = [peer for peer in peers if peer.ike is not None]
        self._share = {peer.name: slots_of(peer, workers) for peer in known}
        self._all = {peer.name: slots_of_all(peer, workers) for peer in known}
        self._guests = frozenset(peer.name for peer in known if not peer.remote)
        self._used: Counter[tuple[str, int]] = Counter()
        self._used_by: Counter[str] = Counter()
        self._owed = sum(self._all.values())  # to peers that have less than their share

    def _party(self, peer: str, ike: int) -> tuple[str, int]:
        return peer, ike if peer in self._guests else 0

    def may(self, peer: str, ike: int, free: int) -> bool:
        """One more pair of SAs, where so many slots are free. Guests have their shares within that of all of them: each
        name that their rule allows is one."""
        within = self._used[self._party(peer, ike)] + PAIR <= self._share[peer]
        if within and self._used_by[peer] + PAIR <= self._all[peer]:
            return free >= PAIR
        return free - self._owed >= PAIR

    def take(self, peer: str, ike: int, slots: int = 1) -> None:
        """Or give back, below zero."""
        party = self._party(peer, ike)
        before = self._left(peer)
        self._used[party] += slots
        self._used_by[peer] += slots
        self._owed += self._left(peer) - before
        if not self._used[party]:
            del self._used[party]

    def _left(self, peer: str) -> int:
        return max(0, self._all[peer] - self._used_by[peer])
