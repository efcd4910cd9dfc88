"""AUTH: what each side signs or MACs, by which of its means, and how we judge the other's (RFC 7296 sec. 2.15, 2.16).

Shared secrets, signatures by RFC 7427 and 9593, certificates with their revocation (crypto/trust.py), postquantum
preshared keys by RFC 8784. Builds no message and commits nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from xdpsec.crypto.psk import shared_key_auth
from xdpsec.crypto.trust import NeedsFetch
from xdpsec.errors import PeerError
from xdpsec.ike.settings import Identity, PeerSettings, Ppk, Trust
from xdpsec.ike.v2 import keys
from xdpsec.ike.v2.flow import Fetch, Steps, Work
from xdpsec.ike.v2.sa import IkeKeys, IkeSa
from xdpsec.numbers import AuthMethod, CertEncoding, NotifyType
from xdpsec.wire.payloads import Auth, Certificate, Payload

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine

FETCHES = 4  # how often one certificate path may send us for revocation lists


def refused(text: str) -> PeerError:
    return PeerError(text, NotifyType.AUTHENTICATION_FAILED)


@dataclass(frozen=True, slots=True)
class Octets:
    """What makes the signed octets of either side, once the identities are known. `ours`: the side that we are."""

    sa: IkeSa
    auth_id: int

    def of(self, initiator: bool, identity: Identity, used: IkeKeys) -> bytes:
        """InitiatorSignedOctets or ResponderSignedOctets, by the SK_p of `used`."""
        shake, suite = self.sa.shake, self.sa.algorithms
        message, other = shake.request, shake.response
        nonce, sk_p = shake.nonce_r, used.pi
        if not initiator:
            message, other = other, message
            nonce, sk_p = shake.nonce_i, used.pr
        if shake.transcript:
            message = keys.transcript(message, other)
        body = bytes((identity.kind, 0, 0, 0)) + identity.data
        intauth = keys.intauth(shake.intauth_i, shake.intauth_r, self.auth_id)
        return keys.auth_octets(suite.prf, sk_p, message, nonce, body, intauth)


def prove(peer: PeerSettings, sa: IkeSa, octets: bytes) -> Steps[tuple[int, bytes]]:
    """(AUTH method, data) of ours. PeerError when the peer can verify nothing that we have."""
    shake, suite = sa.shake, sa.algorithms
    signer = peer.local_auth.signer
    if signer is not None:
        job = signer.job(octets, shake.hashes, shake.methods)
        if job is not None:
            signed: tuple[int, bytes] = yield Work(job)
            return signed
        return signer.sign(octets, shake.hashes, shake.methods)
    return AuthMethod.PSK, shared_key_auth(suite.prf, peer.local_auth.psk, octets)


def certificates(payloads: Sequence[Payload]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """(chain, OCSP answers) that came along."""
    found = [value for value in payloads if type(value) is Certificate]
    chain = tuple(value.data for value in found if value.encoding == CertEncoding.X509_SIGNATURE)
    return chain, tuple(value.data for value in found if value.encoding == CertEncoding.OCSP)


def fits(peer: PeerSettings, method: int) -> bool:
    """Would this peer be believed by that method at all?"""
    return bool(peer.remote_auth.psk) if method == AuthMethod.PSK else peer.remote_auth.trust is not None


def judge(
    m: Machine,
    sa: IkeSa,
    peer: PeerSettings,
    identity: Identity,
    auth: Auth,
    octets: bytes,
    payloads: Sequence[Payload],
) -> Steps[None]:
    """PeerError(AUTHENTICATION_FAILED) unless the peer has proved to be `identity`."""
    suite = sa.algorithms
    if not fits(peer, auth.method):
        raise refused(f"the peer authenticates by method {auth.method}, which is not configured for {peer.name}")
    if auth.method == AuthMethod.PSK:
        wanted = shared_key_auth(suite.prf, peer.remote_auth.psk, octets)
        if not compare_digest(wanted, auth.data):
            raise refused("the shared secrets differ, or the peer means another identity of ours")
        return
    trust = peer.remote_auth.trust
    assert trust is not None
    key = yield from _verified(m, trust, identity, payloads)
    trust.check(key, auth.method, auth.data, octets)


def _verified(m: Machine, trust: Trust, identity: Identity, payloads: Sequence[Payload]) -> Steps[Any]:
    """The public key that speaks for `identity`; the host is sent for revocation lists where need be."""
    chain, staples = certificates(payloads)
    for left in reversed(range(FETCHES + 1)):
        try:
            return trust.verify(chain, identity, m.host.wall(), staples)
        except NeedsFetch as question:
            urls = question.urls
        if left:
            yield Fetch(urls)
    raise refused("the revocation of the peer's certificate cannot be known")


# --- postquantum preshared keys (RFC 8784 sec. 3) -----------------------------------------------------------


def with_ppk(sa: IkeSa, ppk: Ppk | None) -> IkeKeys:
    """SK_* as AUTH and the children use them: with the PPK mixed in when there is one."""
    return keys.with_ppk(sa.algorithms, sa.shake.sk, ppk.secret) if ppk is not None else sa.shake.sk
