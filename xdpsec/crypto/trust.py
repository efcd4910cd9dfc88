"""Whom a peer's configuration believes: certificates to a public key, or the sentence why not.

In this order, so that a stranger costs little: bounds, path to an authority, what IKE asks of each certificate on it,
the identity (claims.py), revocation (revocation.py). URLs are named only once the path holds. RFC 4945, 5280, 7296.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography import x509

from xdpsec.crypto import claims, names
from xdpsec.crypto.announce import Announcement, signatures
from xdpsec.crypto.malformed import MALFORMED
from xdpsec.crypto.paths import Paths
from xdpsec.crypto.revocation import MAX_STAPLES, Revocation, Status
from xdpsec.crypto.schemes import HASHES
from xdpsec.crypto.signing import PublicKey, refused, usable, verify
from xdpsec.errors import LocalError, PeerError

#: Bounds on what a peer may make us parse. A path of ours has three certificates, a long one five.
MAX_CHAIN, MAX_CERTIFICATE = 8, 16 << 10
MAX_SHOWN = 64  # characters of a name that a sentence has room for
_WEAK = frozenset({"md5", "sha1", "sha224"})


class Claimed(Protocol):
    """An identity: its kind and octets as in an ID payload."""

    @property
    def kind(self) -> int: ...
    @property
    def data(self) -> bytes: ...


class NeedsFetch(Exception):
    """No error but a question: get these URLs, give each to Revocation.take, then verify again."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        super().__init__(*urls)
        self.urls = urls


@dataclass(frozen=True, slots=True)
class Expiry:
    """A certificate of ours or an authority's, and when it ends (seconds since 1970)."""

    name: str
    ends: float


class Trust:
    """The authorities of one peer, or of many that name the same. `revocation` "strict" wants to know that no
    certificate on the path is revoked, "if-available" that none is known to be, "off" does not ask."""

    def __init__(
        self,
        anchors: Sequence[x509.Certificate],
        known: Revocation | None = None,
        revocation: str = "if-available",
        any_purpose: bool = False,
        hashes: Collection[int] = HASHES,
    ) -> None:
        if not anchors:
            raise LocalError("no authority is named; add a certificate to ca of the peer")
        self.anchors = tuple(anchors)
        #: What CERTREQ carries (RFC 7296 sec. 3.7): 20 octets for each anchor.
        self.authorities = b"".join(map(claims.authority, self.anchors))
        self.hashes = frozenset(hashes)
        self._known = known or Revocation()
        self._revocation, self._any_purpose = revocation, any_purpose
        self._version = self._known.version
        self._paths = Paths(self.anchors, self._known.crls)

    @property
    def asks_ocsp(self) -> bool:
        """An OCSP response beside the peer's certificate is of use (RFC 4806)."""
        return self._revocation != "off"

    @property
    def announced(self) -> tuple[Announcement, ...]:
        """The methods that we can verify, for SUPPORTED_AUTH_METHODS (RFC 9593)."""
        return signatures()

    def verify(
        self, chain: tuple[bytes, ...], identity: Claimed, wall: float, staples: tuple[bytes, ...] = ()
    ) -> PublicKey:
        """The public key of chain[0], DER, which claims `identity`; the rest of `chain` may help to an anchor, OCSP
        responses in `staples` came along. PeerError(AUTHENTICATION_FAILED) with a sentence, or NeedsFetch."""
        if not chain:
            raise refused("the peer sent no certificate; it must send one, or get a shared secret here")
        if len(chain) > MAX_CHAIN or any(len(one) > MAX_CERTIFICATE for one in chain):
            raise refused(f"the peer sent more than {MAX_CHAIN} certificates, or one of more than 16 KiB")
        try:
            sent = [x509.load_der_x509_certificate(one) for one in dict.fromkeys(chain)]
            path = self._paths_now().verify(sent, wall)
            return self._judge(path, identity, wall, staples)
        except PeerError:
            raise
        except MALFORMED as error:
            raise refused(f"the peer sent a malformed certificate ({type(error).__name__})") from None

    def check(self, key: object, method: int, data: bytes, octets: bytes) -> None:
        """PeerError(AUTHENTICATION_FAILED) unless the AUTH data signs the octets."""
        verify(usable(key), method, data, octets, self.hashes)

    def _judge(
        self, path: tuple[x509.Certificate, ...], identity: Claimed, wall: float, staples: tuple[bytes, ...]
    ) -> PublicKey:
        leaf = path[0]
        key = usable(leaf.public_key())
        for certificate in path[:-1]:
            _strong(certificate)
        for certificate in path[1:-1]:
            _authority(certificate)
        if reason := claims.unfit(leaf, self._any_purpose):
            raise refused(f"certificate {_subject(leaf)} may not be used for IKE: {reason}")
        if not claims.claims(leaf, identity.kind, identity.data):
            text = f"certificate {_subject(leaf)} does not speak for the identity that the peer claims"
            raise refused(f"{text}; {_has(leaf)}")
        if self._revocation != "off":
            self._unrevoked(path, wall, staples)
        return key

    def _paths_now(self) -> Paths:
        if self._version != self._known.version:
            self._paths, self._version = Paths(self.anchors, self._known.crls), self._known.version
        return self._paths

    # --- revocation --

    def _unrevoked(self, path: tuple[x509.Certificate, ...], wall: float, staples: tuple[bytes, ...]) -> None:
        """PeerError when a certificate of the path, the anchor excepted, is revoked or not known not to be."""
        urls = []
        for at, certificate in enumerate(path[:-1]):
            issuer = path[at + 1]
            for staple in staples[:MAX_STAPLES]:
                self._known.staple(staple, certificate, issuer, wall)
            status = self._known.status(path[at:], issuer, self._paths_now(), wall)
            if status == Status.REVOKED:
                raise refused(f"certificate {_subject(certificate)} has been revoked")
            if status == Status.UNKNOWN:
                url = self._known.ask(certificate, issuer, wall)
                if url:
                    urls.append(url)
                elif self._revocation == "strict":
                    text = f"nobody says whether certificate {_subject(certificate)} is revoked"
                    raise refused(f'{text}, and revocation is "strict"')
        if urls:
            raise NeedsFetch(tuple(dict.fromkeys(urls)))


