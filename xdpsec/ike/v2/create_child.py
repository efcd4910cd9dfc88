"""CREATE_CHILD_SA for children: a new one, or the successor of one that gets old (RFC 7296 sec. 1.3.1, 1.3.3, 2.8).

Who asks installs before it uses, who answers installs before it answers. When both replace the same child, the exchange
with the lowest nonce loses (sec. 2.8.1): Removal, in removal.py, decides that as late as it can. IKE SAs: rekey_ike.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xdpsec.crypto.exchange import Private
from xdpsec.errors import PeerError
from xdpsec.ike import proposals
from xdpsec.ike.settings import ChildSettings
from xdpsec.ike.throttle import Bucket
from xdpsec.ike.v2 import children, followup, lifetimes, rekey_ike, removal
from xdpsec.ike.v2.flow import (
    Ask,
    Received,
    Reply,
    Steps,
    finish_exchange,
    install,
    respond_exchange,
    start_exchange,
)
from xdpsec.ike.v2.keys import child_keys
from xdpsec.ike.v2.sa import Child, Deal, IkeSa, State
from xdpsec.numbers import ExchangeType, Ke, NotifyType, Protocol, name_of
from xdpsec.wire.message import find, find_notify
from xdpsec.wire.payloads import KeyExchange, Nonce, Notify, Payload, SecurityAssociation

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine

CREATE = ExchangeType.CREATE_CHILD_SA
NONCE = 32  # at least half of every prf's key (sec. 2.10)
ROUNDS = 3  # answers of INVALID_KE_PAYLOAD that we follow


# --- we ask -----------------------------------------------------------------------------------------------------


class MakeChild:
    """A new child, or with `old` its successor. Holds what its answer needs until that came."""

    __slots__ = ("group", "nonce", "offered", "old", "private", "resource", "rounds", "settings")

    def __init__(self, settings: ChildSettings, resource: int | None = None, old: Child | None = None) -> None:
        self.settings, self.resource, self.old = settings, resource, old
        self.offered: children.Offered | None = None
        self.private: Private | None = None
        self.nonce = b""
        self.group, self.rounds = 0, 0

    def ready(self, sa: IkeSa) -> bool:
        """Not before the peer knows the child that is to be replaced."""
        return sa.state == State.ESTABLISHED and (self.old is None or not self.old.prove_at)

    def build(self, m: Machine, sa: IkeSa) -> Steps[Ask | None]:
        if not self._wanted(sa):
            return None
        groups = proposals.groups(proposals.for_exchange(self.settings.offers, m.settings.pfs))
        private = (yield from start_exchange(m.host, self.group or groups[0])) if groups else None
        if not self._wanted(sa):
            self.refused(m, sa, PeerError("the IKE SA was replaced meanwhile", NotifyType.TEMPORARY_FAILURE))
            return None
        offered, payloads = children.offer(m, self.settings, self.resource, ike_auth=False, old=self.old)
        # commit
        self.offered, self.private, self.nonce = offered, private, m.host.random(NONCE)
        exchange: tuple[Payload, ...] = (Nonce(self.nonce),)
        if private is not None:
            exchange = (*exchange, KeyExchange(private.group, private.public))
        if self.old is None:
            return Ask(self, CREATE, (*payloads, *exchange))
        self.old.rekeying = True
        which = Notify(NotifyType.REKEY_SA, b"", self.old.protocol, children.spi_bytes(self.old.spi_in))
        return Ask(self, CREATE, (which, *payloads, *exchange))

    def _wanted(self, sa: IkeSa) -> bool:
        """The old child is still there, and nobody has replaced it meanwhile."""
        old = self.old
        return sa.state == State.ESTABLISHED and (
            old is None or (old.spi_in in sa.children and not old.deleting and not old.successor)
        )

    def consume(self, m: Machine, sa: IkeSa, received: Received) -> Steps[None]:
        offered = self.offered
        assert offered is not None
        if self._another_group(m, sa, received.payloads):
            return
        try:
            made, secrets = yield from self._agree(offered, received.payloads)
        except PeerError as error:
            removal.disown(m, sa, offered, error)
            raise
        self.offered = None  # its SPI is made's now
        if made.groups:
            followup.begin(m, sa, self, made, secrets, received.payloads)
            return
        yield from made.complete(m, sa, secrets)
        self.done()

    def _agree(
        self, offered: children.Offered, payloads: Sequence[Payload]
    ) -> Steps[tuple[MadeChild, tuple[bytes, ...]]]:
        """What the answer makes of our offer, and the secret of its key exchange if there is one."""
        deal = children.agreed(offered, payloads)
        nonce, public = find(payloads, Nonce), find(payloads, KeyExchange)
        if nonce is None:
            raise PeerError("the peer's answer has no nonce", NotifyType.INVALID_SYNTAX)
        private, self.private = self.private, None
        made = MadeChild(deal, self.nonce, nonce.data, self.old, True)
        if not deal.ke:
            return made, ()
        if public is None or private is None or not deal.ke == public.group == private.group:
            raise PeerError("the peer's key exchange is not the one that it accepted", NotifyType.INVALID_SYNTAX)
        return made, ((yield from finish_exchange(private, public.data)),)

    def done(self) -> None:
        if self.old is not None:
            self.old.rekeying = False

    def _another_group(self, m: Machine, sa: IkeSa, payloads: Sequence[Payload]) -> bool:
        """INVALID_KE_PAYLOAD: ask again with the group that it names, if that is one of ours (sec. 1.3)."""
        refusal = find_notify(payloads, NotifyType.INVALID_KE_PAYLOAD)
        if refusal is None or self.offered is None:
            return False
        group = int.from_bytes(refusal.data, "big") if len(refusal.data) == 2 else 0
        tried = self.private.group if self.private else 0
        if group == tried or group not in proposals.groups(self.offered.exchange) or self.rounds >= ROUNDS:
            text = f"the peer wants key exchange {name_of(Ke, group)}, which does not help"
            raise PeerError(text, NotifyType.INVALID_KE_PAYLOAD)
        # commit
        self._drop(m)
        self.rounds += 1
        self.group = group
        m.ask(sa, self, first=True)
        return True

    def _drop(self, m: Machine) -> None:
        self.private = None
        if self.offered is not None:
            m.host.free_spi(self.offered.spi)
            self.offered = None

    def refused(self, m: Machine, sa: IkeSa, error: PeerError) -> None:
        self._drop(m)
        old = self.old
        if old is not None:
            old.rekeying = False
            sa = next((one for one in m.sas if old.spi_in in one.children), sa)  # the IKE SA may have been replaced
            if old.spi_in not in sa.children or old.successor:
                return  # the peer was faster
        if error.notify == NotifyType.CHILD_SA_NOT_FOUND and old is not None and sa.state == State.ESTABLISHED:
            # sec. 2.25: the peer has lost it; begin anew
            m.retire(sa, old, "failed")
            m.ask(sa, MakeChild(self.settings, self.resource))
        elif old is not None and sa.state == State.ESTABLISHED:
            lifetimes.rekey_later(m, old)
            if error.notify == NotifyType.NO_ADDITIONAL_SAS:
                lifetimes.reauthenticate_soon(m, sa)
        else:
            children.failed(m, self.settings, self.resource, error)


class MadeChild:
    """A child whose exchange is over but for keys and workers; after FOLLOWUP_KE where there is one. `old` is what it
    replaces, `initiator` that we asked. Its SPI is ours to free until the workers hear of it."""

    __slots__ = ("deal", "initiator", "nonce_i", "nonce_r", "old")

    def __init__(self, deal: Deal, nonce_i: bytes, nonce_r: bytes, old: Child | None, initiator: bool) -> None:
        self.deal, self.nonce_i, self.nonce_r, self.old, self.initiator = deal, nonce_i, nonce_r, old, initiator

    @property
    def groups(self) -> tuple[int, ...]:
        return self.deal.extra

    def drop(self, m: Machine) -> None:
        m.host.free_spi(self.deal.spi_in)

    def complete(self, m: Machine, sa: IkeSa, secrets: Sequence[bytes]) -> Steps[None]:
        """Both directions to their worker, then the child is the SA's."""
        assert sa.suite is not None
        deal, old = self.deal, self.old
        made = child_keys(sa.suite.prf, sa.sk_d, self.nonce_i, self.nonce_r, deal.suite, secrets)
        if old is not None and not self.initiator and (old.deleting or old.spi_in not in sa.children):
            self.drop(m)
            raise PeerError("the child SA went while its successor was made", NotifyType.TEMPORARY_FAILURE)
        try:
            yield from install(m, children.negotiated(m, sa, deal, made, self.initiator, old.spi_in if old else 0))
        except PeerError:
            if self.initiator:
                m.ask(sa, removal.Disown(deal.protocol, deal.spi_in), first=True)
            raise
        # commit
        nonce = min(self.nonce_i, self.nonce_r)
        beaten = old is not None and self.initiator and old.rival_nonce > nonce
        child = children.adopt(m, sa, deal, self.initiator, use=old is None or (self.initiator and not beaten))
        if old is None:
            return
        if self.initiator:
            old.successor = old.successor if beaten else child.spi_in
            m.ask(sa, removal.Tidy(old, child, nonce), first=True)
        else:
            old.successor, old.rival_nonce = child.spi_in, nonce


