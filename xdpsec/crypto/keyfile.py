"""Private keys in files: PKCS#8 (RFC 5958), encrypted by PBES2 with scrypt and AES-256-CBC (RFC 8018, 7914).

pyca reads scrypt but writes PBKDF2 with few rounds, so the outer shell is written here; scrypt and AES stay OpenSSL's.
Bytes in, keys out: who may read a file and where a passphrase comes from is config/passphrase.py's business.
"""

from __future__ import annotations

import base64
import re
import textwrap
from collections.abc import Callable

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from xdpsec.crypto import der
from xdpsec.crypto.signing import PrivateKey
from xdpsec.errors import LocalError

MAX_SIZE = 64 << 10
#: 16 MiB each, so that OpenSSL's own limit (32 MiB) lets every tool read the file; time comes from the lanes.
COST, BLOCK, LANES = 1 << 14, 8, 4
_PBES2, _SCRYPT, _AES256_CBC = "1.2.840.113549.1.5.13", "1.3.6.1.4.1.11591.4.11", "2.16.840.1.101.3.4.1.42"
_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")

#: What `xdpsec key` can make: name -> maker.
KINDS: dict[str, Callable[[], PrivateKey]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
    "rsa4096": lambda: rsa.generate_private_key(65537, 4096),
}

Random = Callable[[int], bytes]


def encrypted(raw: bytes) -> bool:
    """Whether the file wants a passphrase. LocalError when it is no PKCS#8 file."""
    if len(raw) > MAX_SIZE:
        raise LocalError("is larger than 64 KiB; name a file with one private key")
    label = _LABEL.search(raw)
    if label is None:
        try:
            first = der.items(der.only(raw, der.SEQUENCE), 1)
        except ValueError:
            raise LocalError("holds no private key; make one with xdpsec key") from None
        return bool(first) and first[0][0] == der.SEQUENCE
    if label[1] not in (b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY"):
        shown = label[1].decode()
        raise LocalError(f"holds {shown}, not PKCS#8; turn a key into that with openssl pkcs8 -topk8 -scrypt")
    return label[1] == b"ENCRYPTED PRIVATE KEY"


def load(raw: bytes, passphrase: bytes | None = None) -> PrivateKey:
    """The key in a PKCS#8 file, PEM or DER. LocalError, which says nothing of the passphrase, when that cannot be."""
    wants = encrypted(raw)
    if wants and not passphrase:
        raise LocalError("is encrypted; say where its passphrase is (passphrase of auth)")
    read = load_pem_private_key if _LABEL.search(raw) else load_der_private_key
    try:
        key = read(raw, passphrase if wants else None)
    except ValueError:
        text = "cannot be unlocked with this passphrase" if wants else "holds no private key that we can read"
        raise LocalError(f"{text}; check it with openssl pkey -noout -in FILE") from None
    except UnsupportedAlgorithm:
        raise LocalError("holds a key of a kind that we do not know; make one with xdpsec key") from None
    if not isinstance(key, PrivateKey):
        raise LocalError("holds a key that cannot sign in IKE; make one with xdpsec key")
    return key


def store(key: PrivateKey, passphrase: bytes, random: Random) -> bytes:
    """The key as a PKCS#8 file, PEM; an empty passphrase leaves it unencrypted."""
    if not passphrase:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    salt, iv = random(16), random(16)
    kdf = Scrypt(salt=salt, length=32, n=COST, r=BLOCK, p=LANES)
    pad = PKCS7(128).padder()
    seal = Cipher(algorithms.AES256(kdf.derive(passphrase)), modes.CBC(iv)).encryptor()
    sealed = seal.update(pad.update(plain) + pad.finalize()) + seal.finalize()
    numbers = (der.integer(number) for number in (COST, BLOCK, LANES))
    derivation = der.sequence(der.oid(_SCRYPT), der.sequence(der.octets(salt), *numbers))
    scheme = der.sequence(der.oid(_AES256_CBC), der.octets(iv))
    algorithm = der.sequence(der.oid(_PBES2), der.sequence(derivation, scheme))
    return _pem("ENCRYPTED PRIVATE KEY", der.sequence(algorithm, der.octets(sealed)))


def _pem(label: str, body: bytes) -> bytes:
    lines = "\n".join(textwrap.wrap(base64.b64encode(body).decode(), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n".encode()
