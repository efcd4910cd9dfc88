"""Key exchanges: both halves agree, hostile values are refused, no private value serves twice."""

from __future__ import annotations

import pickle
import secrets
from typing import TypeVar

import pytest

from xdpsec.crypto import exchange, modp
from xdpsec.crypto.jobs import FinishExchange, RespondExchange, StartExchange
from xdpsec.errors import LocalError, PeerError
from xdpsec.numbers import Ke, NotifyType

T = TypeVar("T")

#: Group -> bytes of the initiator's value, the responder's, the secret (the RFCs in exchange.py).
SIZES = {
    Ke.MODP_1024: (128, 128, 128),
    Ke.MODP_1536: (192, 192, 192),
    Ke.MODP_2048: (256, 256, 256),
    Ke.MODP_3072: (384, 384, 384),
    Ke.MODP_4096: (512, 512, 512),
    Ke.MODP_6144: (768, 768, 768),
    Ke.MODP_8192: (1024, 1024, 1024),
    Ke.ECP_256: (64, 64, 32),
    Ke.ECP_384: (96, 96, 48),
    Ke.ECP_521: (132, 132, 66),
    Ke.BRAINPOOL_256: (64, 64, 32),
    Ke.BRAINPOOL_384: (96, 96, 48),
    Ke.BRAINPOOL_512: (128, 128, 64),
    Ke.X25519: (32, 32, 32),
    Ke.X448: (56, 56, 56),
    Ke.ML_KEM_768: (1184, 1088, 32),
    Ke.ML_KEM_1024: (1568, 1568, 32),
}


def test_every_group_has_its_sizes() -> None:
    assert set(SIZES) == exchange.GROUPS


@pytest.mark.parametrize("group", SIZES)
def test_halves_agree(group: Ke) -> None:
    private = exchange.start(group, secrets.token_bytes)
    public, secret = exchange.respond(group, private.public, secrets.token_bytes)
    assert (len(private.public), len(public), len(secret)) == SIZES[group]
    assert private.finish(public) == secret


@pytest.mark.parametrize("group", SIZES)
def test_a_private_value_serves_once(group: Ke) -> None:
    private = exchange.start(group, secrets.token_bytes)
    public, _ = exchange.respond(group, private.public, secrets.token_bytes)
    private.finish(public)
    with pytest.raises(LocalError):
        private.finish(public)


def test_a_private_value_outlives_a_bad_one_of_the_peer() -> None:
    """A stranger can send that before the peer answers."""
    private, peer = (exchange.start(Ke.X25519, secrets.token_bytes) for _ in range(2))
    for bad in (bytes(31), bytes(32)):
        with pytest.raises(PeerError):
            private.finish(bad)
    assert private.finish(peer.public) == peer.finish(private.public)
    with pytest.raises(LocalError):
        private.finish(peer.public)


@pytest.mark.parametrize("group", SIZES)
@pytest.mark.parametrize("change", [-1, 1])
def test_other_lengths_are_refused(group: Ke, change: int) -> None:
    first, second, _ = SIZES[group]
    private = exchange.start(group, secrets.token_bytes)
    with pytest.raises(PeerError, match="bytes instead of") as responding:
        exchange.respond(group, bytes(first + change), secrets.token_bytes)
    with pytest.raises(PeerError, match="bytes instead of") as finishing:
        private.finish(bytes(second + change))
    assert responding.value.notify == finishing.value.notify == NotifyType.INVALID_SYNTAX


def hostile() -> list[tuple[Ke, str, bytes]]:
    """Values of the right length that RFC 6989 and RFC 8031 refuse."""
    rows = []
    for group in (Ke.MODP_2048, Ke.MODP_3072):
        prime, size = modp.prime(group), modp.size(group)
        for name, number in (("0", 0), ("1", 1), ("p-1", prime - 1), ("p", prime), ("p+1", prime + 1)):
            rows.append((group, name, number.to_bytes(size, "big")))
    for group, prime in (
        (Ke.ECP_256, (1 << 256) - (1 << 224) + (1 << 192) + (1 << 96) - 1),
        (Ke.ECP_384, (1 << 384) - (1 << 128) - (1 << 96) + (1 << 32) - 1),
        (Ke.ECP_521, (1 << 521) - 1),
        (Ke.BRAINPOOL_256, 0xA9FB57DBA1EEA9BC3E660A909D838D726E3BF623D52620282013481D1F6E5377),
    ):
        half = SIZES[group][0] // 2
        point = exchange.start(group, secrets.token_bytes).public
        rows.append((group, "zeros", bytes(2 * half)))
        rows.append((group, "off the curve", point[:-1] + bytes([point[-1] ^ 1])))
        rows.append((group, "x is the prime", prime.to_bytes(half, "big") + point[half:]))
    orders = (0, 1, 325606250916557431795983626356110631294008115727848805560023387167927233504)
    rows += [(Ke.X25519, f"low order {number}", number.to_bytes(32, "little")) for number in orders]
    rows += [(Ke.X448, f"low order {number}", number.to_bytes(56, "little")) for number in (0, 1)]
    for group in (Ke.ML_KEM_768, Ke.ML_KEM_1024):
        key = exchange.start(group, secrets.token_bytes).public
        rows.append((group, "a coefficient is q", b"\x01\x0d" + key[2:]))  # 0xd01 = 3329, little-endian 12 bits
    return rows


@pytest.mark.parametrize(("group", "name", "value"), hostile(), ids=lambda part: part if isinstance(part, str) else "")
def test_hostile_values_are_refused(group: Ke, name: str, value: bytes) -> None:
    with pytest.raises(PeerError) as refused:
        exchange.respond(group, value, secrets.token_bytes)
    assert refused.value.notify == NotifyType.INVALID_SYNTAX
    if group not in exchange.KEMS:
        with pytest.raises(PeerError):
            exchange.start(group, secrets.token_bytes).finish(value)


def test_a_forged_ciphertext_gives_another_secret() -> None:
    private = exchange.start(Ke.ML_KEM_768, secrets.token_bytes)
    ciphertext, secret = exchange.respond(Ke.ML_KEM_768, private.public, secrets.token_bytes)
    assert private.finish(bytes([ciphertext[0] ^ 1]) + ciphertext[1:]) != secret


def test_unknown_groups_are_the_callers_fault() -> None:
    with pytest.raises(LocalError):
        exchange.start(Ke.MODP_2048_256, secrets.token_bytes)
    with pytest.raises(LocalError):
        exchange.respond(99, b"", secrets.token_bytes)


def test_chance_is_handed_in() -> None:
    for group in (Ke.X25519, Ke.X448, Ke.ECP_256, Ke.BRAINPOOL_512, Ke.ML_KEM_768):
        one, other = (exchange.start(group, lambda count: b"\x5a" * count) for _ in range(2))
        assert one.public == other.public


def there(value: T) -> T:
    """The value as it comes out at the other end of a pipe."""
    travelled: T = pickle.loads(pickle.dumps(value))
    return travelled


@pytest.mark.parametrize("group", sorted(group for group in SIZES if exchange.slow(group)))
def test_slow_groups_travel(group: Ke) -> None:
    private = there(there(StartExchange(group)).run())
    public, secret = there(RespondExchange(group, private.public)).run()
    job = there(FinishExchange(private, public))
    assert job.slow
    assert str(private._key) not in repr(job)
    assert job.run() == secret


def test_a_job_draws_no_chance() -> None:
    assert not StartExchange(Ke.X25519).slow
    with pytest.raises(LocalError):
        StartExchange(Ke.X25519).run()
