"""The door, row by row through BPF_PROG_TEST_RUN: {name, frame, verdict}, each also cut at every length.

Frames are scapy's. What a cut must give follows from header sizes (RFC 791, 768, 4302, 4303, 8200), not from the code.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from xdpsec.net.afxdp import Sockets, statistics
from xdpsec.net.door import Door, DoorMaps
from xdpsec.net.values import Link, Rings
from xdpsec.workers.native import bucket_of, check, door_verdict_names, lib

DROP, PASS, REDIRECT = 1, 2, 4
OUTSIDE, INSIDE = 0, 1
MAC = ("02:00:00:00:00:0a", "02:00:00:00:00:0b")
OUR4, OUR6, PEER4, PEER6 = "10.9.0.1", "fd09::1", "10.9.0.2", "fd09::2"
SPI = 0x1001
ETHER, VLAN, V4, V6, UDP_HEADER = 14, 4, 20, 40, 8
MASK = 1 << 7
CHUNKS, CHUNK = 64, 2048


@dataclass
class Rig:
    door: Door
    maps: DoorMaps
    links: tuple[Link, Link]
    own: list[tuple[tuple[int, ...], ...]] = field(default_factory=list)

    def run(self, port: int, frame: bytes) -> tuple[str, int]:
        """Verdict and action of one frame, of which exactly one counter must tell, by exactly one."""
        before = self.maps.verdicts()
        action = lib.xs_door_try(self.door.program, frame, len(frame), self.links[port].ifindex, 0)
        check(action, "test run")
        after = self.maps.verdicts()
        moved = [
            (p, name, new - old)
            for p, (olds, news) in enumerate(zip(before, after, strict=True))
            for name, old, new in zip(door_verdict_names(), olds, news, strict=True)
            if new != old
        ]
        assert len(moved) == 1
        assert (moved[0][0], moved[0][2]) == (port, 1)
        return moved[0][1], action


@pytest.fixture
def rig(veths: tuple[str, str]) -> Iterator[Rig]:
    """Ports 0 (outside) and 1 (inside), two workers, one IPv4 and one IPv6 child on policy bit 7."""
    links = tuple(
        Link(socket.if_nametoindex(name), bytes.fromhex(mac.replace(":", "")), 1500, 2)
        for name, mac in zip(veths, MAC, strict=True)
    )
    umem = os.memfd_create("test-umem")
    os.ftruncate(umem, CHUNKS * CHUNK)
    sockets = Sockets(umem, CHUNKS * CHUNK, CHUNK, Rings(64, 64, 64, 64))
    door = Door()
    rig = Rig(door, DoorMaps(door.maps()), (links[0], links[1]))
    try:
        for port, link in enumerate(links):
            assert door.attach(port, link, port == OUTSIDE) == "native"
            opened = sockets.open_port(link, 2)
            rig.own.append(opened.own)
            for queue, row in enumerate(opened.own):
                for worker, descriptor in enumerate(row):
                    door.serve(port, queue, worker, descriptor)
        rig.maps.set_buckets([bucket % 2 for bucket in range(256)])
        rig.maps.set_addresses([OUR4, OUR6])
        rig.maps.set_prefixes(
            {"10.1.0.0/16": MASK, "fd01::/64": MASK, "10.3.0.0/16": 1},
            {"10.2.0.0/16": (MASK, [0, 1]), "fd02::/64": (MASK, [1]), "10.4.0.0/16": (2, [])},
        )
        yield rig
    finally:
        door.close()
        for descriptor in (fd for own in rig.own for row in own for fd in row):
            os.close(descriptor)
        os.close(umem)


def test_what_hosts_send_to_the_gateway_itself_is_the_kernel_s(rig: Rig) -> None:
    """Also where the remote prefix holds its addresses, as a full tunnel's does; they may come and go."""
    ask = {own: to(INSIDE, (IPv6 if ":" in own else IP)(src=host, dst=own) / UDP(sport=1, dport=53))
           for own, host in (("10.1.0.1", "10.1.0.9"), ("fd01::1", "fd01::9"), ("fe80::1", "fd01::9"))}  # fmt: skip
    rig.maps.set_prefixes({"10.1.0.0/16": MASK, "fd01::/64": MASK}, {"0.0.0.0/0": (MASK, [0]), "::/0": (MASK, [1])})
    assert {rig.run(INSIDE, frame) for frame in ask.values()} == {("INSIDE_TO_WORKER", REDIRECT)}
    rig.maps.set_addresses([OUR4, OUR6, *ask])
    assert {rig.run(INSIDE, frame) for frame in ask.values()} == {("PASS_FOREIGN", PASS)}
    assert rig.run(INSIDE, to(INSIDE, IP(src="10.1.0.9", dst="10.1.0.2") / UDP())) == ("INSIDE_TO_WORKER", REDIRECT)
    assert rig.run(INSIDE, to(INSIDE, OUT6)) == ("INSIDE_TO_WORKER", REDIRECT)
    rig.maps.set_prefixes({"10.1.0.0/16": MASK}, {"0.0.0.0/0": (MASK, [0])})
    assert rig.run(INSIDE, ask["10.1.0.1"]) == ("PASS_FOREIGN", PASS), "a new configuration forgets none"
    rig.maps.set_addresses([OUR4])
    assert rig.run(INSIDE, ask["10.1.0.1"]) == ("INSIDE_TO_WORKER", REDIRECT)


