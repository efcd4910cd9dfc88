"""IKE_SA_INIT: algorithms, nonces, the first key exchange (RFC 7296 sec. 1.2, 2.6, 2.7). Nobody is authenticated here.

So an error that comes back is a hint: we note it and wait for a better answer. COOKIE and INVALID_KE_PAYLOAD may send
us round a few times, together (sec. 2.6.1). Which extensions both sides have is settled here too (extensions.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xdpsec.crypto.exchange import KEMS, Private
from xdpsec.crypto.suites import ike_suite
from xdpsec.errors import PeerError
from xdpsec.ike import proposals
from xdpsec.ike.settings import PeerSettings
from xdpsec.ike.v2 import dispatch, extensions, keylog, keys, nat
from xdpsec.ike.v2.flow import Ask, Received, Reply, Steps, finish_exchange, respond_exchange, start_exchange
from xdpsec.ike.v2.sa import Handshake, IkeKeys, IkeSa, State
from xdpsec.numbers import ExchangeType, Ke, NotifyType, name_of
from xdpsec.wire.header import LENGTH
from xdpsec.wire.message import encode_payloads, find
from xdpsec.wire.payloads import KeyExchange, Nonce, Notify, Payload, Proposal, SecurityAssociation

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine

INIT = ExchangeType.IKE_SA_INIT
NONCE = 32  # at least half of every prf's key (sec. 2.10)
AMPLIFICATION = 2  # an answer before authentication has at most this many times its request's size


# --- we begin -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """The first exchange of a new IKE SA."""

    def ready(self, sa: IkeSa) -> bool:
        return sa.state == State.FRESH

    def build(self, m: Machine, sa: IkeSa) -> Steps[Ask | None]:
        shake = sa.shake
        shake.group = proposals.groups(m.settings.ike_offers)[0]
        private = yield from start_exchange(m.host, shake.group)
        nonce = m.host.random(NONCE)
        # commit
        shake.nonce_i = nonce
        return Ask(self, INIT, _request(m, sa, private), private)

    def consume(self, m: Machine, sa: IkeSa, received: Received) -> Steps[None]:
        """The answer, or a reason to ask otherwise."""
        shake, payloads = sa.shake, received.payloads
        for notify in payloads:
            if type(notify) is not Notify:
                continue
            if notify.kind in (NotifyType.COOKIE, NotifyType.INVALID_KE_PAYLOAD):
                yield from _round(m, sa, received, notify)
                return
            if notify.is_error:
                _hint(m, shake, notify.kind, name_of(NotifyType, notify.kind))
                return
        yield from _agree(m, sa, received)

    def refused(self, m: Machine, sa: IkeSa, error: PeerError) -> None:
        """Our own part failed, before anything was sent."""
        m.bury(sa, "refused", str(error), error.notify)


def _request(m: Machine, sa: IkeSa, private: Private) -> Reply:
    shake, peer = sa.shake, m.settings
    cookie = (Notify(NotifyType.COOKIE, shake.cookie),) if shake.cookie else ()
    return (
        *cookie,
        SecurityAssociation(proposals.build(peer.ike_offers)),
        KeyExchange(private.group, private.public),
        Nonce(shake.nonce_i),
        *nat.notifies(sa.spi_i, sa.spi_r, sa.path, peer.force_encap),
        *extensions.offered(peer),
    )


def _hint(m: Machine, shake: Handshake, kind: int, text: str) -> None:
    if shake.hint != (kind, text):
        shake.hint = (kind, text)
        m.note("warning", "the peer, or somebody in its name, refuses; waiting for a better answer", ("why", text))


def _round(m: Machine, sa: IkeSa, received: Received, notify: Notify) -> Steps[None]:
    """Ask again as told, a few times: a stranger can say this as well as the peer."""
    shake, ask = sa.shake, received.ask
    assert ask is not None
    if shake.rounds >= m.host.limits.cookie_rounds:
        _hint(m, shake, notify.kind, f"{name_of(NotifyType, notify.kind)} again and again")
        return
    private: Private = ask.context
    group = private.group
    if notify.kind == NotifyType.INVALID_KE_PAYLOAD:
        group = int.from_bytes(notify.data, "big") if len(notify.data) == 2 else 0
        if group not in proposals.groups(m.settings.ike_offers) or group == private.group:
            _hint(m, shake, notify.kind, f"it wants key exchange {name_of(Ke, group)}, which does not help")
            return
        private = yield from start_exchange(m.host, group)
    elif not 1 <= len(notify.data) <= 64:
        raise PeerError(f"a cookie of {len(notify.data)} bytes")
    # commit
    shake.rounds += 1
    shake.group = group
    if notify.kind == NotifyType.COOKIE:
        shake.cookie = notify.data
    m.count("ike_rounds", name_of(NotifyType, notify.kind))
    dispatch.again(m, sa, replace(ask, payloads=_request(m, sa, private), context=private))


def _agree(m: Machine, sa: IkeSa, received: Received) -> Steps[None]:
    """Keys of the initiator. What is wrong here may be a stranger's work: the true answer may still come."""
    shake, peer, payloads, head = sa.shake, m.settings, received.payloads, received.header
    answer, theirs, nonce = find(payloads, SecurityAssociation), find(payloads, KeyExchange), find(payloads, Nonce)
    if answer is None or theirs is None or nonce is None or not any(head.responder_spi):
        raise PeerError("an IKE_SA_INIT answer without SA, KE, nonce or SPI", NotifyType.INVALID_SYNTAX)
    chosen = proposals.check_answer(peer.ike_offers, answer.proposals)
    assert received.ask is not None
    private: Private = received.ask.context
    if not chosen.ke == theirs.group == private.group:
        text = f"the peer takes key exchange {name_of(Ke, chosen.ke)} and sends {name_of(Ke, theirs.group)}"
        raise PeerError(text, NotifyType.INVALID_KE_PAYLOAD)
    require_hybrid(peer, chosen)
    both = extensions.Both.of(payloads)
    if chosen.extra and not both.intermediate:
        raise PeerError("the peer takes additional key exchanges without IKE_INTERMEDIATE", NotifyType.INVALID_SYNTAX)
    suite = ike_suite(chosen.encr.id, chosen.encr.bits, chosen.prf, chosen.integ)
    secret = yield from finish_exchange(private, theirs.data)
    seed = keys.first_seed(suite, shake.nonce_i, nonce.data, secret)
    made = keys.ike_keys(suite, seed, shake.nonce_i, nonce.data, sa.spi_i, head.responder_spi)
    seen = nat.detect(payloads, sa.spi_i, head.responder_spi, received.path)
    # commit
    sa.outbox.answered()
    sa.asking = None
    sa.spi_r = head.responder_spi
    shake.nonce_r = nonce.data
    shake.response = received.data
    shake.hint = (0, "")
    _settle(m, sa, chosen, both, made)
    sa.use_keys(suite, made)
    keylog.log(m, sa, suite, made)
    if seen is not None and (any(seen) or peer.force_encap):
        sa.nat_here, sa.nat_there = seen[0] or peer.force_encap, seen[1]
    if seen is not None and (sa.encap or peer.mobike):  # a later path may have a NAT (RFC 4555 sec. 3.3)
        sa.path = nat.floated(sa.path)
    m.enter(sa, State.KEYED)
    extensions.proceed(m, sa)


