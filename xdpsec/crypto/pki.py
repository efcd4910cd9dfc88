"""A small authority: its own certificate, requests, and what it signs. For gateways without a PKI; pyca builds.

Certificates are made as RFC 4945 and trust.py want them: names in subjectAltName, digitalSignature, id-kp-ipsecIKE.
`now` is UTC in seconds since 1970; serial numbers are pyca's random ones.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from xdpsec.crypto import names
from xdpsec.crypto.claims import extension
from xdpsec.crypto.malformed import MALFORMED
from xdpsec.crypto.signing import PrivateKey, PublicKey, usable
from xdpsec.errors import LocalError, PeerError

BACKDATE = timedelta(minutes=5)  # clocks differ
MAX_DAYS = 36500


def authority(key: PrivateKey, subject: str, days: int, now: float) -> bytes:
    """A certificate that may sign others, signed by its own key; PEM."""
    name = _name(subject)
    builder = _builder(name, name, key.public_key(), days, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(_usage(authority=True), critical=True)
    return _signed(builder, key)


def request(key: PrivateKey, subject: str, alternatives: Iterable[str]) -> bytes:
    """A PKCS#10 request (RFC 2986), PEM, with the identities that the certificate shall speak for."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(subject))
    wanted = _alternatives(alternatives)
    if wanted is not None:
        builder = builder.add_extension(wanted, critical=False)
    return builder.sign(key, _hash(key)).public_bytes(Encoding.PEM)


def sign(raw: bytes, by: x509.Certificate, key: PrivateKey, days: int, now: float) -> bytes:
    """The certificate for the request `raw` (PEM), PEM, by the authority `by` whose key is `key`. Of the request only
    subject, public key and subjectAltName are taken; LocalError when it is not signed by its own key."""
    if key.public_key() != by.public_key():
        raise LocalError("the key is not the authority's; name the key that its certificate was made with")
    constraints = extension(by, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise LocalError("that certificate is no authority; make one with xdpsec pki authority")
    try:
        asked = x509.load_pem_x509_csr(raw)
        public = usable(asked.public_key())
        good = asked.is_signature_valid
        found = [one for one in asked.extensions if isinstance(one.value, x509.SubjectAlternativeName)]
    except PeerError as error:
        raise LocalError(f"the request is refused: {error}") from None
    except MALFORMED:
        raise LocalError("that is no request; make one with xdpsec pki request") from None
    if not good:
        raise LocalError("the request is not signed by its own key; make it again")
    builder = _builder(asked.subject, by.subject, public, days, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(authority=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.IPSEC_IKE]), critical=False)
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(usable(by.public_key()))
    builder = builder.add_extension(issuer_key, critical=False)
    for one in found:
        builder = builder.add_extension(one.value, critical=not asked.subject.rdns)
    return _signed(builder, key)


def _builder(subject: x509.Name, issuer: x509.Name, key: PublicKey, days: int, now: float) -> x509.CertificateBuilder:
    if not 1 <= days <= MAX_DAYS:
        raise LocalError(f"{days} days is no lifetime; write 1 to {MAX_DAYS}")
    start = datetime.fromtimestamp(now, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - BACKDATE)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signed(builder: x509.CertificateBuilder, key: PrivateKey) -> bytes:
    return builder.sign(key, _hash(key)).public_bytes(Encoding.PEM)


def _hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    if isinstance(key, rsa.RSAPrivateKey):
        return hashes.SHA256()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = key.curve.key_size
        return hashes.SHA256() if size <= 256 else hashes.SHA384() if size <= 384 else hashes.SHA512()
    return None


def _name(subject: str) -> x509.Name:
    try:
        return names.parse(subject)
    except ValueError as error:
        raise LocalError(str(error)) from None


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(texts: Iterable[str]) -> x509.SubjectAlternativeName | None:
    found = [_alternative(text) for text in texts]
    return x509.SubjectAlternativeName(found) if found else None


def _alternative(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        if "*" in text:
            raise ValueError
        return x509.RFC822Name(text) if "@" in text else x509.DNSName(text)
    except ValueError:
        raise LocalError(f"{text!r} is no address, name or mailbox; write one like gw.example.org") from None