def to(port: int, packet: Packet, mac: str | None = None) -> bytes:
    return bytes(Ether(dst=mac or MAC[port], src="02:00:00:00:00:0c") / packet)


def v4(**fields: object) -> Packet:
    return IP(src=PEER4, dst=OUR4, **fields)


def v6(**fields: object) -> Packet:
    return IPv6(src=PEER6, dst=OUR6, **fields)


SEALED = ESP(spi=SPI, seq=1, data=bytes(40))
NATT = UDP(sport=4500, dport=4500)
FRAGMENT6 = IPv6ExtHdrFragment(nh=50, offset=0, m=1)
OPTIONS6 = IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()
TAG = Dot1Q(vlan=7)
PROVIDER = Dot1AD(vlan=9)
CLEAR = IP(src="10.2.0.9", dst="10.1.0.9") / ICMP()
CLEAR6 = IPv6(src="fd02::9", dst="fd01::9") / UDP(sport=1, dport=2)
OUT = IP(src="10.1.0.9", dst="10.2.0.9") / TCP(dport=80)
OUT6 = IPv6(src="fd01::9", dst="fd02::9") / UDP(sport=1, dport=2)

#: what differs between 64 flows: a host, a subnet, the high half of an IPv6 address
FLOWS: dict[str, list[Packet]] = {
    "source host": [IP(src=f"10.1.0.{n}", dst="10.2.0.9") / UDP() for n in range(64)],
    "source subnet": [IP(src=f"10.1.{n}.1", dst="10.2.0.9") / UDP() for n in range(64)],
    "destination host": [IP(src="10.1.0.9", dst=f"10.2.0.{n}") / UDP() for n in range(64)],
    "destination6": [IPv6(src="fd01::9", dst=f"fd02:{n:x}::9") / UDP() for n in range(64)],
}

