"""What both sides can do beyond RFC 7296: said in IKE_SA_INIT, settled once (RFC 6023, 7383, 7427, 8784, 9242, 9593,
draft-ietf-ipsecme-ikev2-downgrade-prevention). A row each; what they mean is in the exchanges' files.

Also which exchange comes next until the SA is ESTABLISHED.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from xdpsec.crypto.announce import SHARED_KEY, Announcement, build_announcements, parse_announcements, signatures
from xdpsec.crypto.schemes import HASHES
from xdpsec.crypto.suites import Suite
from xdpsec.ike import proposals
from xdpsec.ike.settings import Algorithm, PeerSettings, Trust
from xdpsec.ike.v2.sa import IkeSa
from xdpsec.numbers import CertEncoding, NotifyType
from xdpsec.wire.payloads import CertificateRequest, Notify, Payload

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine

MOST_HASHES = 32  # looked at; five are known
_HASHES = b"".join(number.to_bytes(2, "big") for number in sorted(HASHES))


@dataclass(frozen=True, slots=True)
class Both:
    """What the peer says it can do."""

    fragmentation: bool
    intermediate: bool
    transcript: bool
    ppk: bool
    childless: bool
    hashes: frozenset[int]
    methods: tuple[Announcement, ...]
    certificates: bool
    ocsp: bool

    @classmethod
    def of(cls, payloads: Sequence[Payload]) -> Both:
        seen = {value.kind: value.data for value in payloads if type(value) is Notify}
        hashes = seen.get(NotifyType.SIGNATURE_HASH_ALGORITHMS, b"")[: 2 * MOST_HASHES]
        return cls(
            NotifyType.IKEV2_FRAGMENTATION_SUPPORTED in seen,
            NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED in seen,
            NotifyType.IKE_SA_INIT_FULL_TRANSCRIPT_AUTH in seen,
            NotifyType.USE_PPK in seen,
            NotifyType.CHILDLESS_IKEV2_SUPPORTED in seen,
            frozenset(int.from_bytes(hashes[at : at + 2], "big") for at in range(0, len(hashes) - 1, 2)),
            parse_announcements(seen.get(NotifyType.SUPPORTED_AUTH_METHODS, b"")),
            *(_asks(payloads, one) for one in (CertEncoding.X509_SIGNATURE, CertEncoding.OCSP)),
        )


def _asks(payloads: Sequence[Payload], encoding: int) -> bool:
    return any(type(value) is CertificateRequest and value.encoding == encoding for value in payloads)


def _hybrids(peer: PeerSettings) -> bool:
    """Additional key exchanges may be wanted, now or for a child."""
    children = [offer.extra for child in peer.children for offer in child.offers]
    return any((*(offer.extra for offer in peer.ike_offers), *children))


def offered(peer: PeerSettings) -> tuple[Notify, ...]:
    """An initiator's notifies in IKE_SA_INIT."""
    rows = (
        (peer.fragment > 0, NotifyType.IKEV2_FRAGMENTATION_SUPPORTED, b""),
        (bool(peer.remote_auth.trust or peer.local_auth.signer), NotifyType.SIGNATURE_HASH_ALGORITHMS, _HASHES),
        (_hybrids(peer), NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED, b""),
        (True, NotifyType.IKE_SA_INIT_FULL_TRANSCRIPT_AUTH, b""),
        (bool(peer.ppks), NotifyType.USE_PPK, b""),
    )
    return tuple(Notify(kind, data) for wanted, kind, data in rows if wanted)


def answered(candidates: Sequence[PeerSettings], both: Both, payloads: Sequence[Payload]) -> tuple[Payload, ...]:
    """A responder's notifies, what weighs most first: the last may have to go. It knows only who the peer may be."""
    trusts = [peer.remote_auth.trust for peer in candidates if peer.remote_auth.trust is not None]
    rows = (
        (both.intermediate and any(map(_hybrids, candidates)), NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED, b""),
        (True, NotifyType.IKE_SA_INIT_FULL_TRANSCRIPT_AUTH, b""),
        (both.ppk and any(peer.ppks for peer in candidates), NotifyType.USE_PPK, b""),
        (both.fragmentation and any(peer.fragment for peer in candidates), *_FRAGMENTS),
        (bool(trusts) and bool(both.hashes), NotifyType.SIGNATURE_HASH_ALGORITHMS, _HASHES),
        (any(peer.childless != "never" for peer in candidates), NotifyType.CHILDLESS_IKEV2_SUPPORTED, b""),
    )
    said = tuple(Notify(kind, data) for wanted, kind, data in rows if wanted)
    return *said, *certificate_request(trusts), *ocsp_request(trusts), *announced(candidates)


_FRAGMENTS = (NotifyType.IKEV2_FRAGMENTATION_SUPPORTED, b"")


def certificate_request(trusts: Sequence[Trust]) -> tuple[CertificateRequest, ...]:
    """One CERTREQ that names every anchor once."""
    known = [trust.authorities for trust in trusts]
    hashes = dict.fromkeys(one[at : at + 20] for one in known for at in range(0, len(one), 20))
    return (CertificateRequest(CertEncoding.X509_SIGNATURE, b"".join(hashes)),) if known else ()


def ocsp_request(trusts: Sequence[Trust]) -> tuple[CertificateRequest, ...]:
    """For an OCSP response of whichever responder speaks for the certificate: we name none (RFC 4806 sec. 3.1)."""
    return (CertificateRequest(CertEncoding.OCSP, b""),) if any(trust.asks_ocsp for trust in trusts) else ()


def announced(candidates: Sequence[PeerSettings]) -> tuple[Notify, ...]:
    """SUPPORTED_AUTH_METHODS (RFC 9593): how a peer may prove itself to us."""
    shared = (SHARED_KEY,) if any(peer.remote_auth.psk for peer in candidates) else ()
    signed = signatures() if any(peer.remote_auth.trust is not None for peer in candidates) else ()
    if not signed:
        return ()
    return (Notify(NotifyType.SUPPORTED_AUTH_METHODS, build_announcements((*shared, *signed))),)


def adopt(m: Machine, sa: IkeSa, both: Both) -> None:
    """Commit what both sides can do."""
    shake = sa.shake
    peers = (m.peer,) if m.peer else shake.candidates
    sa.fragments = both.fragmentation and any(peer.fragment for peer in peers)
    sa.intermediate = both.intermediate and any(map(_hybrids, peers))
    shake.transcript = both.transcript
    shake.ppk = both.ppk and any(peer.ppks for peer in peers)
    shake.childless = both.childless
    shake.hashes = both.hashes
    shake.methods = both.methods
    shake.asked_certificates = both.certificates
    shake.asked_ocsp = both.ocsp


def proceed(m: Machine, sa: IkeSa) -> None:
    """The initiator's next exchange before the SA is ESTABLISHED."""
    from xdpsec.ike.v2 import ike_auth, intermediate

    m.ask(sa, intermediate.Mix() if sa.shake.extra else ike_auth.Authenticate(), first=True)


def describe(sa: IkeSa) -> str:
    """The algorithms of an IKE SA for people: AES_GCM_16-256, HMAC_SHA2_384, X25519, ML_KEM_768."""
    return _words(sa.algorithms, (sa.ke, *sa.extra_ke))


@lru_cache(maxsize=256)
def _words(suite: Suite, groups: tuple[int, ...]) -> str:
    rows = ((1, suite.encr, suite.bits), (2, suite.prf, 0), (3, suite.integ, 0), *((4, group, 0) for group in groups))
    named = (proposals.name(kind, Algorithm(number, bits)) for kind, number, bits in rows if number)
    return ", ".join(named)
