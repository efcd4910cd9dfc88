"""OCSP (RFC 6960): where to ask for one certificate, and what an answer is worth. pyca parses; nothing here fetches.

An answer counts only from the issuer itself or from a responder that the issuer certified for it (sec. 4.2.2.2), and
only while it is fresh. Answers come by URL or in CERT payloads of encoding 14 (RFC 4806).
"""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from xdpsec.crypto import claims, der
from xdpsec.crypto.malformed import MALFORMED
from xdpsec.crypto.signing import PublicKey, usable
from xdpsec.errors import LocalError

SKEW = 300.0  # seconds that clocks may differ
#: An answer without nextUpdate says that there is always a newer one: it is believed so long.
UNDATED = 3600.0
MAX_SIZE = 1 << 20
MAX_STAPLE = 16 << 10  # of ours, which goes into a message beside the certificate
_HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,  # of CertIDs: a name, no protection
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a responder says of one certificate: good until `until`, or revoked."""

    revoked: bool
    until: float


class Staple:
    """An OCSP response about a certificate of ours, to go with it (RFC 4806): the newest that was put here."""

    __slots__ = ("_data", "_serial", "_until")

    def __init__(self, certificate: x509.Certificate) -> None:
        self._serial = certificate.serial_number
        self._data, self._until = b"", 0.0

    def put(self, data: bytes) -> None:
        """LocalError, and no change, when `data` is no response about the certificate, DER. Whether its signature holds
        is for the peer to say."""
        try:
            response = ocsp.load_der_ocsp_response(data)
            about = [one for one in response.responses if one.serial_number == self._serial]
        except MALFORMED:
            raise LocalError("is no OCSP response that we can read; write one in DER") from None
        if len(data) > MAX_STAPLE:
            raise LocalError("is larger than 16 KiB; ask for our certificate alone")
        if not about:
            raise LocalError("says nothing of our certificate; ask the responder about that one")
        since, until = about[0].this_update_utc.timestamp(), about[0].next_update_utc
        self._data, self._until = data, until.timestamp() if until else since + UNDATED

    def at(self, wall: float) -> bytes:
        """DER; empty where there is none, or its time is over."""
        return self._data if wall < self._until else b""


def urls(certificate: x509.Certificate, issuer: x509.Certificate) -> list[str]:
    """Where to GET the certificate's status (RFC 6960 appendix A.1), from its authority information access."""
    access = claims.extension(certificate, x509.AuthorityInformationAccess)
    if access is None:
        return []
    request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1()).build()
    tail = urllib.parse.quote(base64.b64encode(request.public_bytes(claims.DER)).decode(), safe="")
    return [
        f"{place.access_location.value.rstrip('/')}/{tail}"
        for place in access
        if place.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(place.access_location, x509.UniformResourceIdentifier)
    ]


def judge(data: bytes, certificate: x509.Certificate, issuer: x509.Certificate, wall: float) -> Answer | None:
    """What the OCSPResponse `data` says of `certificate`; None when it says nothing that we may believe now."""
    if len(data) > MAX_SIZE:
        return None
    try:
        response = ocsp.load_der_ocsp_response(data)
        if response.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
            return None
        single = next((one for one in response.responses if _about(one, certificate, issuer)), None)
        if single is None or not _authorised(response, issuer, wall):
            return None
        return _answer(single, wall)
    except (*MALFORMED, InvalidSignature):
        return None


def _about(single: ocsp.OCSPSingleResponse, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the CertID is the certificate's: serial number, issuer's name and issuer's key."""
    make = _HASHES.get(single.hash_algorithm.name)
    if make is None or single.serial_number != certificate.serial_number:
        return False
    key = der.items(der.only(claims.spki(issuer), der.SEQUENCE))[1][1][1:]  # BIT STRING without its unused bits
    return (single.issuer_name_hash, single.issuer_key_hash) == (
        _digest(make(), claims.subject(issuer)),
        _digest(make(), key),
    )


def _digest(kind: hashes.HashAlgorithm, data: bytes) -> bytes:
    digest = hashes.Hash(kind)
    digest.update(data)
    return digest.finalize()


def _answer(single: ocsp.OCSPSingleResponse, wall: float) -> Answer | None:
    since = single.this_update_utc
    until = single.next_update_utc.timestamp() if single.next_update_utc else since.timestamp() + UNDATED
    if since.timestamp() > wall + SKEW or until < wall - SKEW:
        return None
    if single.certificate_status == ocsp.OCSPCertStatus.UNKNOWN:
        return None
    return Answer(single.certificate_status == ocsp.OCSPCertStatus.REVOKED, until)


def _authorised(response: ocsp.OCSPResponse, issuer: x509.Certificate, wall: float) -> bool:
    """RFC 6960 sec. 4.2.2.2: signed by the issuer, or by one whom the issuer certified for OCSP signing."""
    for candidate in (issuer, *response.certificates[:4]):
        if not _named(response, candidate):
            continue
        if candidate is issuer or _delegated(candidate, issuer, wall):
            return signed_by(
                usable(candidate.public_key()),
                response.signature,
                response.tbs_response_bytes,
                response.signature_hash_algorithm,
            )
    return False


def _named(response: ocsp.OCSPResponse, candidate: x509.Certificate) -> bool:
    """Whether the ResponderID is the candidate's."""
    if response.responder_name is not None:
        return response.responder_name == candidate.subject
    key = der.items(der.only(claims.spki(candidate), der.SEQUENCE))[1][1][1:]
    return response.responder_key_hash == _digest(hashes.SHA1(), key)


def _delegated(candidate: x509.Certificate, issuer: x509.Certificate, wall: float) -> bool:
    purposes = claims.extension(candidate, x509.ExtendedKeyUsage)
    if purposes is None or ExtendedKeyUsageOID.OCSP_SIGNING not in purposes:
        return False
    now = datetime.fromtimestamp(wall, UTC)
    if not candidate.not_valid_before_utc <= now <= candidate.not_valid_after_utc:
        return False
    if claims.issuer(candidate) != claims.subject(issuer):
        return False
    candidate.verify_directly_issued_by(issuer)
    return True


def signed_by(key: PublicKey, signature: bytes, data: bytes, kind: hashes.HashAlgorithm | None) -> bool:
    """Whether `signature` is the key's over `data`; SHA-1 and less count for nothing."""
    if kind is not None and kind.name not in ("sha256", "sha384", "sha512"):
        return False
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), kind or hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(kind or hashes.SHA256()))
        else:
            key.verify(signature, data)
    except InvalidSignature:
        return False
    return True