#: name, port, packet, verdict, action
ROWS: list[tuple[str, int, Packet, str, int]] = [
    ("esp4", OUTSIDE, v4() / SEALED, "ESP_TO_WORKER", REDIRECT),
    ("esp4 with options", OUTSIDE, v4(options=b"\x01" * 8) / SEALED, "ESP_TO_WORKER", REDIRECT),
    ("esp6", OUTSIDE, v6() / SEALED, "ESP_TO_WORKER", REDIRECT),
    ("esp6 behind options", OUTSIDE, v6() / OPTIONS6 / SEALED, "ESP_TO_WORKER", REDIRECT),
    ("esp4 tagged", OUTSIDE, TAG / v4() / SEALED, "ESP_TO_WORKER", REDIRECT),
    ("esp6 tagged", OUTSIDE, TAG / v6() / SEALED, "ESP_TO_WORKER", REDIRECT),
    ("ah4", OUTSIDE, v4() / AH(spi=SPI, seq=1, icv=bytes(12)), "AH_TO_WORKER", REDIRECT),
    ("ah6", OUTSIDE, v6() / AH(spi=SPI, seq=1, icv=bytes(12)), "AH_TO_WORKER", REDIRECT),
    ("udp esp4", OUTSIDE, v4() / NATT / Raw(bytes(SEALED)), "UDP_ESP_TO_WORKER", REDIRECT),
    ("udp esp6", OUTSIDE, v6() / NATT / Raw(bytes(SEALED)), "UDP_ESP_TO_WORKER", REDIRECT),
    ("udp esp tagged", OUTSIDE, TAG / v4() / NATT / Raw(bytes(SEALED)), "UDP_ESP_TO_WORKER", REDIRECT),
    ("ike on 4500", OUTSIDE, v4() / NATT / Raw(bytes(4) + bytes(28)), "PASS_IKE", PASS),
    ("ike on 500", OUTSIDE, v4() / UDP(sport=500, dport=500) / Raw(bytes(28)), "PASS_IKE", PASS),
    ("keepalive", OUTSIDE, v4() / NATT / Raw(b"\xff"), "PASS_KEEPALIVE", PASS),
    ("three bytes", OUTSIDE, v4() / NATT / Raw(b"\xff\xff\xff"), "PASS_KEEPALIVE", PASS),
    ("esp to another address", OUTSIDE, IP(src=PEER4, dst="10.9.0.77") / SEALED, "PASS_FOREIGN", PASS),
    ("udp esp to another address", OUTSIDE, IP(dst="10.9.0.77") / NATT / Raw(bytes(SEALED)), "PASS_FOREIGN", PASS),
    ("other udp", OUTSIDE, v4() / UDP(dport=53), "PASS_FOREIGN", PASS),
    ("tcp", OUTSIDE, v4() / TCP(dport=22), "PASS_FOREIGN", PASS),
    ("arp", OUTSIDE, ARP(), "PASS_FOREIGN", PASS),
    ("first fragment of esp4", OUTSIDE, v4(flags="MF") / SEALED, "DROP_ESP_FRAGMENT", DROP),
    ("last fragment of esp4", OUTSIDE, v4(frag=185, proto=50) / Raw(bytes(40)), "DROP_ESP_FRAGMENT", DROP),
    ("fragment of ah4", OUTSIDE, v4(flags="MF") / AH(spi=SPI, icv=bytes(12)), "DROP_ESP_FRAGMENT", DROP),
    ("fragment of esp6", OUTSIDE, v6() / FRAGMENT6 / Raw(bytes(SEALED)), "DROP_ESP_FRAGMENT", DROP),
    ("fragment of udp esp", OUTSIDE, v4(flags="MF") / NATT / Raw(bytes(SEALED)), "PASS_FOREIGN", PASS),
    ("forged cleartext", OUTSIDE, CLEAR, "DROP_CLEARTEXT", DROP),
    ("forged cleartext6", OUTSIDE, CLEAR6, "DROP_CLEARTEXT", DROP),
    ("forged cleartext tagged", OUTSIDE, TAG / CLEAR, "DROP_CLEARTEXT", DROP),
    ("forged fragment", OUTSIDE, IP(src="10.2.0.9", dst="10.1.0.9", frag=5) / Raw(bytes(8)), "DROP_CLEARTEXT", DROP),
    ("forged cleartext twice tagged", OUTSIDE, TAG / TAG / CLEAR, "DROP_CLEARTEXT", DROP),
    ("forged cleartext provider tagged", OUTSIDE, PROVIDER / TAG / CLEAR, "DROP_CLEARTEXT", DROP),
    (
        "forged esp between protected hosts",
        OUTSIDE,
        IP(src="10.2.0.9", dst="10.1.0.9") / SEALED,
        "DROP_CLEARTEXT",
        DROP,
    ),
    (
        "forged ah between protected hosts",
        OUTSIDE,
        IP(src="10.2.0.9", dst="10.1.0.9", proto=51),
        "DROP_CLEARTEXT",
        DROP,
    ),
    ("protected twice tagged", INSIDE, TAG / TAG / OUT, "INSIDE_TO_WORKER", REDIRECT),
    ("remote to unprotected", OUTSIDE, IP(src="10.2.0.9", dst="10.7.0.9") / ICMP(), "PASS_FOREIGN", PASS),
    ("policies that do not meet", OUTSIDE, IP(src="10.2.0.9", dst="10.3.0.9") / ICMP(), "PASS_FOREIGN", PASS),
    ("protected4", INSIDE, OUT, "INSIDE_TO_WORKER", REDIRECT),
    ("protected6", INSIDE, OUT6, "INSIDE_TO_WORKER", REDIRECT),
    ("protected tagged", INSIDE, TAG / OUT, "INSIDE_TO_WORKER", REDIRECT),
    ("source of no child", INSIDE, IP(src="10.7.0.9", dst="10.2.0.9") / ICMP(), "DROP_CLEARTEXT", DROP),
    ("source of another child", INSIDE, IP(src="10.3.0.9", dst="10.2.0.9") / ICMP(), "DROP_CLEARTEXT", DROP),
    ("unprotected", INSIDE, IP(src="10.1.0.9", dst="10.8.0.9") / ICMP(), "PASS_FOREIGN", PASS),
    ("esp on the inside", INSIDE, v4() / SEALED, "PASS_FOREIGN", PASS),
    ("arp on the inside", INSIDE, ARP(), "PASS_FOREIGN", PASS),
]


