"""IKE_AUTH: who we are, who the peer is, and the first child SA with it (RFC 7296 sec. 1.2, 2.15).

A responder learns here which peer it talks to: what was agreed before is checked again for that one. A child that is
refused leaves the IKE SA up (sec. 1.3). PPK RFC 8784, childless RFC 6023, announced methods RFC 9593.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdpsec.errors import PeerError
from xdpsec.ike import proposals
from xdpsec.ike.events import IkeUp, RetireChild
from xdpsec.ike.identities import key, show
from xdpsec.ike.settings import Identity, PeerSettings, Ppk
from xdpsec.ike.v2 import (
    authenticate,
    children,
    configuration,
    extensions,
    informational,
    keys,
    lifetimes,
    mobike,
    removal,
    wishes,
)
from xdpsec.ike.v2.authenticate import Octets, refused
from xdpsec.ike.v2.flow import Ask, PeerRefuses, Received, Reply, Steps, install
from xdpsec.ike.v2.sa import Deal, Handshake, IkeKeys, IkeSa, State
from xdpsec.numbers import CertEncoding, ExchangeType, NotifyType, name_of
from xdpsec.wire.message import find, find_notify
from xdpsec.wire.payloads import (
    Auth,
    Certificate,
    IdInitiator,
    IdResponder,
    Notify,
    Payload,
    SecurityAssociation,
)

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine

BESIDE = 4  # IKE SAs of one identity that wait to go while another one stands
CROSSING = 5.0  # seconds within which two IKE SAs that either side began are taken for one wish


@dataclass(frozen=True, slots=True)
class Context:
    """Of our request: the child we asked for, the PPK we named."""

    child: children.Offered | None
    ppk: Ppk | None
    message_id: int


# --- we ask -------------------------------------------------------------------------------------------------


class Authenticate:
    """Prove who we are, with the first of the children that wait. `unused` is that child's SPI until it is agreed."""

    __slots__ = ("unused",)

    def __init__(self) -> None:
        self.unused = 0

    def ready(self, sa: IkeSa) -> bool:
        return sa.state == State.KEYED

    def build(self, m: Machine, sa: IkeSa) -> Steps[Ask | None]:
        peer, shake = m.settings, sa.shake
        if peer.ppk_required and not shake.ppk:
            raise refused("the peer knows no postquantum preshared keys, and one is required")
        ppk = peer.ppks[0] if shake.ppk and peer.ppks else None
        octets = Octets(sa, sa.outbox.next_id)
        used = authenticate.with_ppk(sa, ppk)
        method, data = yield from authenticate.prove(peer, sa, octets.of(True, peer.local_id, used))
        notifies: list[Payload] = [*_initial_contact(m), *extensions.announced((peer,))]
        if ppk is not None:
            notifies.append(Notify(NotifyType.PPK_IDENTITY, ppk.id))
            if not peer.ppk_required:
                plain = yield from authenticate.prove(peer, sa, octets.of(True, peer.local_id, shake.sk))
                notifies.append(Notify(NotifyType.NO_PPK_AUTH, plain[1]))
        may = not (shake.childless and peer.childless == "force")
        offered, child = wishes.first_child(m, may)
        # commit
        self.unused = offered.spi if offered is not None else 0
        context = Context(offered, ppk, sa.outbox.next_id)
        trusts = [peer.remote_auth.trust] if peer.remote_auth.trust is not None else []
        payloads = (
            IdInitiator(peer.local_id.kind, peer.local_id.data),
            *_certificates(m, peer, shake),
            *extensions.certificate_request(trusts),
            *extensions.ocsp_request(trusts),
            *((IdResponder(peer.named.kind, peer.named.data),) if peer.named is not None else ()),
            Auth(method, data),
            *((configuration.request(peer.ask_addresses),) if peer.ask_addresses else ()),
            *child,
            *mobike.offered(m, sa),
            *notifies,
        )
        return Ask(self, ExchangeType.IKE_AUTH, payloads, context)

    def consume(self, m: Machine, sa: IkeSa, received: Received) -> Steps[None]:
        """The responder's proof, and what became of the child."""
        peer, payloads = m.settings, received.payloads
        assert received.ask is not None
        context: Context = received.ask.context
        idr, auth = find(payloads, IdResponder), find(payloads, Auth)
        if idr is None or auth is None:
            error = next((one for one in payloads if type(one) is Notify and one.is_error), None)
            kind = error.kind if error is not None else int(NotifyType.AUTHENTICATION_FAILED)
            raise PeerRefuses(f"the peer refuses us: {name_of(NotifyType, kind)}{_names(peer, kind)}", kind)
        identity = Identity(idr.kind, idr.data)
        if not peer.remote_id.matches(identity):
            raise refused(f"the peer has another identity than {peer.remote_id}")
        ppk = context.ppk if find_notify(payloads, NotifyType.PPK_IDENTITY) is not None else None
        if peer.ppk_required and ppk is None:
            raise refused("the peer uses no postquantum preshared key, and one is required")
        used = authenticate.with_ppk(sa, ppk)
        octets = Octets(sa, context.message_id).of(False, identity, used)
        yield from authenticate.judge(m, sa, peer, identity, auth, octets, payloads)
        deal = failure = None
        self.unused = 0
        if context.child is not None:
            deal, failure = yield from _first_child(m, sa, context.child, used, payloads)
        # commit
        sa.sk_d, sa.ppk = used.d, ppk is not None
        mobike.adopt(m, sa, payloads)
        established(m, sa, identity)
        wishes.other_children(m, sa)
        if deal is not None:
            children.adopt(m, sa, deal, initiator=True)
        elif context.child is not None and failure is not None:
            children.failed(m, context.child.settings, context.child.resource, failure)

    def refused(self, m: Machine, sa: IkeSa, error: PeerError) -> None:
        """The IKE SA goes with it, whether or not a message had left."""
        if self.unused:
            m.host.free_spi(self.unused)
            self.unused = 0
        informational.part(m, sa, "authentication", str(error), error.notify)


