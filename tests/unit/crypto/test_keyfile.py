"""Key files: the openssl command reads ours, we read its, and each way of not being one has its sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from openssl import KINDS, key, key_pem, openssl

from xdpsec.crypto import keyfile
from xdpsec.crypto.signing import PrivateKey
from xdpsec.errors import LocalError

WORD = "pässword of öurs".encode()


def plain(one: PrivateKey) -> bytes:
    return one.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("kind", ["rsa2048", "ed25519"])
def test_openssl_reads_what_we_store(tmp_path: Path, kind: str) -> None:
    stored = keyfile.store(key(kind), WORD, os.urandom)
    assert keyfile.encrypted(stored)
    word, file = tmp_path / "word", tmp_path / "key"
    word.write_bytes(WORD)
    file.write_bytes(stored)
    read = openssl("pkey", "-in", file, "-passin", f"file:{word}", "-outform", "DER").stdout
    assert read == openssl("pkey", "-outform", "DER", stdin=key_pem(kind)).stdout
    shown = openssl("asn1parse", "-in", file).stdout
    assert b"PBES2" in shown
    assert b"aes-256-cbc" in shown
    assert b":id-scrypt" in shown or b":scrypt" in shown
    assert plain(keyfile.load(stored, WORD)) == plain(key(kind))
    word.write_bytes(WORD + b"x")
    assert openssl("pkey", "-in", file, "-passin", f"file:{word}", check=False).returncode != 0


@pytest.mark.parametrize("way", [("-scrypt",), ("-v2", "aes-256-cbc"), ("-v2", "aes-128-cbc", "-scrypt")])
@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_we_read_what_openssl_stores(tmp_path: Path, way: tuple[str, ...], form: str) -> None:
    word = tmp_path / "word"
    word.write_bytes(WORD)
    made = openssl("pkcs8", "-topk8", *way, "-passout", f"file:{word}", "-outform", form, stdin=key_pem("p256")).stdout
    assert keyfile.encrypted(made)
    assert plain(keyfile.load(made, WORD)) == plain(key("p256"))
    with pytest.raises(LocalError, match="cannot be unlocked with this passphrase"):
        keyfile.load(made, WORD[:-1])
    for nothing in (None, b""):
        with pytest.raises(LocalError, match="is encrypted; say where its passphrase is"):
            keyfile.load(made, nothing)


@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_unencrypted(form: str) -> None:
    made = openssl("pkey", "-outform", form, stdin=key_pem("ed25519")).stdout
    assert not keyfile.encrypted(made)
    assert plain(keyfile.load(made)) == plain(keyfile.load(made, WORD)) == plain(key("ed25519"))
    assert not keyfile.encrypted(keyfile.store(key("p256"), b"", os.urandom))


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "no private key"),
        (b"nothing", "no private key"),
        (b"x" * (65 << 10), "64 KiB"),
        (b"-----BEGIN CERTIFICATE-----\n", "holds CERTIFICATE, not PKCS#8"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key that we can read"),
        (b"0\x03\x02\x01\x00", "no private key that we can read"),
    ],
)
def test_no_key(raw: bytes, sentence: str) -> None:
    with pytest.raises(LocalError, match=sentence):
        keyfile.load(raw, WORD)


def test_old_forms_and_other_keys(tmp_path: Path) -> None:
    old = openssl("rsa", "-traditional", stdin=key_pem("rsa2048")).stdout
    with pytest.raises(LocalError, match=r"holds RSA PRIVATE KEY, not PKCS#8; .* openssl pkcs8"):
        keyfile.load(old)
    with pytest.raises(LocalError, match="cannot sign in IKE"):
        keyfile.load(openssl("genpkey", "-algorithm", "X25519").stdout)


@given(cut=st.integers(0, 400), change=st.integers(0, 400), to=st.integers(0, 255))
def test_broken_files(cut: int, change: int, to: int) -> None:
    """One sentence, or a key: PBES2 (RFC 8018) has no checksum, so a flipped bit of the seed is another seed. Which
    key it is the certificate tells."""
    stored = bytearray(STORED)
    stored[change % len(stored)] = to
    for raw in (bytes(stored), bytes(stored[: len(stored) - cut - 1])):
        try:
            found = keyfile.load(raw, b"word")
        except LocalError:
            continue
        assert len(plain(found)) == len(plain(key("ed25519")))


STORED = openssl(
    "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-iter", "1", "-passout", "pass:word", stdin=key_pem("ed25519")
).stdout


@pytest.mark.parametrize("kind", keyfile.KINDS)
def test_kinds_that_we_make(kind: str) -> None:
    made = keyfile.KINDS[kind]()
    assert isinstance(made, PrivateKey)
    text = openssl("pkey", "-noout", "-text", stdin=keyfile.store(made, b"", os.urandom)).stdout.decode()
    wanted = {"rsa": f"{kind[3:]} bit", "p": kind.upper().replace("P", "P-"), "ed": kind.upper()}
    assert next(value for start, value in wanted.items() if kind.startswith(start)) in text
    assert set(KINDS) & set(keyfile.KINDS)
