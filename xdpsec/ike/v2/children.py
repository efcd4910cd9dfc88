"""Child SAs as every exchange needs them: offered, agreed, given keys, installed, retired (RFC 7296 sec. 1.3, 2.9).

IKE_AUTH and CREATE_CHILD_SA differ in where the keys come from, not in this. Knows no key exchange and no window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xdpsec.crypto.suites import esp_suite
from xdpsec.errors import PeerError
from xdpsec.ike import proposals, selectors
from xdpsec.ike.events import ChildFailed, NegotiatedChild, UseOutbound
from xdpsec.ike.settings import ChildSettings, EspOffer
from xdpsec.ike.v2 import lifetimes
from xdpsec.ike.v2.flow import PeerRefuses, Reply
from xdpsec.ike.v2.keys import ChildKeys
from xdpsec.ike.v2.sa import Child, Deal, IkeSa
from xdpsec.numbers import SPI_MIN, NotifyType, Protocol, name_of
from xdpsec.wire.message import find, find_notify
from xdpsec.wire.payloads import Delete, Notify, Payload, SecurityAssociation, Selector, TsInitiator, TsResponder

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine


@dataclass(frozen=True, slots=True)
class Offered:
    """What we asked for: to be found again when the answer comes."""

    settings: ChildSettings
    resource: int | None
    spi: int
    exchange: tuple[EspOffer, ...]
    local: selectors.Selectors
    remote: selectors.Selectors


ANYTHING = {4: selectors.selector("0.0.0.0/0"), 6: selectors.selector("::/0")}


def spi_bytes(spi: int) -> bytes:
    return spi.to_bytes(4, "big")


# --- we offer -----------------------------------------------------------------------------------------------


def offer(
    m: Machine, child: ChildSettings, resource: int | None, ike_auth: bool, old: Child | None = None
) -> tuple[Offered, Reply]:
    """A child of ours as payloads, with a fresh SPI (free it if nothing comes of it); in place of `old` it gets that
    one's selectors."""
    offers = proposals.for_exchange(child.offers, m.settings.pfs, ike_auth)
    local, remote = (old.local, old.remote) if old is not None else ours(m, child)
    spi = m.host.new_spi(child.index, resource)
    mode = (Notify(NotifyType.USE_TRANSPORT_MODE),) if child.mode == "transport" else ()
    info = (_resource_info(resource),) if resource is not None else ()
    payloads = (
        *info,
        *mode,
        SecurityAssociation(proposals.build(offers, spi_bytes(spi))),
        TsInitiator(local),
        TsResponder(remote),
    )
    return Offered(child, resource, spi, offers, local, remote), payloads


def ours(m: Machine, child: ChildSettings) -> tuple[selectors.Selectors, selectors.Selectors]:
    """(local, remote) of a child. A side without prefixes is the inner address that the configuration payload gave it;
    who asks for one offers everything and is narrowed to it (RFC 7296 sec. 2.19)."""
    local, remote = selectors.of_child(child)
    inner = tuple(selectors.selector(one, child.protocol) for one in m.inner)
    if m.initiator:
        anything = tuple(ANYTHING[version] for version in m.settings.ask_addresses)
        return local or inner or anything, remote
    return local, _granted(m, remote, inner)


def _granted(m: Machine, remote: selectors.Selectors, inner: selectors.Selectors) -> selectors.Selectors:
    """Of a pool the peer has its own address alone, whatever else of it the child's `remote` names: the rest is other
    guests'. Networks of its own that stand there too stay."""
    if m.settings.pool is None or not inner or not remote:
        return remote or inner
    pool = [selectors.selector(prefix) for prefix in m.settings.pool.prefixes]
    own = [one for one in remote if not any(selectors.overlap(one, leased) for leased in pool)]
    given = [both for one in inner for whole in remote if (both := selectors.overlap(one, whole)) is not None]
    return *own, *given