def _names(peer: PeerSettings, kind: int) -> str:
    """Whose names may be wrong, where the peer says no more than that it does not believe."""
    if kind != NotifyType.AUTHENTICATION_FAILED:
        return ""
    asked = f", and asked for {show(peer.named)}" if peer.named is not None else ""
    return f"; we said to be {show(peer.local_id)}{asked}"


def _first_child(
    m: Machine, sa: IkeSa, offered: children.Offered, used: IkeKeys, payloads: Sequence[Payload]
) -> Steps[tuple[Deal | None, PeerError | None]]:
    """The child with its keys at the workers; or why not, and its SPI is free again."""
    shake = sa.shake
    suite = sa.algorithms
    try:
        configuration.learn(m, payloads)
        deal = children.agreed(offered, payloads)
    except PeerError as error:
        removal.disown(m, sa, offered, error)
        m.host.free_spi(offered.spi)
        return None, error
    try:
        made = keys.child_keys(suite.prf, used.d, shake.nonce_i, shake.nonce_r, deal.suite)
        yield from install(m, children.negotiated(m, sa, deal, made, initiator=True))
    except PeerError as error:
        m.ask(sa, removal.Disown(deal.protocol, deal.spi_in), first=True)
        return None, error
    return deal, None


def _initial_contact(m: Machine) -> tuple[Notify, ...]:
    """We have no other IKE SA with this peer (sec. 2.4)."""
    return () if m.registry.established(m.settings.name) else (Notify(NotifyType.INITIAL_CONTACT),)


def _certificates(m: Machine, peer: PeerSettings, shake: Handshake) -> tuple[Certificate, ...]:
    """Ours, and what its authority says of it where the peer asks (RFC 4806)."""
    local = peer.local_auth
    wanted = local.certificates == "always" or (local.certificates == "asked" and shake.asked_certificates)
    if local.signer is None or not wanted:
        return ()
    chain = tuple(Certificate(CertEncoding.X509_SIGNATURE, one) for one in local.signer.certificates)
    staple = local.staple.at(m.host.wall()) if local.staple is not None and shake.asked_ocsp else b""
    return (*chain, Certificate(CertEncoding.OCSP, staple)) if staple else chain


# --- the peer asks ------------------------------------------------------------------------------------------


