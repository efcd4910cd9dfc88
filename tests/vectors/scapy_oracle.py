"""The peer, by scapy alone: seals what we must accept, opens what we sent (RFC 4303, 4106, 3602, 4868, 3948).

scapy carries the high half of an extended sequence number as `esn`; here numbers are whole 64-bit values. Two things
that it lacks are given to it: GCM with a short tag, by the cipher of its own library that knows them, and XCBC, by the
control plane's (proved there by RFC 3566's vectors; the workers' is another library's).
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.ciphers import algorithms, modes
from memory_lab import FAR, HOST, HOST_MAC, OUR, OUR_MAC, PEER, PEER_MAC, Suite
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import AUTH_ALGOS, CRYPT_ALGOS, ESP, AuthAlgo, CryptAlgo, SecurityAssociation
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from xdpsec.crypto.prf import xcbc_mac

LOW = 0xFFFFFFFF


class Xcbc:
    """As scapy wants a MAC: key, digest, backend; then update and finalize."""

    def __init__(self, key: bytes, *_: Any) -> None:
        self._key, self._data = key, b""

    def update(self, data: bytes) -> None:
        self._data += data

    def finalize(self) -> bytes:
        return xcbc_mac(self._key, self._data)


AUTH_ALGOS["AES-XCBC-96"] = AuthAlgo("AES-XCBC-96", mac=Xcbc, digestmod=bytes, icv_size=12, key_size=(16,))
for _size in (8, 12):
    CRYPT_ALGOS[f"AES-GCM-{_size}"] = CryptAlgo(
        "AES-GCM", cipher=algorithms.AES, mode=modes.GCM, salt_size=4, block_size=1, iv_size=8, icv_size=_size,
        format_mode_iv=lambda sa, iv, **_: sa.crypt_salt + iv,
    )  # fmt: skip


def association(suite: Suite, esn: bool, encap: bool, source: str, spi: int, keys: tuple[bytes, bytes]) -> Any:
    key, auth_key = keys
    return SecurityAssociation(
        ESP,
        spi=spi,
        seq_num=0,
        crypt_algo=suite.crypt,
        crypt_key=key or None,
        crypt_icv_size=None if suite.auth_len else suite.icv_len,
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
