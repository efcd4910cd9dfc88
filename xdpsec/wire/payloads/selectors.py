"""Traffic selectors on the wire (RFC 7296 sec. 3.13). What they cover is worked out in ike.selectors."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from xdpsec.numbers import TsType
from xdpsec.wire.reader import Malformed, Reader
from xdpsec.wire.record import new, record

COUNT = Struct("!B3x")
SELECTOR = Struct("!BBH")  # type, IP protocol, length
#: The same, then ports and addresses, of the types that we know.
RANGES = {
    int(TsType.IPV4_ADDR_RANGE): Struct("!BBHHH4s4s"),
    int(TsType.IPV6_ADDR_RANGE): Struct("!BBHHH16s16s"),
}
READ = {kind: (layout.unpack_from, layout.size) for kind, layout in RANGES.items()}
OPAQUE = (65535, 0)  # RFC 7296 sec. 3.13.1: the one range of ports that may run backwards


class Selector(NamedTuple):
    """`protocol` 0 = any; ports and addresses inclusive; addresses packed, 4 or 16 bytes.

    A selector of a type that we do not know has all its content in `first`, and matches nothing.
    A tuple for the same reason as Transform.
    """

    kind: int
    protocol: int
    first_port: int
    last_port: int
    first: bytes
    last: bytes


@record
class TsInitiator:
    selectors: tuple[Selector, ...]


@record
class TsResponder:
    selectors: tuple[Selector, ...]


def parse_tsi(reader: Reader) -> TsInitiator:
    return TsInitiator(_parse_selectors(reader))


def parse_tsr(reader: Reader) -> TsResponder:
    return TsResponder(_parse_selectors(reader))


def build_ts(value: TsInitiator | TsResponder) -> bytes:
    return COUNT.pack(len(value.selectors)) + b"".join([_build_selector(each) for each in value.selectors])


def _parse_selectors(reader: Reader) -> tuple[Selector, ...]:
    """The count is one byte: 255 at most."""
    (count,) = reader.unpack(COUNT)
    data, at, stop = reader.data, reader.at, reader.stop
    if not count or reader.left() < count * SELECTOR.size:
        raise Malformed(f"{reader.what} claims {count} selectors in {reader.left()} bytes")
    found: list[Selector] = []
    for _ in range(count):
        if at + SELECTOR.size > stop:
            raise Malformed(f"{reader.what}: a selector is cut short")
        known = READ.get(data[at])
        if known is None:
            kind, protocol, length = SELECTOR.unpack_from(data, at)
            if length < SELECTOR.size or at + length > stop:
                raise Malformed(f"{reader.what}: a selector claims {length} bytes of {stop - at}")
            found.append(new(Selector, (kind, protocol, 0, 0, data[at + SELECTOR.size : at + length], b"")))
        else:
            unpack, size = known
            if at + size > stop:
                raise Malformed(f"{reader.what}: a selector of type {data[at]} is cut short")
            kind, protocol, length, first_port, last_port, first, last = unpack(data, at)
            if length != size:
                raise Malformed(f"{reader.what}: a selector of type {kind} has {length} bytes")
            if first > last or (first_port > last_port and (first_port, last_port) != OPAQUE):
                raise Malformed(f"{reader.what}: a range runs backwards")
            found.append(new(Selector, (kind, protocol, first_port, last_port, first, last)))
        at += length
    reader.at = at
    return tuple(found)


def _build_selector(value: Selector) -> bytes:
    layout = RANGES.get(value.kind)
    if layout is None:
        return SELECTOR.pack(value.kind, value.protocol, SELECTOR.size + len(value.first)) + value.first
    kind, protocol, *range_of = value
    return layout.pack(kind, protocol, layout.size, *range_of)
