"""Whole IKEv2 messages, in the clear and sealed (RFC 7296 sec. 3.1, 3.2, 3.14). Holds no key: sealing is handed in.

What comes back from parsing stood where table.py lets it stand. Which payloads an exchange needs is its handler's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import TypeVar

from xdpsec.errors import LocalError, PeerError
from xdpsec.numbers import ExchangeType, NotifyType, PayloadType, name_of
from xdpsec.wire import limits
from xdpsec.wire.header import LENGTH, Header, build_header, parse_header, require_version_2
from xdpsec.wire.payloads import Notify, Payload, Unknown
from xdpsec.wire.payloads.table import BY_CLASS, BY_KIND, STANDING, STANDING_ANYWHERE
from xdpsec.wire.reader import Malformed, Reader
from xdpsec.wire.record import record

GENERIC = Struct("!BBH")  # next payload, critical bit, length (RFC 7296 sec. 3.2)
GENERIC_SIZE = GENERIC.size  # taken once, as in proposals.py
FRAGMENT = Struct("!HH")  # number, total (RFC 7383 sec. 2.5)
CRITICAL = 0x80
SK, SKF = int(PayloadType.SK), int(PayloadType.SKF)
ENCRYPTED = (SK, SKF)

Kind = TypeVar("Kind")
Seal = Callable[[bytes, bytes], bytes]  # AAD, plaintext -> body of SK: IV, ciphertext, ICV


class UnsupportedCritical(PeerError):
    """A payload that we do not know and must not skip; the answer carries its number (RFC 7296 sec. 2.5)."""

    notify = NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD


@record
class Message:
    """One message as it was meant: fragments put together, opened."""

    header: Header
    payloads: tuple[Payload, ...]


@record
class Envelope:
    """A sealed message, or one fragment of it, before it is opened.

    `clear` stood before the encrypted payload, `first` is the type of the first payload inside it, `aad` all bytes
    before `body`. `total` 0: whole; else fragment `number` of `total`, from 1.
    """

    header: Header
    clear: tuple[Payload, ...]
    first: int
    aad: bytes
    body: bytes
    number: int = 0
    total: int = 0


# --- parse ---


def parse_clear(data: bytes) -> Message:
    """A message without encrypted payload. PeerError for anything that must be sealed or not be there."""
    header = _read_header(data)
    payloads, encrypted, _ = _walk(header.next_payload, data, LENGTH, header.exchange, sealed=False)
    if encrypted:
        raise Malformed("an encrypted payload where a message in the clear belongs")
    return Message(header, payloads)


def parse_envelope(data: bytes) -> Envelope:
    """A message with an encrypted payload, which must be its last."""
    header = _read_header(data)
    if header.exchange == ExchangeType.IKE_SA_INIT:
        raise Malformed("an encrypted payload in IKE_SA_INIT")
    clear, kind, at = _walk(header.next_payload, data, LENGTH, header.exchange, sealed=False)
    if not kind:
        raise Malformed(f"{name_of(ExchangeType, header.exchange)} must be encrypted and is not")
    first, _, length = GENERIC.unpack_from(data, at)
    if at + length != len(data):
        raise Malformed("the encrypted payload is not the last of its message")
    start, number, total = at + GENERIC_SIZE, 0, 0
    if kind == SKF:
        if start + FRAGMENT.size > len(data):
            raise Malformed("SKF payload is cut short")
        number, total = FRAGMENT.unpack_from(data, start)
        start += FRAGMENT.size
        if not 1 <= number <= total <= limits.FRAGMENTS or (first and number > 1):
            raise Malformed(f"fragment {number} of {total}, first payload {first}")
    return Envelope(header, clear, first, data[:start], data[start:], number, total)


def parse_payloads(first: int, plaintext: bytes, exchange: int) -> tuple[Payload, ...]:
    """The payloads of an opened message, `first` being the type of the first. All of `plaintext` must be payloads."""
    payloads, encrypted, _ = _walk(first, plaintext, 0, exchange, sealed=True)
    if encrypted:
        raise Malformed("an encrypted payload within another")
    return payloads


def _read_header(data: bytes) -> Header:
    header = parse_header(data)
    require_version_2(header)
    if len(data) > limits.MESSAGE:
        raise Malformed(f"a message of {len(data)} bytes, more than {limits.MESSAGE}")
    return header


def _walk(kind: int, data: bytes, at: int, exchange: int, sealed: bool) -> tuple[tuple[Payload, ...], int, int]:
    """Payloads from `at` up to the first encrypted one, its type and where it is; or up to the end and 0."""
    found: list[Payload] = []
    seen: dict[int, int] = {}
    rows, size, reader = STANDING.get((exchange, sealed), STANDING_ANYWHERE), len(data), Reader(data, "")
    while kind:
        if at + GENERIC_SIZE > size:
            raise Malformed(f"the message ends where a payload of type {kind} should begin")
        following, flags, length = GENERIC.unpack_from(data, at)
        end = at + length
        if length < GENERIC_SIZE or end > size:
            raise Malformed(f"a payload of type {kind} claims {length} bytes of {size - at}")
        if kind in ENCRYPTED:
            return tuple(found), kind, at
        if len(found) == limits.PAYLOADS:
            raise Malformed(f"more than {limits.PAYLOADS} payloads")
        row = rows.get(kind)
        if row is not None:
            seen[kind] = count = seen.get(kind, 0) + 1
            if count > row.most:
                raise Malformed(f"{row.name} more than {row.most} times in one {name_of(ExchangeType, exchange)}")
            reader.what, reader.at, reader.stop = row.name, at + GENERIC_SIZE, end
            found.append(row.parse(reader))
            if reader.at != end:
                reader.end()
        else:
            found.append(_unknown(kind, flags, data[at + GENERIC_SIZE : end], exchange, sealed))
        kind, at = following, end
    if at != size:
        raise Malformed(f"{size - at} bytes follow the last payload")
    return tuple(found), 0, at


def _unknown(kind: int, flags: int, body: bytes, exchange: int, sealed: bool) -> Unknown:
    """A payload that no row lets stand here: refused, unless we do not know it and need not."""
    row = BY_KIND.get(kind)
    if row is None:
        if flags & CRITICAL:
            raise UnsupportedCritical(f"critical payload of unknown type {kind}", data=bytes((kind,)))
        return Unknown(kind, False, body)
    where = name_of(ExchangeType, exchange)
    if not sealed and exchange in row.exchanges:
        raise Malformed(f"{row.name} of {where} in the clear; it must be encrypted")
    raise Malformed(f"{row.name} does not belong into {where}")


# --- build ---


def encode_payloads(payloads: Sequence[Payload]) -> tuple[int, bytes]:
    """The type of the first payload (0 = none) and all of them one after the other."""
    parts: list[bytes] = []
    following = 0
    for value in reversed(payloads):
        row, flags = BY_CLASS.get(type(value)), 0
        if row is not None:
            kind, body = row.kind, row.build(value)
        elif isinstance(value, Unknown):
            kind, body, flags = value.kind, value.data, CRITICAL if value.critical else 0
        else:
            raise LocalError("something that is no payload is to be sent")
        length = GENERIC_SIZE + len(body)
        if length > 65535:
            raise LocalError(f"a payload of {length} bytes does not fit its length field")
        parts += body, GENERIC.pack(following, flags, length)
        following = int(kind)
    parts.reverse()
    return following, b"".join(parts)


def build_clear(header: Header, payloads: Sequence[Payload]) -> bytes:
    """A message without encryption. The header's next payload and length are filled in."""
    first, body = encode_payloads(payloads)
    return build_header(header, first, LENGTH + len(body)) + body


