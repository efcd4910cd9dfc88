"""The little DER that we read and write ourselves (X.690): names, algorithm identifiers, the shell of an encrypted key.

Certificates, CRLs and OCSP are pyca's. Reading is strict: definite, shortest lengths, nothing left over.
"""

from __future__ import annotations

INTEGER, OCTETS, NULL, OID, SEQUENCE, SET = 0x02, 0x04, 0x05, 0x06, 0x30, 0x31

#: One value as it was read: its tag and its body.
Item = tuple[int, bytes]

# --- writing --


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


# --- reading: ValueError for everything that is not DER --


def items(data: bytes, most: int = 1 << 20) -> list[Item]:
    """The values that stand one after the other in `data`; what follows the first `most` is not looked at."""
    found: list[Item] = []
    at = 0
    while at < len(data) and len(found) < most:
        if len(data) - at < 2 or data[at] & 0x1F == 0x1F:
            raise ValueError("no DER: cut short or a long tag")
        tag, size, start = data[at], data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[start : start + count], "big")
            start += count
            if not 1 <= count <= 4 or start > len(data) or size < 0x80 or size.bit_length() <= 8 * (count - 1):
                raise ValueError("no DER: a length that is not the shortest")
        at = start + size
        if at > len(data):
            raise ValueError("no DER: cut short")
        found.append((tag, data[start:at]))
    return found


def body(item: Item, tag: int) -> bytes:
    """The body of `item`, which must have this tag."""
    if item[0] != tag:
        raise ValueError(f"no DER that we know: tag {item[0]:#x} for {tag:#x}")
    return item[1]


def only(data: bytes, tag: int) -> bytes:
    """The body of the one value that `data` is."""
    found = items(data)
    if len(found) != 1:
        raise ValueError("no DER: not one value")
    return body(found[0], tag)


def dotted(oid_body: bytes) -> str:
    """The dotted form of an object identifier's body."""
    if not oid_body or oid_body[-1] & 0x80 or len(oid_body) > 32:
        raise ValueError("no object identifier")
    numbers, value = [], 0
    for octet in oid_body:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))
