"""Certificate paths (RFC 5280 sec. 6): OpenSSL's X509_verify_cert through pyOpenSSL, which nothing else here uses.

It checks signatures, times, basic constraints, path lengths, name constraints, critical extensions and, of one
certificate at a time, a CRL. What IKE asks beyond that stands in trust.py. `wall` is UTC in seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto

from cryptography import x509
from OpenSSL import crypto as openssl

from xdpsec.crypto import claims, names
from xdpsec.crypto.malformed import MALFORMED
from xdpsec.errors import PeerError
from xdpsec.numbers import NotifyType

#: X509_V_ERR_* of OpenSSL's x509_vfy.h that deserve words of ours; the rest keep OpenSSL's.
_NO_ISSUER = frozenset({2, 18, 19, 20, 21, 27})
_NO_CRL, _CRL_EARLY, _CRL_LATE, _REVOKED = 3, 11, 12, 23
_WORDS = {
    7: "has a signature that is wrong",
    9: "is not valid yet",
    10: "has expired",
    24: "was issued by a certificate that is no authority",
    25: "is further from its authority than that allows",
    34: "has a critical extension that we do not know",
    47: "is not within what its authority may vouch for (name constraints)",
    48: "is excluded by its authority's name constraints",
    79: "was issued by a certificate that is no authority",
}


CRL_TIME = 30.0  # seconds
MAX_ISSUERS = 64  # paths above a certificate whose CRLs are kept apart


class CrlWord(Enum):
    """What the CRLs that we hold say of one certificate."""

    GOOD = auto()
    REVOKED = auto()
    STALE = auto()
    NONE = auto()


@dataclass(slots=True)
class _Lists:
    """The CRLs of one issuer, and the store with them as it was made at `since`."""

    crls: tuple[x509.CertificateRevocationList, ...]
    since: float = 0.0
    store: openssl.X509Store | None = None


class Paths:
    """Anchors and CRLs; both are fixed, new CRLs make a new one.

    A store takes its time only once (X509_VERIFY_PARAM inherits it but does not overwrite it): for each path a new
    store, at a few microseconds. One with CRLs is dear, so it lives for CRL_TIME; no CRL needs it more exactly. It has
    those alone that the certificate's issuers signed: OpenSSL takes the newest of a name, whoever made it."""

    def __init__(
        self, anchors: Sequence[x509.Certificate], crls: Iterable[x509.CertificateRevocationList] = ()
    ) -> None:
        self._anchors = [openssl.X509.from_cryptography(anchor) for anchor in anchors]
        self._crls = tuple(crls)
        self._lists: dict[tuple[x509.Certificate, ...], _Lists] = {}  # by the path above a certificate

    def _store(self, wall: float) -> openssl.X509Store:
        store = openssl.X509Store()
        for anchor in self._anchors:
            store.add_cert(anchor)
        store.set_flags(openssl.X509StoreFlags.PARTIAL_CHAIN)  # an anchor need not be self-signed
        store.set_time(datetime.fromtimestamp(wall, UTC))
        return store

    def _lists_for(self, issuers: tuple[x509.Certificate, ...]) -> _Lists:
        found = self._lists.get(issuers)
        if found is None:
            if len(self._lists) >= MAX_ISSUERS:
                del self._lists[next(iter(self._lists))]
            mine = tuple(crl for crl in self._crls if any(_signed(crl, one) for one in issuers))
            found = self._lists[issuers] = _Lists(mine)
        return found

    def _store_with_crls(self, issuers: tuple[x509.Certificate, ...], wall: float) -> openssl.X509Store:
        lists = self._lists_for(issuers)
        if lists.store is None or not 0 <= wall - lists.since < CRL_TIME:
            store = self._store(wall)
            store.set_flags(openssl.X509StoreFlags.CRL_CHECK)
            for crl in lists.crls:
                store.add_crl(crl)
            lists.since, lists.store = wall, store
        return lists.store

    def verify(self, chain: Sequence[x509.Certificate], wall: float) -> tuple[x509.Certificate, ...]:
        """The path from chain[0] to an anchor of ours, both included; the rest of `chain` may help, in any order.
        PeerError(AUTHENTICATION_FAILED) with the reason when there is none."""
        with _openssl_refuses():
            return self._verify(chain, wall)

    def _verify(self, chain: Sequence[x509.Certificate], wall: float) -> tuple[x509.Certificate, ...]:
        try:
            path = _context(self._store(wall), chain).get_verified_chain()
        except openssl.X509StoreContextError as error:
            raise _refusal(error) from None
        return tuple(one.to_cryptography() for one in path)

    def crl_word(self, chain: Sequence[x509.Certificate], wall: float) -> CrlWord:
        """What our CRLs say of chain[0], whose path has been verified."""
        try:
            with _openssl_refuses():
                _context(self._store_with_crls(tuple(chain[1:]), wall), chain).verify_certificate()
        except openssl.X509StoreContextError as error:
            code = error.errors[0]
            if code == _REVOKED:
                return CrlWord.REVOKED
            return CrlWord.STALE if code in (_CRL_EARLY, _CRL_LATE) else CrlWord.NONE
        return CrlWord.GOOD

    def listed(self, chain: Sequence[x509.Certificate]) -> bool:
        """Whether any CRL of its issuers, old or not, lists chain[0]: what was revoked stays so."""
        serial = chain[0].serial_number
        crls = self._lists_for(tuple(chain[1:])).crls
        return any(crl.get_revoked_certificate_by_serial_number(serial) is not None for crl in crls)


def _signed(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Whether the CRL has the name of `issuer`, and is by its key."""
    try:
        if names.key(crl.issuer.public_bytes()) != names.key(claims.subject(issuer)):
            return False
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except MALFORMED:
        return False


@contextmanager
def _openssl_refuses() -> Iterator[None]:
    """OpenSSL and pyca do not refuse quite the same certificates."""
    try:
        yield
    except openssl.Error:
        raise PeerError("the peer sent a malformed certificate", NotifyType.AUTHENTICATION_FAILED) from None


def _context(store: openssl.X509Store, chain: Sequence[x509.Certificate]) -> openssl.X509StoreContext:
    leaf, *others = map(openssl.X509.from_cryptography, chain)
    return openssl.X509StoreContext(store, leaf, others)


def _refusal(error: openssl.X509StoreContextError) -> PeerError:
    certificate = error.certificate.to_cryptography()
    code = error.errors[0]
    if code in _NO_ISSUER:
        issuer = names.show(claims.issuer(certificate))
        text = f"comes from {issuer}, and none of our authorities vouches for that; see ca of the peer"
    else:
        text = _WORDS.get(code, f"is refused: {error.errors[2]}")
    if code == 10:
        text += f" on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if code == 9:
        text += f" before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    return PeerError(f"certificate {names.show(claims.subject(certificate))} {text}", NotifyType.AUTHENTICATION_FAILED)
