"""Whole messages: envelopes, versions, nesting, limits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from wire_cases import header
from wire_shapes import LIMITS

from xdpsec.errors import LocalError, PeerError
from xdpsec.numbers import ExchangeType, NotifyType, PayloadType
from xdpsec.wire import limits
from xdpsec.wire.message import (
    associated_data,
    build_clear,
    build_sealed,
    encode_payloads,
    find,
    find_notify,
    parse_clear,
    parse_envelope,
    parse_payloads,
)
from xdpsec.wire.payloads import (
    Delete,
    Notify,
    Payload,
    Unknown,
    VendorId,
)

ICV = 16
AUTH, INFORMATIONAL, INIT, CHILD = (
    *(ExchangeType.IKE_AUTH, ExchangeType.INFORMATIONAL),
    *(ExchangeType.IKE_SA_INIT, ExchangeType.CREATE_CHILD_SA),
)


def seal(aad: bytes, plaintext: bytes) -> bytes:
    """As long as AES-GCM; what it does is not the codec's."""
    return b"\xee" * 8 + plaintext + bytes(ICV)


def overhead(length: int) -> int:
    return 8 + length + ICV


def sealed(exchange: int, payloads: tuple[Payload, ...]) -> bytes:
    return build_sealed(header(exchange), *encode_payloads(payloads), seal, overhead)


def refused(read: Callable[[], object], match: str) -> PeerError:
    with pytest.raises(PeerError, match=match) as caught:
        read()
    return caught.value


def test_sealed_there_and_back() -> None:
    payloads = (Notify(16384), VendorId(b"me"))
    data = sealed(AUTH, payloads)
    envelope = parse_envelope(data)
    assert envelope.aad + envelope.body == data
    assert len(envelope.aad) == 32
    assert (envelope.clear, envelope.first, envelope.total) == ((), PayloadType.NOTIFY, 0)
    assert parse_payloads(envelope.first, envelope.body[8:-ICV], AUTH) == payloads


def test_sealed_and_empty() -> None:
    """A liveness check has no payload at all (RFC 7296 sec. 1.4)."""
    envelope = parse_envelope(sealed(INFORMATIONAL, ()))
    assert envelope.first == 0
    assert parse_payloads(0, b"", INFORMATIONAL) == ()


def test_sealed_cut_at_each_length_or_longer() -> None:
    data = sealed(AUTH, (Notify(16384),))
    for wrong in [data[:length] for length in range(len(data))] + [data + b"\0"]:
        with pytest.raises(PeerError) as caught:
            parse_envelope(wrong)
        assert caught.value.notify == NotifyType.INVALID_SYNTAX


def test_encrypted_payload_must_be_the_last() -> None:
    body = (Unknown(int(PayloadType.SK), False, bytes(40)), Notify(16384))
    refused(lambda: parse_envelope(build_clear(header(AUTH), body)), "not the last")


def test_payloads_before_the_encrypted_one_are_authenticated_and_in_the_clear() -> None:
    sk = Unknown(int(PayloadType.SK), False, bytes(40))
    data = build_clear(header(AUTH), (VendorId(b"v"), sk))
    envelope = parse_envelope(data)
    assert envelope.clear == (VendorId(b"v"),)
    assert envelope.aad == data[: 28 + 5 + 4]
    refused(lambda: parse_envelope(build_clear(header(AUTH), (Delete(1), sk))), "does not belong|must be encrypted")


@pytest.mark.parametrize("kind", [PayloadType.SK, PayloadType.SKF])
def test_nested(kind: int) -> None:
    first, plaintext = encode_payloads((Notify(16384), Unknown(int(kind), False, bytes(40))))
    refused(lambda: parse_payloads(first, plaintext, AUTH), "within another")
    first, plaintext = encode_payloads((Unknown(int(kind), False, bytes(40)),))
    refused(lambda: parse_payloads(first, plaintext, AUTH), "within another")


def test_encrypted_where_clear_belongs_and_back() -> None:
    refused(lambda: parse_clear(sealed(AUTH, ())), "encrypted payload where a message in the clear")
    refused(lambda: parse_envelope(sealed(INIT, ())), "encrypted payload in IKE_SA_INIT")
    refused(lambda: parse_envelope(build_clear(header(AUTH), (Notify(7),))), "IKE_AUTH must be encrypted")


