"""What is known of revoked certificates: CRLs from files and URLs, OCSP answers from URLs and from peers.

One Revocation serves all peers. It keeps only what it has checked against the issuer, so a stranger's file displaces
nothing; each store has its bound and drops the oldest. An issuer is its key: by name alone, one authority could speak
for another's certificates. Who fetches is the host's business: take() is told the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import sha256
from typing import TypeVar

from cryptography import x509

from xdpsec.crypto import claims, names, ocsp
from xdpsec.crypto.malformed import MALFORMED
from xdpsec.crypto.paths import CrlWord, Paths
from xdpsec.crypto.signing import usable

#: A URL that failed is left alone so long; one that answered, at least so long whatever its answer says.
RETRY, FRESH = 600.0, 60.0
MAX_WANTED, MAX_ANSWERS, MAX_CRLS, MAX_FAILED = 256, 4096, 64, 1024
MAX_URLS = 2  # of each kind in one certificate
MAX_STAPLES = 4
MAX_ASKERS = 8  # issuers whose word one URL may be to give

#: A URL, and the key of the issuer whose word is wanted from there.
_Question = tuple[str, bytes]
_Name = TypeVar("_Name")
_Value = TypeVar("_Value")


class Status(Enum):
    """What is known of one certificate."""

    GOOD = auto()
    REVOKED = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A question that a URL shall answer. `is_ocsp` or else a CRL."""

    certificate: x509.Certificate
    issuer: x509.Certificate
    is_ocsp: bool


def load_crls(raw: bytes) -> list[x509.CertificateRevocationList]:
    """The CRLs in a file: PEM, any number, or one in DER. ValueError when there is none."""
    if b"-----BEGIN" not in raw:
        return [x509.load_der_x509_crl(raw)]
    end = b"-----END X509 CRL-----"
    return [x509.load_pem_x509_crl(part + end) for part in raw.split(end)[:-1]] or [x509.load_pem_x509_crl(raw)]


