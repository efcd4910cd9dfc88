"""What happens to one datagram, and to a request of ours: whose it is, opened, to its handler, its answer, or why not.

All of it runs as steps inside Machine._run, so that every refusal ends there. RFC 7296 sec. 2.1, 2.2, 2.21, 7383.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from xdpsec.errors import PeerError
from xdpsec.ike.events import Path
from xdpsec.ike.v2 import informational, sealing, table
from xdpsec.ike.v2.flow import Ask, PeerRefuses, Received, Reply, Steps, Task
from xdpsec.ike.v2.sa import IkeSa, Role, State
from xdpsec.ike.window import Arrival
from xdpsec.numbers import IKE_VERSION, ExchangeType, NotifyType, Protocol, name_of
from xdpsec.wire.header import NO_SPI, Header, parse_header
from xdpsec.wire.message import build_clear, parse_clear, parse_payloads
from xdpsec.wire.payloads import Delete, answer_for

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Flow, Machine

INIT = ExchangeType.IKE_SA_INIT
#: What IkeDown says of a refusal, by the notify that told of it.
REASONS: dict[int, str] = {
    NotifyType.AUTHENTICATION_FAILED: "authentication",
    NotifyType.NO_PROPOSAL_CHOSEN: "proposal",
    NotifyType.INVALID_KE_PAYLOAD: "proposal",
}


# --- what came ----------------------------------------------------------------------------------------------


def take(m: Machine, flow: Flow, data: bytes, path: Path) -> Steps[None]:
    """One datagram."""
    head = parse_header(data)
    sa = flow.sa = _find(m, head)
    if sa is None:
        m.count("ike_ignored", "unknown SPI")
    elif head.response:
        yield from _take_response(m, flow, sa, head, data, path)
    else:
        yield from _take_request(m, flow, sa, head, data, path)


def _find(m: Machine, head: Header) -> IkeSa | None:
    """By both SPIs; the responder's is not known yet to who begins, and to whom IKE_SA_INIT comes again."""
    for sa in m.sas:
        if sa.state == State.FRESH and not sa.initiator and not any(sa.spi_i):
            return sa
        if sa.initiator == head.initiator or sa.spi_i != head.initiator_spi:
            continue
        unknown = head.exchange == INIT and NO_SPI in (sa.spi_r, head.responder_spi)
        if unknown or sa.spi_r == head.responder_spi:
            return sa
    return None


def _take_request(m: Machine, flow: Flow, sa: IkeSa, head: Header, data: bytes, path: Path) -> Steps[None]:
    arrival = sa.inbox.judge(head.message_id)
    if arrival == Arrival.REPEAT and hash(data) == sa.answered:
        m.count("ike_repeated")
        for child in sa.children.values():  # it did not have our answer
            child.prove_at = child.prove_at and m.now + m.host.limits.retry_cap + m.host.limits.proof
        m.send(sa, sa.inbox.reply, path)
        return
    if arrival != Arrival.NEW or sa.dead:
        m.count("ike_ignored", arrival.value)
        return
    if sa.initiator and sa.state < State.ESTABLISHED:
        m.count("ike_ignored", "early")  # it overtook the answer that makes it welcome, and will come again
        return
    opened = _open(m, sa, head, data)
    if opened is None:
        return
    flow.head = head
    sa.inbox.begin()
    sa.heard = m.now
    for child in sa.children.values():
        child.prove_at = 0.0  # who asks anew has the answers to what it asked before
    received = _parse(head, opened, data, path, None)
    row = _row(flow, sa, Role.ASKED, head.exchange)
    if sa.state == State.KEYED or follows(m, sa):
        m.follow(sa, path)
    reply = yield from row.handler(m, sa, received)
    if not sa.dead:
        answer(m, sa, head, reply, path)
        if row.after is not None:
            row.after(m, sa)
        if row.next is not None:
            m.enter(sa, row.next)


