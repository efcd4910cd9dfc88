"""Shares of slots: what a peer may have, and what is left over for whoever needs more."""

from __future__ import annotations

import random

from ike_rig import config

from xdpsec.daemon.shares import ROAD_WARRIORS, SLOTS_PER_CHILD, Shares, slots_of_all

PEERS = config().peers  # branch has two children, road is anywhere
BRANCH, ROAD = 2 * SLOTS_PER_CHILD, SLOTS_PER_CHILD
ALL = sum(slots_of_all(peer, 2) for peer in PEERS)


def test_all_have_their_share_whatever_anybody_does() -> None:
    assert ALL == BRANCH + ROAD * ROAD_WARRIORS
    chance, shares, free = random.Random(1), Shares(PEERS, 2), ALL + 8
    used: dict[tuple[str, int], int] = {}
    parties = [("branch", 0), *(("road", ike) for ike in range(40))]
    for _ in range(20_000):
        party = chance.choice(parties[:4])
        if chance.random() < 0.6 and shares.may(*party, free):
            shares.take(*party, 2)
            free, used[party] = free - 2, used.get(party, 0) + 2
        elif used.get(party):
            shares.take(*party, -1)
            free, used[party] = free + 1, used[party] - 1
        for name, ike in parties:
            if used.get((name, ike), 0) + 2 <= (BRANCH if name == "branch" else ROAD):
                assert shares.may(name, ike, free)
    assert max(used.values()) > BRANCH  # what is left over serves somebody


def test_what_is_left_over() -> None:
    shares = Shares(PEERS[:1], 2)
    free = 64
    while shares.may("branch", 7, free):
        shares.take("branch", 7, 2)
        free -= 2
    assert free == 0  # the only peer may have all


def test_guests_together_have_their_peer_s_share_and_no_more() -> None:
    """Each name that its rule allows is a guest: one with many names takes nothing that is owed to others."""
    shares, free = Shares(PEERS, 2), ALL + 8
    for guest in range(2 * ROAD_WARRIORS):
        while shares.may("road", guest, free):
            shares.take("road", guest, 2)
            free -= 2
    assert free == BRANCH
    assert shares.may("branch", 7, free)
