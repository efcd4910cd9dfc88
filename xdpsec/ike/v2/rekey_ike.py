"""CREATE_CHILD_SA for the IKE SA itself: fresh keys, fresh SPIs, the children move over (RFC 7296 sec. 1.3.2, 2.18).

When both sides ask at once there are two successors until both exchanges are over; the one with the lowest nonce loses,
and whoever asked for it deletes it (sec. 2.8.2, 2.25.2). Until then the three IKE SAs share one dict of children.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from xdpsec.crypto.exchange import Private
from xdpsec.crypto.suites import ike_suite
from xdpsec.errors import PeerError
from xdpsec.ike import proposals
from xdpsec.ike.events import IkeRekeyed
from xdpsec.ike.proposals import Chosen
from xdpsec.ike.v2 import extensions, followup, informational, keylog, keys, lifetimes
from xdpsec.ike.v2.flow import Ask, Received, Reply, Steps, finish_exchange, respond_exchange, start_exchange
from xdpsec.ike.v2.ike_sa_init import NONCE, require_hybrid
from xdpsec.ike.v2.sa import IkeSa, State
from xdpsec.numbers import ExchangeType, Ke, NotifyType, name_of
from xdpsec.wire.message import find, find_notify
from xdpsec.wire.payloads import Delete, KeyExchange, Nonce, Notify, Payload, SecurityAssociation

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine

CREATE = ExchangeType.CREATE_CHILD_SA
ROUNDS = 3  # answers of INVALID_KE_PAYLOAD that we follow
SPI = 8
GENERATIONS = 8  # IKE SAs of one peer that wait for their delete, and as many that only repeat their last answer


def under_way(sa: IkeSa) -> bool:
    """We have asked to replace this IKE SA, and it is not done yet."""
    return sa.renewing


# --- we ask -----------------------------------------------------------------------------------------------------


class RekeyIke:
    """Replace the IKE SA. Holds what its answer needs until that came."""

    __slots__ = ("group", "nonce", "private", "rounds", "spi")

    def __init__(self) -> None:
        self.private: Private | None = None
        self.nonce = self.spi = b""
        self.group, self.rounds = 0, 0

    def ready(self, sa: IkeSa) -> bool:
        return sa.state == State.ESTABLISHED

    def build(self, m: Machine, sa: IkeSa) -> Steps[Ask | None]:
        offers = m.settings.ike_offers
        private = yield from start_exchange(m.host, self.group or proposals.groups(offers)[0])
        if sa.state != State.ESTABLISHED:  # the peer has replaced it meanwhile
            return None
        # commit
        self.private, self.nonce, self.spi = private, m.host.random(NONCE), m.registry.claim(m)
        sa.renewing = True
        offer = SecurityAssociation(proposals.build(offers, self.spi))
        return Ask(self, CREATE, (offer, Nonce(self.nonce), KeyExchange(private.group, private.public)))

    def consume(self, m: Machine, sa: IkeSa, received: Received) -> Steps[None]:
        if self._another_group(m, sa, received.payloads):
            return
        chosen, nonce, public = self._read(m, received.payloads)
        private, self.private = self.private, None
        if private is None or not chosen.ke == public.group == private.group:
            raise PeerError("the peer's key exchange is not the one that it accepted", NotifyType.INVALID_SYNTAX)
        secret = yield from finish_exchange(private, public.data)
        made = MadeIke(chosen, self.nonce, nonce.data, self.spi, True)
        self.spi = b""
        if chosen.extra:
            followup.begin(m, sa, self, made, (secret,), received.payloads)
        else:
            yield from made.complete(m, sa, (secret,))

    def _read(self, m: Machine, payloads: Sequence[Payload]) -> tuple[Chosen, Nonce, KeyExchange]:
        refusal = next((one for one in payloads if type(one) is Notify and one.is_error), None)
        answer, nonce, public = find(payloads, SecurityAssociation), find(payloads, Nonce), find(payloads, KeyExchange)
        if answer is None or nonce is None or public is None:
            kind = refusal.kind if refusal is not None else NotifyType.INVALID_SYNTAX
            raise PeerError(f"the peer does not rekey the IKE SA: {name_of(NotifyType, kind)}", kind)
        chosen = proposals.check_answer(m.settings.ike_offers, answer.proposals)
        _check_spi(chosen)
        require_hybrid(m.settings, chosen)
        return chosen, nonce, public

    def _another_group(self, m: Machine, sa: IkeSa, payloads: Sequence[Payload]) -> bool:
        """INVALID_KE_PAYLOAD: ask again with the group that it names, if that is one of ours (sec. 1.3)."""
        refusal = find_notify(payloads, NotifyType.INVALID_KE_PAYLOAD)
        if refusal is None or self.private is None:
            return False
        group = int.from_bytes(refusal.data, "big") if len(refusal.data) == 2 else 0
        known = proposals.groups(m.settings.ike_offers)
        if group == self.private.group or group not in known or self.rounds >= ROUNDS:
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
        if self.spi:
            m.registry.release(self.spi)
            self.spi = b""

    def done(self) -> None:
        """MadeIke has seen to everything."""

    def refused(self, m: Machine, sa: IkeSa, error: PeerError) -> None:
        self._drop(m)
        sa.renewing = False
        rival, sa.rival = sa.rival, None
        if sa.state != State.ESTABLISHED:
            return
        if rival is not None and rival.state == State.ESTABLISHED:
            succeed(m, sa, rival)
        else:
            lifetimes.rekey_later(m, sa)
            if error.notify == NotifyType.NO_ADDITIONAL_SAS:
                lifetimes.reauthenticate_soon(m, sa)


class MadeIke:
    """An IKE SA whose exchange is over but for keys; after FOLLOWUP_KE where there is one. `spi` is ours, claimed."""

    __slots__ = ("chosen", "initiator", "nonce_i", "nonce_r", "spi")

    def __init__(self, chosen: Chosen, nonce_i: bytes, nonce_r: bytes, spi: bytes, initiator: bool) -> None:
        self.chosen, self.nonce_i, self.nonce_r = chosen, nonce_i, nonce_r
        self.spi, self.initiator = spi, initiator

    @property
    def groups(self) -> tuple[int, ...]:
        return self.chosen.extra

    def drop(self, m: Machine) -> None:
        m.registry.release(self.spi)

    def complete(self, m: Machine, sa: IkeSa, secrets: Sequence[bytes]) -> Steps[None]:
        """The successor of `sa` has its keys; which of two it is to be is decided by whoever asked last."""
        yield from ()
        if not self.initiator and _children_busy(sa):
            self.drop(m)
            raise PeerError("a child SA changes while the IKE SA is rekeyed", NotifyType.TEMPORARY_FAILURE)
        new = self._make(m, sa, secrets)
        # commit
        m.sas = (new, *m.sas)
        m.enter(new, State.ESTABLISHED)
        if not self.initiator:
            if sa.renewing:
                new.children = sa.children
                sa.rival = new
            else:
                succeed(m, sa, new)
            return
        rival, sa.rival, sa.renewing, sa.asking = sa.rival, None, False, None
        if rival is not None and rival.state == State.ESTABLISHED and new.nonce < rival.nonce:
            succeed(m, sa, rival)
            informational.part(m, new, "rekeyed", "the peer's rekey of the IKE SA won")
            return
        succeed(m, sa, new)
        if rival is not None and rival.state == State.ESTABLISHED:
            _set_aside(m, rival)
        informational.part(m, sa, "rekeyed", "the IKE SA was rekeyed")

    def _make(self, m: Machine, sa: IkeSa, secrets: Sequence[bytes]) -> IkeSa:
        assert sa.suite is not None
        chosen = self.chosen
        new = IkeSa(self.initiator, sa.path, m.host.limits, m.now)
        new.spi_i, new.spi_r = (self.spi, chosen.spi) if self.initiator else (chosen.spi, self.spi)
        suite = ike_suite(chosen.encr.id, chosen.encr.bits, chosen.prf, chosen.integ)
        seed = keys.rekey_seed(sa.suite, sa.sk_d, self.nonce_i, self.nonce_r, secrets)
        made = keys.ike_keys(suite, seed, self.nonce_i, self.nonce_r, new.spi_i, new.spi_r)
        new.use_keys(suite, made)
        keylog.log(m, new, suite, made)
        new.ke, new.extra_ke = chosen.ke, chosen.extra
        new.nonce = min(self.nonce_i, self.nonce_r)
        new.inherit(sa)
        return new


def succeed(m: Machine, old: IkeSa, new: IkeSa) -> None:
    """`new` has the children, the wishes and the future; `old` waits for its delete. The only place where they move."""
    old.rival, new.nonce = None, b""
    new.children, old.children = old.children, {}
    new.tasks, old.tasks = tuple(task for task in old.tasks if not isinstance(task, RekeyIke)), ()
    m.sas = (*(other for other in m.sas if other is not new), new)
    followup.forget(m, old)
    _set_aside(m, old)
    lifetimes.begin_ike(m, new)
    m.emit(IkeRekeyed(m.number, m.settings.name, extensions.describe(new), new.hybrid))


def _set_aside(m: Machine, sa: IkeSa) -> None:
    """Nothing is asked of it any more but its delete; if the peer forgets that, we do it."""
    sa.children = {}
    sa.nonce = b""
    sa.aside = True
    sa.rekey_at, sa.expire_at, sa.reauth_at = 0.0, m.now + lifetimes.LINGER, 0.0
    m.enter(sa, State.REKEYED)


def deleted(m: Machine, sa: IkeSa) -> None:
    """The peer deletes an IKE SA that both were rekeying: its successor is the one that it asked for (sec. 2.25.2)."""
    rival = sa.rival
    if rival is not None and rival.state == State.ESTABLISHED:
        succeed(m, sa, rival)


# --- we are asked -----------------------------------------------------------------------------------------------


def answer(m: Machine, sa: IkeSa, received: Received) -> Steps[Reply]:
    """The peer replaces the IKE SA; what we have under way with children goes first (sec. 2.25.1)."""
    if _children_busy(sa) or sa.rival is not None:
        return (Notify(NotifyType.TEMPORARY_FAILURE),)
    _bound(m)
    payloads = received.payloads
    offer, nonce, public = find(payloads, SecurityAssociation), find(payloads, Nonce), find(payloads, KeyExchange)
    if offer is None or nonce is None or public is None:
        raise PeerError("a rekey of the IKE SA without SA, nonce or key exchange", NotifyType.INVALID_SYNTAX)
    found = proposals.choose(m.settings.ike_offers, offer.proposals, public.group, sa.intermediate)
    if isinstance(found, proposals.Refused):
        raise PeerError(f"no proposal for the IKE SA: {found}", NotifyType.NO_PROPOSAL_CHOSEN)
    _check_spi(found)
    require_hybrid(m.settings, found)
    if public.group != found.ke:
        text = f"the IKE SA needs key exchange {name_of(Ke, found.ke)}, the peer sends {name_of(Ke, public.group)}"
        raise PeerError(text, NotifyType.INVALID_KE_PAYLOAD, found.ke.to_bytes(2, "big"))
    value, secret = yield from respond_exchange(m.host, public.group, public.data)
    if sa.state != State.ESTABLISHED or _children_busy(sa):
        return (Notify(NotifyType.TEMPORARY_FAILURE),)
    # commit
    made = MadeIke(found, nonce.data, m.host.random(NONCE), m.registry.claim(m), False)
    reply: Reply = (
        SecurityAssociation((replace(found.answer, spi=made.spi),)),
        Nonce(made.nonce_r),
        KeyExchange(public.group, value),
    )
    if found.extra:
        return (*reply, followup.expect(m, sa, made, (secret,)))
    yield from made.complete(m, sa, (secret,))
    return reply


def _bound(m: Machine) -> None:
    """A peer that rekeys without end must not fill the machine with what it has replaced."""
    dead = [one for one in m.sas if one.dead]
    if len(m.sas) - len(dead) > GENERATIONS:
        text = "the peer rekeys the IKE SA again and deletes none of those before"
        raise PeerError(text, NotifyType.TEMPORARY_FAILURE)
    for old in sorted(dead, key=lambda one: one.expire_at)[:-GENERATIONS]:
        m.remove(old)


def _children_busy(sa: IkeSa) -> bool:
    """We are creating, rekeying or closing a child just now."""
    ask = sa.asking
    if ask is None or sa.renewing:
        return False
    creating = ask.exchange in (CREATE, ExchangeType.IKE_FOLLOWUP_KE)
    return creating or any(type(one) is Delete for one in ask.payloads)


def _check_spi(chosen: Chosen) -> None:
    if len(chosen.spi) != SPI or not any(chosen.spi):
        raise PeerError("a rekey of the IKE SA without an SPI for the new one", NotifyType.INVALID_SYNTAX)
