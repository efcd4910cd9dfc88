"""The 28 bytes before every IKE message (RFC 7296 sec. 3.1). Takes any version: what to do with it is the gate's."""

from __future__ import annotations

from struct import Struct

from xdpsec.errors import PeerError
from xdpsec.numbers import IKE_VERSION, NotifyType
from xdpsec.wire.reader import Malformed
from xdpsec.wire.record import record

LAYOUT = Struct("!8s8sBBBBII")
LENGTH = LAYOUT.size
NO_SPI = bytes(8)
INITIATOR, RESPONSE = 0x08, 0x20


class WrongVersion(PeerError):
    """A major version that is not 2 (RFC 7296 sec. 2.5)."""

    notify = NotifyType.INVALID_MAJOR_VERSION


@record
class Header:
    """SPIs are 8 bytes, the responder's all zero until it has chosen one; `length` is of the whole message in bytes.

    `initiator` is the original initiator's flag, `response` the response flag. Numbers are as on the wire.
    """

    initiator_spi: bytes
    responder_spi: bytes
    next_payload: int
    version: int
    exchange: int
    initiator: bool
    response: bool
    message_id: int
    length: int = 0

    @property
    def major(self) -> int:
        return self.version >> 4


def parse_header(data: bytes) -> Header:
    """Malformed when `data` is not exactly one message by its length field, or the initiator has no SPI."""
    if len(data) < LENGTH:
        raise Malformed(f"a datagram of {len(data)} bytes holds no IKE header")
    ours, theirs, following, version, exchange, flags, message_id, length = LAYOUT.unpack_from(data)
    if length != len(data):
        raise Malformed(f"the IKE header says {length} bytes, the datagram has {len(data)}")
    if ours == NO_SPI:
        raise Malformed("the initiator's SPI is zero")
    initiator, response = flags & INITIATOR != 0, flags & RESPONSE != 0
    return Header(ours, theirs, following, version, exchange, initiator, response, message_id, length)


def build_header(header: Header, next_payload: int, length: int) -> bytes:
    """The header's fields, but for these two, which only the finished message knows."""
    flags = (INITIATOR if header.initiator else 0) | (RESPONSE if header.response else 0)
    return LAYOUT.pack(
        *(header.initiator_spi, header.responder_spi, next_payload, header.version, header.exchange, flags),
        *(header.message_id, length),
    )


def require_version_2(header: Header) -> None:
    """A higher minor version is no reason to refuse (RFC 7296 sec. 2.5)."""
    if header.version >> 4 != IKE_VERSION >> 4:
        raise WrongVersion(f"IKE version {header.version >> 4}.{header.version & 15} is not spoken here")
