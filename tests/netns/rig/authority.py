"""A CA for gateways of a test: certificates that name where their revocation list is, and that list on a web server."""

from __future__ import annotations

import datetime
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from netns.rig.gateways import XDPSEC
from xdpsec.demo.lab import Lab

PORT, SECONDS = 8080, 20.0
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Authority:
    """Its key and certificate; `directory` is what the web server shows."""

    directory: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, directory: Path) -> Authority:
        directory.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root of the lab")])
        builder = _builder(name, name, key.public_key(), 30)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        made = cls(directory, key, builder.sign(key, hashes.SHA256()))
        (directory / "ca.pem").write_bytes(made.certificate.public_bytes(Encoding.PEM))
        return made

    def issue(self, file: Path, passphrase: str, identity: str, list_url: str = "", days: int = 30) -> x509.Certificate:
        """A key by `xdpsec key` in file.key, locked by the passphrase in file.word, and its certificate in file.pem."""
        word, key = file.with_suffix(".word"), file.with_suffix(".key")
        word.touch(0o600)
        word.write_text(passphrase + "\n")
        subprocess.run([XDPSEC, "key", key, "--passphrase", word], check=True, capture_output=True)
        own = load_pem_private_key(key.read_bytes(), passphrase.encode())
        assert isinstance(own, ec.EllipticCurvePrivateKey)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity)])
        builder = _builder(subject, self.certificate.subject, own.public_key(), days)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(identity)]), critical=False)
        if list_url:
            point = x509.DistributionPoint([x509.UniformResourceIdentifier(list_url)], None, None, None)
            builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
        made = builder.sign(self.key, hashes.SHA256())
        file.with_suffix(".pem").write_bytes(made.public_bytes(Encoding.PEM))
        return made

    def publish(self, *revoked: x509.Certificate) -> None:
        """The list, as list.crl on the web server."""
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateRevocationListBuilder(self.certificate.subject, now - DAY, now + DAY)
        for one in revoked:
            row = x509.RevokedCertificateBuilder(one.serial_number, now - DAY).build()
            builder = builder.add_revoked_certificate(row)
        listed = builder.sign(self.key, hashes.SHA256())
        (self.directory / "list.crl").write_bytes(listed.public_bytes(Encoding.DER))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    return builder.not_valid_before(now - 60 * DAY).not_valid_after(now + days * DAY)


@contextmanager
def web(lab: Lab, namespace: str, address: str, directory: Path) -> Iterator[Path]:
    """`directory` at http://address:8080 of the namespace; gives the log of what was asked."""
    log = directory / "log"
    words: Sequence[str] = ("-m", "http.server", "--bind", address, "--directory", str(directory), str(PORT))
    with lab.running(namespace, [sys.executable, "-u", *words], log):
        deadline = time.monotonic() + SECONDS
        while "Serving" not in log.read_text():
            assert time.monotonic() < deadline, "no web server"
            time.sleep(0.05)
        yield log
