"""The peer, by scapy alone: seals what we must accept, opens what we sent (RFC 4303, 4106, 3602, 4868, 3948).

scapy carries the high half of an extended sequence number as `esn`; here numbers are whole 64-bit values.
"""

from __future__ import annotations

from typing import Any

from memory_lab import FAR, HOST, HOST_MAC, OUR, OUR_MAC, PEER, PEER_MAC, Suite
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.layers.l2 import Ether
from scapy.packet import Raw

LOW = 0xFFFFFFFF


def association(suite: Suite, esn: bool, encap: bool, source: str, spi: int, keys: tuple[bytes, bytes]) -> Any:
    key, auth_key = keys
    return SecurityAssociation(
        ESP,
        spi=spi,
        seq_num=0,
        crypt_algo=suite.crypt,
        crypt_key=key,
        auth_algo=suite.auth,
        auth_key=auth_key,
        tunnel_header=IP(src=source, dst=PEER if source == OUR else OUR, ttl=60),
        nat_t_header=UDP(sport=4500, dport=4500) if encap else None,
        esn_en=esn,
    )


class Peer:
    """Both SAs of the far gateway under one suite."""

    def __init__(self, suite: Suite, esn: bool, encap: bool, spi: int = 0x1001, keys: Any = None) -> None:
        keys = keys or (suite.key, suite.auth_key)
        self._esn = esn
        self._seals = association(suite, esn, encap, PEER, spi, keys)
        self._opens = association(suite, esn, encap, OUR, spi, keys)

    def seal(self, inner: bytes, number: int) -> bytes:
        """A frame to our outside port that carries `inner`, an IPv4 packet, under `number`."""
        packet = self._seals.encrypt(IP(inner), seq_num=number & LOW, esn=number >> 32 if self._esn else None)
        return bytes(Ether(src=PEER_MAC, dst=OUR_MAC) / packet)

    def open(self, frame: bytes, number: int) -> bytes:
        """The inner packet of a frame that we sent. IPSecIntegrityError when it is not authentic under `number`."""
        packet = Ether(frame)[IP]
        assert packet[ESP].seq == number & LOW
        return bytes(self._opens.decrypt(packet, esn=number >> 32 if self._esn else None))


def inner(size: int, source: str = FAR, target: str = HOST, ttl: int = 64) -> bytes:
    """A whole UDP packet with `size` bytes of payload."""
    payload = bytes(i * 3 % 251 for i in range(size))
    return bytes(IP(src=source, dst=target, ttl=ttl, id=7) / UDP(sport=1000, dport=2000) / Raw(payload))


def forwarded(packet: bytes) -> bytes:
    """The same packet one hop later (RFC 1812 sec. 5.3.1): TTL and header checksum, nothing else."""
    hop = IP(packet)
    hop.ttl -= 1
    del hop.chksum
    return bytes(hop)


def clear(packet: bytes) -> bytes:
    """A frame to our inside port that carries `packet` as it is."""
    return bytes(Ether(src=HOST_MAC, dst=OUR_MAC) / IP(packet))