def follows(m: Machine, sa: IkeSa) -> bool:
    """Where an authentic packet came from is where the peer behind a NAT is now, unless MOBIKE does it (RFC 7296 sec.
    2.23). Not for who called from behind a NAT itself: anybody on the way could send one on from elsewhere, and the end
    that was called does not move. Who is called there is behind one that stays as it is (docs/design.md: why)."""
    return sa.nat_there and not sa.mobike and not (sa.nat_here and m.initiator)


def _take_response(m: Machine, flow: Flow, sa: IkeSa, head: Header, data: bytes, path: Path) -> Steps[None]:
    ask = sa.asking
    if ask is None or ask.exchange != head.exchange or not sa.outbox.matches(head.message_id) or sa.busy:
        m.count("ike_ignored", "nothing asked")
        return
    opened = _open(m, sa, head, data)
    if opened is None:
        return
    if head.exchange != INIT:  # nobody has authenticated that one: its handler says when it is answered
        flow.task = ask.task
        sa.outbox.answered()
        sa.heard = m.now
        if follows(m, sa):
            m.follow(sa, path)
    if sa.state == State.CLOSING and not ask.task.ready(sa):
        sa.asking = None  # what we asked before we took leave
        return
    row = _row(flow, sa, Role.ANSWERED, head.exchange)
    received = _parse(head, opened, data, path, ask)
    sa.busy = True
    try:
        yield from row.handler(m, sa, received)
    finally:
        sa.busy = False
    if flow.task is not None and sa.asking is ask:
        sa.asking = None
    if row.next is not None and sa.state not in (State.DEAD, State.CLOSING):
        m.enter(sa, row.next)


def _open(m: Machine, sa: IkeSa, head: Header, data: bytes) -> tuple[int, bytes] | None:
    """First payload and plaintext of what is authentic, None while fragments are missing. IKE_SA_INIT never is, and
    means nothing once there are keys: everybody on the way knows the SPIs and can send one."""
    if head.exchange == INIT:
        if sa.state != State.FRESH:
            return None
        if not head.response:
            sa.fingerprint = hash(data)
        return 0, b""
    opened = sealing.unseal(sa, data)
    if not m.established:
        m.registry.parked.keep(m.number, sa.reassembly)
    if opened is None:
        return None
    first, plaintext, fragments = opened
    if not fragments and not head.response:  # an answer may come while a request is being worked on
        sa.fingerprint = hash(data)
    return first, plaintext


def _parse(head: Header, opened: tuple[int, bytes], data: bytes, path: Path, ask: Ask | None) -> Received:
    if head.exchange == INIT:
        return Received(head, parse_clear(data).payloads, data, path, ask)
    return Received(head, parse_payloads(*opened, head.exchange), data, path, ask, *opened)


def _row(flow: Flow, sa: IkeSa, role: Role, exchange: int) -> table.Row:
    row = table.TABLE.get((sa.state, role, exchange))
    if row is None:
        what = f"{name_of(ExchangeType, exchange)} does not belong into state {sa.state.name}"
        raise PeerError(what, NotifyType.INVALID_SYNTAX)
    flow.fatal = row.fatal
    return row


# --- what goes ----------------------------------------------------------------------------------------------


def begin(m: Machine, sa: IkeSa, task: Task) -> Steps[None]:
    """Build a task's request and send it."""
    ask = yield from task.build(m, sa)
    sa.asking = ask
    if ask is not None:
        sa.outbox.send(_request(m, sa, ask), m.now)
        transmit(m, sa)
        if sa.outbox.worn and sa.state == State.ESTABLISHED and not sa.renewing:
            sa.rekey_at = m.now


def again(m: Machine, sa: IkeSa, ask: Ask) -> None:
    """The request under way, with another text under the same id (RFC 7296 sec. 2.6)."""
    sa.asking = ask
    sa.outbox.rewrite(_request(m, sa, ask), m.now)
    transmit(m, sa)


def transmit(m: Machine, sa: IkeSa) -> None:
    if sa.outbox.flight is not None:
        m.send(sa, sa.outbox.flight.datagrams)


