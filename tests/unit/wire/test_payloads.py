"""Each row of wire_cases.py through build, parse, every cut and a byte too many, per payload and per message."""

from __future__ import annotations

import pytest
from wire_cases import CASES, Case, header

from xdpsec.errors import PeerError
from xdpsec.numbers import ExchangeType, NotifyType, PayloadType
from xdpsec.wire import limits
from xdpsec.wire.header import Header
from xdpsec.wire.message import build_clear, encode_payloads, parse_clear, parse_envelope, parse_payloads
from xdpsec.wire.payloads import Payload, SecurityAssociation
from xdpsec.wire.payloads.table import BY_CLASS, BY_KIND, ROWS

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def generic(body: bytes, following: int = 0, flags: int = 0) -> bytes:
    """A payload with its generic header (RFC 7296 sec. 3.2)."""
    return bytes((following, flags)) + (len(body) + 4).to_bytes(2, "big") + body


def parse(case: Case, body: bytes) -> Payload:
    """The payload of the case with another body, as the only one of a sealed message."""
    (value,) = parse_payloads(case.kind, generic(body), case.exchange)
    return value


def refusal(case: Case, body: bytes) -> PeerError:
    with pytest.raises(PeerError) as refused:
        parse(case, body)
    return refused.value


def test_every_row_of_the_table_has_a_case() -> None:
    assert {case.kind for case in CASES if case.kind in BY_KIND} == {row.kind for row in ROWS}
    assert {type(case.value) for case in CASES} >= set(BY_CLASS)


@each_case
def test_build(case: Case) -> None:
    assert encode_payloads((case.value,)) == (case.kind, generic(case.octets))


@each_case
def test_parse(case: Case) -> None:
    assert parse(case, case.octets) == case.value


@each_case
def test_body_cut_at_each_length(case: Case) -> None:
    """With the payload's length field telling the truth: only the RFC's layout can say that something is missing."""
    for length in range(len(case.octets)):
        body = case.octets[:length]
        if length in case.cuts:
            assert encode_payloads((parse(case, body),)) == (case.kind, generic(body)), length
        else:
            error = refusal(case, body)
            assert error.notify == NotifyType.INVALID_SYNTAX, length
            assert "payload" in str(error)


@each_case
def test_a_byte_more(case: Case) -> None:
    body = case.octets + b"\0"
    if case.open_ended:
        assert encode_payloads((parse(case, body),)) == (case.kind, generic(body))
    else:
        assert refusal(case, body).notify == NotifyType.INVALID_SYNTAX


@each_case
def test_message_cut_at_each_length_or_longer(case: Case) -> None:
    """The lengths inside still claim the whole: of an opened message, and of one in the clear."""
    plaintext = generic(case.octets)
    clear = build_clear(header(case.exchange), (case.value,))
    for length in range(len(plaintext)):
        with pytest.raises(PeerError):
            parse_payloads(case.kind, plaintext[:length], case.exchange)
    for wrong in [clear[:length] for length in range(len(clear))] + [clear + b"\0"]:
        for read in (parse_clear, parse_envelope):
            with pytest.raises(PeerError) as refused:
                read(wrong)
            assert refused.value.notify == NotifyType.INVALID_SYNTAX
    with pytest.raises(PeerError, match="1 bytes follow the last payload"):
        parse_payloads(case.kind, plaintext + b"\0", case.exchange)


@each_case
def test_length_field_at_each_value(case: Case) -> None:
    """A payload that claims less than its header, or more than there is."""
    good = generic(case.octets)
    for claimed in (0, 1, 3, len(good) + 1, 65535):
        with pytest.raises(PeerError, match=f"claims {claimed} bytes"):
            parse_payloads(case.kind, good[:2] + claimed.to_bytes(2, "big") + good[4:], case.exchange)


@each_case
def test_reserved_bits_and_critical_flag_are_ignored(case: Case) -> None:
    """RFC 7296 sec. 2.5, 3.2: the flag says nothing of a payload that is understood; reserved bits say nothing."""
    for flags in (0x7F, 0xFF):
        plaintext = generic(case.octets, flags=flags)
        if case.kind not in BY_KIND and flags & 0x80:
            with pytest.raises(PeerError) as refused:
                parse_payloads(case.kind, plaintext, case.exchange)
            assert refused.value.notify == NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD
            assert refused.value.data == bytes((case.kind,))
        else:
            assert parse_payloads(case.kind, plaintext, case.exchange) == (case.value,)


