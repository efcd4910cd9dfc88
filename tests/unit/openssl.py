"""The openssl command as the other opinion: keys, and signatures made and verified by it."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from xdpsec.crypto.signing import PrivateKey

KINDS = {
    "rsa2048": "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
    "rsa3072": "-algorithm RSA -pkeyopt rsa_keygen_bits:3072",
    "rsa1024": "-algorithm RSA -pkeyopt rsa_keygen_bits:1024",
    "p256": "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    "p384": "-algorithm EC -pkeyopt ec_paramgen_curve:P-384",
    "p521": "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
    "p224": "-algorithm EC -pkeyopt ec_paramgen_curve:P-224",
    "brainpool256": "-algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP256r1",
    "ed25519": "-algorithm ED25519",
    "ed448": "-algorithm ED448",
}


def openssl(*words: object, stdin: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *map(str, words)], input=stdin, capture_output=True, check=check)


@functools.cache
def key_pem(kind: str) -> bytes:
    """A PKCS#8 key, made once for the whole run."""
    return openssl("genpkey", *KINDS[kind].split()).stdout


@functools.cache
def key(kind: str) -> PrivateKey:
    loaded = load_pem_private_key(key_pem(kind), None)
    assert isinstance(loaded, PrivateKey)
    return loaded


def sign(kind: str, octets: bytes, *options: str) -> bytes:
    """The signature value that `openssl pkeyutl` makes."""
    with tempfile.TemporaryDirectory() as folder:
        files = _files(folder, kind, octets)
        return openssl("pkeyutl", "-sign", "-rawin", "-inkey", files[0], "-in", files[1], *options).stdout


def verifies(kind: str, octets: bytes, value: bytes, *options: str) -> bool:
    """Whether `openssl pkeyutl` takes `value` for the signature of `octets`."""
    with tempfile.TemporaryDirectory() as folder:
        files = _files(folder, kind, octets)
        given = Path(folder, "signature")
        given.write_bytes(value)
        words = ("pkeyutl", "-verify", "-rawin", "-inkey", files[0], "-in", files[1], "-sigfile", given)
        return openssl(*words, *options, check=False).returncode == 0


def _files(folder: str, kind: str, octets: bytes) -> tuple[Path, Path]:
    inkey, data = Path(folder, "key"), Path(folder, "octets")
    inkey.write_bytes(key_pem(kind))
    data.write_bytes(octets)
    return inkey, data