@pytest.mark.parametrize(("name", "port", "packet", "verdict", "action"), ROWS, ids=[row[0] for row in ROWS])
def test_row(rig: Rig, name: str, port: int, packet: Packet, verdict: str, action: int) -> None:
    assert rig.run(port, to(port, packet)) == (verdict, action)


#: name, port, packet, bytes that must be there for the verdict that follows; anything shorter is truncated
CUTS: list[tuple[str, int, Packet, int, str]] = [
    ("esp4", OUTSIDE, v4() / SEALED, ETHER + V4 + 4, "ESP_TO_WORKER"),
    ("esp4 tagged", OUTSIDE, TAG / v4() / SEALED, ETHER + VLAN + V4 + 4, "ESP_TO_WORKER"),
    ("esp6", OUTSIDE, v6() / SEALED, ETHER + V6 + 4, "ESP_TO_WORKER"),
    ("esp6 behind options", OUTSIDE, v6() / IPv6ExtHdrDestOpt() / SEALED, ETHER + V6 + 8 + 4, "ESP_TO_WORKER"),
    ("ah4", OUTSIDE, v4() / AH(spi=SPI, icv=bytes(12)), ETHER + V4 + 8, "AH_TO_WORKER"),
    ("udp esp4", OUTSIDE, v4() / NATT / Raw(bytes(SEALED)), ETHER + V4 + UDP_HEADER + 4, "UDP_ESP_TO_WORKER"),
    ("udp esp6", OUTSIDE, v6() / NATT / Raw(bytes(SEALED)), ETHER + V6 + UDP_HEADER + 4, "UDP_ESP_TO_WORKER"),
    ("forged cleartext", OUTSIDE, CLEAR, ETHER + V4, "DROP_CLEARTEXT"),
    ("protected4", INSIDE, OUT, ETHER + V4, "INSIDE_TO_WORKER"),
    ("protected6", INSIDE, OUT6, ETHER + V6, "INSIDE_TO_WORKER"),
]


@pytest.mark.parametrize(("name", "port", "packet", "enough", "verdict"), CUTS, ids=[row[0] for row in CUTS])
def test_cut_at_every_length(rig: Rig, name: str, port: int, packet: Packet, enough: int, verdict: str) -> None:
    frame = to(port, packet)
    for size in range(ETHER, len(frame) + 1):
        expected = verdict if size >= enough else "DROP_TRUNCATED"
        assert rig.run(port, frame[:size])[0] == expected, f"{size} bytes"