# --- the peer begins ----------------------------------------------------------------------------------------


def answer(m: Machine, sa: IkeSa, received: Received) -> Steps[Reply]:
    """Choose among all peers that may come from this address; which one it is shows in IKE_AUTH."""
    shake, payloads, head = sa.shake, received.payloads, received.header
    offer, theirs, nonce = find(payloads, SecurityAssociation), find(payloads, KeyExchange), find(payloads, Nonce)
    if offer is None or theirs is None or nonce is None:
        raise PeerError("an IKE_SA_INIT request without SA, KE or nonce", NotifyType.INVALID_SYNTAX)
    candidates = m.host.book.by_address(received.path)
    if not candidates:
        raise PeerError(f"no peer is configured for {received.path.remote}", NotifyType.NO_PROPOSAL_CHOSEN)
    both = extensions.Both.of(payloads)
    first, chosen = _choose(candidates, offer.proposals, theirs.group, both.intermediate)
    if theirs.group != chosen.ke:
        raise PeerError(
            f"the peer guessed key exchange {name_of(Ke, theirs.group)}; {name_of(Ke, chosen.ke)} it is",
            NotifyType.INVALID_KE_PAYLOAD,
            chosen.ke.to_bytes(2, "big"),
        )
    suite = ike_suite(chosen.encr.id, chosen.encr.bits, chosen.prf, chosen.integ)
    public, secret = yield from respond_exchange(m.host, chosen.ke, theirs.data)
    ours = m.host.random(NONCE)
    seen = nat.detect(payloads, head.initiator_spi, head.responder_spi, received.path)
    # commit
    sa.spi_i, sa.spi_r = head.initiator_spi, m.registry.claim(m)
    seed = keys.first_seed(suite, nonce.data, ours, secret)
    made = keys.ike_keys(suite, seed, nonce.data, ours, sa.spi_i, sa.spi_r)
    shake.request = received.data
    shake.nonce_i, shake.nonce_r = nonce.data, ours
    shake.candidates, shake.accepted, shake.offers = candidates, chosen.answer, first.ike_offers
    _settle(m, sa, chosen, both, made)
    sa.use_keys(suite, made)
    keylog.log(m, sa, suite, made)
    if seen is not None:
        sa.nat_here, sa.nat_there = seen[0] or first.force_encap, seen[1]
    must = (SecurityAssociation((chosen.answer,)), KeyExchange(chosen.ke, public), Nonce(ours))
    fake = nat.notifies(sa.spi_i, sa.spi_r, received.path, first.force_encap) if seen is not None else ()
    return _fit((*must, *fake), extensions.answered(candidates, both, payloads), len(received.data))


