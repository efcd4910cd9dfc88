"""The peers of the IKE bench: number -> address, identity, secret, certificate, prefix. The same for every side.

Files are written once per kind into a directory. Knows no daemon and no process.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

#: Outer addresses of the peers, and of all that a flood pretends to be.
FIRST = ipaddress.IPv4Address("10.200.0.0")
OUTER, SOURCES = "10.200.0.0/15", 1 << 17
#: Peers from this number on live in a namespace of their own, with these addresses.
GUESTS, GUEST_FIRST, GUEST_OUTER = SOURCES, ipaddress.IPv4Address("10.201.255.0"), "10.201.255.0/24"
#: What is behind a peer is one address; behind the gateway a network.
BEHIND_FIRST = ipaddress.IPv4Address("10.64.0.0")
BEHIND, LOCAL = "10.64.0.0/12", "10.1.0.0/24"
GATEWAY_ID = "gateway.bench.example"
DAYS = datetime.timedelta(days=30)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Person:
    """One peer."""

    number: int

    @property
    def name(self) -> str:
        return f"p{self.number}"

    @property
    def address(self) -> str:
        """Scattered over the whole range, as a flood's sources are; a guest's is in the block at its end."""
        if self.number >= GUESTS:
            return str(GUEST_FIRST + self.number - GUESTS + 1)
        return str(FIRST + 256 + self.number * 7 % (SOURCES - 512))

    @property
    def identity(self) -> str:
        return f"{self.name}.bench.example"

    @property
    def prefix(self) -> str:
        return f"{BEHIND_FIRST + self.number}/32"

    @property
    def psk(self) -> str:
        """Text of 32 digits; a secret of the bench alone."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:32]


def people(count: int, first: int = 0) -> list[Person]:
    return [Person(number) for number in range(first, first + count)]


# --- certificates --


@dataclass(frozen=True, slots=True)
class Owned:
    """A certificate (DER) and its key."""

    certificate: bytes
    key: PrivateKey

    @property
    def pem(self) -> bytes:
        return x509.load_der_x509_certificate(self.certificate).public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def new_key(kind: str) -> PrivateKey:
    """`kind` "ecdsa" (P-256) or "rsa4096"."""
    if kind == "ecdsa":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, 4096)


def authority(kind: str) -> Owned:
    key = new_key(kind)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench authority")])
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    return _sign(key, name, name, key, constraints, None)


def issue(ca: Owned, identity: str, key: PrivateKey) -> Owned:
    """A leaf that is `identity` (a DNS name)."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity)])
    issuer = x509.load_der_x509_certificate(ca.certificate).subject
    return _sign(key, subject, issuer, ca.key, x509.BasicConstraints(ca=False, path_length=None), identity)


def _sign(
    key: PrivateKey,
    subject: x509.Name,
    issuer: x509.Name,
    signer: PrivateKey,
    constraints: x509.BasicConstraints,
    dns: str | None,
) -> Owned:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - DAYS).not_valid_after(now + DAYS)
    builder = builder.add_extension(constraints, critical=True)
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    ).add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    if dns is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
    made = builder.sign(signer, hashes.SHA256())
    return Owned(made.public_bytes(serialization.Encoding.DER), key)


class Papers:
    """What a run's peers prove themselves with, in `directory`: secrets, or an authority and its certificates."""

    def __init__(self, directory: Path, kind: str) -> None:
        """`kind` "psk", "ecdsa" or "rsa4096"."""
        self.directory, self.kind = directory, kind
        directory.mkdir(mode=0o700, exist_ok=True)
        self.ca = authority(kind) if kind != "psk" else None
        #: RSA keys of 4096 bits take seconds each: the peers share one, their certificates differ
        self._shared = new_key(kind) if kind == "rsa4096" else None
        self.gateway = self._issue(GATEWAY_ID)
        if self.ca is not None:
            self._write("ca.pem", self.ca.pem)
        if self.gateway is not None:
            self._write("gateway.pem", self.gateway.pem)
            self._write("gateway.key", self.gateway.key_pem)

    def write(self, crowd: Iterable[Person]) -> None:
        """Each one's secret, or certificate and key."""
        for person in crowd:
            owned = self._issue(person.identity)
            if owned is None:
                self._write(f"{person.name}.psk", person.psk.encode())
            else:
                self._write(f"{person.name}.pem", owned.pem)
                self._write(f"{person.name}.key", owned.key_pem)

    def psk_file(self, person: Person) -> Path:
        return self.directory / f"{person.name}.psk"

    def _issue(self, identity: str) -> Owned | None:
        if self.ca is None:
            return None
        return issue(self.ca, identity, self._shared or new_key(self.kind))

    def _write(self, name: str, data: bytes) -> Path:
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_bytes(data)
        return path
