"""What seals a message: every suite both ways, every flipped bit refused, paddings by their rules, no IV twice."""

from __future__ import annotations

import itertools
import secrets

import pytest

from xdpsec.crypto.sealed import Sealer
from xdpsec.crypto.suites import ENCRS, INTEGS, Suite, ike_suite, is_aead
from xdpsec.errors import LocalError, PeerError
from xdpsec.numbers import Encr, Integ, NotifyType, Prf

AAD = b"header of the message"


def suites() -> list[Suite]:
    """Every combination that may seal IKE."""
    found = []
    for encr, integ in itertools.product(ENCRS, INTEGS):
        if ENCRS[encr].sk and is_aead(encr) == (integ == Integ.NONE):
            found += [ike_suite(encr, bits, Prf.HMAC_SHA2_256, integ) for bits in ENCRS[encr].bits]
    return found


def pair(suite: Suite) -> tuple[Sealer, Sealer]:
    keys = secrets.token_bytes(suite.encr_key), secrets.token_bytes(suite.integ_key)
    return Sealer(suite, *keys), Sealer(suite, *keys)


def name(suite: Suite) -> str:
    return f"{Encr(suite.encr).name}-{suite.bits}-{Integ(suite.integ).name}"


every_suite = pytest.mark.parametrize("suite", suites(), ids=name)


def test_there_are_all_of_them() -> None:
    ciphers = 1 + 3 + 3  # 3DES, AES-CBC and AES-CTR with three key lengths
    aeads = 3 * 3 + 3 * 3 + 1
    assert len(suites()) == ciphers * 6 + aeads


@every_suite
def test_opens_what_was_sealed(suite: Suite) -> None:
    ours, theirs = pair(suite)
    for length in range(34):
        payloads = secrets.token_bytes(length)
        body = ours.seal(AAD, payloads, secrets.token_bytes)
        assert len(body) == ours.length(length)
        assert theirs.open(AAD, body) == payloads


@every_suite
def test_every_flipped_bit_is_met_with_silence(suite: Suite) -> None:
    ours, theirs = pair(suite)
    body = ours.seal(AAD, b"payloads", secrets.token_bytes)
    for index in range(len(body)):
        forged = body[:index] + bytes([body[index] ^ (1 << index % 8)]) + body[index + 1 :]
        with pytest.raises(PeerError) as refused:
            theirs.open(AAD, forged)
        assert refused.value.notify == 0
    with pytest.raises(PeerError) as refused:
        theirs.open(AAD[:-1] + b"!", body)
    assert refused.value.notify == 0


@every_suite
def test_every_shorter_body_is_met_with_silence(suite: Suite) -> None:
    ours, theirs = pair(suite)
    body = ours.seal(AAD, b"payloads", secrets.token_bytes)
    for length in range(len(body)):
        with pytest.raises(PeerError) as refused:
            theirs.open(AAD, body[:length])
        assert refused.value.notify == 0


@every_suite
def test_the_other_direction_has_other_keys(suite: Suite) -> None:
    ours, _ = pair(suite)
    other, _ = pair(suite)
    with pytest.raises(PeerError):
        other.open(AAD, ours.seal(AAD, b"payloads", secrets.token_bytes))


@every_suite
def test_no_iv_comes_twice(suite: Suite) -> None:
    ours, _ = pair(suite)
    bodies = [ours.seal(AAD, b"payloads", secrets.token_bytes) for _ in range(100)]
    assert len({body[: suite.iv] for body in bodies}) == len(bodies)


def test_ivs_of_counter_modes_need_no_chance() -> None:
    """A random IV of 64 bits may come twice; a count does not (SP 800-38D sec. 8.2.1)."""
    ours, _ = pair(ike_suite(Encr.AES_GCM_16, 256, Prf.HMAC_SHA2_256))
    assert [ours.seal(AAD, b"", bytes)[:8] for _ in range(3)] == [n.to_bytes(8, "big") for n in (1, 2, 3)]


def test_ivs_of_block_ciphers_are_drawn() -> None:
    ours, _ = pair(ike_suite(Encr.AES_CBC, 128, Prf.HMAC_SHA2_256, Integ.HMAC_SHA2_256_128))
    assert ours.seal(AAD, b"", lambda count: b"\x5a" * count)[:16] == b"\x5a" * 16


@pytest.mark.parametrize("length", [0, 1, 15, 17, 33])
def test_authentic_parts_of_blocks_are_nonsense(length: int) -> None:
    """Whoever has the keys can still send what no cipher takes; that is said, not raised from below."""
    suite = ike_suite(Encr.AES_CBC, 128, Prf.HMAC_SHA2_256, Integ.HMAC_SHA2_256_128)
    ours, theirs = pair(suite)
    body = bytes(suite.iv + length)
    with pytest.raises(PeerError) as refused:
        theirs.open(AAD, body + ours._mac(AAD + body))
    assert refused.value.notify == (NotifyType.INVALID_SYNTAX if length > suite.block else 0)


@every_suite
def test_padding_longer_than_all_is_nonsense(suite: Suite) -> None:
    ours, theirs = pair(suite)
    long = bytes(suite.block - 1) + bytes([suite.block])  # says one more than there is
    if suite.aead:
        body = bytes(suite.iv) + ours._aead_seal(bytes(suite.iv), long, AAD)
    else:
        encryptor = ours._cipher(bytes(suite.iv)).encryptor()
        body = bytes(suite.iv) + encryptor.update(long) + encryptor.finalize()
        body += ours._mac(AAD + body)
    with pytest.raises(PeerError) as refused:
        theirs.open(AAD, body)
    assert refused.value.notify == NotifyType.INVALID_SYNTAX


def test_longer_padding_than_needed_is_taken() -> None:
    """RFC 7296 sec. 3.14: a sender may pad further, with any bytes."""
    suite = ike_suite(Encr.AES_GCM_16, 128, Prf.HMAC_SHA2_256)
    ours, theirs = pair(suite)
    body = bytes(suite.iv) + ours._aead_seal(bytes(suite.iv), b"payloads" + b"\xee" * 255 + b"\xff", AAD)
    assert theirs.open(AAD, body) == b"payloads"


def test_keys_have_the_suites_lengths_and_do_not_show() -> None:
    suite = ike_suite(Encr.AES_GCM_16, 128, Prf.HMAC_SHA2_256)
    with pytest.raises(LocalError):
        Sealer(suite, bytes(19), b"")
    with pytest.raises(LocalError):
        Sealer(suite, bytes(20), b"x")
    sealer = Sealer(suite, b"\x41" * 20, b"")
    assert "AAAA" not in repr(sealer)
    assert "41" not in repr(sealer)
