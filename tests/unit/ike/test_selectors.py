"""Traffic selectors: overlaps and narrowing by RFC 7296 sec. 2.9 as rows, and by hypothesis against sets of packets."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as some

from xdpsec.ike import selectors as ts
from xdpsec.ike.selectors import OPAQUE, selector
from xdpsec.ike.settings import ChildSettings, Lifetime
from xdpsec.wire.payloads import Selector

TCP, UDP, ICMP = 6, 17, 1
LIFE = Lifetime(3600, 4000)


def child(name: str, local: str, remote: str, **rest: object) -> ChildSettings:
    return ChildSettings(name, 0, tuple(local.split()), tuple(remote.split()), (), LIFE, **rest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (("10.0.0.0/8",), ("10.1.0.0/16",), ("10.1.0.0/16",)),
        (("10.0.0.0/9",), ("10.128.0.0/9",), None),
        (("10.0.0.5-10.0.0.20",), ("10.0.0.16/28",), ("10.0.0.16-10.0.0.20",)),
        (("10.0.0.0/8",), ("fd00::/8",), None),
        (("fd00::/8",), ("fd00:1::/32", UDP), ("fd00:1::/32", UDP)),
        (("10.0.0.0/8", TCP), ("10.0.0.0/8", UDP), None),
        (("10.0.0.0/8", TCP), ("10.0.0.0/8",), ("10.0.0.0/8", TCP)),
        (("10.0.0.0/8", TCP, (80, 90)), ("10.0.0.0/8", TCP, (85, 99)), ("10.0.0.0/8", TCP, (85, 90))),
        (("10.0.0.0/8", TCP, (80, 80)), ("10.0.0.0/8", TCP, (81, 81)), None),
        (("10.0.0.0/8", TCP, OPAQUE), ("10.0.0.0/8", TCP), ("10.0.0.0/8", TCP, OPAQUE)),
        (("10.0.0.0/8", TCP, OPAQUE), ("10.0.0.0/8", TCP, (0, 65534)), None),
        (("10.0.0.0/8", TCP, OPAQUE), ("10.0.0.0/8", TCP, OPAQUE), ("10.0.0.0/8", TCP, OPAQUE)),
        (("10.0.0.0/8", ICMP, (0x0800, 0x08FF)), ("10.0.0.0/8", ICMP), ("10.0.0.0/8", ICMP, (0x0800, 0x08FF))),
        (("10.0.0.1",), ("0.0.0.0/0",), ("10.0.0.1",)),
    ],
)
def test_overlap(one: tuple[object], other: tuple[object], both: tuple[object] | None) -> None:
    a, b = selector(*one), selector(*other)  # type: ignore[arg-type]
    wanted = selector(*both) if both else None  # type: ignore[arg-type]
    assert ts.overlap(a, b) == ts.overlap(b, a) == wanted
    if wanted:
        assert ts.covers(a, wanted)
        assert ts.covers(b, wanted)


def test_numbers_of_a_selector() -> None:
    assert selector("10.0.0.0/8") == Selector(7, 0, 0, 65535, bytes([10, 0, 0, 0]), bytes([10, 255, 255, 255]))
    assert selector("fd00::1").kind == 8
    assert selector("fd00::1").first == selector("fd00::1").last == ipaddress.ip_address("fd00::1").packed
    assert ts.of_packet(TCP, 1025, 80, "10.1.0.5", "10.2.0.7") == (
        selector("10.1.0.5", TCP, (1025, 1025)),
        selector("10.2.0.7", TCP, (80, 80)),
    )


#: TSi and TSr of the peer (it initiates, so TSi is remote here), our children, the child and selectors to come out.
NARROWINGS = [
    ("10.2.0.0/16", "10.1.0.0/16", ["a 10.1.0.0/16 10.2.0.0/16"], ("a", "10.1.0.0/16", "10.2.0.0/16", True)),
    ("0.0.0.0/0", "0.0.0.0/0", ["a 10.1.0.0/16 10.2.0.0/16"], ("a", "10.1.0.0/16", "10.2.0.0/16", False)),
    ("10.2.9.0/24", "10.1.0.0/16", ["a 10.1.0.0/16 10.2.0.0/16"], ("a", "10.1.0.0/16", "10.2.9.0/24", True)),
    # RFC 7296 sec. 2.9: the packet decides between two policies that a wide offer would both meet
    (
        "10.2.0.7 10.0.0.0/8",
        "10.1.0.5 10.0.0.0/8",
        ["other 10.1.0.0/16 10.3.0.0/16", "right 10.1.0.0/16 10.2.0.0/16"],
        ("right", "10.1.0.0/16", "10.2.0.0/16", False),
    ),
    # no child covers the packet: the first that shares anything
    ("10.9.0.7 10.2.0.0/16", "10.1.0.0/16", ["a 10.1.0.0/16 10.2.0.0/16"], ("a", "10.1.0.0/16", "10.2.0.0/16", False)),
    # the child that needs no cut comes before one that does
    (
        "10.2.0.0/16",
        "10.1.0.0/16",
        ["narrow 10.1.7.0/24 10.2.0.0/16", "exact 10.1.0.0/16 10.2.0.0/16"],
        ("exact", "10.1.0.0/16", "10.2.0.0/16", True),
    ),
    ("10.3.0.0/16", "10.1.0.0/16", ["a 10.1.0.0/16 10.2.0.0/16"], None),
    ("fd02::/16", "10.1.0.0/16", ["a 10.1.0.0/16 10.2.0.0/16"], None),
    ("fd02::/16", "fd01::/16", ["a fd01::/16 fd02::/16"], ("a", "fd01::/16", "fd02::/16", True)),
]


@pytest.mark.parametrize(("tsi", "tsr", "children", "wanted"), NARROWINGS)
def test_choose_child(tsi: str, tsr: str, children: list[str], wanted: tuple[str, str, str, bool] | None) -> None:
    mine = [child(*row.split()) for row in children]
    found = ts.choose_child(mine, [selector(one) for one in tsi.split()], [selector(one) for one in tsr.split()])
    if wanted is None:
        assert found is None
    else:
        assert found
        assert (found.child.name, found.whole) == (wanted[0], wanted[3])
        assert found.local == tuple(map(selector, wanted[1].split()))
        assert found.remote == tuple(map(selector, wanted[2].split()))


def test_a_leased_address_stands_in_for_the_settings() -> None:
    mine = child("a", "10.1.0.0/16", "0.0.0.0/0")
    leased = {"a": ((selector("10.1.0.0/16"),), (selector("10.9.0.4"),))}
    found = ts.choose_child([mine], [selector("0.0.0.0/0")], [selector("0.0.0.0/0")], leased)
    assert found
    assert found.remote == (selector("10.9.0.4"),)


def test_an_answer_must_stay_within_the_offer() -> None:
    offer = ts.of_child(child("a", "10.1.0.0/16 10.5.0.0/16", "10.2.0.0/16"))[0]
    assert ts.within([selector("10.1.7.0/24")], offer)
    assert ts.within([selector("10.5.0.0/16"), selector("10.1.0.0/16", UDP)], offer)
    for bad in ([], [selector("10.0.0.0/8")], [selector("10.1.0.0/16"), selector("10.6.0.1")], [selector("fd00::1")]):
        assert not ts.within(bad, offer)


def test_a_long_list_is_cut_and_stays_a_subset() -> None:
    long = [selector(f"10.{number}.0.0/16") for number in range(200)]
    found = ts.narrow(long, [selector("10.0.0.0/8")])
    assert found == tuple(long[: ts.MOST])
    many = [selector(f"10.0.0.0-10.255.0.{number}") for number in range(200)]
    assert len(ts.narrow(many, many)) <= ts.MOST


def test_text_and_prefixes_of_a_range() -> None:
    assert ts.text(selector("10.0.0.0/8")) == "10.0.0.0/8"
    assert ts.text(selector("10.0.0.1-10.0.0.6", TCP, (80, 80))) == "10.0.0.1-10.0.0.6[6/80]"
    assert ts.text(selector("fd00::/8", UDP)) == "fd00::/8[17/any]"
    assert ts.text(selector("10.0.0.1", 0, OPAQUE)) == "10.0.0.1/32[any/opaque]"
    assert [str(one) for one in ts.prefixes(selector("10.0.0.1-10.0.0.6"))] == [
        *("10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32")
    ]


# --- against packets --------------------------------------------------------------------------------------------

_octets = some.integers(0, 15)
_protocols = some.sampled_from([0, TCP, UDP])
_ports = some.one_of(
    some.just(OPAQUE), some.just((0, 65535)), some.tuples(some.integers(0, 9), some.integers(0, 9)).map(sorted)
)


@some.composite
def _selector(draw: some.DrawFn) -> Selector:
    first, last = sorted((draw(_octets), draw(_octets)))
    low, high = draw(_ports)
    return Selector(7, draw(_protocols), low, high, bytes([10, 0, 0, first]), bytes([10, 0, 0, last]))


def _holds(one: Selector, packet: tuple[int, int, int]) -> bool:
    """A packet: last octet, protocol, port; port -1 = cannot be seen."""
    octet, protocol, port = packet
    if not one.first[3] <= octet <= one.last[3] or one.protocol not in (0, protocol):
        return False
    ports = (one.first_port, one.last_port)
    if port < 0:
        return ports in (OPAQUE, (0, 65535))
    return ports != OPAQUE and ports[0] <= port <= ports[1]


PACKETS = [(octet, protocol, port) for octet in range(16) for protocol in (TCP, UDP) for port in (-1, *range(11))]


@given(some.lists(_selector(), max_size=4), some.lists(_selector(), max_size=4))
def test_narrowing_holds_exactly_the_packets_of_both(theirs: list[Selector], ours: list[Selector]) -> None:
    found = ts.narrow(theirs, ours)
    for packet in PACKETS:
        both = any(_holds(one, packet) for one in theirs) and any(_holds(one, packet) for one in ours)
        assert any(_holds(one, packet) for one in found) == both
    assert all(ts.within([one], theirs) and ts.within([one], ours) for one in found)


@given(_selector(), _selector())
def test_what_covers_another_overlaps_in_all_of_it(outer: Selector, inner: Selector) -> None:
    assert ts.covers(outer, inner) == (ts.overlap(outer, inner) == inner)


# --- how much a peer can make us compare ------------------------------------------------------------------------


@pytest.mark.parametrize("prefixes", [1, 16])
@pytest.mark.parametrize("children", [1, 4, 64])
def test_the_work_is_bounded(children: int, prefixes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that fits into a message, none of it the same, the first of it nobody's: it took a second."""
    locals_, remotes = (" ".join(f"10.{net}.{n}.0/24" for n in range(prefixes)) for net in (1, 2))
    mine = [child(f"c{number}", locals_, remotes) for number in range(children)]
    tsi, tsr = (
        [selector("10.9.9.9")] + [selector(f"10.{net}.{n}.1-10.{net}.{n}.9") for n in range(254)] for net in (2, 1)
    )
    overlap, calls = ts.overlap, [0]

    def counted(one: Selector, other: Selector) -> Selector | None:
        calls[0] += 1
        return overlap(one, other)

    monkeypatch.setattr(ts, "overlap", counted)
    assert ts.choose_child(mine, tsi, tsr) is not None
    assert calls[0] < 6000


def test_of_many_children_the_chosen_one_gets_all_of_its_selectors() -> None:
    mine = [child(f"c{n}", "10.1.0.0/16", " ".join(f"10.{n}.{m}.0/24" for m in range(9))) for n in range(100, 180)]
    wanted = [selector(f"10.150.{m}.0/24") for m in range(9)]
    found = ts.choose_child(mine, wanted, [selector("10.1.0.0/16")])
    assert found is not None
    assert (found.child.name, found.remote, found.whole) == ("c150", tuple(wanted), True)
