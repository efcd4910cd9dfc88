"""Keys from shared secrets and nonces: SKEYSEED, SK_*, KEYMAT, and the octets that AUTH covers. Pure functions.

RFC 7296 sec. 2.14, 2.15, 2.17, 2.18; additional key exchanges RFC 9370 sec. 2.2.2 and 2.2.4; IKE_INTERMEDIATE RFC 9242
sec. 3.3; postquantum preshared keys RFC 8784 sec. 3; the full transcript draft-ietf-ipsecme-ikev2-downgrade-prevention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from xdpsec.crypto.prf import nonce_key, prf, prf_plus
from xdpsec.crypto.psk import mix_ppk
from xdpsec.crypto.suites import EspSuite, Suite
from xdpsec.ike.events import DirectionKeys
from xdpsec.ike.v2.sa import IkeKeys


def first_seed(suite: Suite, nonce_i: bytes, nonce_r: bytes, secret: bytes) -> bytes:
    """SKEYSEED of a new IKE SA (RFC 7296 sec. 2.14)."""
    return prf(suite.prf, nonce_key(suite.prf, nonce_i, nonce_r), secret)


def rekey_seed(old: Suite, sk_d: bytes, nonce_i: bytes, nonce_r: bytes, secrets: Sequence[bytes]) -> bytes:
    """SKEYSEED of an IKE SA that replaces another, by the old one's prf and SK_d; `secrets` of KE and each ADDKE in
    turn (RFC 7296 sec. 2.18, RFC 9370 sec. 2.2.4)."""
    return prf(old.prf, sk_d, secrets[0] + nonce_i + nonce_r + b"".join(secrets[1:]))


def mixed_seed(suite: Suite, sk_d: bytes, nonce_i: bytes, nonce_r: bytes, secret: bytes) -> bytes:
    """SKEYSEED(n) after an additional key exchange in IKE_INTERMEDIATE (RFC 9370 sec. 2.2.2)."""
    return prf(suite.prf, sk_d, secret + nonce_i + nonce_r)


def ike_keys(suite: Suite, seed: bytes, nonce_i: bytes, nonce_r: bytes, spi_i: bytes, spi_r: bytes) -> IkeKeys:
    """The seven SK_* from one prf+ (RFC 7296 sec. 2.14)."""
    lengths = (suite.prf_key, *(suite.integ_key,) * 2, *(suite.encr_key,) * 2, *(suite.prf_key,) * 2)
    stream = prf_plus(suite.prf, seed, nonce_i + nonce_r + spi_i + spi_r, sum(lengths))
    parts, at = [], 0
    for length in lengths:
        parts.append(stream[at : at + length])
        at += length
    return IkeKeys(*parts)


def with_ppk(suite: Suite, keys: IkeKeys, ppk: bytes) -> IkeKeys:
    """SK_d, SK_pi and SK_pr with a postquantum preshared key mixed in (RFC 8784 sec. 3)."""
    d, pi, pr = mix_ppk(suite.prf, ppk, keys.d, keys.pi, keys.pr)
    return replace(keys, d=d, pi=pi, pr=pr)


@dataclass(frozen=True, slots=True)
class ChildKeys:
    """KEYMAT by direction: `i` is what the initiator of the exchange sends with, `r` its peer."""

    i: DirectionKeys = field(repr=False)
    r: DirectionKeys = field(repr=False)


def child_keys(
    prf_id: int, sk_d: bytes, nonce_i: bytes, nonce_r: bytes, suite: EspSuite, secrets: Sequence[bytes] = ()
) -> ChildKeys:
    """KEYMAT (RFC 7296 sec. 2.17); `secrets` of KE and each ADDKE in turn, if there were any (RFC 9370 sec. 2.2.4)."""
    seed = b"".join(secrets[:1]) + nonce_i + nonce_r + b"".join(secrets[1:])
    stream = prf_plus(prf_id, sk_d, seed, 2 * suite.keymat)
    return ChildKeys(_direction(suite, stream[: suite.keymat]), _direction(suite, stream[suite.keymat :]))


def _direction(suite: EspSuite, keymat: bytes) -> DirectionKeys:
    return DirectionKeys(keymat[: suite.key_len], keymat[suite.key_len :])


# --- what AUTH covers ---------------------------------------------------------------------------------------


def auth_octets(prf_id: int, sk_p: bytes, message: bytes, nonce: bytes, identity: bytes, intauth: bytes) -> bytes:
    """<Signed octets> of one side (RFC 7296 sec. 2.15): its own IKE_SA_INIT message, the other side's nonce, and its ID
    payload without the generic header; `intauth` empty without IKE_INTERMEDIATE (RFC 9242 sec. 3.3.2)."""
    return message + nonce + prf(prf_id, sk_p, identity) + intauth


def intauth_step(prf_id: int, sk_p: bytes, before: bytes, octets: bytes) -> bytes:
    """IntAuth_[ir]N from the one before (empty for the first) and this message's octets (RFC 9242 sec. 3.3.2)."""
    return prf(prf_id, sk_p, before + octets)


def intauth(initiator: bytes, responder: bytes, auth_id: int) -> bytes:
    """What the IKE_INTERMEDIATE exchanges add to the signed octets; `auth_id` is IKE_AUTH's first message id."""
    return initiator + responder + auth_id.to_bytes(4, "big") if initiator else b""


def transcript(own: bytes, other: bytes) -> bytes:
    """What stands in place of a side's own IKE_SA_INIT message when both asked for the full transcript; no message
    begins with zeros, so the two kinds of octets cannot be confused (draft-ietf-ipsecme-ikev2-downgrade-prevention)."""
    return bytes(8) + other + own