def agreed(offered: Offered, payloads: Sequence[Payload]) -> Deal:
    """What the responder made of our offer; PeerError when it is none of it, or an error notify came instead."""
    refusal = next((value for value in payloads if type(value) is Notify and value.kind in REFUSALS), None)
    answer = find(payloads, SecurityAssociation)
    if answer is None:
        kind = refusal.kind if refusal is not None else NotifyType.NO_PROPOSAL_CHOSEN
        raise PeerRefuses(f"the peer refuses the child SA: {name_of(NotifyType, kind)}{_wanted(offered, kind)}", kind)
    chosen = proposals.check_answer(offered.exchange, answer.proposals)
    tsi, tsr = find(payloads, TsInitiator), find(payloads, TsResponder)
    if tsi is None or tsr is None:
        raise PeerError("the peer's answer has no traffic selectors", NotifyType.INVALID_SYNTAX)
    local, remote = (tuple(dict.fromkeys(side.selectors)) for side in (tsi, tsr))
    if max(len(local), len(remote)) > selectors.MOST:
        text = f"the peer cuts what we offered into more than {selectors.MOST} traffic selectors"
        raise PeerError(text, NotifyType.TS_UNACCEPTABLE)
    if not selectors.within(local, offered.local) or not selectors.within(remote, offered.remote):
        raise PeerError("the peer's traffic selectors go beyond what we offered", NotifyType.TS_UNACCEPTABLE)
    transport = find_notify(payloads, NotifyType.USE_TRANSPORT_MODE) is not None
    if transport != (offered.settings.mode == "transport"):
        raise PeerError("the peer answers with another mode than the one we asked for", NotifyType.NO_PROPOSAL_CHOSEN)
    _usable(chosen.spi)
    return _deal(offered.settings, offered.resource, chosen, offered.spi, local, remote)


# --- we are offered -----------------------------------------------------------------------------------------


def choose(
    m: Machine, sa: IkeSa, payloads: Sequence[Payload], ike_auth: bool, only: Child | None = None, group: int = 0
) -> tuple[Deal, proposals.Chosen]:
    """What we take of a peer's offer, SPI included (free it if nothing comes of it); `only` the child that it must
    be for, in a rekey; `group` of the KE payload. PeerError(NO_PROPOSAL_CHOSEN, TS_UNACCEPTABLE, INVALID_SYNTAX)."""
    offer, tsi, tsr = find(payloads, SecurityAssociation), find(payloads, TsInitiator), find(payloads, TsResponder)
    if offer is None or tsi is None or tsr is None:
        raise PeerError("a child SA needs an SA payload and traffic selectors", NotifyType.INVALID_SYNTAX)
    candidates = (only.settings,) if only else m.settings.children
    mode = "transport" if find_notify(payloads, NotifyType.USE_TRANSPORT_MODE) else "tunnel"
    fitting = tuple(child for child in candidates if child.mode == mode) or candidates
    known = {child.name: ours(m, child) for child in fitting}
    found = selectors.choose_child(fitting, tsi.selectors, tsr.selectors, known)
    if found is None:
        text = f"no child's traffic selectors fit what the peer wants: {_between(tsr.selectors, tsi.selectors)}"
        raise PeerError(text, NotifyType.TS_UNACCEPTABLE)
    if found.child.mode == "transport" and mode == "tunnel":
        text = f"child {found.child.name} runs in transport mode, the peer asks for tunnel mode"
        raise PeerError(text, NotifyType.NO_PROPOSAL_CHOSEN)
    offers = proposals.for_exchange(found.child.offers, m.settings.pfs, ike_auth)
    chosen = proposals.choose(offers, offer.proposals, group, sa.intermediate)
    if isinstance(chosen, proposals.Refused):
        raise PeerError(f"no proposal for child {found.child.name}: {chosen}", NotifyType.NO_PROPOSAL_CHOSEN)
    resource = only.resource if only else _resource(sa, found.child, payloads)
    spi_out = _usable(chosen.spi)
    if any(one.spi_out == spi_out for one in sa.children.values()):
        raise PeerError("the peer's SPI serves another child SA", NotifyType.INVALID_SYNTAX)
    spi = m.host.new_spi(found.child.index, resource)
    return _deal(found.child, resource, chosen, spi, found.local, found.remote), chosen


