"""Frames that a live gateway must not believe, each in exactly one counter; then the next good packet gets through.

scapy plays the peer: it has the keys, so that it can seal what is wrong inside too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from interop.cases import A, B, Case
from interop.scapy_peer import ScapyPeer, echo
from interop.station import Station, station
from scapy.layers.inet import ICMP, IP, UDP, fragment
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from netns.rig.spaces import packet, udp

PLAIN = Case(1, "CBC", "aes256-sha256")
GCM = Case(2, "GCM", "aes128gcm16")
IN_UDP = Case(3, "GCM in UDP", "aes128gcm16", udp=True)
SHORT = Case(4, "32-bit numbers", "aes256-sha256", esn=False)
#: Somebody holds this port at host A and says nothing.
SILENT = 9
CASES = (PLAIN, GCM, IN_UDP, SHORT)
#: Each case's packets come on one SA of one worker, in order: its answer says that what came before was judged.
Judged = dict[tuple[str, str], int]


@dataclass(frozen=True)
class Bench:
    ours: Station
    peer: ScapyPeer
    answers: Counter[str]

    def settle(self) -> None:
        """A good packet on every SA, answered: all workers have judged what was sent before. Nothing else is answered,
        so that the numbers of the answers count up."""
        for case in CASES:
            self.answers[case.name] += 1
            number = self.answers[case.name]
            self.peer.send(self.peer.seal(case, echo(case, number & 0xFFFF)))
            reply = self.peer.next_from(case, number)
            assert reply[ICMP].seq == number & 0xFFFF

    def counters(self) -> Judged:
        """(who, verdict) -> frames: of the door over its ports, of the workers all together."""
        drops = self.ours.gateway.ask("drops")
        found: Judged = {}
        for who in ("door", "workers"):
            for row in drops[who].values():
                for verdict, count in row.items():
                    found[who, verdict] = found.get((who, verdict), 0) + count
        return found


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with station(CASES) as ours:
        peer = ScapyPeer(ours)
        try:
            with udp(ours.host, "0.0.0.0", SILENT):
                made = Bench(ours, peer, Counter())
                made.settle()
                yield made
        finally:
            peer.close()


def inner(case: Case, **changes: Any) -> Any:
    """A whole UDP packet of the peer's host; `changes` are to its IP header."""
    header = {"src": B.address(case), "dst": A.address(case), "ttl": 64, **changes}
    return IP(**header) / UDP(sport=SILENT, dport=SILENT) / Raw(bytes(100))


def flipped(peer: ScapyPeer, case: Case) -> list[Any]:
    """The last byte of the ICV differs."""
    outer = bytes(peer.seal(case, inner(case)))
    return [IP(outer[:-1] + bytes([outer[-1] ^ 1]))]


def twice(peer: ScapyPeer, case: Case) -> list[Any]:
    """The second one is the replay; the first is good."""
    outer = peer.seal(case, inner(case))
    return [outer, outer]


def strange_spi(peer: ScapyPeer, case: Case) -> list[Any]:
    outer = bytearray(bytes(peer.seal(case, inner(case))))
    outer[20:24] = bytes.fromhex("7fffff01")
    return [IP(bytes(outer))]


def lying_length(peer: ScapyPeer, case: Case) -> list[Any]:
    return [peer.seal(case, inner(case, len=1400))]


def not_ip(peer: ScapyPeer, case: Case) -> list[Any]:
    """Sealed as IPv4, but the version inside says otherwise."""
    return [peer.seal(case, inner(case, version=5))]


def elsewhere(peer: ScapyPeer, case: Case) -> list[Any]:
    """To a host that another child protects."""
    return [peer.seal(case, inner(case, dst="10.61.77.1"))]


def from_elsewhere(peer: ScapyPeer, case: Case) -> list[Any]:
    return [peer.seal(case, inner(case, src="10.62.77.1"))]


def without_udp(peer: ScapyPeer, case: Case) -> list[Any]:
    """An SA for UDP 4500, met as bare ESP."""
    outer = bytes(peer.seal(case, inner(case)))
    return [IP(src=B.outer, dst=A.outer, proto=50) / Raw(outer[28:])]


def fragmented(peer: ScapyPeer, case: Case) -> list[Any]:
    return list(fragment(peer.seal(case, inner(case)), 96))


@dataclass(frozen=True)
class Row:
    name: str
    case: Case
    frames: Callable[[ScapyPeer, Case], list[Any]]
    expect: Judged


