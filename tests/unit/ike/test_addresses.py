"""Addresses beside the one in use: told, told anew, and what the side that began does with the peer's: RFC 4555."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pair import A, B, Pair, Side, downs, mirrored, pair, peer

from xdpsec.ike.events import Path, PathChanged
from xdpsec.ike.settings import PeerSettings

A2, B2, B3, B6 = "198.51.100.7", "198.51.100.9", "198.51.100.10", "2001:db8::9"
HERE = Path(A, 4500, B, 4500)


def up(a: tuple[str, ...] = (A,), b: tuple[str, ...] = (B,), settings: PeerSettings | None = None) -> Pair:
    both = pair(settings)
    both.a.outer, both.b.outer = a, b
    both.connect()
    both.run(50.0)
    assert both.up()
    return both


def now_has(both: Pair, side: Side, *addresses: str, local: str = "") -> None:
    side.outer = addresses
    side.machine.readdress(both.now, local)
    both.settle()
    both.run(5.0)


def dead(both: Pair, *addresses: str) -> None:
    """Nothing goes from or to these addresses of b."""

    def fate(number: int, sender: str, data: bytes) -> tuple[float, ...]:
        _, _, path = both.wire.log[number]
        return () if (path.remote if sender == "a" else path.local) in addresses else (0.01,)

    both.wire.fate = fate


def known(side: Side) -> tuple[str, ...]:
    """What it knows of its peer's other addresses."""
    return side.machine.peer_addresses


def ends(side: Side) -> list[Path]:
    return [event.path for event in side.told(PathChanged)]


def test_both_say_in_ike_auth_where_else_they_are() -> None:
    """RFC 4555 sec. 3.4, of either family; the address in use stands in the IP header alone."""
    both = up(a=(A, A2), b=(B, B2, B6))
    assert known(both.a) == (B2, B6)
    assert known(both.b) == (A2,)
    assert len(both.wire.log) == 4  # IKE_AUTH said it all


def test_nothing_is_said_without_mobike() -> None:
    both = up(a=(A, A2), b=(B, B2), settings=peer(mobike=False))
    now_has(both, both.b, B, B2, B3)
    assert known(both.a) == known(both.b) == ()
    assert len(both.wire.log) == 4


@pytest.mark.parametrize("who", ["a", "b"])
def test_a_list_that_changes_is_told_as_a_whole(who: str) -> None:
    """RFC 4555 sec. 3.6."""
    both = up()
    side, other, own = (both.a, both.b, A) if who == "a" else (both.b, both.a, B)
    now_has(both, side, own, B2, B3)
    assert known(other) == (B2, B3)
    now_has(both, side, own, B3)
    assert known(other) == (B3,)
    before = len(both.wire.log)
    now_has(both, side, B3, own)
    assert len(both.wire.log) == before
    now_has(both, side, own)  # NO_ADDITIONAL_ADDRESSES
    assert known(other) == ()
    assert not ends(both.a)
    assert not ends(both.b)


def test_who_moves_has_another_list() -> None:
    both = up(a=(A, A2))
    assert known(both.b) == (A2,)
    both.a.machine.move(replace(HERE, local=A2), both.now)
    both.settle()
    both.run(5.0)
    assert known(both.b) == (A,)


def test_a_responder_that_lost_its_address_is_followed() -> None:
    """RFC 4555 sec. 3.6: it speaks from another one, and its list leaves the old one out."""
    both = up()
    dead(both, B)
    now_has(both, both.b, B2, B3, local=B2)
    assert ends(both.a) == [replace(HERE, remote=B2)]
    assert ends(both.b) == [Path(B2, 4500, A, 4500)]
    assert known(both.a) == (B3,)
    both.agree()


def test_a_responder_whose_only_address_is_another_says_so_though_its_list_is_as_empty_as_before() -> None:
    both = up()
    dead(both, B)
    now_has(both, both.b, B2, local=B2)
    assert ends(both.a) == [replace(HERE, remote=B2)]
    both.agree()


def test_a_list_that_has_the_address_in_use_moves_nothing() -> None:
    both = up(b=(B, B2))
    both.b.outer = (B2, B)
    both.b.machine.readdress(both.now, B2)  # speaks from B2, and says that B is there
    both.settle()
    both.run(5.0)
    assert not ends(both.a)


def test_an_address_that_no_longer_answers_is_left_for_the_next() -> None:
    """RFC 4555 sec. 3.5: what is under way goes there, and its answer lets the tunnel move."""
    both = up(b=(B, B2, B3), settings=peer(dpd=30.0))
    dead(both, B)
    both.run(60.0)
    assert ends(both.a) == [replace(HERE, remote=B2)]
    assert ends(both.b) == [Path(B2, 4500, A, 4500)]
    dead(both, B, B2)
    both.run(100.0)
    assert both.b.sa.path.local == B3  # all in turns
    both.agree()
    both.a.machine.rekey_ike(both.now)
    both.settle()
    both.run(30.0)
    assert both.up()


def test_a_peer_that_answers_nowhere_is_given_up_in_its_time() -> None:
    both = up(b=(B, B2), settings=peer(dpd=30.0))
    both.wire.fate = lambda number, sender, data: ()
    both.run(30.0 + 165.0 + 5.0)
    assert downs(both.a) == [("timeout", 0)]
    assert not ends(both.a)


def test_an_address_of_the_other_family_is_not_tried() -> None:
    both = up(b=(B, B6), settings=peer(dpd=30.0))
    before = len(both.wire.log)
    dead(both, B)
    both.run(100.0)
    assert {path.remote for sender, _, path in both.wire.log[before:] if sender == "a"} == {B}


@pytest.mark.parametrize("slow", [0.005, 0.015, 0.05, 0.5])
def test_a_list_that_meets_a_rekey_of_the_ike_sa_arrives_all_the_same(slow: float) -> None:
    both = up()
    first = [True]

    def fate(number: int, sender: str, data: bytes) -> tuple[float, ...]:
        if sender == "b" and first[0]:
            first[0] = False
            return (slow,)
        return (0.01,)

    both.wire.fate = fate
    both.b.outer = (B, B2)
    both.b.machine.readdress(both.now)
    both.a.machine.rekey_ike(both.now)
    both.settle()
    both.run(100.0)
    assert both.up()
    assert known(both.a) == (B2,)


def test_a_peer_from_anywhere_hears_of_ours_too() -> None:
    ours = peer()
    both = pair(ours, mirrored(ours, remote="", local=""))
    both.b.outer = (B, B2)
    both.connect()
    both.run(5.0)
    assert known(both.a) == (B2,)
