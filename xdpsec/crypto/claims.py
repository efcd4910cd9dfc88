"""Which identities a certificate may claim (RFC 4945 sec. 3.1), and what it may be used for (sec. 5.1.3).

An identity is a kind and octets as in an ID payload. Names are matched literally: a wildcard in a certificate is none.
"""

from __future__ import annotations

import ipaddress
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from xdpsec.crypto import der, names
from xdpsec.numbers import IdType

#: RFC 4945 sec. 5.1.3.12: id-kp-ipsecIKE or any; other purposes do not fit, the three withdrawn ones of 1999 neither.
PURPOSES = frozenset({ExtendedKeyUsageOID.IPSEC_IKE, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})

DER = Encoding.DER
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """The extension's value, None where there is none. ValueError when the certificate's extensions are no DER."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def claims(certificate: x509.Certificate, kind: int, data: bytes) -> bool:
    """Whether `certificate` speaks for this identity: its subject for a DN, its subjectAltName for the other kinds,
    its key identifier for a key id. ValueError as `extension`."""
    if kind == IdType.DER_ASN1_DN:
        name = subject(certificate)
        return bool(der.only(name, der.SEQUENCE)) and names.same(name, data)
    if kind == IdType.KEY_ID:
        return data in key_ids(certificate)
    alternatives = extension(certificate, x509.SubjectAlternativeName)
    if alternatives is None:
        return False
    match kind:
        case IdType.FQDN:
            return data.lower() in (_octets(name).lower() for name in alternatives.get_values_for_type(x509.DNSName))
        case IdType.RFC822_ADDR:
            wanted = _mail(data)
            return any(_mail(_octets(name)) == wanted for name in alternatives.get_values_for_type(x509.RFC822Name))
        case IdType.IPV4_ADDR | IdType.IPV6_ADDR:
            if len(data) != (4 if kind == IdType.IPV4_ADDR else 16):
                return False
            return ipaddress.ip_address(data) in alternatives.get_values_for_type(x509.IPAddress)
    return False


def key_ids(certificate: x509.Certificate) -> tuple[bytes, ...]:
    """What a key id may be: the subject key identifier, and the SHA-1 of the public key (RFC 7296 sec. 3.7)."""
    found = extension(certificate, x509.SubjectKeyIdentifier)
    return (authority(certificate), *([found.digest] if found else []))


def authority(certificate: x509.Certificate) -> bytes:
    """20 octets by which CERTREQ names an authority: SHA-1 of its SubjectPublicKeyInfo (RFC 7296 sec. 3.7)."""
    digest = hashes.Hash(hashes.SHA1())  # a name, no protection
    digest.update(spki(certificate))
    return digest.finalize()


def spki(certificate: x509.Certificate) -> bytes:
    """SubjectPublicKeyInfo as it stands in the certificate, DER."""
    return _field(certificate, 5)


def subject(certificate: x509.Certificate) -> bytes:
    """The subject as it stands in the certificate, DER."""
    return _field(certificate, 4)


def issuer(certificate: x509.Certificate) -> bytes:
    """The issuer as it stands in the certificate, DER."""
    return _field(certificate, 2)


def _field(certificate: x509.Certificate, index: int) -> bytes:
    """A field of TBSCertificate, counted from serialNumber (RFC 5280 sec. 4.1); all that we need are SEQUENCEs."""
    fields = der.items(der.only(certificate.tbs_certificate_bytes, der.SEQUENCE), index + 2)
    versioned = fields[0][0] == 0xA0
    return der.tlv(der.SEQUENCE, der.body(fields[index + versioned], der.SEQUENCE))


def _octets(name: str) -> bytes:
    return name.encode("utf-8", "replace")


def _mail(data: bytes) -> tuple[bytes, bytes]:
    mailbox, _, domain = data.rpartition(b"@")
    return mailbox, domain.lower()


def unfit(certificate: x509.Certificate, any_purpose: bool) -> str:
    """Why this certificate may not sign in IKE, empty when it may. With `any_purpose` extended key usage does not
    count. ValueError as `extension`."""
    usage = extension(certificate, x509.KeyUsage)
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        return "its key usage allows no signatures (digitalSignature or nonRepudiation is wanted)"
    purposes = extension(certificate, x509.ExtendedKeyUsage)
    if purposes is not None and not any_purpose and not PURPOSES.intersection(purposes):
        return "its extended key usage does not name ipsecIKE (1.3.6.1.5.5.7.3.17)"
    return ""
