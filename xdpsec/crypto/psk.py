"""Shared secrets: AUTH from a pre-shared key (RFC 7296 sec. 2.15) and the post-quantum one mixed in (RFC 8784)."""

from __future__ import annotations

from xdpsec.crypto.prf import prf, prf_plus

_PAD = b"Key Pad for IKEv2"


def shared_key_auth(prf_id: int, secret: bytes, octets: bytes) -> bytes:
    """AUTH data of a side that signs `octets` with a shared secret (a PSK; with EAP the MSK)."""
    return prf(prf_id, prf(prf_id, secret, _PAD), octets)


def mix_ppk(prf_id: int, ppk: bytes, *keys: bytes) -> tuple[bytes, ...]:
    """SK_d, SK_pi, SK_pr from their primed forms: each prf+(PPK, SK') of its own length (RFC 8784 sec. 3)."""
    return tuple(prf_plus(prf_id, ppk, key, len(key)) for key in keys)