# --- we are asked -----------------------------------------------------------------------------------------------


def answer(m: Machine, sa: IkeSa, received: Received) -> Steps[Reply]:
    """One exchange, three uses: the payloads say which (sec. 1.3)."""
    followup.forget(m, sa)
    if _too_often(m):
        m.count("ike_ignored", "too many SAs asked for")
        return busy()
    offer = find(received.payloads, SecurityAssociation)
    if offer is not None and any(one.protocol == Protocol.IKE for one in offer.proposals):
        return (yield from rekey_ike.answer(m, sa, received))
    if rekey_ike.under_way(sa):  # sec. 2.25.2
        return busy()
    which = find_notify(received.payloads, NotifyType.REKEY_SA)
    if which is None:
        return (yield from _answer_child(m, sa, received, None))
    old = children.by_peer(sa, which.protocol, which.spi)
    if old is None:
        return (Notify(NotifyType.CHILD_SA_NOT_FOUND, b"", which.protocol, which.spi),)
    if old.deleting or old.rival_nonce:  # sec. 2.25.1; the peer has replaced it already
        return busy()
    return (yield from _answer_child(m, sa, received, old))


def _too_often(m: Machine) -> bool:
    """Keys, workers and a log line for each: a peer that asks without end must not have the gateway to itself."""
    if m.creations is None:
        m.creations = Bucket(m.host.limits.creations, m.host.limits.creations_at_once)
    return not m.creations.take(m.now)


