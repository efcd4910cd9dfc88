"""The other gateway by scapy alone: it seals what the running gateway must accept and opens what that sent.

It sits on the cable with a packet socket; its namespace has the outer address, so that its kernel answers ARP.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from netns.rig.patience import HANG_SECONDS
from netns.rig.spaces import packet, udp
from netns.rig.tap import Frame, Tap
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from interop.cases import NATT, A, B, Case, Side
from interop.station import Station

LOW = 0xFFFFFFFF
CRYPT = {"aes-gcm": "AES-GCM", "aes-gmac": "AES-NULL-GMAC", "aes-cbc": "AES-CBC"}
AUTH = {"": None, "sha1": "HMAC-SHA1-96", "sha256": "SHA2-256-128", "sha384": "SHA2-384-192", "sha512": "SHA2-512-256"}
ECHO_REQUEST, ECHO_REPLY = 8, 0


def _association(case: Case, source: Side, receiver: Side) -> Any:
    encryption, integrity = case.key(receiver)
    return SecurityAssociation(
        ESP,
        spi=case.spi(receiver),
        seq_num=0,
        crypt_algo=CRYPT[case.suite.cipher],
        crypt_key=encryption,
        auth_algo=AUTH[case.suite.auth],
        auth_key=integrity or None,
        tunnel_header=IP(src=source.outer, dst=receiver.outer, ttl=64),
        nat_t_header=UDP(sport=NATT, dport=NATT) if case.udp else None,
        esn_en=case.esn,
    )


class ScapyPeer:
    """Numbers are whole 64-bit values, counted from the case's first."""

    def __init__(self, station: Station) -> None:
        station.lab.ip(station.peer, "address", "add", f"{B.outer}/24", "dev", "eth0")
        self._held = udp(station.peer, "0.0.0.0", NATT)  # else the kernel calls the port unreachable
        self._out = packet(station.peer, "eth0")
        self._macs = [
            station.lab.inside(namespace, "cat", f"/sys/class/net/{interface}/address").strip()
            for namespace, interface in ((station.peer, "eth0"), (station.gateway.namespace, "wan0"))
        ]
        self.tap = Tap(station.peer, "eth0")
        self._next = {case.number: case.first for case in station.cases}

    def close(self) -> None:
        self.tap.close()
        self._out.close()
        self._held.close()

    def take_number(self, case: Case) -> int:
        number = self._next[case.number]
        self._next[case.number] += 1
        return number

    def seal(self, case: Case, inner: Any, number: int | None = None) -> Any:
        """The outer packet that carries `inner`, under the next number or this one."""
        if number is None:
            number = self.take_number(case)
        high = number >> 32 if case.esn else None
        return _association(case, B, A).encrypt(inner, seq_num=number & LOW, esn=high)

    def seal_raw(self, case: Case, next_header: int, payload: bytes) -> Any:
        """Payload that is no IP packet, under a next header of our choice. scapy builds tunnels of IP only: in its
        transport mode the outer header is the packet's own, and the payload's protocol becomes the next header."""
        number = self.take_number(case)
        association = _association(case, B, A)
        association.tunnel_header = None
        packet_ = IP(src=B.outer, dst=A.outer, proto=next_header) / Raw(payload)
        return association.encrypt(packet_, seq_num=number & LOW, esn=number >> 32 if case.esn else None)

    def send(self, outer: Any, vlan: int | None = None) -> bytes:
        """On the cable, to the gateway; the frame."""
        head = Ether(src=self._macs[0], dst=self._macs[1])
        if vlan is not None:
            head /= Dot1Q(vlan=vlan)
        frame = bytes(head / outer)
        self.send_frame(frame)
        return frame

    def send_frame(self, frame: bytes) -> None:
        self._out.send(frame)

    def open(self, case: Case, frame: Frame, number: int) -> Any:
        """The inner packet; scapy raises when it is not authentic under `number`."""
        outer = IP(frame.ip)
        assert int.from_bytes(frame.esp[4:8], "big") == number & LOW
        return _association(case, A, B).decrypt(outer, esn=number >> 32 if case.esn else None)

    def next_from(self, case: Case, number: int, since: float = 0.0) -> Any:
        """What the gateway sent under this number, opened."""
        name = case.spi(B).to_bytes(4, "big") + (number & LOW).to_bytes(4, "big")
        frame = self.tap.wait(lambda frame: frame.esp[:8] == name, HANG_SECONDS, since)
        assert frame.ip[9] == (socket.IPPROTO_UDP if case.udp else socket.IPPROTO_ESP)
        return self.open(case, frame, number)


def echo(case: Case, sequence: int, size: int = 56) -> Any:
    """An echo request from the peer's host to ours."""
    body = Raw(bytes(n * 7 % 251 for n in range(size)))
    return IP(src=B.address(case), dst=A.address(case), ttl=64) / ICMP(type=ECHO_REQUEST, id=9, seq=sequence) / body


def now() -> float:
    """The tap's clock."""
    return time.monotonic()