def answer(m: Machine, sa: IkeSa, received: Received) -> Steps[Reply]:
    shake, payloads = sa.shake, received.payloads
    idi, idr, auth = find(payloads, IdInitiator), find(payloads, IdResponder), find(payloads, Auth)
    if idi is None or auth is None:
        raise refused("the peer asks for EAP, or forgot IDi or AUTH")
    if shake.extra:
        raise PeerError("IKE_AUTH before the additional key exchanges that were agreed", NotifyType.INVALID_SYNTAX)
    identity = Identity(idi.kind, idi.data)
    peer = _find_peer(m, sa, identity, Identity(idr.kind, idr.data) if idr else None, auth)
    ppk, method_data = _choose_ppk(peer, shake, payloads)
    used = authenticate.with_ppk(sa, ppk)
    octets = Octets(sa, received.header.message_id)
    proof = Auth(auth.method, method_data) if method_data else auth
    yield from authenticate.judge(m, sa, peer, identity, proof, octets.of(True, identity, used), payloads)
    both = extensions.Both.of(payloads)
    shake.asked_certificates |= both.certificates
    shake.asked_ocsp |= both.ocsp
    shake.methods = both.methods or shake.methods
    method, data = yield from authenticate.prove(peer, sa, octets.of(False, peer.local_id, used))
    m.peer = peer  # proved: what follows is told under its name
    if peer.mobike:
        mobike.expect_no_nat(payloads, received.path)
    deal, child = yield from _answer_child(m, sa, used, identity, payloads)
    if _taken(m, peer, identity):
        if deal is not None:
            m.emit(RetireChild(m.number, deal.spi_in, deal.spi_out, deal.settings.index, "failed"))
        raise refused(_kept(peer))
    # commit
    mobike.adopt(m, sa, payloads)
    sa.sk_d, sa.ppk = used.d, ppk is not None
    contact = find_notify(payloads, NotifyType.INITIAL_CONTACT) is not None
    established(m, sa, identity, contact)
    if deal is not None:
        children.adopt(m, sa, deal, initiator=False)
    return (
        IdResponder(peer.local_id.kind, peer.local_id.data),
        *_certificates(m, peer, shake),
        Auth(method, data),
        *((Notify(NotifyType.PPK_IDENTITY),) if ppk is not None else ()),
        *child,
        *(mobike.offered(m, sa) if sa.mobike else ()),
    )


def _find_peer(m: Machine, sa: IkeSa, idi: Identity, idr: Identity | None, auth: Auth) -> PeerSettings:
    """The second step: whose identity this is, and would that peer have agreed to what was agreed for its address?"""
    shake = sa.shake
    found = m.host.book.by_identity(idi, idr, shake.candidates)
    if not found:
        if idr is not None and m.host.book.by_identity(idi, None, shake.candidates):
            raise refused(f"peer {show(idi)} calls us {show(idr)}, which is no local_id that it may know")
        raise refused(f"no peer {show(idi)} is configured for this address")
    why = ""
    for peer in found:
        refusal = _refusal(peer, shake, sa.ke)
        if refusal:
            why = why or f"peer {peer.name} does not accept the algorithms of this IKE SA: {refusal}"
        elif peer.pq == "required" and not sa.hybrid:
            why = why or f"peer {peer.name} requires a post-quantum key exchange"
        elif not authenticate.fits(peer, auth.method):
            why = why or f"peer {peer.name} may not authenticate by method {auth.method}"
        elif _taken(m, peer, idi):
            why = why or _kept(peer)
        else:
            return peer
    raise refused(why)


def _refusal(peer: PeerSettings, shake: Handshake, group: int) -> str:
    """Why this peer's offers would not have taken what was agreed, empty if they would."""
    if peer.ike_offers is shake.offers or shake.accepted is None:
        return ""
    chosen = proposals.choose(peer.ike_offers, (shake.accepted,), group)
    return str(chosen) if isinstance(chosen, proposals.Refused) else ""


def _taken(m: Machine, peer: PeerSettings, idi: Identity) -> bool:
    """By a connection that may not be replaced. Two that begin at once may both pass before either stands."""
    return peer.uniqueness == "keep" and bool(m.registry.established(peer.name, key(idi)))


def _kept(peer: PeerSettings) -> str:
    return f"peer {peer.name} is connected already, and its first connection is kept"


