"""`key` and `pki`: what they make is what the openssl command, strongSwan's pki and our own Trust take."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import desk
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from desk import sentence

from xdpsec.crypto.keyfile import KINDS, encrypted
from xdpsec.crypto.trust import Trust
from xdpsec.ike.identities import parse_identity

Xdpsec = Callable[..., desk.Ran]
NAMES = ("gw.example.org", "203.0.113.7", "2001:db8::1", "me@example.org")


@pytest.fixture
def word(tmp_path: Path) -> Path:
    kept = tmp_path / "word"
    kept.write_bytes(b"open sesame\n")
    kept.chmod(0o600)
    return kept


@pytest.mark.parametrize("kind", ["p256", "ed25519", "rsa2048"])
def test_a_key_under_a_passphrase(xdpsec: Xdpsec, tmp_path: Path, word: Path, kind: str) -> None:
    file = tmp_path / "gw.key"
    ran = xdpsec("key", file, "--kind", kind, "--passphrase", word)
    assert (ran.status, ran.out) == (0, f"{file}: {kind}, encrypted\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert encrypted(file.read_bytes())
    subprocess.run(["openssl", "pkey", "-noout", "-in", file, "-passin", f"file:{word}"], check=True)
    sentence(xdpsec("key", file, "--passphrase", word), 1, "exists")


def test_a_key_without_one(xdpsec: Xdpsec, tmp_path: Path) -> None:
    file = tmp_path / "gw.key"
    ran = xdpsec("key", file, "--unencrypted")
    assert "p256, not encrypted: who reads it has the key" in ran.out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    subprocess.run(["openssl", "pkey", "-noout", "-in", file], check=True)


def test_every_kind_has_its_word(xdpsec: Xdpsec, tmp_path: Path) -> None:
    from xdpsec.cli.key import Kind

    assert {kind.value for kind in Kind} == set(KINDS)
    assert xdpsec("key", tmp_path / "x", "--kind", "dsa").status == 2


def made(xdpsec: Xdpsec, folder: Path, word: Path, root_kind: str, kind: str, *names: str) -> tuple[Path, Path]:
    """An authority's certificate and one that it signed."""
    files = {name: folder / name for name in ("root.key", "root.pem", "gw.key", "gw.req", "gw.pem")}
    root, gw = ("--key", files["root.key"], "--passphrase", word), ("--key", files["gw.key"])
    assert xdpsec("key", files["root.key"], "--kind", root_kind, "--passphrase", word).status == 0
    assert xdpsec("key", files["gw.key"], "--kind", kind, "--unencrypted").status == 0
    for file, words in (
        ("root.pem", ("authority", *root, "--subject", "C=DE, O=Firm, CN=root")),
        ("gw.req", ("request", *gw, "--subject", "C=DE, O=Firm, CN=gw", *(w for n in names for w in ("--name", n)))),
        ("gw.pem", ("sign", files["gw.req"], "--authority", files["root.pem"], *root)),
    ):
        ran = xdpsec("pki", *words)
        assert (ran.status, ran.err) == (0, "")
        files[file].write_text(ran.out)
    return files["root.pem"], files["gw.pem"]


@pytest.mark.parametrize(("root_kind", "kind"), [("p256", "p256"), ("ed448", "ed25519"), ("rsa3072", "rsa2048"),
                                                 ("p521", "p384")])  # fmt: skip
def test_others_take_what_it_signs(xdpsec: Xdpsec, tmp_path: Path, word: Path, root_kind: str, kind: str) -> None:
    root, gw = made(xdpsec, tmp_path, word, root_kind, kind, *NAMES)
    strict = ("-x509_strict", "-no-CAfile", "-no-CApath", "-trusted", root)
    subprocess.run(["openssl", "verify", *strict, gw], check=True, capture_output=True)
    if root_kind != "ed448":  # Debian's pki has it in a plugin that is not there
        judged = subprocess.run(["pki", "--verify", "--in", gw, "--cacert", root], capture_output=True, text=True)
        assert "certificate trusted" in judged.stdout, judged
    anchor, leaf = (x509.load_pem_x509_certificate(file.read_bytes()) for file in (root, gw))
    for name in (*NAMES, "C=DE, O=Firm, CN=gw"):
        Trust([anchor]).verify((leaf.public_bytes(Encoding.DER),), parse_identity(name), time.time())


def test_what_is_refused(xdpsec: Xdpsec, tmp_path: Path, word: Path) -> None:
    root, gw = made(xdpsec, tmp_path, word, "p256", "p256", "gw.example.org")
    key, request = tmp_path / "root.key", tmp_path / "gw.req"
    by = ("--authority", root, "--key", key, "--passphrase", word)
    sentence(xdpsec("pki", "sign", root, *by), 1, "no request")
    sentence(
        xdpsec("pki", "sign", request, "--authority", root, "--key", tmp_path / "gw.key"), 1, "not the authority's"
    )
    sentence(xdpsec("pki", "sign", request, "--authority", gw, "--key", tmp_path / "gw.key"), 1, "is no authority")
    sentence(xdpsec("pki", "sign", request, *by, "--days", "0"), 1, "no lifetime")
    sentence(xdpsec("pki", "sign", request, "--authority", request, *by[2:]), 2, str(request), "no certificate")
    broken = bytearray(x509.load_pem_x509_csr(request.read_bytes()).public_bytes(Encoding.DER))
    broken[-1] ^= 1
    ill = tmp_path / "ill.req"
    ill.write_bytes(x509.load_der_x509_csr(bytes(broken)).public_bytes(Encoding.PEM))
    sentence(xdpsec("pki", "sign", ill, *by), 1, "not signed by its own key")
    word.write_bytes(b"another")
    sentence(xdpsec("pki", "authority", *by[2:], "--subject", "CN=x"), 2, str(key), "cannot be unlocked")
    gw_key = ("--key", tmp_path / "gw.key")
    sentence(xdpsec("pki", "authority", *gw_key, "--subject", "gw"), 1, "no distinguished name")
    for name in ("*.example.org", "gw.exämple.org"):
        sentence(xdpsec("pki", "request", *gw_key, "--subject", "CN=x", "--name", name), 1, "write one like")
    os.chmod(key, 0o644)
    sentence(xdpsec("pki", "authority", *by[2:], "--subject", "CN=x"), 1, "open to others")
