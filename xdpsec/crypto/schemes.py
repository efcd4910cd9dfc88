"""The ways to sign that IKEv2 knows: one row each, with its AUTH method, hash and AlgorithmIdentifier.

Of method 14 (RFC 7427) a row is the DER that names it: what a peer sends is looked up, never parsed. Forms that
say the same in other bytes (RFC 4055 sec. 2.1, 5: parameters NULL or absent) are further keys of the same row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from xdpsec.crypto import der
from xdpsec.numbers import AuthMethod, HashAlgorithm

SHA2 = (HashAlgorithm.SHA2_256, HashAlgorithm.SHA2_384, HashAlgorithm.SHA2_512)
#: What we announce in SIGNATURE_HASH_ALGORITHMS; RFC 8247 sec. 3.2 forbids SHA-1 there.
HASHES = frozenset({*SHA2, HashAlgorithm.IDENTITY})
#: Octets of a digest, and so of the PSS salt that we use.
DIGEST_SIZE = {
    HashAlgorithm.SHA1: 20,
    HashAlgorithm.SHA2_256: 32,
    HashAlgorithm.SHA2_384: 48,
    HashAlgorithm.SHA2_512: 64,
}


class Family(Enum):
    """What must be known of the key and the arithmetic."""

    PKCS1 = "RSA PKCS#1 v1.5"
    PSS = "RSASSA-PSS"
    ECDSA = "ECDSA"
    ED25519 = "Ed25519"
    ED448 = "Ed448"


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to sign. `blob` is the AlgorithmIdentifier of method 14, else empty; `salt` the octets of a PSS salt;
    `curve` the only curve of methods 9 to 11."""

    family: Family
    method: AuthMethod
    hash: HashAlgorithm
    blob: bytes = b""
    salt: int = 0
    curve: str = ""

    def __str__(self) -> str:
        digest = "" if self.hash == HashAlgorithm.IDENTITY else f" with {self.hash.name.replace('_', '-')}"
        return f"{self.family.value}{digest}"


_SHA_OID = {
    HashAlgorithm.SHA2_256: "2.16.840.1.101.3.4.2.1",
    HashAlgorithm.SHA2_384: "2.16.840.1.101.3.4.2.2",
    HashAlgorithm.SHA2_512: "2.16.840.1.101.3.4.2.3",
}
_RSA_OID = {  # RFC 8017 appendix A.2.4
    HashAlgorithm.SHA1: "1.2.840.113549.1.1.5",
    HashAlgorithm.SHA2_256: "1.2.840.113549.1.1.11",
    HashAlgorithm.SHA2_384: "1.2.840.113549.1.1.12",
    HashAlgorithm.SHA2_512: "1.2.840.113549.1.1.13",
}
_ECDSA_OID = {  # RFC 5758 sec. 3.2, RFC 3279 sec. 2.2.3
    HashAlgorithm.SHA1: "1.2.840.10045.4.1",
    HashAlgorithm.SHA2_256: "1.2.840.10045.4.3.2",
    HashAlgorithm.SHA2_384: "1.2.840.10045.4.3.3",
    HashAlgorithm.SHA2_512: "1.2.840.10045.4.3.4",
}
_PSS_OID, _MGF1_OID = "1.2.840.113549.1.1.10", "1.2.840.113549.1.1.8"
_ED25519_OID, _ED448_OID = "1.3.101.112", "1.3.101.113"  # RFC 8410 sec. 3


def _identifier(oid: str, *parameters: bytes) -> bytes:
    return der.sequence(der.oid(oid), *parameters)


def _pss(digest: HashAlgorithm, salt: int, hash_null: bool = True, mask_null: bool = True) -> bytes:
    """RSASSA-PSS-params of RFC 4055 sec. 3.1; the trailer is always the default and then left out."""
    oid = _SHA_OID[digest]
    hash_id, mask_id = (_identifier(oid, *([der.null()] if there else [])) for there in (hash_null, mask_null))
    parts = [der.explicit(0, hash_id), der.explicit(1, _identifier(_MGF1_OID, mask_id))]
    if salt != 20:  # the default of a DER value is never written
        parts.append(der.explicit(2, der.integer(salt)))
    return _identifier(_PSS_OID, der.sequence(*parts))


def _signature(family: Family, digest: HashAlgorithm, blob: bytes, salt: int = 0) -> Scheme:
    return Scheme(family, AuthMethod.SIGNATURE, digest, blob, salt)


PKCS1 = {digest: _signature(Family.PKCS1, digest, _identifier(oid, der.null())) for digest, oid in _RSA_OID.items()}
PSS = {digest: _signature(Family.PSS, digest, _pss(digest, size), size) for digest, size in DIGEST_SIZE.items()
       if digest in SHA2}  # fmt: skip
ECDSA = {digest: _signature(Family.ECDSA, digest, _identifier(oid)) for digest, oid in _ECDSA_OID.items()}
ED25519 = _signature(Family.ED25519, HashAlgorithm.IDENTITY, _identifier(_ED25519_OID))
ED448 = _signature(Family.ED448, HashAlgorithm.IDENTITY, _identifier(_ED448_OID))

#: RFC 7296 sec. 3.8: method 1 without an algorithm identifier means SHA-1 until both sides know better.
RSA_PLAIN = Scheme(Family.PKCS1, AuthMethod.RSA, HashAlgorithm.SHA1)
#: RFC 4754 sec. 3: curve and hash belong together.
ECDSA_PLAIN = {
    "secp256r1": Scheme(Family.ECDSA, AuthMethod.ECDSA_256, HashAlgorithm.SHA2_256, curve="secp256r1"),
    "secp384r1": Scheme(Family.ECDSA, AuthMethod.ECDSA_384, HashAlgorithm.SHA2_384, curve="secp384r1"),
    "secp521r1": Scheme(Family.ECDSA, AuthMethod.ECDSA_521, HashAlgorithm.SHA2_512, curve="secp521r1"),
}


def preferred(text: str) -> tuple[Scheme, ...]:
    """What a configuration prefers: "pss" by any hash, "pss-sha384", the same with pkcs1 and ecdsa; () for "auto"."""
    family, _, digest = text.partition("-")
    table = {"pss": PSS, "pkcs1": PKCS1, "ecdsa": ECDSA}.get(family, {})
    wanted = [one for one in SHA2 if digest in ("", one.name.replace("SHA2_", "sha"))]
    return tuple(table[one] for one in wanted if table)


def _rows() -> Iterator[Scheme]:
    """Every identifier that is taken, each with the scheme that it means."""
    for digest, scheme in PKCS1.items():
        yield scheme
        yield _signature(Family.PKCS1, digest, _identifier(_RSA_OID[digest]))
    for digest in SHA2:
        for salt in {0, *DIGEST_SIZE.values()}:
            for nulls in ((True, True), (True, False), (False, True), (False, False)):
                yield _signature(Family.PSS, digest, _pss(digest, salt, *nulls), salt)
    yield from ECDSA.values()
    yield ED25519
    yield ED448


#: AlgorithmIdentifier as it came -> scheme; what is not here we do not know.
BY_BLOB = {scheme.blob: scheme for scheme in _rows()}