def _choose_ppk(peer: PeerSettings, shake: Handshake, payloads: Sequence[Payload]) -> tuple[Ppk | None, bytes]:
    """The PPK that the peer names, if we have it; else the AUTH data that do without (RFC 8784 sec. 3)."""
    named, plain = (find_notify(payloads, kind) for kind in (NotifyType.PPK_IDENTITY, NotifyType.NO_PPK_AUTH))
    if shake.ppk and named is not None:
        for ppk in peer.ppks:
            if ppk.id == named.data:
                return ppk, b""
        if plain is None or peer.ppk_required:
            raise refused("the peer names a postquantum preshared key that we do not have")
        return None, plain.data
    if peer.ppk_required:
        raise refused("the peer uses no postquantum preshared key, and one is required")
    return None, b""


def _answer_child(
    m: Machine, sa: IkeSa, used: IkeKeys, identity: Identity, payloads: Sequence[Payload]
) -> Steps[tuple[Deal | None, Reply]]:
    """The first child at its workers and the payloads that say so; or the notify that says why not."""
    shake = sa.shake
    suite = sa.algorithms
    if find(payloads, SecurityAssociation) is None:
        if m.settings.childless == "never":
            raise PeerError("the peer wants no child SA, and childless is never", NotifyType.INVALID_SYNTAX)
        return None, ()
    deal = None
    try:
        if m.settings.childless == "force":
            raise PeerError("children come by CREATE_CHILD_SA alone here", NotifyType.NO_PROPOSAL_CHOSEN)
        given = configuration.give(m, identity, payloads)
        deal, chosen = children.choose(m, sa, payloads, ike_auth=True)
        made = keys.child_keys(suite.prf, used.d, shake.nonce_i, shake.nonce_r, deal.suite)
        yield from install(m, children.negotiated(m, sa, deal, made, initiator=False))
    except PeerError as error:
        m.note("warning", "the peer's first child SA is refused", ("why", str(error)))
        return None, (Notify(error.notify, error.data),)
    return deal, (*given, *children.answer(deal, chosen))


# --- both ---------------------------------------------------------------------------------------------------


def established(m: Machine, sa: IkeSa, identity: Identity, contact: bool = False) -> None:
    """Commit: the peer has proved itself. Older machines of the same identity go, as its policy says (sec. 2.4)."""
    peer, suite = m.settings, sa.suite
    assert suite is not None
    remote_id = key(identity)
    m.remote_id, m.first_spis = remote_id, sa.spi_i + sa.spi_r
    lifetimes.begin_ike(m, sa)
    for other in m.registry.established(peer.name, remote_id):
        if other is m or peer.uniqueness == "off":
            continue
        at_once = abs(m.since - other.since) < CROSSING
        if at_once and (other.initiator != m.initiator or not contact):
            # begun at once, by both or twice: each side picks the same one to go, whichever came first here
            _give_way(m, other, min((m, other), key=lambda one: one.first_spis))
        elif contact:
            other.abandon("replaced", "the peer has lost its state and connected anew", m.now)
        elif peer.uniqueness == "replace":
            # that of the two which was begun first, even if lost answers made it stand only now
            _give_way(m, other, min((m, other), key=lambda one: one.since))
    beside = m.registry.established(peer.name, remote_id)
    leaving = [one for one in beside if one is not m and one.sas and one.sa.leave_at]
    for other in sorted(leaving, key=lambda one: one.since)[:-BESIDE]:
        other.abandon("replaced", "the peer connects anew again and again", m.now)
    m.emit(
        IkeUp(
            ike=m.number,
            peer=peer.name,
            path=sa.path,
            local_id=peer.local_id,
            remote_id=identity,
            initiator=m.initiator,
            suite=extensions.describe(sa),
            hybrid=sa.hybrid,
            ppk=sa.ppk,
            seconds=m.now - m.since,
        )
    )


def _give_way(m: Machine, other: Machine, loser: Machine) -> None:
    """`loser`, one of the two, goes. Who began the talk that stays deletes the other (sec. 2.8.3); the other side does
    so late, if that is forgotten."""
    stays = other if loser is m else m
    wait = m.host.limits.outlived_seconds * (1 if stays.initiator else 4)
    if loser is m:
        wishes.outlived(m, wait)
    else:
        other.give_way(m.now, wait)
