"""Announced authentication methods, the data of a SUPPORTED_AUTH_METHODS notify (RFC 9593 sec. 3.2): parse and build.

A list whose entries say their own length: 2 octets for a method that needs nothing else, 3 with a link to an
authority of CERTREQ, more with the AlgorithmIdentifier of method 14.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xdpsec.crypto.schemes import BY_BLOB, ECDSA, ECDSA_PLAIN, ED448, ED25519, PKCS1, PSS, RSA_PLAIN, SHA2, Scheme
from xdpsec.errors import PeerError
from xdpsec.numbers import AuthMethod, NotifyType

#: More than anybody has methods; what follows them is refused, not remembered.
MAX_ANNOUNCEMENTS = 64
_BARE = frozenset({AuthMethod.PSK, AuthMethod.GENERIC_PASSWORD, AuthMethod.NULL})


@dataclass(frozen=True, slots=True)
class Announcement:
    """One method. `link` counts from 1 the authorities of the CERTREQ payloads beside it, 0 = for every one; `blob` is
    the AlgorithmIdentifier of method 14."""

    method: int
    link: int = 0
    blob: bytes = b""

    def covers(self, scheme: Scheme) -> bool:
        """True when a signature by `scheme` is what was announced."""
        if self.method != scheme.method:
            return False
        if not scheme.blob:
            return True
        meant = BY_BLOB.get(self.blob)
        return meant is not None and (meant.family, meant.hash, meant.salt) == (scheme.family, scheme.hash, scheme.salt)


def parse_announcements(data: bytes) -> tuple[Announcement, ...]:
    """The entries in order, unknown methods too; PeerError(INVALID_SYNTAX) when their lengths do not add up."""
    found: list[Announcement] = []
    at = 0
    while at < len(data):
        size = data[at]
        entry = data[at + 1 : at + size]
        if size < 2 or len(entry) != size - 1 or len(found) == MAX_ANNOUNCEMENTS:
            raise PeerError("SUPPORTED_AUTH_METHODS is no list of announcements", NotifyType.INVALID_SYNTAX)
        found.append(Announcement(entry[0], entry[1] if size > 2 else 0, entry[2:]))
        at += size
    return tuple(found)


def build_announcements(announcements: Iterable[Announcement]) -> bytes:
    return b"".join(map(_build, announcements))


def _build(one: Announcement) -> bytes:
    if one.method in _BARE:
        return bytes((2, one.method))
    return bytes((3 + len(one.blob), one.method, one.link)) + one.blob


_ROWS = (ED25519, ED448, *(table[digest] for table in (ECDSA, PSS, PKCS1) for digest in SHA2))
_SIGNATURES = tuple(Announcement(one.method, 0, one.blob) for one in (*_ROWS, *ECDSA_PLAIN.values(), RSA_PLAIN))


def signatures() -> tuple[Announcement, ...]:
    """Every signature that verify() of signing.py takes and RFC 8247 does not forbid, best first."""
    return _SIGNATURES


SHARED_KEY = Announcement(AuthMethod.PSK)