GOOD = ("workers", "DECRYPTED")
ROWS = (
    Row("wrong ICV", PLAIN, flipped, {("workers", "DROP_ICV"): 1}),
    Row("wrong ICV of GCM", GCM, flipped, {("workers", "DROP_ICV"): 1}),
    Row("wrong ICV in UDP", IN_UDP, flipped, {("workers", "DROP_ICV"): 1}),
    Row("replayed", PLAIN, twice, {("workers", "DROP_REPLAY"): 1, GOOD: 1}),
    Row("replayed GCM", GCM, twice, {("workers", "DROP_REPLAY"): 1, GOOD: 1}),
    Row("replayed with 32-bit numbers", SHORT, twice, {("workers", "DROP_REPLAY"): 1, GOOD: 1}),
    Row("unknown SPI", PLAIN, strange_spi, {("workers", "DROP_NO_SA"): 1}),
    Row("inner length lies", PLAIN, lying_length, {("workers", "DROP_INNER"): 1}),
    Row("inner version lies", GCM, not_ip, {("workers", "DROP_INNER"): 1}),
    Row("destination outside the selectors", GCM, elsewhere, {("workers", "DROP_SELECTOR"): 1}),
    Row("source outside the selectors", PLAIN, from_elsewhere, {("workers", "DROP_SELECTOR"): 1}),
    Row("ESP where UDP is agreed", IN_UDP, without_udp, {("workers", "DROP_ENCAP"): 1}),
    Row("outer fragments", PLAIN, fragmented, {("door", "DROP_ESP_FRAGMENT"): 2}),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_refused_and_counted_once(bench: Bench, row: Row) -> None:
    before = bench.counters()
    for outer in row.frames(bench.peer, row.case):
        bench.peer.send(outer)
    bench.settle()
    assert changes(before, bench.counters(), settled=len(CASES)) == row.expect


def changes(before: Judged, after: Judged, settled: int) -> Judged:
    """What the frames of the test did; those of `settle`, and neighbour discovery, are taken off."""
    usual = {GOOD: settled, ("workers", "ENCRYPTED"): settled}
    moved = {key: after[key] - before.get(key, 0) - usual.get(key, 0) for key in after}
    return {key: count for key, count in moved.items() if count and (key[0] == "workers" or "DROP" in key[1])}


@pytest.mark.parametrize("case", [PLAIN, IN_UDP], ids=lambda case: case.name)
def test_cut_at_every_length(bench: Bench, case: Case) -> None:
    """From the Ethernet header to one byte before the end, the IP length as it was: every frame is one drop or is left
    to the kernel, none is taken for good, none is lost to the books."""
    whole = bench.peer.send(bench.peer.seal(case, inner(case)))
    bench.settle()
    before = bench.counters()
    lengths = range(14, len(whole))
    for length in lengths:
        bench.peer.send_frame(whole[:length])
    bench.settle()
    after = bench.counters()
    moved = {key: after[key] - before.get(key, 0) for key in after}
    assert moved[GOOD] == len(CASES)
    dropped = sum(count for (who, verdict), count in moved.items() if "DROP" in verdict)
    passed = sum(count for (who, verdict), count in moved.items() if verdict.startswith("PASS"))
    assert dropped + passed >= len(lengths)
    assert dropped >= len(whole) - 14 - 40


def test_cut_with_a_length_that_fits(bench: Bench) -> None:
    """The same with the IP length adjusted: malformed, or an ICV that does not fit."""
    whole = bytes(bench.peer.seal(PLAIN, inner(PLAIN)))
    before, lengths = bench.counters(), range(28, len(whole))
    for length in lengths:
        outer = IP(whole[:length])
        del outer.len, outer.chksum
        bench.peer.send(outer)
    bench.settle()
    moved = changes(before, bench.counters(), settled=len(CASES))
    assert set(moved) <= {("workers", "DROP_MALFORMED"), ("workers", "DROP_ICV"), ("door", "DROP_TRUNCATED")}
    assert sum(moved.values()) == len(lengths)


def test_tagged_frames(bench: Bench) -> None:
    """802.1Q: the next hops are untagged here, so that an ESP frame in a VLAN is a counted drop."""
    before = bench.counters()
    bench.peer.send(bench.peer.seal(PLAIN, inner(PLAIN)), vlan=7)
    bench.settle()
    moved = changes(before, bench.counters(), settled=len(CASES))
    assert moved == {("workers", "DROP_TAG"): 1}


def test_tagged_cleartext_from_inside(bench: Bench) -> None:
    """A host's packet in a VLAN is protected like any other: it leaves sealed, and nothing of it in the clear."""
    ours, before = bench.ours, bench.counters()
    since_frames = len(bench.peer.tap.frames())
    macs = [
        ours.lab.inside(namespace, "cat", f"/sys/class/net/{interface}/address").strip()
        for namespace, interface in ((ours.host, "eth0"), (ours.gateway.namespace, "lan0"))
    ]
    frame = Ether(src=macs[0], dst=macs[1]) / Dot1Q(vlan=7) / IP(src=A.address(GCM), dst=B.address(GCM))
    frame /= UDP(sport=SILENT, dport=SILENT) / Raw(b"in a VLAN")
    with packet(ours.host, "eth0") as out:
        out.send(bytes(frame))
    bench.answers[GCM.name] += 1
    assert bytes(bench.peer.next_from(GCM, bench.answers[GCM.name])[UDP].payload) == b"in a VLAN"
    bench.settle()
    assert changes(before, bench.counters(), settled=len(CASES)) == {("workers", "ENCRYPTED"): 1}
    assert not [frame for frame in bench.peer.tap.frames()[since_frames:] if b"in a VLAN" in frame.raw]


def test_a_source_of_no_child(bench: Bench) -> None:
    """Cleartext for a protected prefix from a host that is in no child: a drop at the door."""
    before = bench.counters()
    bench.ours.lab.inside(bench.ours.host, "ping", "-n", "-c1", "-W1", "-I", "10.61.0.2", B.address(GCM), check=False)
    bench.settle()
    moved = changes(before, bench.counters(), settled=len(CASES))
    assert moved == {("door", "DROP_CLEARTEXT"): 1}


def test_dummy_packets_are_discarded(bench: Bench) -> None:
    """RFC 4303 sec. 2.6: next header 59."""
    before = bench.counters()
    bench.peer.send(bench.peer.seal_raw(PLAIN, 59, bytes(80)))
    bench.settle()
    assert changes(before, bench.counters(), settled=len(CASES)) == {("workers", "DUMMY"): 1}