class Revocation:
    """All that is known, for all peers."""

    def __init__(self, files: Iterable[x509.CertificateRevocationList] = ()) -> None:
        self._files: dict[str, tuple[x509.CertificateRevocationList, ...]] = {"": tuple(files)}
        self._crls: dict[_Question, tuple[x509.CertificateRevocationList, float]] = {}
        self._answers: dict[bytes, ocsp.Answer] = {}
        self._wanted: dict[_Question, Wanted] = {}
        self._failed: dict[_Question, float] = {}
        self._issuers: frozenset[names.Key] = frozenset()
        self.version = 0
        self._count()

    @property
    def crls(self) -> tuple[x509.CertificateRevocationList, ...]:
        return (*(crl for found in self._files.values() for crl in found), *(crl for crl, _ in self._crls.values()))

    def put_files(self, files: Mapping[str, Sequence[x509.CertificateRevocationList]]) -> None:
        """What these files say now, instead of what they said before."""
        told = {file: tuple(found) for file, found in files.items() if self._files.get(file) != tuple(found)}
        if told:
            self._files |= told
            self._count()

    def _count(self) -> None:
        """The CRLs are others than before: whoever built Paths over them builds it again."""
        self._issuers = frozenset(names.key(crl.issuer.public_bytes()) for crl in self.crls)
        self.version += 1

    # --- what is known --

    def status(self, chain: Sequence[x509.Certificate], issuer: x509.Certificate, paths: Paths, wall: float) -> Status:
        """Of chain[0], which `issuer` issued and whose path has been verified; the rest of `chain` leads to it."""
        certificate = chain[0]
        if self._issuers and names.key(claims.issuer(certificate)) in self._issuers:
            word = paths.crl_word(chain, wall)
            if word == CrlWord.REVOKED or (word == CrlWord.STALE and paths.listed(chain)):
                return Status.REVOKED
            if word == CrlWord.GOOD:
                return Status.GOOD
        answer = self._answers.get(_name(certificate, issuer)) if self._answers else None
        if answer is None or (answer.until < wall and not answer.revoked):
            return Status.UNKNOWN
        return Status.REVOKED if answer.revoked else Status.GOOD

    # --- what can be asked --

    def ask(self, certificate: x509.Certificate, issuer: x509.Certificate, wall: float) -> str:
        """The next URL that may know, OCSP first; "" when none is left to try."""
        for is_ocsp, found in ((True, ocsp.urls(certificate, issuer)), (False, _crl_urls(certificate))):
            for url in found[:MAX_URLS]:
                question = url, _key(issuer)
                if self._failed.get(question, wall) <= wall:
                    self._want(question, Wanted(certificate, issuer, is_ocsp))
                    return url
        return ""

    def _want(self, question: _Question, wanted: Wanted) -> None:
        self._wanted.pop(question, None)
        for old in [other for other in self._wanted if other[0] == question[0]][: 1 - MAX_ASKERS]:
            del self._wanted[old]
        _bound(self._wanted, MAX_WANTED)
        self._wanted[question] = wanted

    def take(self, url: str, body: bytes | None, wall: float, rest: float = RETRY) -> bool:
        """The result of a fetch, None = it failed. True when it was what was asked for; else the URL rests so many
        seconds, for those who asked."""
        questions = [question for question in self._wanted if question[0] == url]
        kept = [self._take(question, body, wall, rest) for question in questions]  # each, not up to the first
        return any(kept)

    def _take(self, question: _Question, body: bytes | None, wall: float, rest: float) -> bool:
        wanted = self._wanted.pop(question)
        kept = body is not None and (
            self.staple(body, wanted.certificate, wanted.issuer, wall)
            if wanted.is_ocsp
            else self._take_crl(question, body, wanted.issuer, wall)
        )
        # Also what is kept rests: if it does not answer the question, asking again at once would not help.
        _bound(self._failed, MAX_FAILED)
        self._failed[question] = wall + (FRESH if kept else rest)
        return kept

    def staple(self, body: bytes, certificate: x509.Certificate, issuer: x509.Certificate, wall: float) -> bool:
        """An OCSP answer, from a URL or from the peer itself. True when it speaks of this certificate."""
        answer = ocsp.judge(body, certificate, issuer, wall)
        if answer is None:
            return False
        name = _name(certificate, issuer)
        known = self._answers.get(name)
        if known is None or not known.revoked:  # what was revoked stays so
            _bound(self._answers, MAX_ANSWERS)
            self._answers[name] = answer
        return True

    def _take_crl(self, question: _Question, body: bytes, issuer: x509.Certificate, wall: float) -> bool:
        try:
            crl = load_crls(body)[0]
            until = crl.next_update_utc.timestamp() if crl.next_update_utc else wall + FRESH
            mine = names.key(crl.issuer.public_bytes()) == names.key(claims.subject(issuer))
            if not mine or until < wall or not crl.is_signature_valid(usable(issuer.public_key())):
                return False
        except MALFORMED:
            return False
        _bound(self._crls, MAX_CRLS)
        self._crls[question] = (crl, until)
        self._count()
        return True

    def expire(self, wall: float) -> None:
        """Forget what has no use any more; called now and then."""
        self._failed = {question: until for question, until in self._failed.items() if until > wall}
        self._answers = {name: one for name, one in self._answers.items() if one.revoked or one.until > wall}


def _key(issuer: x509.Certificate) -> bytes:
    return sha256(claims.spki(issuer)).digest()


def _name(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """Issuer and serial number: the certificate's name among all others."""
    return _key(issuer) + claims.issuer(certificate) + certificate.serial_number.to_bytes(32, "big", signed=True)


def _crl_urls(certificate: x509.Certificate) -> list[str]:
    """Where whole CRLs are (RFC 5280 sec. 4.2.1.13)."""
    points = claims.extension(certificate, x509.CRLDistributionPoints) or ()
    return [
        name.value
        for point in points
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier) and point.crl_issuer is None
    ]


def _bound(store: dict[_Name, _Value], most: int) -> None:
    """Room for one more: the oldest goes."""
    while len(store) >= most:
        del store[next(iter(store))]
