"""The little DER that we write ourselves (X.690): algorithm identifiers and the shell of an encrypted key.

Only an encoder: what a peer sends is compared with what stands here or parsed by pyca.
"""

from __future__ import annotations

INTEGER, OCTETS, NULL, OID, SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30


def tlv(tag: int, *parts: bytes) -> bytes:
    """One value: tag, length, the parts one after the other."""
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    size = (len(body).bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + len(body).to_bytes(size, "big") + body


def sequence(*parts: bytes) -> bytes:
    return tlv(SEQUENCE, *parts)


def octets(value: bytes) -> bytes:
    return tlv(OCTETS, value)


def null() -> bytes:
    return tlv(NULL)


def explicit(number: int, value: bytes) -> bytes:
    """`value` under the context-specific tag [number]."""
    return tlv(0xA0 | number, value)


def integer(value: int) -> bytes:
    """A whole number from 0."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    """An object identifier from its dotted form."""
    first, second, *rest = map(int, dotted.split("."))
    return tlv(OID, *map(_base128, (first * 40 + second, *rest)))


def _base128(value: int) -> bytes:
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(0x80 | value & 0x7F)
    return bytes(reversed(digits))
