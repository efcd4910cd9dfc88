"""Target of the coverage-guided fuzzer: the codec. Whatever comes in, it is refused with a PeerError or it is a value
that builds and parses to itself. One function per way in; the first byte of the input says which.
"""

from __future__ import annotations

from xdpsec.errors import PeerError
from xdpsec.numbers import ExchangeType, NotifyType
from xdpsec.wire.fragments import Reassembly
from xdpsec.wire.message import build_clear, encode_payloads, parse_clear, parse_envelope, parse_payloads
from xdpsec.wire.payloads import Payload
from xdpsec.wire.payloads.table import BY_KIND

EXCHANGES = (*ExchangeType, 240)
KINDS = (*BY_KIND, 46, 53, 200)
NOTIFIES = {NotifyType.INVALID_SYNTAX, NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, NotifyType.INVALID_MAJOR_VERSION}


def whole(data: bytes) -> bytes:
    """The message with a length field that is right and version 2, so that the fuzzer gets further in."""
    return data[:17] + b"\x20" + data[18:24] + len(data).to_bytes(4, "big") + data[28:] if len(data) >= 28 else data


def same_again(payloads: tuple[Payload, ...], exchange: int) -> None:
    first, plaintext = encode_payloads(payloads)
    assert parse_payloads(first, plaintext, exchange) == payloads


def clear(data: bytes) -> None:
    message = parse_clear(data)
    assert parse_clear(build_clear(message.header, message.payloads)).payloads == message.payloads
    same_again(message.payloads, message.header.exchange)


def envelope(data: bytes) -> None:
    found = parse_envelope(data)
    assert found.aad + found.body == data
    assert bool(found.total) == (found.number > 0)


def sealed(data: bytes) -> None:
    """What was inside an envelope: exchange, first payload, payloads."""
    if len(data) > 2:
        exchange = EXCHANGES[data[0] % len(EXCHANGES)]
        same_again(parse_payloads(data[1], data[2:], exchange), exchange)


def fragments(data: bytes) -> None:
    """A queue of messages, each behind its length in two bytes; all that are fragments are collected."""
    collected, held = Reassembly(), 0
    while len(data) > 2:
        size = int.from_bytes(data[:2], "big")
        piece, data = whole(data[2 : 2 + size]), data[2 + size :]
        try:
            found = parse_envelope(piece)
        except PeerError:
            continue
        if found.total and collected.wants(found):
            held += len(found.body)
            done = collected.add(found, found.body)
            if done is not None:
                assert len(done[1]) <= held
                same_again(parse_payloads(*done, found.header.exchange), found.header.exchange)


def chained(data: bytes) -> tuple[int, bytes]:
    """Payloads whose headers are right, so that only what is within them is left to chance: kind, flags, length and
    body of each. Type of the first and all of them."""
    at, found = 0, []
    while at + 3 <= len(data):
        kind, flags, size = KINDS[data[at] % len(KINDS)], data[at + 1], data[at + 2]
        found.append((kind, flags, data[at + 3 : at + 3 + size]))
        at += 3 + size
    kinds = [kind for kind, _, _ in found] + [0]
    parts = [
        bytes((following, flags)) + (len(body) + 4).to_bytes(2, "big") + body
        for following, (_, flags, body) in zip(kinds[1:], found, strict=True)
    ]
    return kinds[0], b"".join(parts)


def chain(data: bytes) -> None:
    """An exchange, and such payloads."""
    if data:
        exchange = EXCHANGES[data[0] % len(EXCHANGES)]
        same_again(parse_payloads(*chained(data[1:]), exchange), exchange)


WAYS = (
    *(clear, envelope, sealed, fragments, chain),
    *(lambda data: clear(whole(data)), lambda data: envelope(whole(data))),
)


def one_input(data: bytes) -> None:
    """What the fuzzer calls. Any exception that leaves it is a finding."""
    if not data:
        return
    try:
        WAYS[data[0] % len(WAYS)](data[1:])
    except PeerError as error:
        if error.notify not in NOTIFIES or not str(error):
            raise AssertionError(f"a refusal that says nothing: {error}, {error.notify}") from error
