"""Certificates for both sides, made anew for each run: one CA, and for every kind of key one certificate a side."""

from __future__ import annotations

import datetime
import ipaddress
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
    return _authority("Interop CA")


@cache
def _other_authority() -> Pair:
    return _authority("Another CA")


def _authority(called: str) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, called)])
    builder = _builder(name, name, key, 30).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(usage, critical=True).add_extension(own, critical=False)
    return _pem(builder.sign(key, hashes.SHA256()), key)


@cache
def leaf(identity: str, kind: str, wrong: str = "") -> Pair:
    """The certificate of `identity`, which is its only name. What may be `wrong` with it: "expired", "authority" (it
    comes from another), "revoked" (another that is good, until revoking() lists it)."""
    key = MAKERS[kind]()
    issuer, signer = _issuer(_other_authority() if wrong == "authority" else authority())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{kind} of {identity}")])
    name = _name(identity)
    if isinstance(name, x509.DirectoryName):
        subject = name.value
    builder = _builder(subject, issuer.subject, key, -1 if wrong == "expired" else 30)
    builder = builder.add_extension(_key_of(signer), critical=False)
    if not isinstance(name, x509.DirectoryName):
        builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
    return _pem(builder.sign(signer, hashes.SHA256()), key)


def _key_of(signer: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())


def _name(identity: str) -> x509.GeneralName:
    """The identity of a case as a certificate has it."""
    if "=" in identity:
        rdns = x509.Name.from_rfc4514_string(",".join(reversed(identity.split(", ")))).rdns
        return x509.DirectoryName(x509.Name(rdns))
    if "@" in identity:
        return x509.RFC822Name(identity)
    try:
        return x509.IPAddress(ipaddress.ip_address(identity))
    except ValueError:
        return x509.DNSName(identity)


def _issuer(by: Pair) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    signer = serialization.load_pem_private_key(by.key.encode(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    return x509.load_pem_x509_certificate(by.certificate.encode()), signer


@cache
def revoking(revoked: Pair) -> str:
    """A list of the authority that names this certificate, in PEM."""
    issuer, signer = _issuer(authority())
    now = datetime.datetime.now(datetime.UTC)
    serial = x509.load_pem_x509_certificate(revoked.certificate.encode()).serial_number
    row = x509.RevokedCertificateBuilder(serial, now - DAY).build()
    builder = x509.CertificateRevocationListBuilder(issuer.subject, now - DAY, now + DAY)
    builder = builder.add_revoked_certificate(row).add_extension(x509.CRLNumber(1), critical=False)
    builder = builder.add_extension(_key_of(signer), critical=False)  # by which strongSwan finds the list
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: CertificateIssuerPrivateKeyTypes, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    return builder.not_valid_before(now - 30 * DAY).not_valid_after(now + days * DAY)


def _pem(certificate: x509.Certificate, key: CertificateIssuerPrivateKeyTypes) -> Pair:
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    return Pair(certificate.public_bytes(encoding).decode(), private.decode())