def _choose(
    candidates: Sequence[PeerSettings], offered: Sequence[Proposal], group: int, intermediate: bool
) -> tuple[PeerSettings, proposals.Chosen]:
    """The first candidate that takes one of the proposals, and what it takes."""
    refusal = ""
    tried: set[tuple[int, str]] = set()
    for peer in candidates:
        kind = id(peer.ike_offers), peer.pq
        if kind in tried:
            continue  # thousands of peers may share one offer, and a stranger may ask again and again
        tried.add(kind)
        chosen = proposals.choose(peer.ike_offers, offered, group, intermediate)
        if isinstance(chosen, proposals.Refused):
            refusal = refusal or str(chosen)
        elif peer.pq != "required" or is_hybrid(chosen):
            return peer, chosen
        else:
            refusal = "post-quantum key exchange is required, and the peer offers none that we take"
    raise PeerError(f"no IKE proposal fits: {refusal}", NotifyType.NO_PROPOSAL_CHOSEN)


def _fit(must: Reply, may: Sequence[Payload], asked: int) -> Reply:
    """Optional parts leave from the end until the answer is at most twice its request."""
    reply = (*must, *may)
    while len(reply) > len(must) and LENGTH + len(encode_payloads(reply)[1]) > AMPLIFICATION * asked:
        reply = reply[:-1]
    return reply


# --- both ---------------------------------------------------------------------------------------------------


def _settle(m: Machine, sa: IkeSa, chosen: proposals.Chosen, both: extensions.Both, made: IkeKeys) -> None:
    """Commit what either side learns from this exchange."""
    shake = sa.shake
    shake.keys = made
    shake.extra = chosen.extra
    sa.ke, sa.extra_ke = chosen.ke, chosen.extra
    extensions.adopt(m, sa, both)


def is_hybrid(chosen: proposals.Chosen) -> bool:
    return any(group in KEMS for group in (chosen.ke, *chosen.extra))


def require_hybrid(peer: PeerSettings, chosen: proposals.Chosen) -> None:
    if peer.pq == "required" and not is_hybrid(chosen):
        raise PeerError("the peer takes no post-quantum key exchange, which is required", NotifyType.NO_PROPOSAL_CHOSEN)