def _strong(certificate: x509.Certificate) -> None:
    kind = certificate.signature_hash_algorithm
    if kind is not None and kind.name in _WEAK:
        text = f"certificate {_subject(certificate)} is signed with {kind.name.upper()}"
        raise refused(f"{text}, which can be forged")


def _authority(certificate: x509.Certificate) -> None:
    """OpenSSL lets some certificates of the first version pass as authorities; on a peer's path they do not."""
    usable(certificate.public_key())
    constraints = claims.extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise refused(f"certificate {_subject(certificate)} is no authority and vouches for another")


def _subject(certificate: x509.Certificate) -> str:
    return names.show(claims.subject(certificate)) or "without a subject"


def _has(leaf: x509.Certificate) -> str:
    """What the certificate speaks for, for the operator who compares; on one line, whatever stands there."""
    alternatives = claims.extension(leaf, x509.SubjectAlternativeName)
    shown = ", ".join(_printable(str(name.value)) for name in list(alternatives or ())[:8])
    return f"it has {shown}" if shown else "it has no subjectAltName"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_SHOWN])


# --- files of certificates --


def load_certificates(raw: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates in a file, PEM or one in DER, in order. ValueError when there is none."""
    if b"-----BEGIN" in raw:
        return tuple(x509.load_pem_x509_certificates(raw))
    return (x509.load_der_x509_certificate(raw),)


def expiring(certificates: Iterable[x509.Certificate], wall: float, ahead: float) -> Iterator[Expiry]:
    """Which of them end within `ahead` seconds of `wall`, or have ended; for logs and metrics."""
    for certificate in certificates:
        ends = certificate.not_valid_after_utc.timestamp()
        if ends - wall <= ahead:
            yield Expiry(_subject(certificate), ends)
