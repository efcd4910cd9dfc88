"""Notify and Delete (RFC 7296 sec. 3.10, 3.11). What a notify's data mean is its handler's business."""

from __future__ import annotations

from struct import Struct

from xdpsec.errors import PeerError
from xdpsec.numbers import FIRST_STATUS, Protocol
from xdpsec.wire import limits
from xdpsec.wire.reader import Malformed, Reader
from xdpsec.wire.record import record

NOTIFY = Struct("!BBH")  # protocol, SPI size, type
DELETE = Struct("!BBH")  # protocol, SPI size, SPIs
SPI_SIZES: dict[int, int] = {Protocol.IKE: 0, Protocol.AH: 4, Protocol.ESP: 4}


@record
class Notify:
    """`protocol` and `spi` name an SA of ESP or AH when the notify is about one (REKEY_SA, CHILD_SA_NOT_FOUND)."""

    kind: int
    data: bytes = b""
    protocol: int = 0
    spi: bytes = b""

    @property
    def is_error(self) -> bool:
        return self.kind < FIRST_STATUS


@record
class Delete:
    """Protocol IKE: this IKE SA, no SPI. ESP and AH: SAs by the SPI that the sender receives on, 4 bytes each."""

    protocol: int
    spis: tuple[bytes, ...] = ()


def parse_notify(reader: Reader) -> Notify:
    protocol, size, kind = reader.unpack(NOTIFY)
    spi = reader.take(size) if size else b""
    return Notify(kind, reader.rest(), protocol, spi)


def build_notify(value: Notify) -> bytes:
    return NOTIFY.pack(value.protocol, len(value.spi), value.kind) + value.spi + value.data


def answer_for(error: PeerError) -> Notify:
    """The notify that tells a peer what we refused."""
    return Notify(error.notify, error.data)


def parse_delete(reader: Reader) -> Delete:
    protocol, size, count = reader.unpack(DELETE)
    if count > limits.SPIS:
        raise Malformed(f"delete payload: {count} SPIs, more than {limits.SPIS}")
    if size != SPI_SIZES.get(protocol, size) or (count > 0) != (size > 0):
        raise Malformed(f"delete payload: {count} SPIs of {size} bytes for protocol {protocol}")
    data = reader.take(count * size)
    spis = [data[at : at + size] for at in range(0, len(data), size)] if size else []
    return Delete(protocol, tuple(spis))


def build_delete(value: Delete) -> bytes:
    size = len(value.spis[0]) if value.spis else 0
    return DELETE.pack(value.protocol, size, len(value.spis)) + b"".join(value.spis)