#: Prefixes that a sentence has room for.
MOST_NAMED = 8


def _wanted(offered: Offered, kind: int) -> str:
    """What it refuses, where that is the prefixes."""
    refused = kind == NotifyType.TS_UNACCEPTABLE
    return f"; we want {_between(offered.local, offered.remote)}" if refused else ""


def _between(local: Sequence[Selector], remote: Sequence[Selector]) -> str:
    """Both sides for people, ours first; a peer that names hundreds does not fill the log."""
    here, there = (", ".join(map(_shown, side[:MOST_NAMED])) for side in (local, remote))
    return f"{here} here, {there} there"


def _shown(one: Selector) -> str:
    """A kind that we do not know has no addresses (RFC 7296 sec. 3.13.1)."""
    return selectors.text(one) if one.last else "what we do not know"


def _usable(spi: bytes) -> int:
    """The peer's SPI as a number; PeerError for those that RFC 4303 sec. 2.1 reserves."""
    number = int.from_bytes(spi, "big")
    if number < SPI_MIN:
        raise PeerError(f"the peer's SPI {number} is reserved", NotifyType.INVALID_SYNTAX)
    return number


def answer(deal: Deal, chosen: proposals.Chosen) -> Reply:
    """The payloads that say so. The peer initiates: its selectors come first."""
    mode = (Notify(NotifyType.USE_TRANSPORT_MODE),) if deal.mode == "transport" else ()
    proposal = replace(chosen.answer, spi=spi_bytes(deal.spi_in))
    info = (_resource_info(deal.resource),) if deal.resource is not None else ()
    return *info, *mode, SecurityAssociation((proposal,)), TsInitiator(deal.remote), TsResponder(deal.local)


def _resource_info(resource: int) -> Notify:
    """RFC 9611 sec. 5.1: the number is for people only."""
    return Notify(NotifyType.SA_RESOURCE_INFO, resource.to_bytes(4, "big"))


def _resource(sa: IkeSa, child: ChildSettings, payloads: Sequence[Payload]) -> int | None:
    """The worker of ours for a child that the peer binds to one of its own (RFC 9611 sec. 4), None = any. One that has
    none of this child yet; PeerError(TS_MAX_QUEUE) when all have."""
    if find_notify(payloads, NotifyType.SA_RESOURCE_INFO) is None or child.workers <= 1:
        return None
    used = {one.resource for one in sa.children.values() if one.settings.index == child.index and not one.successor}
    free = next((number for number in range(child.workers) if number not in used), None)
    if free is None:
        raise PeerError(f"all workers have an SA of child {child.name} already", NotifyType.TS_MAX_QUEUE)
    return free


def _deal(
    child: ChildSettings,
    resource: int | None,
    chosen: proposals.Chosen,
    spi: int,
    local: selectors.Selectors,
    remote: selectors.Selectors,
) -> Deal:
    return Deal(
        settings=child,
        resource=resource,
        offer=chosen.offer,
        protocol=chosen.answer.protocol,
        suite=esp_suite(chosen.encr.id, chosen.encr.bits, chosen.integ),
        esn=chosen.esn,
        ke=chosen.ke,
        extra=chosen.extra,
        mode=child.mode,
        spi_in=spi,
        spi_out=int.from_bytes(chosen.spi, "big"),
        local=local,
        remote=remote,
    )


# --- keys, workers ------------------------------------------------------------------------------------------