def refuse(m: Machine, sa: IkeSa, received: Received) -> Steps[Reply]:
    """The IKE SA is being replaced or closed."""
    yield from ()
    return busy()


def busy() -> Reply:
    """Ask again later (sec. 2.25)."""
    return (Notify(NotifyType.TEMPORARY_FAILURE),)


def _answer_child(m: Machine, sa: IkeSa, received: Received, old: Child | None) -> Steps[Reply]:
    """Take of the offer what our settings allow, and have it installed before the answer lets the peer send."""
    nonce, public = find(received.payloads, Nonce), find(received.payloads, KeyExchange)
    if nonce is None:
        raise PeerError("CREATE_CHILD_SA without a nonce", NotifyType.INVALID_SYNTAX)
    if len(sa.children) >= m.host.limits.children * (1 if old is None else 2):
        raise PeerError("the IKE SA has as many children as it may have", NotifyType.NO_ADDITIONAL_SAS)
    group = public.group if public is not None else 0
    deal, chosen = children.choose(m, sa, received.payloads, ike_auth=False, only=old, group=group)
    mine = Nonce(m.host.random(NONCE))
    secrets: tuple[bytes, ...] = ()
    made = MadeChild(deal, nonce.data, mine.data, old, False)
    try:
        reply: Reply = (*children.answer(deal, chosen), mine)
        if deal.ke:
            if public is None or group != deal.ke:
                wanted = deal.ke.to_bytes(2, "big")
                text = f"a child SA needs key exchange {name_of(Ke, deal.ke)}, the peer sends {name_of(Ke, group)}"
                raise PeerError(text, NotifyType.INVALID_KE_PAYLOAD, wanted)
            value, secret = yield from respond_exchange(m.host, group, public.data)
            reply, secrets = (*reply, KeyExchange(group, value)), (secret,)
    except (PeerError, GeneratorExit):
        made.drop(m)
        raise
    if deal.extra:
        return (*reply, followup.expect(m, sa, made, secrets))
    yield from made.complete(m, sa, secrets)
    return reply
