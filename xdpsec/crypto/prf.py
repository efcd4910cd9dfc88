"""The pseudorandom functions of IKEv2 and what is stretched from them: prf, prf+, the key of SKEYSEED.

RFC 7296 sec. 2.13 and 2.14; AES-XCBC by RFC 3566 and 4434, AES-CMAC by RFC 4494 and 4615. Knows no message.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from xdpsec.errors import LocalError
from xdpsec.numbers import Prf

_AES_BLOCK = 16
_AES_NONCE = 8  # RFC 7296 sec. 2.14: of each nonce, as much keys an AES prf
_PLUS_BLOCKS = 255  # RFC 7296 sec. 2.13: the counter is one byte


@dataclass(frozen=True, slots=True)
class PrfFacts:
    """`size` is the length in bytes both of the output and of the keys that are derived for it. `compute(key, data)`
    takes a key of any length."""

    size: int
    compute: Callable[[bytes, bytes], bytes]


def hmac_function(name: str) -> Callable[[bytes, bytes], bytes]:
    """`name` as hashlib has it; the whole output."""

    def compute(key: bytes, data: bytes) -> bytes:
        return hmac.digest(key, data, name)  # in one call, a third of the time

    return compute


def xcbc_mac(key: bytes, data: bytes) -> bytes:
    """AES-XCBC-MAC under a key of 16 bytes, all 16 bytes of it (RFC 3566 sec. 4)."""
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    first, second, third = (ecb.update(bytes([mark]) * _AES_BLOCK) for mark in (1, 2, 3))
    rest = len(data) % _AES_BLOCK
    whole = bool(data) and rest == 0
    if not whole:
        data = data + b"\x80" + bytes(_AES_BLOCK - rest - 1)
    last = int.from_bytes(data[-_AES_BLOCK:], "big") ^ int.from_bytes(second if whole else third, "big")
    chain = Cipher(algorithms.AES(first), modes.CBC(bytes(_AES_BLOCK))).encryptor()
    return chain.update(data[:-_AES_BLOCK] + last.to_bytes(_AES_BLOCK, "big"))[-_AES_BLOCK:]


def cmac_mac(key: bytes, data: bytes) -> bytes:
    """AES-CMAC under a key of 16 bytes, all 16 bytes of it (RFC 4493)."""
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()


def _xcbc_prf(key: bytes, data: bytes) -> bytes:
    """RFC 4434 sec. 2: short keys are filled with zeros, long ones go through the function itself."""
    if len(key) < _AES_BLOCK:
        key = key.ljust(_AES_BLOCK, b"\0")
    elif len(key) > _AES_BLOCK:
        key = xcbc_mac(bytes(_AES_BLOCK), key)
    return xcbc_mac(key, data)


def _cmac_prf(key: bytes, data: bytes) -> bytes:
    """RFC 4615 sec. 3: a key of any other length goes through the function itself."""
    if len(key) != _AES_BLOCK:
        key = cmac_mac(bytes(_AES_BLOCK), key)
    return cmac_mac(key, data)


PRFS: dict[int, PrfFacts] = {
    Prf.HMAC_SHA1: PrfFacts(20, hmac_function("sha1")),
    Prf.AES128_XCBC: PrfFacts(_AES_BLOCK, _xcbc_prf),
    Prf.HMAC_SHA2_256: PrfFacts(32, hmac_function("sha256")),
    Prf.HMAC_SHA2_384: PrfFacts(48, hmac_function("sha384")),
    Prf.HMAC_SHA2_512: PrfFacts(64, hmac_function("sha512")),
    Prf.AES128_CMAC: PrfFacts(_AES_BLOCK, _cmac_prf),
}


def _facts(prf_id: int) -> PrfFacts:
    found = PRFS.get(prf_id)
    if found is None:
        raise LocalError(f"pseudorandom function {prf_id} is not built in")
    return found


def key_length(prf_id: int) -> int:
    """Bytes of SK_d, SK_pi and SK_pr, and of the output."""
    return _facts(prf_id).size


def prf(prf_id: int, key: bytes, data: bytes) -> bytes:
    """prf(key, data); the key may have any length."""
    return _facts(prf_id).compute(key, data)


def prf_plus(prf_id: int, key: bytes, seed: bytes, length: int) -> bytes:
    """prf+(key, seed), its first `length` bytes. LocalError beyond 255 blocks."""
    facts = _facts(prf_id)
    blocks = -(-length // facts.size)
    if blocks > _PLUS_BLOCKS:
        raise LocalError(f"prf+ cannot give {length} bytes: it ends after {_PLUS_BLOCKS} blocks")
    compute, last, out = facts.compute, b"", []
    for counter in range(1, blocks + 1):
        last = compute(key, last + seed + bytes([counter]))
        out.append(last)
    return b"".join(out)[:length]


def nonce_key(prf_id: int, initiator_nonce: bytes, responder_nonce: bytes) -> bytes:
    """What keys the prf that makes the first SKEYSEED: both nonces; of each only 8 bytes for the two AES functions."""
    if prf_id in (Prf.AES128_XCBC, Prf.AES128_CMAC):
        return initiator_nonce[:_AES_NONCE] + responder_nonce[:_AES_NONCE]
    return initiator_nonce + responder_nonce