def farewell(m: Machine, sa: IkeSa) -> None:
    """A delete of the IKE SA that nobody waits for an answer to."""
    head = sealing.header(sa, ExchangeType.INFORMATIONAL, sa.outbox.next_id, response=False)
    m.send(sa, _sealed(m, sa, head, (Delete(Protocol.IKE),)))


def _request(m: Machine, sa: IkeSa, ask: Ask) -> tuple[bytes, ...]:
    if ask.exchange == INIT:
        data = build_clear(sealing.header(sa, INIT, 0, response=False), ask.payloads)
        if sa.handshake is not None:
            sa.handshake.request = data
        return (data,)
    return _sealed(m, sa, sealing.header(sa, ask.exchange, sa.outbox.next_id, response=False), ask.payloads)


def answer(m: Machine, sa: IkeSa, head: Header, payloads: Reply, path: Path) -> None:
    """The reply to the request in hand; it is kept until the next one comes."""
    if head.exchange == INIT:
        mine = replace(head, responder_spi=sa.spi_r, version=IKE_VERSION, initiator=False, response=True)
        datagrams: tuple[bytes, ...] = (build_clear(mine, payloads),)
        if sa.handshake is not None:
            sa.handshake.response = datagrams[0]
    else:
        datagrams = _sealed(m, sa, sealing.header(sa, head.exchange, head.message_id, response=True), payloads)
    sa.inbox.answered(datagrams)
    sa.answered = sa.fingerprint
    m.send(sa, datagrams, path)


def _sealed(m: Machine, sa: IkeSa, head: Header, payloads: Reply) -> tuple[bytes, ...]:
    datagrams, octets = sealing.seal(sa, head, payloads, m.host.random, _largest(m, sa))
    if sa.handshake is not None:
        sa.handshake.octets = octets
    return datagrams


def _largest(m: Machine, sa: IkeSa) -> int:
    """Bytes of datagram, 0 = never in fragments; a responder does not know its peer before IKE_AUTH."""
    if m.peer is not None:
        return m.peer.fragment
    known = [peer.fragment for peer in sa.handshake.candidates if peer.fragment] if sa.handshake else []
    return min(known, default=0)


# --- what is refused ----------------------------------------------------------------------------------------


def refuse(m: Machine, flow: Flow, error: PeerError) -> None:
    """The boundary: an authentic request gets its notify, a task hears of it, everything else is a word in the log."""
    sa, head = flow.sa, flow.head
    words = (("why", str(error)), *((("from", flow.path.remote),) if flow.path else ()))
    if sa is None or (head is None and flow.task is None):
        m.count("ike_refused", "unauthenticated")
        m.note("info", "an IKE message is refused", *words, stranger=True)
        return
    known = not error.notify or error.notify in NotifyType._value2member_map_  # a peer may send any number
    m.count("ike_refused", name_of(NotifyType, error.notify) if known else "other")
    unknown = head is not None and head.exchange == INIT
    fatal = flow.fatal or unknown or error.notify == NotifyType.INVALID_SYNTAX
    told = fatal or isinstance(error, PeerRefuses)  # by IkeDown, or by the task that was refused
    m.note("debug" if told else "warning", "the peer sent what is refused", *words, stranger=unknown)
    if head is not None and flow.path is not None:
        answer(m, sa, head, (answer_for(error),) if error.notify else (), flow.path)
        if unknown:
            sa.inbox.reply = ()  # nothing to linger for: the same request would be refused again
    if fatal and (flow.task is None or isinstance(error, PeerRefuses)):
        m.bury(sa, REASONS.get(error.notify, "refused"), str(error), error.notify)
    elif fatal and sa.state != State.CLOSING:
        informational.part(m, sa, REASONS.get(error.notify, "refused"), str(error), error.notify)
    elif flow.task is not None:
        sa.asking = None
        flow.task.refused(m, sa, error)
