"""NAT detection: what each side says it sees, and where that leads (RFC 7296 sec. 2.23, RFC 3947 sec. 3.2)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import sha1

from xdpsec.ike.events import Path
from xdpsec.numbers import IKE_PORT, NAT_PORT, NotifyType
from xdpsec.wire.payloads import Notify, Payload

_SOURCE, _DESTINATION = NotifyType.NAT_DETECTION_SOURCE_IP, NotifyType.NAT_DETECTION_DESTINATION_IP


@lru_cache(maxsize=1024)
def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def digest(spi_i: bytes, spi_r: bytes, address: str, port: int) -> bytes:
    return sha1(spi_i + spi_r + _packed(address) + port.to_bytes(2, "big"), usedforsecurity=False).digest()


def notifies(spi_i: bytes, spi_r: bytes, path: Path, fake: bool) -> tuple[Notify, Notify]:
    """What we say of our addresses; `fake` claims another source, so that the peer puts ESP into UDP."""
    port = 0 if fake else path.local_port
    return (
        Notify(_SOURCE, digest(spi_i, spi_r, path.local, port)),
        Notify(_DESTINATION, digest(spi_i, spi_r, path.remote, path.remote_port)),
    )


def detect(payloads: Sequence[Payload], spi_i: bytes, spi_r: bytes, path: Path) -> tuple[bool, bool] | None:
    """(we are behind a NAT, the peer is), None when the peer does not know NAT traversal. What does not match counts,
    whoever made it so: some peers fake a NAT to have UDP."""
    seen = [value for value in payloads if type(value) is Notify]
    sources = [value.data for value in seen if value.kind == _SOURCE]
    destinations = [value.data for value in seen if value.kind == _DESTINATION]
    if not sources or not destinations:
        return None
    here = digest(spi_i, spi_r, path.local, path.local_port) not in destinations
    there = digest(spi_i, spi_r, path.remote, path.remote_port) not in sources
    return here, there


def floated(path: Path) -> Path:
    """The same addresses on the ports of NAT traversal; a peer on a port of its own stays there."""
    remote = NAT_PORT if path.remote_port == IKE_PORT else path.remote_port
    return replace(path, local_port=NAT_PORT, remote_port=remote)