@pytest.mark.parametrize("mac", ["02:00:00:00:00:ff", "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01"])
@pytest.mark.parametrize("port", [OUTSIDE, INSIDE])
def test_another_station(rig: Rig, port: int, mac: str) -> None:
    packet = OUT if port == INSIDE else v4() / SEALED
    assert rig.run(port, to(port, packet, mac)) == ("PASS_NOT_OUR_MAC", PASS)


def test_bucket_decides_the_worker(rig: Rig) -> None:
    """With worker 1 gone only the SPIs of its buckets are dropped, and none passes."""
    rig.door.clear(1, [(port, queue) for port in (0, 1) for queue in (0, 1)])
    for spi in range(0x2000, 0x2040):
        got = rig.run(OUTSIDE, to(OUTSIDE, v4() / ESP(spi=spi, seq=1, data=bytes(40))))
        assert got == (("DROP_NO_WORKER", DROP) if bucket_of(spi) % 2 else ("ESP_TO_WORKER", REDIRECT))
    assert rig.run(INSIDE, to(INSIDE, OUT6)) == ("DROP_NO_WORKER", DROP)


def test_a_child_that_covers_the_gateways_leaves_the_tunnel_alive(rig: Rig) -> None:
    """Everything protected: ESP and IKE between the gateways themselves go on, everything else to us is cleartext."""
    rig.maps.set_prefixes({"0.0.0.0/0": MASK}, {"0.0.0.0/0": (MASK, [0])})
    kept = {
        "esp4": "ESP_TO_WORKER",
        "udp esp4": "UDP_ESP_TO_WORKER",
        "ike on 500": "PASS_IKE",
        "ike on 4500": "PASS_IKE",
    }
    for name, port, packet, _, _ in ROWS:
        if port == OUTSIDE and name in kept:
            assert rig.run(port, to(port, packet))[0] == kept[name]
    for packet in (v4() / TCP(dport=22), v4() / UDP(dport=53), v4(flags="MF") / NATT / Raw(bytes(SEALED))):
        assert rig.run(OUTSIDE, to(OUTSIDE, packet)) == ("DROP_CLEARTEXT", DROP)


def test_nobody_is_nobody(rig: Rig) -> None:
    rig.maps.set_buckets([None] * 256)
    assert rig.run(OUTSIDE, to(OUTSIDE, v4() / SEALED)) == ("DROP_NO_WORKER", DROP)
    rig.maps.set_prefixes({"10.1.0.0/16": MASK}, {"10.2.0.0/16": (MASK, [])})
    assert rig.run(INSIDE, to(INSIDE, OUT)) == ("DROP_NO_WORKER", DROP)


@pytest.mark.parametrize("kind", FLOWS)
def test_flows_spread_over_the_set(rig: Rig, kind: str) -> None:
    """Both workers of the set get flows; each flow always the same one."""
    rig.door.clear(1, [(INSIDE, 0)])
    rig.maps.set_prefixes({"::/0": MASK}, {"::/0": (MASK, [0, 1])})
    flows = FLOWS[kind]
    first = [rig.run(INSIDE, to(INSIDE, flow))[0] for flow in flows]
    assert first == [rig.run(INSIDE, to(INSIDE, flow))[0] for flow in flows]
    assert 16 <= first.count("INSIDE_TO_WORKER") <= 48
    assert set(first) == {"INSIDE_TO_WORKER", "DROP_NO_WORKER"}


@pytest.mark.parametrize("worker", [0, 1])
def test_a_redirect_reaches_its_own_socket(rig: Rig, worker: int) -> None:
    """Fill rings are empty, so that the socket that was reached counts a drop in XDP_STATISTICS, and no other does."""
    rig.maps.set_buckets([worker] * 256)
    frame = to(OUTSIDE, v4() / SEALED)
    sent = 32
    check(lib.xs_door_live(rig.door.program, frame, len(frame), rig.links[OUTSIDE].ifindex, sent, sent), "live frames")
    refused = {
        (port, queue, w): statistics(fd)["rx_dropped"]
        for port, own in enumerate(rig.own)
        for queue, row in enumerate(own)
        for w, fd in enumerate(row)
    }
    assert refused.pop((OUTSIDE, 0, worker)) == sent
    assert set(refused.values()) == {0}
