"""The Configuration payload: attributes by number, their values as bytes (RFC 7296 sec. 3.15)."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from xdpsec.wire import limits
from xdpsec.wire.reader import Malformed, Reader
from xdpsec.wire.record import new, record

KIND = Struct("!B3x")
ATTRIBUTE = Struct("!HH")
RESERVED = 0x8000  # the top bit of an attribute's type: to be ignored


class Attribute(NamedTuple):
    """An empty value in a request asks for any. A tuple for the same reason as Transform."""

    kind: int
    value: bytes = b""


@record
class Configuration:
    kind: int
    attributes: tuple[Attribute, ...] = ()


def parse_cp(reader: Reader) -> Configuration:
    (kind,) = reader.unpack(KIND)
    data, at = reader.rest(), 0
    attributes: list[Attribute] = []
    while at < len(data):
        if len(attributes) == limits.ATTRIBUTES:
            raise Malformed(f"CP payload: more than {limits.ATTRIBUTES} attributes")
        if at + ATTRIBUTE.size > len(data):
            raise Malformed("CP payload: an attribute is cut short")
        number, length = ATTRIBUTE.unpack_from(data, at)
        start = at + ATTRIBUTE.size
        at = start + length
        if at > len(data):
            raise Malformed(f"CP payload: an attribute is {at - len(data)} bytes too short")
        attributes.append(new(Attribute, (number & ~RESERVED, data[start:at])))
    return Configuration(kind, tuple(attributes))


def build_cp(value: Configuration) -> bytes:
    parts = [KIND.pack(value.kind)]
    for each in value.attributes:
        parts += ATTRIBUTE.pack(each.kind, len(each.value)), each.value
    return b"".join(parts)
