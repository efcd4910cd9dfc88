"""Signatures of AUTH payloads: both ways against the openssl command, which scheme is chosen, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import openssl
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from xdpsec.crypto.announce import Announcement
from xdpsec.crypto.schemes import (
    BY_BLOB,
    ECDSA,
    ECDSA_PLAIN,
    ED448,
    ED25519,
    PKCS1,
    PSS,
    RSA_PLAIN,
    SHA2,
    Scheme,
    preferred,
)
from xdpsec.crypto.signing import Signer, sign, verify
from xdpsec.errors import PeerError
from xdpsec.numbers import AuthMethod, HashAlgorithm, NotifyType

OCTETS = b"octets that two machines agreed upon" * 20
ALL = frozenset(HashAlgorithm) - {HashAlgorithm.SHA1}
VECTORS = Path(__file__).parents[2] / "vectors/data/algorithm-identifiers.txt"
DIGEST = {digest: ("-digest", digest.name.replace("SHA2_", "SHA")) for digest in (*SHA2, HashAlgorithm.SHA1)}
CURVE_OCTETS = {"secp256r1": 32, "secp384r1": 48, "secp521r1": 66}


def options(scheme: Scheme) -> tuple[str, ...]:
    """How the openssl command calls `scheme`."""
    if scheme.hash == HashAlgorithm.IDENTITY:
        return ()
    if scheme in PSS.values():
        padding = ("-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", f"rsa_pss_saltlen:{scheme.salt}")
        return (*DIGEST[scheme.hash], *padding)
    return DIGEST[scheme.hash]


CASES = [
    *(("rsa2048", scheme) for scheme in (*PKCS1.values(), *PSS.values(), RSA_PLAIN)),
    *(("p256", scheme) for scheme in ECDSA.values()),
    *(("p384", ECDSA[digest]) for digest in SHA2),
    ("p521", ECDSA[HashAlgorithm.SHA2_512]),
    ("brainpool256", ECDSA[HashAlgorithm.SHA2_256]),
    *zip(("p256", "p384", "p521"), ECDSA_PLAIN.values(), strict=True),
    ("ed25519", ED25519),
    ("ed448", ED448),
]
NAMES = [f"{kind}-{scheme.method.name}-{scheme}" for kind, scheme in CASES]


def test_identifiers_are_the_published_ones() -> None:
    rows = [line.split() for line in VECTORS.read_text().splitlines() if not line.startswith("#")]
    assert len(rows) == 11
    for family, digest, salt, blob in rows:
        scheme = BY_BLOB[bytes.fromhex(blob)]
        assert (scheme.family.name, scheme.hash.name, scheme.salt) == (family, digest, int(salt))


@pytest.mark.parametrize(("kind", "scheme"), CASES, ids=NAMES)
def test_openssl_verifies_what_we_sign(kind: str, scheme: Scheme) -> None:
    data = sign(openssl.key(kind), scheme, OCTETS)
    value = data
    if scheme.method == AuthMethod.SIGNATURE:
        assert data[1 : 1 + data[0]] == scheme.blob
        value = data[1 + data[0] :]
    if scheme.curve:  # RFC 4754: two numbers of fixed length, which the command does not know
        size = CURVE_OCTETS[scheme.curve]
        assert len(value) == 2 * size
        value = encode_dss_signature(int.from_bytes(value[:size], "big"), int.from_bytes(value[size:], "big"))
    assert openssl.verifies(kind, OCTETS, value, *options(scheme))
    assert not openssl.verifies(kind, OCTETS + b"!", value, *options(scheme))


@pytest.mark.parametrize(("kind", "scheme"), CASES, ids=NAMES)
def test_we_verify_what_openssl_signs(kind: str, scheme: Scheme) -> None:
    value = openssl.sign(kind, OCTETS, *options(scheme))
    if scheme.curve:
        value = b"".join(part.to_bytes(CURVE_OCTETS[scheme.curve], "big") for part in decode_dss_signature(value))
    data = bytes((len(scheme.blob),)) + scheme.blob + value if scheme.blob else value
    public = openssl.key(kind).public_key()
    found = verify(public, scheme.method, data, OCTETS, frozenset(HashAlgorithm))
    assert (found.family, found.hash) == (scheme.family, scheme.hash)
    for wrong in (OCTETS + b"!", b""):
        refuses("signature .* is wrong", public, scheme.method, data, wrong)
    for at in (len(data) - 1, len(data) - len(value) // 2):
        broken = bytearray(data)
        broken[at] ^= 1
        refuses("is wrong", public, scheme.method, bytes(broken), OCTETS)


def refuses(sentence: str, public: object, method: int, data: bytes, octets: bytes) -> None:
    with pytest.raises(PeerError, match=sentence) as caught:
        verify(public, method, data, octets, frozenset(HashAlgorithm))  # type: ignore[arg-type]
    assert caught.value.notify == NotifyType.AUTHENTICATION_FAILED


def test_equal_identifiers_in_other_bytes() -> None:
    """RFC 4055: NULL parameters may be absent; any of our salts may come with any of our hashes."""
    public = openssl.key("rsa2048").public_key()
    bare = PKCS1[HashAlgorithm.SHA2_256].blob[:-2].replace(b"\x30\x0d", b"\x30\x0b", 1)
    value = openssl.sign("rsa2048", OCTETS, *DIGEST[HashAlgorithm.SHA2_256])
    verify(public, AuthMethod.SIGNATURE, bytes((len(bare),)) + bare + value, OCTETS)
    salts = {row.salt: row for row in BY_BLOB.values() if row.family.name == "PSS" and row.hash.name == "SHA2_256"}
    assert set(salts) == {0, 20, 32, 48, 64}
    for salt, row in salts.items():
        padding = ("-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", f"rsa_pss_saltlen:{salt}")
        value = openssl.sign("rsa2048", OCTETS, *DIGEST[row.hash], *padding)
        verify(public, AuthMethod.SIGNATURE, bytes((len(row.blob),)) + row.blob + value, OCTETS)


def test_method_1_takes_the_hash_that_the_signature_names() -> None:
    """RFC 7296 sec. 3.8: SHA-1 is only the default."""
    public = openssl.key("rsa2048").public_key()
    for digest in (HashAlgorithm.SHA1, *SHA2):
        value = openssl.sign("rsa2048", OCTETS, *DIGEST[digest])
        assert verify(public, AuthMethod.RSA, value, OCTETS).hash == digest


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "ed25519"])
@pytest.mark.parametrize("data", [b"", b"\x00", b"\x05\x30", b"\xff" * 300, b"\x01\x30" + b"\0" * 64])
def test_method_14_without_a_known_identifier(kind: str, data: bytes) -> None:
    refuses("do not know", openssl.key(kind).public_key(), AuthMethod.SIGNATURE, data, OCTETS)


@pytest.mark.parametrize("method", [0, 2, 3, 12, 13, 15, 255])
def test_other_methods_are_no_signature(method: int) -> None:
    refuses("no signature", openssl.key("p256").public_key(), method, b"\0" * 64, OCTETS)


@pytest.mark.parametrize(("kind", "scheme"), CASES, ids=NAMES)
def test_key_and_scheme_must_fit(kind: str, scheme: Scheme) -> None:
    data = sign(openssl.key(kind), scheme, OCTETS)
    others = {"rsa2048", "p256", "p384", "ed25519", "ed448"} - {kind}
    if scheme in ECDSA.values():  # any curve goes with any hash
        others -= {"p256", "p384"}
    for other in others:
        refuses("but its certificate has", openssl.key(other).public_key(), scheme.method, data, OCTETS)


@pytest.mark.parametrize("kind", ["rsa1024", "p224"])
def test_weak_keys(kind: str) -> None:
    scheme = PKCS1[SHA2[0]] if kind == "rsa1024" else ECDSA[SHA2[0]]
    refuses("is not taken", openssl.key(kind).public_key(), 14, sign(openssl.key(kind), scheme, OCTETS), OCTETS)


def test_hashes_that_we_did_not_announce() -> None:
    data = sign(openssl.key("rsa2048"), PKCS1[HashAlgorithm.SHA1], OCTETS)
    with pytest.raises(PeerError, match="did not announce"):
        verify(openssl.key("rsa2048").public_key(), AuthMethod.SIGNATURE, data, OCTETS)


# --- which scheme ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "hashes", "scheme"),
    [
        ("rsa2048", ALL, PSS[HashAlgorithm.SHA2_256]),
        ("rsa2048", {HashAlgorithm.SHA2_512, HashAlgorithm.SHA1}, PSS[HashAlgorithm.SHA2_512]),
        ("rsa2048", {HashAlgorithm.SHA1}, RSA_PLAIN),
        ("rsa2048", (), RSA_PLAIN),
        ("p256", ALL, ECDSA[HashAlgorithm.SHA2_256]),
        ("p384", ALL, ECDSA[HashAlgorithm.SHA2_384]),
        ("p521", ALL, ECDSA[HashAlgorithm.SHA2_512]),
        ("p256", {HashAlgorithm.SHA2_384}, ECDSA[HashAlgorithm.SHA2_384]),
        ("p256", (), ECDSA_PLAIN["secp256r1"]),
        ("brainpool256", ALL, ECDSA[HashAlgorithm.SHA2_256]),
        ("ed25519", ALL, ED25519),
        ("ed448", ALL, ED448),
    ],
)
def test_choice_by_announced_hashes(kind: str, hashes: frozenset[int], scheme: Scheme) -> None:
    signer = Signer(openssl.key(kind))
    assert signer.choose(hashes) == scheme
    method, data = signer.sign(OCTETS, hashes)
    assert verify(openssl.key(kind).public_key(), method, data, OCTETS) == scheme
    assert signer.methods(hashes) == (method,)


@pytest.mark.parametrize("kind", ["ed25519", "ed448", "brainpool256"])
def test_no_hash_no_signature(kind: str) -> None:
    signer = Signer(openssl.key(kind))
    assert signer.methods(()) == ()
    with pytest.raises(PeerError, match="SIGNATURE_HASH_ALGORITHMS"):
        signer.sign(OCTETS, ())


def test_what_is_preferred_comes_first() -> None:
    signer = Signer(openssl.key("rsa2048"), prefer=preferred("pkcs1"))
    assert signer.choose(ALL) == PKCS1[HashAlgorithm.SHA2_256]
    assert signer.choose({HashAlgorithm.SHA2_512}) == PKCS1[HashAlgorithm.SHA2_512]
    assert signer.choose(()) == RSA_PLAIN
    assert set(signer.schemes()) == set(Signer(openssl.key("rsa2048")).schemes())
    assert Signer(openssl.key("p256"), prefer=preferred("ecdsa-sha512")).choose(ALL) == ECDSA[HashAlgorithm.SHA2_512]
    assert Signer(openssl.key("p256"), prefer=preferred("auto")).prefers_well
    assert not Signer(openssl.key("p256"), prefer=preferred("pss")).prefers_well


def test_announced_methods_decide() -> None:
    signer = Signer(openssl.key("rsa2048"))
    wish = PKCS1[HashAlgorithm.SHA2_384]
    only = (Announcement(2), Announcement(14, 0, wish.blob))
    assert signer.choose(ALL, only) == wish
    bare = wish.blob[:-2].replace(b"\x30\x0d", b"\x30\x0b", 1)
    assert signer.choose(ALL, (Announcement(14, 3, bare),)) == wish
    assert signer.choose(ALL, (Announcement(1),)) == RSA_PLAIN
    with pytest.raises(PeerError, match="announced no method that fits our RSA-2048 key"):
        signer.choose(ALL, (Announcement(2), Announcement(14, 0, ED25519.blob), Announcement(14, 0, b"\x30\x00")))


def test_private_keys_do_not_show() -> None:
    assert "key" not in repr(Signer(openssl.key("p256")))


def test_a_slow_key_travels() -> None:
    """RSA from 3072 bits on signs in the helper process: the job is pickled there and back."""
    assert Signer(openssl.key("rsa2048")).job(OCTETS, ALL) is None
    assert Signer(openssl.key("p521")).job(OCTETS, ALL) is None
    job = Signer(openssl.key("rsa3072")).job(OCTETS, ALL)
    assert job is not None
    assert job.slow
    there = pickle.loads(pickle.dumps(job))
    method, data = pickle.loads(pickle.dumps(there.run()))
    found = verify(openssl.key("rsa3072").public_key(), method, data, OCTETS)
    assert found == PSS[HashAlgorithm.SHA2_256]
    assert "key" not in repr(job)
    assert str(OCTETS) not in repr(job)
    with pytest.raises(PeerError, match="announced no method"):
        Signer(openssl.key("rsa3072")).job(OCTETS, ALL, (Announcement(2),))
