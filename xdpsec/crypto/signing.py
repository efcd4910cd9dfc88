"""Signatures in AUTH payloads (RFC 7296 sec. 2.15): which scheme, sign, verify. RFC 4754, 7427, 8420.

The octets that are signed come from the machine; whose key it is, trust.py has found. Signing uses the chance of
pyca's OpenSSL.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from xdpsec.crypto.announce import Announcement
from xdpsec.crypto.schemes import (
    BY_BLOB,
    ECDSA,
    ECDSA_PLAIN,
    ED448,
    ED25519,
    HASHES,
    PKCS1,
    PSS,
    RSA_PLAIN,
    SHA2,
    Family,
    Scheme,
)
from xdpsec.errors import LocalError, PeerError
from xdpsec.numbers import AuthMethod, HashAlgorithm, NotifyType

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey

#: RFC 8247 sec. 3.1.1: shorter RSA keys are refused; longer ones only cost us time.
RSA_BITS_MIN, RSA_BITS_MAX = 2048, 8192
#: From here on a signature holds the interpreter for more than 2 ms.
RSA_BITS_SLOW = 3072

_DIGEST: dict[HashAlgorithm, Callable[[], hashes.HashAlgorithm]] = {
    HashAlgorithm.SHA1: hashes.SHA1,
    HashAlgorithm.SHA2_256: hashes.SHA256,
    HashAlgorithm.SHA2_384: hashes.SHA384,
    HashAlgorithm.SHA2_512: hashes.SHA512,
}
_FITTING = {256: HashAlgorithm.SHA2_256, 384: HashAlgorithm.SHA2_384}  # curve bits -> hash; SHA2-512 above


def refused(text: str) -> PeerError:
    return PeerError(text, NotifyType.AUTHENTICATION_FAILED)


def describe(key: object) -> str:
    """The kind of a key, for sentences: "RSA-2048", "secp256r1", "Ed25519"."""
    match key:
        case rsa.RSAPublicKey() | rsa.RSAPrivateKey():
            return f"RSA-{key.key_size}"
        case ec.EllipticCurvePublicKey() | ec.EllipticCurvePrivateKey():
            return key.curve.name
        case ed25519.Ed25519PublicKey() | ed25519.Ed25519PrivateKey():
            return "Ed25519"
        case ed448.Ed448PublicKey() | ed448.Ed448PrivateKey():
            return "Ed448"
    return "unknown"


def usable(key: object) -> PublicKey:
    """`key` when it is of a kind and size that IKE may use; PeerError else."""
    if isinstance(key, rsa.RSAPublicKey):
        if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
            raise refused(f"an RSA key of {key.key_size} bits is not taken: {RSA_BITS_MIN} to {RSA_BITS_MAX} are")
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.key_size < 256:
            raise refused(f"a key on the curve {key.curve.name} is not taken: 256 bits is the least")
        return key
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return key
    raise refused("the certificate's key is of a kind that IKE cannot use")


# --- signing --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signer:
    """Our private key with its certificates, DER, the leaf first. `prefer`: schemes to use before others where the peer
    leaves the choice."""

    key: PrivateKey = field(repr=False)
    certificates: tuple[bytes, ...] = ()
    prefer: tuple[Scheme, ...] = ()

    @property
    def slow(self) -> bool:
        """True when a signature takes so long that it belongs into the helper process."""
        return isinstance(self.key, rsa.RSAPrivateKey) and self.key.key_size >= RSA_BITS_SLOW

    @property
    def prefers_well(self) -> bool:
        """False when the key can do nothing of what is preferred."""
        return not self.prefer or any(scheme in self._able() for scheme in self.prefer)

    def schemes(self) -> tuple[Scheme, ...]:
        """Everything that this key can do, best first; without a hash announced only the last are left."""
        able = self._able()
        return (*(one for one in self.prefer if one in able), *(one for one in able if one not in self.prefer))

    def _able(self) -> tuple[Scheme, ...]:
        match self.key:
            case rsa.RSAPrivateKey():
                return (*(table[digest] for table in (PSS, PKCS1) for digest in SHA2), RSA_PLAIN)
            case ec.EllipticCurvePrivateKey():
                own = _FITTING.get(self.key.curve.key_size, HashAlgorithm.SHA2_512)
                plain = ECDSA_PLAIN.get(self.key.curve.name)
                order = (own, *(digest for digest in SHA2 if digest != own))
                return (*(ECDSA[digest] for digest in order), *([plain] if plain else []))
            case ed25519.Ed25519PrivateKey():
                return (ED25519,)
            case ed448.Ed448PrivateKey():
                return (ED448,)
        raise LocalError("the private key is of a kind that IKE cannot use; make one with xdpsec key")

    def choose(self, hashes: Collection[int], announced: tuple[Announcement, ...] = ()) -> Scheme:
        """The scheme for a peer that knows `hashes` (SIGNATURE_HASH_ALGORITHMS; empty: it sent none) and announced
        these methods (RFC 9593; empty: nothing announced). PeerError when it can verify none of ours."""
        able = [scheme for scheme in self.schemes() if scheme.method != AuthMethod.SIGNATURE or scheme.hash in hashes]
        fitting = [scheme for scheme in able if not announced or any(one.covers(scheme) for one in announced)]
        if fitting:
            return fitting[0]
        what = "announced no method" if able else "names no hash in SIGNATURE_HASH_ALGORITHMS"
        raise refused(f"the peer {what} that fits our {describe(self.key)} key; use a key of another kind for it")

    def methods(self, hashes: Collection[int], announced: tuple[Announcement, ...] = ()) -> tuple[int, ...]:
        """The one AUTH method that `sign` would use, or none."""
        try:
            return (self.choose(hashes, announced).method,)
        except PeerError:
            return ()

    def sign(
        self, octets: bytes, hashes: Collection[int], announced: tuple[Announcement, ...] = ()
    ) -> tuple[int, bytes]:
        """AUTH method and AUTH data over `octets`; PeerError as `choose`."""
        scheme = self.choose(hashes, announced)
        return scheme.method, sign(self.key, scheme, octets)

    def job(self, octets: bytes, hashes: Collection[int], announced: tuple[Announcement, ...] = ()) -> Signature | None:
        """The same as `sign`, as a job where the key is `slow`; None where it is not worth the trip."""
        if not self.slow:
            return None
        key = self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return Signature(key, self.choose(hashes, announced), octets)


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that is still to be made, as a job for the helper process (crypto/jobs.py says what that is). Gives
    AUTH method and AUTH data. `key` is PKCS#8, DER."""

    key: bytes = field(repr=False)
    scheme: Scheme
    octets: bytes = field(repr=False)

    @property
    def slow(self) -> bool:
        return True

    def run(self) -> tuple[int, bytes]:
        # What we made ourselves needs no second look at its primes, which takes longer than the signature.
        key = load_der_private_key(self.key, None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(key, PrivateKey)
        return self.scheme.method, sign(key, self.scheme, self.octets)


def sign(key: PrivateKey, scheme: Scheme, octets: bytes) -> bytes:
    """AUTH data: for method 14 with its algorithm identifier before it (RFC 7427 sec. 3)."""
    match key:
        case rsa.RSAPrivateKey():
            value = key.sign(octets, _padding(scheme), _DIGEST[scheme.hash]())
        case ec.EllipticCurvePrivateKey():
            value = key.sign(octets, ec.ECDSA(_DIGEST[scheme.hash]()))
            if scheme.curve:  # RFC 4754 sec. 3: r and s at the curve's length
                size = (key.curve.key_size + 7) // 8
                value = b"".join(part.to_bytes(size, "big") for part in decode_dss_signature(value))
        case _:
            value = key.sign(octets)
    return bytes((len(scheme.blob),)) + scheme.blob + value if scheme.blob else value


def _padding(scheme: Scheme) -> padding.AsymmetricPadding:
    if scheme.family == Family.PSS:
        return padding.PSS(padding.MGF1(_DIGEST[scheme.hash]()), scheme.salt)
    return padding.PKCS1v15()


# --- verifying ------------------------------------------------------------------------------------------------


def verify(key: PublicKey, method: int, data: bytes, octets: bytes, allowed: Collection[int] = HASHES) -> Scheme:
    """The scheme by which `data` of an AUTH payload signs `octets` under `key`; PeerError(AUTHENTICATION_FAILED) else.
    `allowed` are the hashes that method 14 may use. Method 1 may use SHA-1 always: it has no other by default, and
    both sides' fresh nonces stand under the signature."""
    usable(key)
    scheme, value = _read(key, method, data, allowed)
    try:
        return _verify(key, scheme, value, octets)
    except (InvalidSignature, ValueError):
        raise refused(
            f"the AUTH signature ({scheme}) is wrong for the {describe(key)} key of the certificate"
        ) from None


def _read(key: PublicKey, method: int, data: bytes, allowed: Collection[int]) -> tuple[Scheme, bytes]:
    """The scheme that the AUTH payload names, fit for the key, and the signature value."""
    if method == AuthMethod.SIGNATURE:
        size = data[0] if data else 0
        blob, value = data[1 : 1 + size], data[1 + size :]
        scheme = BY_BLOB.get(blob)
        if scheme is None:
            shown = blob[:32].hex() or "nothing"
            raise refused(f"the peer signed by an algorithm that we do not know ({shown}); RSA, ECDSA, EdDSA are known")
        if scheme.hash not in allowed:
            raise refused(f"the peer signed by {scheme}, a hash that we did not announce")
    else:
        scheme, value = _plain(key, method), data
    if not _fits(key, scheme):
        raise refused(f"the peer signed by {scheme}, but its certificate has a {describe(key)} key")
    return scheme, value


def _plain(key: PublicKey, method: int) -> Scheme:
    if method == AuthMethod.RSA:
        return RSA_PLAIN
    for scheme in ECDSA_PLAIN.values():
        if scheme.method == method:
            return scheme
    raise refused(f"AUTH method {method} is no signature that we know, and a {describe(key)} certificate came with it")


def _fits(key: PublicKey, scheme: Scheme) -> bool:
    match scheme.family:
        case Family.PKCS1 | Family.PSS:
            return isinstance(key, rsa.RSAPublicKey)
        case Family.ECDSA:
            return isinstance(key, ec.EllipticCurvePublicKey) and scheme.curve in ("", key.curve.name)
        case Family.ED25519:
            return isinstance(key, ed25519.Ed25519PublicKey)
        case Family.ED448:
            return isinstance(key, ed448.Ed448PublicKey)


def _verify(key: PublicKey, scheme: Scheme, value: bytes, octets: bytes) -> Scheme:
    """InvalidSignature or ValueError when the value is not right."""
    match key:
        case rsa.RSAPublicKey():
            if scheme is RSA_PLAIN:
                return _verify_method_1(key, value, octets)
            key.verify(value, octets, _padding(scheme), _DIGEST[scheme.hash]())
        case ec.EllipticCurvePublicKey():
            if scheme.curve:
                size = (key.curve.key_size + 7) // 8
                if len(value) != 2 * size:
                    raise InvalidSignature
                value = encode_dss_signature(int.from_bytes(value[:size], "big"), int.from_bytes(value[size:], "big"))
            key.verify(value, octets, ec.ECDSA(_DIGEST[scheme.hash]()))
        case _:
            key.verify(value, octets)
    return scheme


def _verify_method_1(key: rsa.RSAPublicKey, value: bytes, octets: bytes) -> Scheme:
    """RFC 7296 sec. 3.8: SHA-1 by default, another hash if the peer thinks that we know it; the signature tells."""
    for scheme in (RSA_PLAIN, *(PKCS1[digest] for digest in SHA2)):
        try:
            key.verify(value, octets, padding.PKCS1v15(), _DIGEST[scheme.hash]())
            return scheme
        except InvalidSignature:
            continue
    raise InvalidSignature
