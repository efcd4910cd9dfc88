"""Key exchanges by number: finite fields, curves and KEMs behind one pair of calls, public values as on the wire.

RFC 7296 sec. 2.14 (MODP), 5903 (ECP), 6954 (brainpool), 8031 (X25519, X448), draft-ietf-ipsecme-ikev2-mlkem. Values
of peers are checked by RFC 6989 before a private one meets them. A private value serves once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from xdpsec.crypto import modp
from xdpsec.errors import LocalError, PeerError
from xdpsec.numbers import Ke, NotifyType, name_of

Random = Callable[[int], bytes]


def start(group: int, random: Random) -> Private:
    """A fresh private value. LocalError when the group is not built in. MODP draws from pyca's randomness."""
    family = _FAMILIES.get(group)
    if family is None:
        raise LocalError(f"key exchange {name_of(Ke, group)} is not built in")
    return family(group, random)


def respond(group: int, peer_public: bytes, random: Random) -> tuple[bytes, bytes]:
    """A responder's whole part: (what it answers to the initiator's value, the shared secret). Errors as of `start` and
    `finish`. ML-KEM draws from pyca's randomness."""
    if group in _KEMS:
        return _encapsulate(group, peer_public)
    private = start(group, random)
    return private.public, private.finish(peer_public)


def slow(group: int) -> bool:
    """True when a half may hold the interpreter over 2 ms: such work belongs in the helper process. MODP-1024 is among
    them since pyca proves its prime anew each time."""
    return group in modp.GROUPS and group not in (Ke.MODP_1536, Ke.MODP_2048)


def _refusal(group: int, what: str) -> PeerError:
    return PeerError(f"the peer's value for {name_of(Ke, group)} {what}", NotifyType.INVALID_SYNTAX)


def _check_size(group: int, value: bytes, size: int) -> None:
    if len(value) != size:
        raise _refusal(group, f"has {len(value)} bytes instead of {size}")


class Private(ABC):
    """Our half of an exchange; `public` goes on the wire."""

    __slots__ = ("_key", "group", "public")

    def __init__(self, group: int, public: bytes, key: Any) -> None:
        self.group, self.public, self._key = group, public, key

    def finish(self, peer_public: bytes) -> bytes:
        """The shared secret; the private value is dropped then. PeerError (INVALID_SYNTAX) when the peer's value is no
        good: it was not used, and stays, since a stranger may have sent that before the peer's own came."""
        if self._key is None:
            raise LocalError("this private value has served; start a new exchange")
        secret = self._agree(self._key, peer_public)
        self._key = None
        return secret

    @abstractmethod
    def _agree(self, key: Any, peer_public: bytes) -> bytes: ...


class _Modp(Private):
    """Holds numbers, so that it can go to the helper process and back."""

    __slots__ = ()

    def __init__(self, group: int, random: Random) -> None:
        private, public = modp.generate(group)
        super().__init__(group, public.to_bytes(modp.size(group), "big"), private)

    def _agree(self, key: int, peer_public: bytes) -> bytes:
        _check_size(self.group, peer_public, modp.size(self.group))
        peer = int.from_bytes(peer_public, "big")
        if not 1 < peer < modp.prime(self.group) - 1:  # RFC 6989 sec. 2.1
            raise _refusal(self.group, "lies outside the group")
        return modp.agree(self.group, key, int.from_bytes(self.public, "big"), peer)


class _Montgomery(Private):
    """X25519 and X448: any string is a point, and some points agree on zero."""

    __slots__ = ()

    def __init__(self, group: int, random: Random) -> None:
        kind, _, size = _MONTGOMERY[group]
        key = kind.from_private_bytes(random(size))
        super().__init__(group, key.public_key().public_bytes_raw(), key)

    def _agree(self, key: Any, peer_public: bytes) -> bytes:
        _, kind, size = _MONTGOMERY[self.group]
        _check_size(self.group, peer_public, size)
        try:
            secret: bytes = key.exchange(kind.from_public_bytes(peer_public))
        except ValueError:
            secret = b""
        if not any(secret):  # RFC 8031 sec. 3.2
            raise _refusal(self.group, "has low order: the secret would be zero")
        return secret


