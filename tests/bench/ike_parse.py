"""The longest that parsing any one message takes: the largest there may be, in each shape, valid and hostile.

CPU time of one call, the best of a few, for the worst shape. Each shape must be parsed or refused with a PeerError:
anything else ends the bench.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Iterator

from xdpsec.errors import PeerError
from xdpsec.numbers import ExchangeType, PayloadType
from xdpsec.wire.message import parse_clear, parse_envelope, parse_payloads

ROUNDS = 7
ROOM = 65535 - 28
HEADER = struct.Struct("!8s8sBBBBII")
#: Name, bytes, and the exchange when the bytes are the inside of a sealed payload (its first type before it), else 0.
Shape = tuple[str, bytes, int]


def _message(first: int, body: bytes, exchange: int = ExchangeType.IKE_SA_INIT) -> bytes:
    return HEADER.pack(b"\x11" * 8, bytes(8), first, 0x20, exchange, 0x08, 0, HEADER.size + len(body)) + body


def _payload(following: int, body: bytes, critical: int = 0) -> bytes:
    return struct.pack("!BBH", following, critical, 4 + len(body)) + body


def _chain(kind: int, bodies: list[bytes]) -> tuple[int, bytes]:
    followings = [kind] * (len(bodies) - 1) + [0]
    return kind, b"".join(_payload(following, body) for following, body in zip(followings, bodies, strict=True))


def _transforms(count: int, size: int = 12) -> bytes:
    return b"".join(
        struct.pack("!BBHBBH", 3 if n + 1 < count else 0, 0, size, 1 + n % 5, 0, 12)
        + b"\x80\x0e\x01\x00" * ((size - 8) // 4)
        for n in range(count)
    )


def _proposal(last: bool, number: int, count: int, spi: bytes = b"") -> bytes:
    body = _transforms(count)
    return (
        struct.pack("!BBHBBBB", 0 if last else 2, 0, 8 + len(spi) + len(body), number, 1, len(spi), count) + spi + body
    )


def _proposals(proposals: int, transforms: int) -> bytes:
    return b"".join(_proposal(n == proposals, n, transforms) for n in range(1, proposals + 1))


def _selectors(count: int) -> bytes:
    one = struct.pack("!BBHHH", 7, 0, 16, 0, 65535) + bytes(4) + b"\xff" * 4
    return struct.pack("!BBH", min(count, 255), 0, 0) + one * count


def shapes() -> Iterator[Shape]:
    yield from _clear()
    yield from _sealed()


def _clear() -> Iterator[Shape]:
    notify = struct.pack("!BBH", 0, 0, 16430)
    fit = (ROOM - 64 * 4) // 64
    yield "64 notifies", _message(*_chain(PayloadType.NOTIFY, [notify] * 64)), 0
    yield "64 large notifies", _message(*_chain(PayloadType.NOTIFY, [notify + bytes(fit - 8)] * 64)), 0
    yield "4,000 notifies", _message(*_chain(PayloadType.NOTIFY, [notify] * 4000)), 0
    yield "65 vendor ids of nothing", _message(*_chain(PayloadType.VENDOR_ID, [b""] * 65)), 0
    for proposals, transforms in ((1, 255), (32, 7), (33, 1), (32, 150), (20, 255), (255, 20)):
        name = f"{proposals} proposals of {transforms} transforms"
        yield name, _message(*_chain(PayloadType.SA, [_proposals(proposals, transforms)])), 0
    yield "64 offers of 80 transforms", _message(*_chain(PayloadType.SA, [_proposals(1, 80)] * 64)), 0
    yield "a nonce of 64 KiB", _message(*_chain(PayloadType.NONCE, [bytes(ROOM - 4)])), 0
    yield "a key of 64 KiB", _message(*_chain(PayloadType.KE, [struct.pack("!HH", 31, 0) + bytes(ROOM - 8)])), 0
    yield "unknown payloads", _message(*_chain(200, [bytes(fit)] * 64)), 0
    yield "an envelope of 64 KiB", _message(PayloadType.SK, _payload(0, bytes(ROOM - 4)), ExchangeType.IKE_AUTH), 0


def _sealed() -> Iterator[Shape]:
    auth, informational = ExchangeType.IKE_AUTH, ExchangeType.INFORMATIONAL
    for count in (255, 2000, 4000):
        yield f"{count} selectors", _inside((PayloadType.TSI, _selectors(count))), auth
    spis = struct.pack("!BBH", 3, 4, 16000) + bytes(64000)
    yield "16,000 SPIs to delete", _inside((PayloadType.DELETE, spis)), informational
    for count in (256, 16000):
        yield f"{count} attributes", _inside((PayloadType.CP, _attributes(count))), auth
    certificate = (PayloadType.CERT, b"\x04" + bytes(1000))
    yield "64 certificates", _inside(*[certificate] * 64), auth
    parts = [(PayloadType.IDI, b"\x02\0\0\0" + b"x" * 200), *[certificate] * 16]
    parts += [(PayloadType.CP, _attributes(256)), (PayloadType.SA, _proposals(1, 255))]
    parts += [(PayloadType.TSI, _selectors(255)), (PayloadType.TSR, _selectors(255))]
    parts += [(PayloadType.NOTIFY, struct.pack("!BBH", 0, 0, 16430))] * (64 - len(parts))
    yield "an IKE_AUTH of everything", _inside(*parts), auth


def _attributes(count: int) -> bytes:
    return struct.pack("!BBH", 1, 0, 0) + struct.pack("!HH", 1, 0) * count


def _inside(*parts: tuple[int, bytes]) -> bytes:
    """What was sealed: the first payload's type, then the payloads."""
    followings = [kind for kind, _ in parts[1:]] + [0]
    body = b"".join(_payload(following, body) for following, (_, body) in zip(followings, parts, strict=True))
    return bytes((parts[0][0],)) + body


def _call(data: bytes, exchange: int) -> None:
    with contextlib.suppress(PeerError):
        if exchange:
            parse_payloads(data[0], data[1:], exchange)
        elif data[16] == PayloadType.SK:
            parse_envelope(data)
        else:
            parse_clear(data)


def measure() -> tuple[float, str]:
    """Milliseconds of the worst shape, and its name."""
    worst = (0.0, "")
    for name, data, exchange in shapes():
        took = []
        for _ in range(ROUNDS):
            began = time.process_time_ns()
            _call(data, exchange)
            took.append(time.process_time_ns() - began)
        worst = max(worst, (min(took) / 1e6, name))
    return worst
