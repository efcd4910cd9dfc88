"""Certificates for both sides, made anew for each run: one CA, and for every kind of key one certificate a side."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import NameOID

PSK = "correct horse battery staple"
PPK = "a second secret, of thirty-two bytes or more"
DAY = datetime.timedelta(days=1)
MAKERS: dict[str, Callable[[], CertificateIssuerPrivateKeyTypes]] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "rsa4096": lambda: rsa.generate_private_key(65537, 4096),
    "ecdsa256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ecdsa521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key (PKCS#8, not encrypted), in PEM."""

    certificate: str
    key: str


def kind_of(auth: str) -> str:
    """The kind of key behind a word of the matrix: `rsa/pss-sha384` and `rsa-sha512` need an RSA key, psk none."""
    first = auth.split("-")[0].split("/")[0]
    return first if first in MAKERS else ""


@cache
def authority() -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Interop CA")])
    builder = _builder(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    return _pem(builder.add_extension(usage, critical=True).sign(key, hashes.SHA256()), key)


@cache
def leaf(identity: str, kind: str) -> Pair:
    """The certificate of `identity`, which is its only name."""
    key = MAKERS[kind]()
    issuer = x509.load_pem_x509_certificate(authority().certificate.encode())
    signer = serialization.load_pem_private_key(authority().key.encode(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{kind} of {identity}")])
    builder = _builder(subject, issuer.subject, key).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(identity)]), critical=False
    )
    return _pem(builder.sign(signer, hashes.SHA256()), key)


def _builder(subject: x509.Name, issuer: x509.Name, key: CertificateIssuerPrivateKeyTypes) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    return builder.not_valid_before(now - DAY).not_valid_after(now + 30 * DAY)


def _pem(certificate: x509.Certificate, key: CertificateIssuerPrivateKeyTypes) -> Pair:
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    return Pair(certificate.public_bytes(encoding).decode(), private.decode())