class _Weierstrass(Private):
    """ECP and brainpool: x and y side by side, the secret is x (RFC 5903 sec. 7, RFC 6954 sec. 2)."""

    __slots__ = ()

    def __init__(self, group: int, random: Random) -> None:
        curve = _WEIERSTRASS[group]
        order = curve.group_order
        # 64 bits more than the order has: what the remainder leans to is then beyond notice (FIPS 186-5 A.2.1)
        value = int.from_bytes(random((order.bit_length() + 71) // 8), "big") % (order - 1) + 1
        key = ec.derive_private_key(value, curve)
        super().__init__(group, key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:], key)

    def _agree(self, key: ec.EllipticCurvePrivateKey, peer_public: bytes) -> bytes:
        curve = _WEIERSTRASS[self.group]
        _check_size(self.group, peer_public, (curve.key_size + 7) // 8 * 2)
        try:  # each coordinate below the prime, the point on the curve (RFC 6989 sec. 2.3)
            peer = ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\x04" + peer_public)
        except ValueError:
            raise _refusal(self.group, "is no point of the curve") from None
        return key.exchange(ec.ECDH(), peer)


class _Kem(Private):
    """An initiator's ML-KEM key; what comes back is a ciphertext under it. A forged one gives another secret, no error
    (FIPS 203 sec. 6.3): AUTH will not verify then."""

    __slots__ = ()

    def __init__(self, group: int, random: Random) -> None:
        key = _KEMS[group].private.from_seed_bytes(random(_KEM_SEED))
        super().__init__(group, key.public_key().public_bytes_raw(), key)

    def _agree(self, key: Any, peer_public: bytes) -> bytes:
        _check_size(self.group, peer_public, _KEMS[self.group].ciphertext_size)
        secret: bytes = key.decapsulate(peer_public)
        return secret


def _encapsulate(group: int, peer_public: bytes) -> tuple[bytes, bytes]:
    kem = _KEMS[group]
    _check_size(group, peer_public, kem.key_size)
    try:
        key = kem.public.from_public_bytes(peer_public)
    except ValueError:  # a coefficient is not below q (FIPS 203 sec. 7.2)
        raise _refusal(group, "is no ML-KEM key") from None
    secret, ciphertext = key.encapsulate()
    return ciphertext, secret


class _KemFacts(NamedTuple):
    private: Any
    public: Any
    key_size: int
    ciphertext_size: int


_KEM_SEED = 64  # FIPS 203 sec. 7.1: d and z
_KEMS: dict[int, _KemFacts] = {
    Ke.ML_KEM_768: _KemFacts(mlkem.MLKEM768PrivateKey, mlkem.MLKEM768PublicKey, 1184, 1088),
    Ke.ML_KEM_1024: _KemFacts(mlkem.MLKEM1024PrivateKey, mlkem.MLKEM1024PublicKey, 1568, 1568),
}
#: private class, public class, bytes of either and of the secret
_MONTGOMERY: dict[int, tuple[Any, Any, int]] = {
    Ke.X25519: (x25519.X25519PrivateKey, x25519.X25519PublicKey, 32),
    Ke.X448: (x448.X448PrivateKey, x448.X448PublicKey, 56),
}
_WEIERSTRASS: dict[int, ec.EllipticCurve] = {
    Ke.ECP_256: ec.SECP256R1(),
    Ke.ECP_384: ec.SECP384R1(),
    Ke.ECP_521: ec.SECP521R1(),
    Ke.BRAINPOOL_256: ec.BrainpoolP256R1(),
    Ke.BRAINPOOL_384: ec.BrainpoolP384R1(),
    Ke.BRAINPOOL_512: ec.BrainpoolP512R1(),
}
_FAMILIES: dict[int, type[_Modp | _Montgomery | _Weierstrass | _Kem]] = {
    **dict.fromkeys(modp.GROUPS, _Modp),
    **dict.fromkeys(_MONTGOMERY, _Montgomery),
    **dict.fromkeys(_WEIERSTRASS, _Weierstrass),
    **dict.fromkeys(_KEMS, _Kem),
}

#: Every number that `start` and `respond` take, and those among them that are KEMs.
GROUPS = frozenset(_FAMILIES)
KEMS = frozenset(_KEMS)
