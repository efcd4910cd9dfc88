"""Placement, SPD rows, prefix tables and slots: properties against a packet-by-packet reading of the children."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpsec.channel.messages import Selector
from xdpsec.config.suites import SUITES
from xdpsec.config.values import ANY_PORT, Child, Manual
from xdpsec.errors import LocalError
from xdpsec.policy import placement, prefixes, slots, spd
from xdpsec.workers.native import bucket_of


def child(index: int, local: tuple[str, ...], remote: tuple[str, ...]) -> Child:
    manual = Manual(256 + index, 256 + index, SUITES["aes256-sha256"], f"/k{index}", True, None)
    return Child(index, "p", f"c{index}", local, remote, 0, ANY_PORT, ANY_PORT, manual)


@given(st.sets(st.integers(256, 0xFFFFFFFF), max_size=300), st.integers(1, 32))
def test_buckets_in_use_are_dealt_evenly(spis: set[int], workers: int) -> None:
    table = placement.deal(spis, workers, bucket_of)
    assert len(table) == 256
    assert set(table) <= set(range(workers))
    assert table == placement.deal(sorted(spis, reverse=True), workers, bucket_of)
    load = [0] * workers
    for spi in spis:
        load[placement.owner_of(spi, table, bucket_of)] += 1
    fullest = max((sum(bucket_of(s) == bucket_of(spi) for s in spis) for spi in spis), default=0)
    assert max(load) - min(load) <= max(1, fullest)


def test_eight_spis_that_count_upwards_make_four_each() -> None:
    table = placement.deal(range(0x1001, 0x1009), 2, bucket_of)
    assert sorted(placement.owner_of(spi, table, bucket_of) for spi in range(0x1001, 0x1009)) == [0] * 4 + [1] * 4


def test_policies_keep_the_order_of_the_file() -> None:
    children = [
        child(0, ("10.1.0.0/24", "10.1.2.0/24"), ("10.2.0.0/24",)),
        child(1, ("10.1.0.0/16",), ("10.3.0.0/16",)),
    ]
    rows = spd.policies(children, {0: 1, 1: 0})
    assert [(row.selector.local, row.selector.remote, row.child, row.owner) for row in rows] == [
        ("10.1.0.0/24", "10.2.0.0/24", 0, 1),
        ("10.1.2.0/24", "10.2.0.0/24", 0, 1),
        ("10.1.0.0/16", "10.3.0.0/16", 1, 0),
    ]
    assert rows[0].selector == Selector("10.1.0.0/24", "10.2.0.0/24")


PREFIX = st.builds(
    lambda bits, n: str(ipaddress.ip_network((n >> (32 - bits) << (32 - bits) if bits else 0, bits))),
    st.sampled_from([0, 1, 8, 9, 16, 24, 31, 32]),
    st.sampled_from([0x0A010000, 0x0A010001, 0x0A018000, 0x0A810000, 0xC0000201]),
)


@given(st.lists(PREFIX, min_size=1, max_size=70), st.integers(1, 4))
def test_the_longest_match_speaks_for_all_that_cover_it(remotes: list[str], workers: int) -> None:
    children = [child(index, ("192.168.0.0/24",), (text,)) for index, text in enumerate(remotes)]
    owners = {index: index % workers for index in range(len(children))}
    tables = prefixes.tables(children, owners, 4)
    assert set(tables.remote) == set(remotes)
    for address in map(
        ipaddress.ip_address, (0x0A010000, 0x0A010001, 0x0A017FFF, 0x0A018000, 0x0A010100, 0xC0000201, 1)
    ):
        covering = [c for c in children if address in ipaddress.ip_network(c.remote[0])]
        match = max(
            (n for n in map(ipaddress.ip_network, tables.remote) if address in n),
            key=lambda n: n.prefixlen,
            default=None,
        )
        if match is None:
            assert not covering
            continue
        found = tables.remote[str(match)]
        assert found.policies == sum(1 << bit for bit in {c.index % 64 for c in covering})
        assert found.workers == tuple(sorted({owners[c.index] for c in covering}))


def test_local_and_remote_bits_meet_only_for_one_child() -> None:
    children = [child(0, ("10.1.0.0/16",), ("10.2.0.0/16",)), child(1, ("10.3.0.0/16",), ("10.4.0.0/16",))]
    tables = prefixes.tables(children, {0: 0, 1: 1}, 2)
    assert tables.local["10.1.0.0/16"].policies & tables.remote["10.2.0.0/16"].policies
    assert not tables.local["10.1.0.0/16"].policies & tables.remote["10.4.0.0/16"].policies


def test_slots_are_kept_and_never_taken_from_another() -> None:
    a, b, c, d = (bytes([n]) * 16 for n in (1, 2, 3, 4))
    assert slots.allocate([slots.FREE, b, c, slots.FREE], [a, b, d]) == {a: 0, b: 1, d: 3}
    with pytest.raises(LocalError, match="2 slots"):
        slots.allocate([b, slots.FREE], [a, d])
