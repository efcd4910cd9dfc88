"""The proof against captures that scapy made: every suite opens, and it turns red for each thing it must not miss.

scapy seals (its own reading of RFC 4303, 4106, 3602, 4868), so that neither our data path nor its keys are trusted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS, IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from xdpsec.demo import children, proof
from xdpsec.demo.children import Sa
from xdpsec.demo.topology import Site

A, B = (Site(letter, number, "", "", "") for number, letter in enumerate("ab", start=1))
CRYPT = {"aes-gcm": "AES-GCM", "aes-cbc": "AES-CBC"}
AUTH = {"": "NULL", "sha256": "SHA2-256-128", "sha384": "SHA2-384-192", "sha512": "SHA2-512-256"}
WANTED = 2

Inner = dict[int, tuple[str, str]]


@pytest.fixture
def sas() -> list[Sa]:
    return [sa for child in children.make(A, B) for sa in (child.forth, child.back)]


@pytest.fixture
def inner(sas: Sequence[Sa]) -> Inner:
    return {sa.spi: children.ends(sa, A, B) for sa in sas}


def echo(source: str, destination: str, pattern: str, kind: int = 8) -> Packet:
    return IP(src=source, dst=destination) / ICMP(type=kind) / Raw(bytes(8) + bytes.fromhex(pattern) * 3)


def ping(sa: Sa, inner: Inner) -> Packet:
    return echo(*inner[sa.spi], sa.pattern)


def seal(sa: Sa, packet: Packet, number: int) -> Packet:
    security = SecurityAssociation(
        ESP,
        spi=sa.spi,
        crypt_algo=CRYPT[sa.suite.cipher],
        crypt_key=bytes.fromhex(sa.key.encryption),
        auth_algo=AUTH[sa.suite.auth],
        auth_key=bytes.fromhex(sa.key.integrity) or None,
        tunnel_header=IP(src=sa.source, dst=sa.destination),
        nat_t_header=UDP(sport=4500, dport=4500) if sa.udp else None,
        esn_en=True,
        esn=0,
    )
    return Ether() / security.encrypt(packet, seq_num=number)


def healthy(sas: Sequence[Sa], inner: Inner) -> list[Packet]:
    return [seal(sa, ping(sa, inner), number) for sa in sas for number in range(1, WANTED + 1)]


def read(tmp_path: Path, packets: Sequence[Packet], sas: Sequence[Sa], inner: Inner) -> proof.Reading:
    capture = tmp_path / "wan.pcap"
    wrpcap(str(capture), packets)
    return proof.read(capture, sas, tmp_path / "tshark", inner)


def test_every_child_opens_both_ways(tmp_path: Path, sas: list[Sa], inner: Inner) -> None:
    arp = Ether() / ARP(pdst="10.90.1.254")
    reading = read(tmp_path, [arp, *healthy(sas, inner)], sas, inner)
    assert reading.faults(WANTED) == []
    assert [one.known for one in reading.opened] == [WANTED] * 16
    assert reading.kinds == {"ARP": 1, "ESP": 14 * WANTED, "UDP 4500": 2 * WANTED}


def test_a_wrong_key_opens_nothing(tmp_path: Path, sas: list[Sa], inner: Inner) -> None:
    others = [sa for child in children.make(A, B) for sa in (child.forth, child.back)]
    wrong = [dataclasses.replace(sa, key=other.key) for sa, other in zip(sas, others, strict=True)]
    reading = read(tmp_path, healthy(sas, inner), wrong, inner)
    assert [(one.frames, one.known) for one in reading.opened] == [(WANTED, 0)] * 16
    assert len(reading.faults(WANTED)) == 16


def test_a_missing_payload_is_named(tmp_path: Path, sas: list[Sa], inner: Inner) -> None:
    packets = [seal(sa, ping(sa, inner), number) for sa in sas for number in range(1, WANTED + 1) if sa is not sas[3]]
    packets.append(seal(sas[3], ping(sas[3], inner), 1))
    (fault,) = read(tmp_path, packets, sas, inner).faults(WANTED)
    assert fault == f"SPI {sas[3].spi:#x} (aes128gcm16): 1 of 2 known payloads in 1 frames"


@pytest.mark.parametrize(
    "spoiled",
    [{"pattern": "00" * 16}, {"kind": 0}, {"source": "10.81.99.1"}, {"destination": "10.82.99.1"}],
    ids=["payload", "type", "source", "destination"],
)
def test_what_opens_but_is_not_what_was_sent_is_no_proof(
    tmp_path: Path, sas: list[Sa], inner: Inner, spoiled: dict[str, Any]
) -> None:
    source, destination = inner[sas[0].spi]
    sent = {"source": source, "destination": destination, "pattern": sas[0].pattern, "kind": 8}
    packets = [seal(sas[0], echo(**{**sent, **spoiled}), number) for number in (1, 2)]
    (fault,) = read(tmp_path, [*healthy(sas[1:], inner), *packets], sas, inner).faults(WANTED)
    assert "0 of 2 known payloads in 2 frames" in fault


def test_a_foreign_spi_is_named(tmp_path: Path, sas: list[Sa], inner: Inner) -> None:
    stray = dataclasses.replace(sas[0], spi=0xABCDEF)
    packets = [*healthy(sas, inner), seal(stray, ping(sas[0], inner), 1)]
    assert read(tmp_path, packets, sas, inner).faults(WANTED) == ["SPI 0x00abcdef belongs to no child"]


def test_a_payload_in_the_clear_is_found_in_any_frame(tmp_path: Path, sas: list[Sa], inner: Inner) -> None:
    hidden = Ether() / IP() / UDP(sport=4500, dport=4500) / Raw(b"....x" + bytes.fromhex(sas[5].pattern))
    faults = read(tmp_path, [*healthy(sas, inner), hidden], sas, inner).faults(WANTED)
    assert f"the payload of SPI {sas[5].spi:#x} stands in the capture in the clear" in faults


@pytest.mark.parametrize(
    ("kind", "frame"),
    [
        ("ESP", Ether() / IP() / ESP(spi=1, seq=1, data=bytes(40))),
        ("UDP 4500", Ether() / IP() / UDP(sport=4500, dport=4500) / Raw(b"\xff")),
        ("UDP 4500", Ether() / IP() / UDP(sport=1024, dport=4500) / Raw(bytes(4) + b"\x11" * 40)),
        ("ARP", Ether() / ARP()),
        ("neighbour discovery", Ether() / IPv6() / ICMPv6ND_NS(tgt="fd00::1")),
        ("other", Ether() / IPv6() / ICMPv6EchoRequest()),
        ("other", Ether() / IP() / ICMP()),
        ("other", Ether() / IP() / TCP()),
        ("IKE", Ether() / IP() / UDP(sport=500, dport=500)),
        ("other", Ether() / IP() / UDP(sport=501, dport=501)),
        ("other", Ether() / IP() / IP() / ESP(spi=1, seq=1, data=bytes(40))),
        ("other", Ether() / Dot1Q(vlan=5) / IP() / ESP(spi=1, seq=1, data=bytes(40))),
        ("other", Ether(type=0x88CC) / Raw(bytes(60))),
        ("other", Ether() / IP(frag=4, proto=17) / Raw(bytes(60))),
    ],
)
def test_kinds_of_frames(tmp_path: Path, sas: list[Sa], inner: Inner, kind: str, frame: Packet) -> None:
    assert read(tmp_path, [frame], sas, inner).kinds == {kind: 1}


def test_the_keys_are_nobody_elses_to_read(tmp_path: Path, sas: list[Sa], inner: Inner) -> None:
    read(tmp_path, healthy(sas[:1], inner), sas, inner)
    assert (tmp_path / "tshark").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "tshark" / "esp_sa").stat().st_mode & 0o777 == 0o600
