"""Published answers for the keys of IKEv2 (data/ike: each file names its source on top)."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from xdpsec.crypto import exchange, modp
from xdpsec.crypto.prf import key_length, nonce_key, prf, prf_plus
from xdpsec.crypto.sealed import Sealer
from xdpsec.crypto.suites import ike_suite
from xdpsec.errors import PeerError
from xdpsec.numbers import Encr, Integ, Ke, Prf

DATA = Path(__file__).parent / "data" / "ike"
Case = dict[str, str]


def cases(name: str) -> list[Case]:
    """Blocks of `key = value` lines, apart by blank lines; # starts a comment."""
    blocks: list[Case] = [{}]
    for line in (DATA / name).read_text().splitlines():
        if not line:
            blocks.append({})
        elif not line.startswith("#"):
            key, _, value = line.partition(" =")
            blocks[-1][key] = value.strip()
    return [block for block in blocks if block]


def unhex(case: Case, *names: str) -> list[bytes]:
    return [bytes.fromhex(case[name]) for name in names]


@pytest.mark.parametrize("case", cases("prf.txt"), ids=lambda case: f"{case['prf']}-{case['case']}")
def test_prf(case: Case) -> None:
    key, data, out = unhex(case, "key", "data", "out")
    assert prf(Prf[case["prf"]], key, data) == out


@pytest.mark.parametrize("case", cases("kdf.txt"), ids=lambda case: case["name"])
def test_keys_of_an_ike_sa(case: Case) -> None:
    """SKEYSEED, what prf+ makes of it, KEYMAT of a child without and with its own exchange, SKEYSEED of a rekey."""
    number = Prf[case["prf"]]
    ni, nr, spi_i, spi_r, seed, dkm, child = unhex(case, "ni", "nr", "spi_i", "spi_r", "skeyseed", "dkm", "dkm_child")
    if "gir" in case:
        assert prf(number, nonce_key(number, ni, nr), bytes.fromhex(case["gir"])) == seed
    assert prf_plus(number, seed, ni + nr + spi_i + spi_r, len(dkm)) == dkm
    sk_d = dkm[: key_length(number)]
    assert prf_plus(number, sk_d, ni + nr, len(child)) == child
    if "gir_new" in case:
        new, child_dh, rekeyed = unhex(case, "gir_new", "dkm_child_dh", "skeyseed_rekey")
        assert prf_plus(number, sk_d, new + ni + nr, len(child_dh)) == child_dh
        assert prf(number, sk_d, new + ni + nr) == rekeyed


def drawn(value: bytes) -> exchange.Random:
    """Chance that makes just this private value: what is drawn is one less, and has more bytes."""
    return lambda count: (int.from_bytes(value, "big") - 1).to_bytes(count, "big")


@pytest.mark.parametrize("case", cases("ecdh.txt"), ids=lambda case: case["group"])
def test_curves(case: Case) -> None:
    group = Ke[case["group"]]
    i, gi, r, gr, secret = unhex(case, "i", "gi", "r", "gr", "secret")
    ours = exchange.start(group, drawn(i))
    assert ours.public == gi
    theirs = exchange.respond(group, gi, drawn(r))
    assert theirs == (gr, secret)
    assert ours.finish(gr) == secret


@pytest.mark.parametrize("case", cases("x7748.txt"), ids=lambda case: f"{case['group']}-{case['scalar'][:8]}")
def test_montgomery(case: Case) -> None:
    scalar, u, out = unhex(case, "scalar", "u", "out")
    assert exchange.start(Ke[case["group"]], lambda _: scalar).finish(u) == out


@pytest.mark.parametrize("case", cases("mlkem.txt"), ids=lambda case: f"{case['group']}-{case['case']}")
def test_kems(case: Case) -> None:
    group = Ke[case["group"]]
    seed, key, ciphertext, secret, foreign, rejected = unhex(
        {**case, "seed": case["d"] + case["z"]}, "seed", "key", "ciphertext", "secret", "foreign", "rejected"
    )
    ours = exchange.start(group, lambda _: seed)
    assert ours.public == key
    assert ours.finish(ciphertext) == secret
    assert exchange.start(group, lambda _: seed).finish(foreign) == rejected