def negotiated(
    m: Machine, sa: IkeSa, deal: Deal, keys: ChildKeys, initiator: bool, replaces: int = 0
) -> NegotiatedChild:
    """What goes to the workers. `initiator` of the exchange, which need not be that of the IKE SA."""
    own, other = (keys.i, keys.r) if initiator else (keys.r, keys.i)
    return NegotiatedChild(
        peer=m.settings.name,
        name=deal.settings.name,
        index=deal.settings.index,
        resource=deal.resource,
        protocol=deal.protocol,
        spi_in=deal.spi_in,
        spi_out=deal.spi_out,
        suite=deal.suite,
        esn=deal.esn,
        ke=(deal.ke, *deal.extra) if deal.ke else (),
        mode=deal.mode,
        keys_in=other,
        keys_out=own,
        local=deal.local,
        remote=deal.remote,
        encap=sa.encap,
        path=sa.path,
        initiator=initiator,
        replaces=replaces,
    )


def adopt(m: Machine, sa: IkeSa, deal: Deal, initiator: bool, use: bool = True) -> Child:
    """Commit: the child is the SA's. `use`: send on it from now on (a responder's rekey waits for proof)."""
    child = sa.children[deal.spi_in] = Child(deal, initiator)
    lifetimes.begin_child(m, child)
    child.prove_at = 0.0 if initiator else m.now + m.host.limits.proof
    if use:
        m.emit(UseOutbound(m.number, deal.spi_in, deal.spi_out, deal.settings.index))
    return child


def by_peer(sa: IkeSa, protocol: int, spi: bytes) -> Child | None:
    """The child that the peer calls by the SPI that it receives on."""
    found = (one for one in sa.children.values() if one.protocol == protocol and spi_bytes(one.spi_out) == spi)
    return next(found, None)


def fall_back(m: Machine, sa: IkeSa, gone: Child) -> None:
    """Of a child that goes, whatever took its place is used to send, if anything did."""
    same = [
        one
        for one in sa.children.values()
        if one is not gone and one.settings.index == gone.settings.index and one.resource == gone.resource
    ]
    heir = next((one for one in same if one.spi_in == gone.successor), None) or next(
        (one for one in reversed(same) if not one.deleting and not one.successor), None
    )
    if heir is not None:
        m.emit(UseOutbound(m.number, heir.spi_in, heir.spi_out, heir.settings.index))


def failed(m: Machine, child: ChildSettings, resource: int | None, error: PeerError) -> None:
    """Tell the host that a child it wanted is not there."""
    name = m.peer.name if m.peer else ""
    m.emit(ChildFailed(m.number, name, child.name, child.index, resource, error.notify, str(error)))


def deleted(m: Machine, sa: IkeSa, deletes: Sequence[Delete]) -> Reply:
    """The peer deletes children, by the SPIs that it receives on: ours go too and are named (sec. 1.4.1)."""
    reply: list[Delete] = []
    for delete in deletes:
        named = {int.from_bytes(spi, "big") for spi in delete.spis}
        gone = [one for one in sa.children.values() if one.protocol == delete.protocol and one.spi_out in named]
        for child in gone:
            fall_back(m, sa, child)
            m.retire(sa, child, "rekeyed" if child.successor else "deleted")
        named_back = tuple(spi_bytes(child.spi_in) for child in gone if not child.deleting)  # sec. 2.25.1
        if named_back:
            reply.append(Delete(delete.protocol, named_back))
    return tuple(reply)


#: Error notifies that say why there is no child; the IKE SA lives on (RFC 7296 sec. 1.2, 1.3; RFC 9611).
REFUSALS = frozenset(
    {
        *(NotifyType.NO_PROPOSAL_CHOSEN, NotifyType.TS_UNACCEPTABLE, NotifyType.SINGLE_PAIR_REQUIRED),
        *(NotifyType.INTERNAL_ADDRESS_FAILURE, NotifyType.FAILED_CP_REQUIRED, NotifyType.NO_ADDITIONAL_SAS),
        *(NotifyType.TEMPORARY_FAILURE, NotifyType.CHILD_SA_NOT_FOUND, NotifyType.TS_MAX_QUEUE),
        *(NotifyType.INVALID_KE_PAYLOAD, NotifyType.INVALID_SYNTAX, NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD),
    }
)
PROTOCOLS = frozenset({Protocol.ESP, Protocol.AH})
