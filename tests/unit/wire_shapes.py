"""Messages that ask for much work: at each limit of the codec, past it, and all of it at once; valid and hostile.

The unit tests count what the codec does for each of them, tests/bench/ike_parse.py takes the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from wire_cases import V4, V6, header

from xdpsec.numbers import ExchangeType as X
from xdpsec.numbers import PayloadType as P
from xdpsec.wire import limits
from xdpsec.wire.message import build_clear, encode_payloads, parse_clear, parse_envelope, parse_payloads
from xdpsec.wire.payloads import (
    Attribute,
    Certificate,
    Configuration,
    Delete,
    IdInitiator,
    KeyExchange,
    Nonce,
    Notify,
    Payload,
    Proposal,
    SecurityAssociation,
    Selector,
    Transform,
    TsInitiator,
    TsResponder,
    Unknown,
    VendorId,
)
from xdpsec.wire.payloads.selectors import build_ts

ROOM = 65535 - 28
SPI = b"\xc0\0\0\1"
Payloads = tuple[Payload, ...]


@dataclass(frozen=True)
class Shape:
    """`parse` reads the message: it may raise PeerError and nothing else. `payloads` are what it has to look at."""

    name: str
    parse: Callable[[], object]
    payloads: Payloads


def proposals(count: int, transforms: int) -> SecurityAssociation:
    """Transforms that no table knows, with as many attributes as they may have: each is built anew."""
    strange = bytes.fromhex("800f0001") * 3
    row = tuple(Transform(4, 30000 + index, 64, strange) for index in range(transforms))
    return SecurityAssociation(tuple(Proposal(1 + index, 1, b"", row) for index in range(count)))


def common(count: int, transforms: int) -> SecurityAssociation:
    row = tuple(Transform(1 + index % 5, 12, 256) for index in range(transforms))
    return SecurityAssociation(tuple(Proposal(1 + index, 1, b"", row) for index in range(count)))


def selectors(count: int) -> tuple[Selector, ...]:
    return tuple(Selector(8, 6, index, index, V6, V6) for index in range(count))


def attributes(count: int) -> Configuration:
    return Configuration(2, tuple(Attribute(1 + index, b"\x0a\0\0\1") for index in range(count)))


def _strange(attributes: int) -> SecurityAssociation:
    return SecurityAssociation((Proposal(1, 1, b"", (Transform(1, 1, 0, bytes.fromhex("800f0001") * attributes),)),))


#: Exchange, what is just allowed, what is one too many, the word of the refusal.
LIMITS: dict[str, tuple[int, Payloads, Payloads, str]] = {
    "payloads": (X.IKE_SA_INIT, (Unknown(99, False, b"x"),) * 64, (Unknown(99, False, b"x"),) * 65, "64 payloads"),
    "proposals": (X.IKE_SA_INIT, (proposals(32, 1),), (proposals(33, 1),), "32 proposals"),
    "transforms": (X.IKE_SA_INIT, (proposals(1, 255),), (proposals(2, 128),), "255 transforms"),
    "transforms of many proposals": (X.IKE_SA_INIT, (proposals(5, 51),), (proposals(32, 8),), "255 transforms"),
    "attributes of a transform": (X.IKE_SA_INIT, (_strange(4),), (_strange(5),), "4 attributes"),
    "attributes": (X.IKE_AUTH, (attributes(256),), (attributes(257),), "256 attributes"),
    "SPIs": (X.INFORMATIONAL, (Delete(3, (SPI,) * 256),) * 8, (Delete(3, (SPI,) * 257),), "256"),
    "certificates": (X.IKE_AUTH, (Certificate(4, b"0"),) * 16, (Certificate(4, b"0"),) * 17, "16 times"),
}


def shapes() -> Iterator[Shape]:
    for name, (exchange, enough, too_many, _) in LIMITS.items():
        yield _opened(name, exchange, *enough)
        yield _opened(f"{name}, too many", exchange, *too_many)
    yield from _in_the_clear()
    yield from _sealed()


def _in_the_clear() -> Iterator[Shape]:
    fit = ROOM // limits.PAYLOADS - 4
    yield _clear("64 notifies", *(Notify(16430),) * 64)
    yield _clear("64 large notifies", *(Notify(16430, bytes(fit - 4)),) * 64)
    yield _clear("4,000 notifies", *(Notify(16430),) * 4000)
    yield _clear("65 vendor IDs of nothing", *(VendorId(b""),) * 65)
    for count, transforms in ((1, 255), (32, 7), (33, 1), (32, 150), (20, 255), (255, 20)):
        yield _clear(f"{count} proposals of {transforms} transforms", common(count, transforms))
    yield _clear("64 offers of 80 transforms", *(common(1, 80),) * 64)
    yield _clear("a nonce of 64 KiB", Nonce(bytes(ROOM - 4)))
    yield _clear("a key of 64 KiB", KeyExchange(31, bytes(ROOM - 8)))
    yield _clear("unknown payloads of 64 KiB", *(Unknown(200, False, bytes(fit)),) * 64)
    envelope = build_clear(header(X.IKE_AUTH), (Unknown(int(P.SK), False, bytes(ROOM - 4)),))
    yield Shape("an envelope of 64 KiB", partial(parse_envelope, envelope), ())


def _sealed() -> Iterator[Shape]:
    both = TsInitiator(selectors(255)), TsResponder(selectors(255))
    notifies = (Notify(16384, SPI),) * 64
    yield _opened("selectors", X.IKE_AUTH, *both)
    for count in (2000, 4000):
        claimed = build_ts(TsInitiator(_narrow(255))) + build_ts(TsInitiator(_narrow(1)))[4:] * (count - 255)
        name, exchange = f"{count} selectors", X.IKE_AUTH
        yield _opened(name, exchange, Unknown(int(P.TSI), False, claimed), looked_at=(TsInitiator(_narrow(255)),))
    strange = tuple(Selector(9, 0, 0, 0, V4, b"") for _ in range(255))
    yield _opened("strange selectors", X.IKE_AUTH, TsInitiator(strange))
    yield _opened("16,000 SPIs", X.INFORMATIONAL, Delete(3, (SPI,) * 16000))
    yield _opened("16,000 attributes", X.IKE_AUTH, Configuration(1, (Attribute(1),) * 16000))
    yield _opened("64 certificates", X.IKE_AUTH, *(Certificate(4, bytes(1000)),) * 64)
    yield _opened("64 KiB of blobs", X.IKE_AUTH, *(Unknown(99, False, bytes(1000)),) * 60)
    yield _opened("a child of everything", X.CREATE_CHILD_SA, proposals(5, 51), *both, attributes(256), *notifies[:60])
    person = (IdInitiator(2, b"x" * 200), *(Certificate(4, bytes(1000)),) * 16)
    everything = (*person, attributes(256), proposals(5, 51), *both)
    yield _opened("an IKE_AUTH of everything", X.IKE_AUTH, *everything, *notifies[len(everything) :])


def _narrow(count: int) -> tuple[Selector, ...]:
    return (Selector(7, 0, 0, 65535, V4, V4),) * count


def _clear(name: str, *payloads: Payload) -> Shape:
    return Shape(name, partial(parse_clear, build_clear(header(X.IKE_SA_INIT), payloads)), payloads)


def _opened(name: str, exchange: int, *payloads: Payload, looked_at: Payloads = ()) -> Shape:
    first, plaintext = encode_payloads(payloads)
    return Shape(name, partial(parse_payloads, first, plaintext, exchange), looked_at or payloads)