def acvp(kind: str) -> list[Case]:
    return [case for case in cases("mlkem-acvp.txt") if case["kind"] == kind]


def by_number(case: Case) -> str:
    return f"{case['group']}-{case['case']}"


@pytest.mark.parametrize("case", acvp("keygen"), ids=by_number)
def test_kem_keys(case: Case) -> None:
    d, z, key = unhex(case, "d", "z", "key")
    assert exchange.start(Ke[case["group"]], lambda _: d + z).public == key


@pytest.mark.parametrize("case", acvp("decapsulation"), ids=by_number)
def test_kem_secrets(case: Case) -> None:
    d, z, ciphertext, secret = unhex(case, "d", "z", "ciphertext", "secret")
    assert exchange.start(Ke[case["group"]], lambda _: d + z).finish(ciphertext) == secret


@pytest.mark.parametrize("case", acvp("key check"), ids=by_number)
def test_kem_keys_of_a_peer(case: Case) -> None:
    (key,) = unhex(case, "key")
    if case["passes"] == "yes":
        exchange.respond(Ke[case["group"]], key, drawn(bytes(32)))
    else:
        with pytest.raises(PeerError):
            exchange.respond(Ke[case["group"]], key, drawn(bytes(32)))


@pytest.mark.parametrize("case", cases("aead.txt"), ids=lambda case: f"{case['encr']}-{case['bits']}-{case['key'][:4]}")
def test_aeads(case: Case) -> None:
    suite = ike_suite(Encr[case["encr"]], int(case["bits"]), Prf.HMAC_SHA2_256)
    key, nonce, aad, plaintext, sealed = unhex(case, "key", "nonce", "aad", "plaintext", "sealed")
    salt, iv = nonce[: suite.salt], nonce[suite.salt :]
    sealer = Sealer(suite, key + salt, b"")
    assert sealer._aead_seal(iv, plaintext, aad) == sealed
    assert sealer._aead_open(iv, sealed, aad) == plaintext
    with pytest.raises(PeerError):
        sealer.open(aad, iv + sealed[:-1] + bytes([sealed[-1] ^ 1]))


@pytest.mark.parametrize("case", cases("ctr.txt"), ids=lambda case: f"{case['bits']}-{case['iv']}")
def test_counter_mode(case: Case) -> None:
    suite = ike_suite(Encr.AES_CTR, int(case["bits"]), Prf.HMAC_SHA2_256, Integ.HMAC_SHA2_256_128)
    key, nonce, iv, plaintext, ciphertext = unhex(case, "key", "nonce", "iv", "plaintext", "ciphertext")
    encryptor = Sealer(suite, key + nonce, bytes(32))._cipher(iv).encryptor()
    assert encryptor.update(plaintext) + encryptor.finalize() == ciphertext


@pytest.mark.parametrize("group", sorted(modp.GROUPS - {Ke.MODP_1024}))
def test_primes_are_those_of_openssl(group: Ke) -> None:
    words = ("genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", f"group:{group.name.lower()}")
    made = subprocess.run(["openssl", *words], check=True, capture_output=True).stdout
    inside = base64.b64decode(b"".join(made.split(b"-----")[2].split()))
    prime = modp.prime(group).to_bytes(modp.size(group), "big")
    assert inside.endswith(b"\0" + prime + b"\x02\x01\x02")  # SEQUENCE of the prime and INTEGER 2


def test_the_prime_that_openssl_does_not_name() -> None:
    """RFC 2409 sec. 6.2: its first and last digits."""
    digits = f"{modp.prime(Ke.MODP_1024):x}"
    assert len(digits) == 256
    assert digits.startswith("ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd1")
    assert digits.endswith("ee386bfb5a899fa5ae9f24117c4b1fe649286651ece65381ffffffffffffffff")