def build_sealed(header: Header, first: int, plaintext: bytes, seal: Seal, overhead: Callable[[int], int]) -> bytes:
    """A message with one encrypted payload; `overhead` gives the length of what `seal` returns from the plaintext's."""
    size = overhead(len(plaintext))
    aad = associated_data(header, first, size)
    body = seal(aad, plaintext)
    if len(body) != size:
        raise LocalError(f"sealed {len(plaintext)} bytes to {len(body)}, not {size}")
    return aad + body


def associated_data(header: Header, first: int, size: int) -> bytes:
    """What stands before the body of SK, for a body of `size` bytes: header and generic header (RFC 5282 sec. 5.1).

    With `size` the length of the plaintext it is also the part A that IntAuth covers (RFC 9242 sec. 3.3.2), which
    counts neither IV nor padding nor ICV and knows no fragments.
    """
    length = GENERIC_SIZE + size
    if length > 65535:
        raise LocalError(f"an encrypted payload of {length} bytes does not fit its length field")
    return build_header(header, SK, LENGTH + length) + GENERIC.pack(first, 0, length)


# --- look up ---


def find(payloads: Sequence[Payload], kind: type[Kind]) -> Kind | None:
    """The first payload of that class."""
    for value in payloads:
        if type(value) is kind:
            return value
    return None


def find_notify(payloads: Sequence[Payload], kind: int) -> Notify | None:
    """The first notify of that type."""
    for value in payloads:
        if type(value) is Notify and value.kind == kind:
            return value
    return None