def test_critical_unknown_payload_is_answered_with_its_number() -> None:
    data = build_clear(header(INIT), (Notify(16384), Unknown(199, True, b"x")))
    error = refused(lambda: parse_clear(data), "unknown type 199")
    assert (error.notify, error.data) == (NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, b"\xc7")


@pytest.mark.parametrize(("version", "known"), [(0x20, True), (0x2F, True), (0x10, False), (0x30, False), (0, False)])
def test_versions(version: int, known: bool) -> None:
    """A higher minor version is spoken with (RFC 7296 sec. 2.5)."""
    data = bytearray(build_clear(header(INIT), (Notify(16384),)))
    data[17] = version
    if known:
        assert parse_clear(bytes(data)).header.version == version
    else:
        error = refused(lambda: parse_clear(bytes(data)), "is not spoken here")
        assert error.notify == NotifyType.INVALID_MAJOR_VERSION


def test_initiator_without_spi() -> None:
    data = build_clear(header(INIT), (Notify(16384),))
    refused(lambda: parse_clear(bytes(8) + data[8:]), "SPI is zero")


def test_what_intauth_covers_counts_only_plaintext() -> None:
    """RFC 9242 sec. 3.3.2: lengths as if there were neither IV nor padding nor ICV."""
    covered = associated_data(header(ExchangeType.IKE_INTERMEDIATE, message_id=1), 34, 40)
    assert covered[16:].hex(" ", 4) == "2e202b08 00000001 00000048 2200002c"


def test_our_own_mistakes_are_not_the_peers() -> None:
    with pytest.raises(LocalError, match="sealed 5 bytes to 6, not 7"):
        build_sealed(header(AUTH), 41, b"12345", lambda aad, plaintext: bytes(6), lambda length: length + 2)
    with pytest.raises(LocalError, match="does not fit"):
        encode_payloads((VendorId(bytes(65532)),))
    with pytest.raises(LocalError, match="does not fit"):
        build_sealed(header(AUTH), 41, bytes(65530), seal, overhead)
    with pytest.raises(LocalError, match="no payload"):
        encode_payloads((b"bytes",))  # type: ignore[arg-type]


def test_find() -> None:
    payloads = (VendorId(b"a"), Notify(1, b"x"), Notify(2, b"y"), VendorId(b"b"))
    assert find(payloads, VendorId) == VendorId(b"a")
    assert find(payloads, Delete) is None
    assert find_notify(payloads, 2) == Notify(2, b"y")
    assert find_notify(payloads, 3) is None


# --- limits ---


@pytest.mark.parametrize("name", LIMITS)
def test_limits(name: str) -> None:
    exchange, enough, too_many, word = LIMITS[name]
    first, plaintext = encode_payloads(enough)
    assert parse_payloads(first, plaintext, exchange) == enough
    first, plaintext = encode_payloads(too_many)
    error = refused(lambda: parse_payloads(first, plaintext, exchange), word)
    assert error.notify == NotifyType.INVALID_SYNTAX


def test_transforms_are_counted_before_one_is_looked_at() -> None:
    """The last of 32 proposals makes it too many: the nonsense within the first is not reached."""
    claims = b"".join(bytes((2 if left else 0, 0, 0, 8, 1, 1, 0, 255)) for left in (True, False))
    first, plaintext = encode_payloads((Unknown(int(PayloadType.SA), False, claims),))
    refused(lambda: parse_payloads(first, plaintext, INIT), "more than 32 proposals or 255 transforms")


def test_longer_than_64_kib() -> None:
    filler = (Unknown(99, False, bytes(32732)),)
    data = build_clear(header(INIT), filler * 2)
    assert len(data) == limits.MESSAGE - 36
    assert len(parse_clear(data).payloads) == 2
    data = build_clear(header(INIT), (*filler * 2, Unknown(99, False, bytes(33))))
    refused(lambda: parse_clear(data), "a message of 65537 bytes")
