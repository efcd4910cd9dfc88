"""The Configuration payload: attributes by number, their values as bytes (RFC 7296 sec. 3.15)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from xdpsec.wire import limits
from xdpsec.wire.reader import Malformed, Reader

KIND = Struct("!B3x")
ATTRIBUTE = Struct("!HH")
RESERVED = 0x8000  # the top bit of an attribute's type: to be ignored


@dataclass(frozen=True, slots=True)
class Attribute:
    """An empty value in a request asks for any."""

    kind: int
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class Configuration:
    kind: int
    attributes: tuple[Attribute, ...] = ()


def parse_cp(reader: Reader) -> Configuration:
    (kind,) = reader.unpack(KIND)
    attributes: list[Attribute] = []
    while reader.left():
        if len(attributes) == limits.ATTRIBUTES:
            raise Malformed(f"CP payload: more than {limits.ATTRIBUTES} attributes")
        number, length = reader.unpack(ATTRIBUTE)
        attributes.append(Attribute(number & ~RESERVED, reader.take(length)))
    return Configuration(kind, tuple(attributes))


def build_cp(value: Configuration) -> bytes:
    parts = [KIND.pack(value.kind)]
    for each in value.attributes:
        parts += ATTRIBUTE.pack(each.kind, len(each.value)), each.value
    return b"".join(parts)
