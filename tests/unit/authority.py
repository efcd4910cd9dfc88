"""Authorities of a test, made by the openssl command: certificates of every kind, CRLs, OCSP answers; and what
`openssl verify` thinks of a path."""

from __future__ import annotations

import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from openssl import key_pem, openssl

CA = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
LEAF = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n"
CA_CONFIG = """[ca]
default_ca=one
[one]
database={folder}/index
crlnumber={folder}/number
default_md=sha256
default_crl_days=30
unique_subject=no
"""
NOW = time.time() + 3600  # what the run makes is valid by then
DAY = 86400.0


class Authority:
    """One issuer with its files in `folder`; `above` issued it, None = itself."""

    def __init__(
        self, folder: Path, subject: str, above: Authority | None = None, kind: str = "p256", extensions: str = CA
    ) -> None:
        self.folder, self.kind, self.above = folder / f"ca{abs(hash((subject, kind, extensions)))}", kind, above
        self.folder.mkdir(exist_ok=True)
        self.key = self.folder / "key"
        self.key.write_bytes(key_pem(kind))
        made = (above or self)._make(subject, kind, extensions, self_signed=above is None)
        self.file = self.folder / "cert.pem"
        self.file.write_bytes(made)
        self.certificate = x509.load_pem_x509_certificate(made)
        (self.folder / "index").touch()
        (self.folder / "number").write_text("01\n")
        (self.folder / "ca.conf").write_text(CA_CONFIG.format(folder=self.folder))

    @property
    def der(self) -> bytes:
        return der(self.certificate)

    def issue(
        self, subject: str, extensions: str = LEAF, kind: str = "p256", days: int = 365, digest: str = "sha256"
    ) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self._make(subject, kind, extensions, days, digest))

    def _make(
        self,
        subject: str,
        kind: str,
        extensions: str,
        days: int = 3650,
        digest: str = "sha256",
        self_signed: bool = False,
    ) -> bytes:
        key, wishes = self.folder / "subject.key", self.folder / "extensions"
        key.write_bytes(key_pem(kind))
        wishes.write_text(extensions)
        sign = () if kind.startswith("ed") else (f"-{digest}",)
        request = openssl("req", "-new", "-key", key, "-subj", subject, "-utf8", *sign).stdout
        by = ("-signkey", self.key) if self_signed else ("-CA", self.file, "-CAkey", self.key, "-CAcreateserial")
        ours = () if self.kind.startswith("ed") else (f"-{digest}",)
        return openssl("x509", "-req", *by, "-days", days, "-extfile", wishes, *ours, stdin=request).stdout

    def crl(self, *revoked: x509.Certificate) -> x509.CertificateRevocationList:
        """A CRL of today that lists these and all that it was asked to list before."""
        for certificate in revoked:
            self._ca("-revoke", self._file(certificate))
        return x509.load_pem_x509_crl(self._ca("-gencrl"))

    def _ca(self, *words: object) -> bytes:
        ours = ("-config", self.folder / "ca.conf", "-cert", self.file, "-keyfile", self.key)
        return openssl("ca", *ours, *words).stdout

    def ocsp(
        self, certificate: x509.Certificate, responder: Responder | None = None, *, days: int = 1, known: bool = True
    ) -> bytes:
        """An OCSPResponse of the openssl command, DER, signed by us or by the responder; `known` enters the certificate
        into the index as valid where it is not revoked."""
        index = self.folder / "index"
        serial = f"{certificate.serial_number:X}"
        serial = serial if len(serial) % 2 == 0 else f"0{serial}"
        if known and serial not in index.read_text():
            with index.open("a") as file:
                file.write(f"V\t491231235959Z\t\t{serial}\tunknown\t/CN={serial}\n")
        signer, key = (self.file, self.key) if responder is None else (responder.file, responder.key)
        out = self.folder / "answer"
        ask = ("-issuer", self.file, "-cert", self._file(certificate))
        by = ("-index", index, "-CA", self.file, "-rsigner", signer, "-rkey", key)
        openssl("ocsp", *ask, "-reqout", self.folder / "request")
        life = ("-ndays", days) if days else ()
        openssl("ocsp", *by, "-reqin", self.folder / "request", "-respout", out, *life)
        return out.read_bytes()

    def _file(self, certificate: x509.Certificate) -> Path:
        file = self.folder / "one.pem"
        file.write_bytes(pem(certificate))
        return file


class Responder:
    """One whom an authority certified, for OCSP or for something else."""

    def __init__(self, by: Authority, extensions: str, kind: str = "p384") -> None:
        self.file, self.key = by.folder / "responder.pem", by.folder / "responder.key"
        self.file.write_bytes(pem(by.issue("/CN=responder", extensions, kind)))
        self.key.write_bytes(key_pem(kind))


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def openssl_takes(folder: Path, anchors: list[Authority], chain: list[x509.Certificate], wall: float = NOW) -> bool:
    """What `openssl verify` says of the path from chain[0] to one of the anchors."""
    trusted, others, leaf = folder / "trusted", folder / "others", folder / "leaf"
    trusted.write_bytes(b"".join(anchor.file.read_bytes() for anchor in anchors))
    others.write_bytes(b"".join(map(pem, chain[1:])))
    leaf.write_bytes(pem(chain[0]))
    more = ("-untrusted", others) if chain[1:] else ()
    words = ("verify", "-no-CAfile", "-no-CApath", "-partial_chain", "-attime", int(wall), "-trusted", trusted, *more)
    return openssl(*words, leaf, check=False).returncode == 0
