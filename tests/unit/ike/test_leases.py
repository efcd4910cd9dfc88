"""Inner addresses: given once, kept for their owner, taken back when the last holder goes."""

from __future__ import annotations

import pytest

from xdpsec.ike.leases import Leases


def test_an_owner_keeps_its_address_while_one_of_its_machines_lives() -> None:
    book = Leases()
    assert book.take(("10.9.0.0/29",), 4, b"ann", 1) == "10.9.0.1"
    assert book.take(("10.9.0.0/29",), 4, b"bob", 2) == "10.9.0.2"
    assert book.take(("10.9.0.0/29",), 4, b"ann", 3) == "10.9.0.1"  # reauthenticates
    book.release(1)
    assert book.held == 2
    assert book.take(("10.9.0.0/29",), 4, b"cat", 4) == "10.9.0.3"
    book.release(3)
    assert book.held == 2
    assert book.take(("10.9.0.0/29",), 4, b"ann", 5) == "10.9.0.1"  # nobody needed it meanwhile
    book.release(99)


@pytest.mark.parametrize(
    ("prefix", "version", "addresses"),
    [
        ("10.9.0.0/30", 4, ["10.9.0.1", "10.9.0.2", None]),  # neither network nor broadcast
        ("10.9.0.0/31", 4, ["10.9.0.0", "10.9.0.1", None]),
        ("10.9.0.7/32", 4, ["10.9.0.7", None]),
        ("fd09::/126", 6, ["fd09::1", "fd09::2", "fd09::3", None]),  # no anycast address
        ("fd09::/64", 6, ["fd09::1", "fd09::2"]),
        ("fd09::/64", 4, [None]),
    ],
)
def test_a_pool_has_what_its_prefix_has(prefix: str, version: int, addresses: list[str | None]) -> None:
    book = Leases()
    assert [book.take((prefix,), version, bytes((n,)), n) for n, _ in enumerate(addresses)] == addresses


def test_an_exhausted_pool_gives_what_was_unused_longest_and_then_the_next_prefix() -> None:
    book = Leases()
    pools = ("10.9.0.0/30", "fd09::/64", "10.8.0.0/30")
    assert book.take(pools, 4, b"ann", 1) == "10.9.0.1"
    assert book.take(pools, 4, b"bob", 2) == "10.9.0.2"
    assert book.take(pools, 4, b"cat", 3) == "10.8.0.1"
    assert book.take(pools, 6, b"cat", 3) == "fd09::1"
    book.release(2)
    book.release(1)
    assert book.take(pools, 4, b"dan", 4) == "10.9.0.2"
    assert book.take(pools, 4, b"ann", 5) == "10.9.0.1"
    book.release(3)
    assert book.held == 2


def test_a_thousand_comings_and_goings_leave_nothing() -> None:
    book = Leases()
    for holder in range(1000):
        assert book.take(("10.9.0.0/29",), 4, b"owner%d" % holder, holder)
        book.release(holder)
    assert book.held == 0
    assert len(book._pools["10.9.0.0/29"].left) == 6
    assert not book._of