#: RFC 7296 appendix C, RFC 9242 sec. 3.2, RFC 9370 sec. 2.2.2 and 2.2.4: exchange types by payload.
PLACES = {
    PayloadType.SA: {34, 35, 36},
    PayloadType.KE: {34, 36, 43, 44},
    PayloadType.IDI: {35},
    PayloadType.IDR: {35},
    PayloadType.CERT: {35},
    PayloadType.CERTREQ: {34, 35},
    PayloadType.AUTH: {35},
    PayloadType.NONCE: {34, 36},
    PayloadType.DELETE: {37},
    PayloadType.TSI: {35, 36},
    PayloadType.TSR: {35, 36},
    PayloadType.CP: {35, 36, 37},
    PayloadType.EAP: {35},
}
IN_THE_CLEAR = {PayloadType.SA, PayloadType.KE, PayloadType.CERTREQ, PayloadType.NONCE}
ANYWHERE = {PayloadType.NOTIFY, PayloadType.VENDOR_ID, 200}


@each_case
def test_sealed_in_every_exchange(case: Case) -> None:
    for exchange in (*ExchangeType, 240):
        if case.kind in ANYWHERE or exchange in PLACES[PayloadType(case.kind)]:
            assert parse_payloads(case.kind, generic(case.octets), exchange) == (case.value,), exchange
        else:
            with pytest.raises(PeerError, match="does not belong into") as refused:
                parse_payloads(case.kind, generic(case.octets), exchange)
            assert refused.value.notify == NotifyType.INVALID_SYNTAX


@each_case
def test_in_the_clear_in_every_exchange(case: Case) -> None:
    """Only IKE_SA_INIT has payloads in the clear; a notify may be a hint anywhere (RFC 7296 sec. 1.5, 2.21)."""
    for exchange in (*ExchangeType, 240):
        message = build_clear(header(exchange), (case.value,))
        allowed = exchange == ExchangeType.IKE_SA_INIT and case.kind in IN_THE_CLEAR
        if case.kind in ANYWHERE or allowed:
            assert parse_clear(message).payloads == (case.value,), exchange
        else:
            with pytest.raises(PeerError, match=r"must be encrypted|does not belong into") as refused:
                parse_clear(message)
            assert refused.value.notify == NotifyType.INVALID_SYNTAX


#: More often than once: RFC 7296 appendix C has CERT+, CERTREQ+, N+, V+, D+; how often is ours.
MOST = {PayloadType.CERT: 16, PayloadType.CERTREQ: 16, PayloadType.DELETE: 8} | dict.fromkeys(ANYWHERE, 64)


@each_case
def test_repeated(case: Case) -> None:
    most = MOST.get(case.kind, 1)
    first, plaintext = encode_payloads((case.value,) * most)
    assert parse_payloads(first, plaintext, case.exchange) == (case.value,) * most
    first, plaintext = encode_payloads((case.value,) * (most + 1))
    with pytest.raises(PeerError, match="more than"):
        parse_payloads(first, plaintext, case.exchange)


@each_case
def test_what_is_built_can_be_hashed_and_never_changes(case: Case) -> None:
    assert hash(case.value) == hash(parse(case, case.octets))
    with pytest.raises((AttributeError, TypeError)):
        case.value.more = 1  # type: ignore[union-attr]


def test_header_says_what_it_was_built_from() -> None:
    wanted = Header(b"initSPI.", b"respSPI.", 41, 0x21, 37, False, True, 0x01020304, 36)
    message = build_clear(wanted, (CASES[-1].value, CASES[-1].value))[:28]
    # RFC 7296 sec. 3.1: flags X X R V I X X X from the top, so R is 0x20 and I is 0x08
    assert message.hex(" ", 4) == "696e6974 5350492e 72657370 5350492e c8212520 01020304 0000002a"


def test_common_transforms_are_found_not_built() -> None:
    """On the hot path the same objects serve every handshake."""
    case = CASES[0]
    one, two = parse(case, case.octets), parse(case, case.octets)
    assert isinstance(one, SecurityAssociation)
    assert isinstance(two, SecurityAssociation)
    pairs = zip(one.proposals[0].transforms, two.proposals[0].transforms, strict=True)
    assert all(first is second for first, second in pairs)
    assert limits.TRANSFORMS == 255
