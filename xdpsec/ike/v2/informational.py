"""INFORMATIONAL: deletes, liveness, errors after the fact (RFC 7296 sec. 1.4, 2.4).

What a Delete of children does stands in children.py; what else may ride along has its own file and is called here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdpsec.errors import PeerError
from xdpsec.ike.identities import show
from xdpsec.ike.v2 import children, mobike, rekey_ike
from xdpsec.ike.v2.flow import Ask, Fresh, Received, Reply, Steps
from xdpsec.ike.v2.sa import IkeSa, State
from xdpsec.numbers import ExchangeType, NotifyType, Protocol, name_of
from xdpsec.wire.message import find_notify
from xdpsec.wire.payloads import Delete, Notify

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine

INFORMATIONAL = ExchangeType.INFORMATIONAL
DELETED = ("deleted", "the peer deleted the IKE SA", 0)


# --- the peer asks ------------------------------------------------------------------------------------------


def answer(m: Machine, sa: IkeSa, received: Received) -> Steps[Reply]:
    """A delete of the IKE SA answers with nothing, of children with the other halves (sec. 1.4.1). Who began and does
    not believe our proof says so here, and need not delete what it never took for made (sec. 2.21.2)."""
    yield from ()
    deletes = [value for value in received.payloads if type(value) is Delete]
    doubted = find_notify(received.payloads, NotifyType.AUTHENTICATION_FAILED) is not None
    # commit
    for notify in received.payloads:
        if type(notify) is Notify and notify.is_error:
            m.note("warning", "the peer reports an error", ("notify", name_of(NotifyType, notify.kind)))
    if doubted or any(value.protocol == Protocol.IKE for value in deletes):
        rekey_ike.deleted(m, sa)
        sa.leaving = ("authentication", _doubt(m), NotifyType.AUTHENTICATION_FAILED) if doubted else DELETED
        return ()
    moved = mobike.answer(m, sa, received)  # first: it may refuse the whole of it
    return *children.deleted(m, sa, deletes), *moved


def settle(m: Machine, sa: IkeSa) -> None:
    """The reply to a delete of the IKE SA has left."""
    if sa.leaving is not None:
        m.bury(sa, *sa.leaving)


def _doubt(m: Machine) -> str:
    return f"the peer refuses us: AUTHENTICATION_FAILED; we said to be {show(m.settings.local_id)}"


# --- we ask -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Probe:
    """Is the peer there? Not asked where its packets open (RFC 7296 sec. 2.4)."""

    def ready(self, sa: IkeSa) -> bool:
        return sa.state == State.ESTABLISHED

    def build(self, m: Machine, sa: IkeSa) -> Steps[Ask | None]:
        if sa.children:
            try:
                ago = yield Fresh(tuple(sa.children))
            except PeerError:
                ago = None  # nobody here knows: the peer must
            if ago is not None and ago < m.settings.dpd:
                sa.heard = max(sa.heard, m.now - ago)
                return None
        m.count("ike_probed")
        return Ask(self, INFORMATIONAL, mobike.watch(m, sa))

    def consume(self, m: Machine, sa: IkeSa, received: Received) -> Steps[None]:
        """It came, and that is all, unless it came through another hole in a NAT than the last one."""
        yield from ()
        mobike.watched(m, sa, received)

    def refused(self, m: Machine, sa: IkeSa, error: PeerError) -> None:
        """The IKE SA is gone: so is the question."""


@dataclass(frozen=True, slots=True)
class DeleteIke:
    """The IKE SA ends, and with it all children (sec. 1.4.1). `notify` tells why, where the peer failed to."""

    notify: int = 0

    def ready(self, sa: IkeSa) -> bool:
        return sa.state == State.CLOSING

    def build(self, m: Machine, sa: IkeSa) -> Steps[Ask | None]:
        yield from ()
        why = (Notify(self.notify),) if self.notify else ()
        return Ask(self, INFORMATIONAL, (*why, Delete(Protocol.IKE)))

    def consume(self, m: Machine, sa: IkeSa, received: Received) -> Steps[None]:
        yield from ()
        m.bury(sa, *sa.farewell)

    def refused(self, m: Machine, sa: IkeSa, error: PeerError) -> None:
        m.bury(sa, *sa.farewell)


def part(m: Machine, sa: IkeSa, reason: str, text: str, notify: int = 0) -> None:
    """Take leave: children are retired now, the peer is told, IkeDown comes with its answer or when none comes."""
    if sa.state in (State.DEAD, State.CLOSING):
        return
    if sa.sealer is None:
        m.bury(sa, reason, text, notify)
        return
    # commit
    m.enter(sa, State.CLOSING)
    m.lose(sa, "closed", PeerError(text, notify))
    sa.farewell = (reason, text, notify)
    sa.handshake = None
    m.ask(sa, DeleteIke(notify))
