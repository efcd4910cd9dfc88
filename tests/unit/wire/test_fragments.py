"""Messages in fragments (RFC 7383): cut, shuffled, repeated, cut anew, never complete, too long."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from wire_cases import header

from xdpsec.errors import LocalError, PeerError
from xdpsec.numbers import ExchangeType, PayloadType
from xdpsec.wire import limits
from xdpsec.wire.fragments import Reassembly, split
from xdpsec.wire.message import Envelope, build_clear, encode_payloads, parse_envelope, parse_payloads
from xdpsec.wire.payloads import Certificate, Notify, Unknown

AUTH = ExchangeType.IKE_AUTH
PAYLOADS = (Certificate(4, bytes(range(256)) * 8), Notify(16384))
FIRST, PLAINTEXT = encode_payloads(PAYLOADS)


def seal(aad: bytes, plaintext: bytes) -> bytes:
    return b"\xee" * 8 + plaintext + bytes(16)


def gcm(length: int) -> int:
    return 8 + length + 16


def cbc(length: int) -> int:
    """IV, padding to blocks with its length byte, ICV of 16."""
    return 16 + (length // 16 + 1) * 16 + 16


def seal_cbc(aad: bytes, plaintext: bytes) -> bytes:
    return plaintext.ljust(cbc(len(plaintext)), b"\0")


def pieces(largest: int, message_id: int = 1, plaintext: bytes = PLAINTEXT) -> list[bytes]:
    return split(header(AUTH, message_id=message_id), FIRST, plaintext, seal, gcm, largest)


def opened(data: bytes) -> tuple[Envelope, bytes]:
    fragment = parse_envelope(data)
    return fragment, fragment.body[8:-16]


def test_layout() -> None:
    """RFC 7383 sec. 2.5: SKF names the first payload in the first fragment only; then number and total."""
    data = pieces(600)
    assert len(data) == 4
    assert all(len(piece) <= 600 for piece in data)
    assert [piece[16] for piece in data] == [53] * 4
    assert [piece[28:36].hex(" ", 2) for piece in data] == [
        *("2500 023c 0001 0004", "0000 023c 0002 0004", "0000 023c 0003 0004"),
        f"0000 {len(data[3]) - 28:04x} 0004 0004",
    ]
    fragment = parse_envelope(data[1])
    assert (fragment.first, fragment.number, fragment.total) == (0, 2, 4)
    assert fragment.aad == data[1][:36]  # up to and including Total Fragments


@pytest.mark.parametrize(("overhead", "sealer"), [(gcm, seal), (cbc, seal_cbc)])
@pytest.mark.parametrize("largest", range(548, 600, 7))
def test_never_longer_than_the_path_takes(
    overhead: Callable[[int], int], sealer: Callable[[bytes, bytes], bytes], largest: int
) -> None:
    data = split(header(AUTH), FIRST, PLAINTEXT, sealer, overhead, largest)
    assert all(len(piece) <= largest for piece in data)
    room = max(length for length in range(largest) if 36 + overhead(length) <= largest)
    assert len(data) == -(-len(PLAINTEXT) // room)


def test_every_order_and_repeats_come_together() -> None:
    chance = random.Random(7)
    for _ in range(50):
        data = pieces(chance.randrange(200, 3000)) * 2
        chance.shuffle(data)
        collected = Reassembly()
        whole = [found for piece in data if (found := collected.add(*opened(piece)))]
        assert whole[0] == (FIRST, PLAINTEXT)
        assert parse_payloads(*whole[0], AUTH) == PAYLOADS


def test_what_is_held_is_not_wanted_again() -> None:
    data = [opened(piece) for piece in pieces(600)]
    collected = Reassembly()
    collected.add(*data[2])
    assert not collected.wants(data[2][0])
    assert collected.wants(data[1][0])


def test_smaller_pieces_begin_anew_larger_ones_are_old() -> None:
    """RFC 7383 sec. 2.6: a sender that tries smaller fragments has a larger total."""
    large, small = ([opened(piece) for piece in pieces(size)] for size in (1200, 600))
    collected = Reassembly()
    assert collected.add(*large[0]) is None
    assert [collected.add(*piece) for piece in small[:-1]] == [None] * 3
    assert not collected.wants(large[1][0])
    assert collected.add(*large[1]) is None
    assert collected.add(*small[-1]) == (FIRST, PLAINTEXT)


def test_the_next_message_drops_the_one_before() -> None:
    old, new = ([opened(piece) for piece in pieces(1200, message_id)] for message_id in (1, 2))
    collected = Reassembly()
    collected.add(*old[0])
    assert [collected.add(*piece) for piece in new] == [None, (FIRST, PLAINTEXT)]


def test_an_answer_with_the_id_of_a_request_is_another_message() -> None:
    """Each side counts its own requests (RFC 7296 sec. 2.2): parts of the two are not put together."""
    request = opened(pieces(1200)[0])
    other = PLAINTEXT[::-1]
    answer = split(header(AUTH, response=True, message_id=1), FIRST, other, seal, gcm, 1200)
    collected = Reassembly()
    collected.add(*request)
    assert [collected.add(*opened(piece)) for piece in answer] == [None, (FIRST, other)]
    assert collected.add(*opened(pieces(1200)[1])) is None


def test_fragments_that_never_complete_hold_no_more_than_a_message() -> None:
    """The worst that one peer can park with us: then all of it is dropped."""
    part = bytes(limits.MESSAGE // 8)
    collected = Reassembly()
    envelopes = [Envelope(header(AUTH), (), 0, b"", b"", number, 128) for number in range(2, 12)]
    for envelope in envelopes[:8]:
        assert collected.add(envelope, part) is None
    with pytest.raises(PeerError, match="more than 65536 bytes"):
        collected.add(envelopes[8], b"x")
    assert collected.wants(envelopes[0])


BAD_NUMBERS = ((0, 1), (1, 0), (0, 0), (3, 2), (1, 129), (129, 129), (65535, 65535))


@pytest.mark.parametrize(("number", "total"), BAD_NUMBERS)
def test_numbers_that_cannot_be(number: int, total: int) -> None:
    body = number.to_bytes(2, "big") + total.to_bytes(2, "big") + bytes(40)
    data = build_clear(header(AUTH), (Unknown(int(PayloadType.SKF), False, body),))
    with pytest.raises(PeerError, match=f"fragment {number} of {total}"):
        parse_envelope(data)


def test_only_the_first_names_a_payload() -> None:
    data = bytearray(pieces(600)[1])
    data[28] = PayloadType.CERT
    with pytest.raises(PeerError, match="fragment 2 of 4, first payload 37"):
        parse_envelope(bytes(data))


def test_cut_at_each_length() -> None:
    data = pieces(600)[3]
    for length in range(len(data)):
        with pytest.raises(PeerError):
            parse_envelope(data[:length])
    short = build_clear(header(AUTH), (Unknown(int(PayloadType.SKF), False, b"\0\1\0"),))
    with pytest.raises(PeerError, match="cut short"):
        parse_envelope(short)


def test_our_own_mistakes() -> None:
    with pytest.raises(LocalError, match="holds nothing"):
        pieces(60)
    with pytest.raises(LocalError, match="more than 128"):
        pieces(200, plaintext=bytes(60000))
