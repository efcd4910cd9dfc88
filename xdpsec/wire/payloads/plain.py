"""The payloads that are a number or two and then bytes (RFC 7296 sec. 3.4 to 3.9, 3.12, 3.16).

What the bytes mean is known to crypto and identity, not here.
"""

from __future__ import annotations

from struct import Struct

from xdpsec.wire.reader import Malformed, Reader
from xdpsec.wire.record import record

GROUP = Struct("!H2x")
KIND = Struct("!B3x")
ENCODING = Struct("!B")
NONCE_LENGTHS = range(16, 257)  # RFC 7296 sec. 3.9


@record
class KeyExchange:
    """`data` is the public value in the group's own layout, or a KEM's key or ciphertext."""

    group: int
    data: bytes


@record
class IdInitiator:
    kind: int
    data: bytes


@record
class IdResponder:
    kind: int
    data: bytes


@record
class Certificate:
    encoding: int
    data: bytes


@record
class CertificateRequest:
    """`authorities`: SHA-1 hashes of public keys, 20 bytes each, one after the other."""

    encoding: int
    authorities: bytes


@record
class Auth:
    method: int
    data: bytes


@record
class Nonce:
    """16 to 256 bytes."""

    data: bytes


@record
class VendorId:
    data: bytes


@record
class Eap:
    """One EAP packet, whole (RFC 3748 sec. 4)."""

    data: bytes


@record
class Unknown:
    """A payload whose number we do not know and that need not be understood; `critical` when we build one that must."""

    kind: int
    critical: bool
    data: bytes


def parse_ke(reader: Reader) -> KeyExchange:
    (group,) = reader.unpack(GROUP)
    return KeyExchange(group, _some(reader))


def build_ke(value: KeyExchange) -> bytes:
    return GROUP.pack(value.group) + value.data


def parse_idi(reader: Reader) -> IdInitiator:
    (kind,) = reader.unpack(KIND)
    return IdInitiator(kind, reader.rest())


def parse_idr(reader: Reader) -> IdResponder:
    (kind,) = reader.unpack(KIND)
    return IdResponder(kind, reader.rest())


def build_id(value: IdInitiator | IdResponder) -> bytes:
    """The body that AUTH covers too: RestOfInitIDPayload, RestOfRespIDPayload (RFC 7296 sec. 2.15)."""
    return KIND.pack(value.kind) + value.data


def parse_cert(reader: Reader) -> Certificate:
    (encoding,) = reader.unpack(ENCODING)
    return Certificate(encoding, _some(reader))


def build_cert(value: Certificate) -> bytes:
    return ENCODING.pack(value.encoding) + value.data


def parse_certreq(reader: Reader) -> CertificateRequest:
    (encoding,) = reader.unpack(ENCODING)
    return CertificateRequest(encoding, reader.rest())


def build_certreq(value: CertificateRequest) -> bytes:
    return ENCODING.pack(value.encoding) + value.authorities


def parse_auth(reader: Reader) -> Auth:
    (method,) = reader.unpack(KIND)
    return Auth(method, _some(reader))


def build_auth(value: Auth) -> bytes:
    return KIND.pack(value.method) + value.data


def parse_nonce(reader: Reader) -> Nonce:
    data = reader.rest()
    if len(data) not in NONCE_LENGTHS:
        raise Malformed(
            f"nonce payload of {len(data)} bytes; a nonce has {NONCE_LENGTHS.start} to {NONCE_LENGTHS.stop - 1}"
        )
    return Nonce(data)


def parse_vendor(reader: Reader) -> VendorId:
    return VendorId(reader.rest())


def parse_eap(reader: Reader) -> Eap:
    return Eap(_some(reader))


def build_data(value: Nonce | VendorId | Eap | Unknown) -> bytes:
    return value.data


def _some(reader: Reader) -> bytes:
    """What is left, which must be something."""
    data = reader.rest()
    if not data:
        raise Malformed(f"{reader.what} carries nothing")
    return data
