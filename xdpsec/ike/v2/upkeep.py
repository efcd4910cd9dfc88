"""What time does to an IKE SA: retransmission, giving up, lifetimes, liveness, NAT keepalives.

RFC 7296 sec. 2.1, 2.4, 2.8; RFC 3948 sec. 2.3. Two functions that agree: tick() does what next_deadline() says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdpsec.ike.v2 import informational, lifetimes, mobike
from xdpsec.ike.v2.sa import IkeSa, State

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine

KEEPALIVE = b"\xff"


def next_deadline(m: Machine, sa: IkeSa) -> float | None:
    """When tick() has something to do for this SA; None = never."""
    if sa.state == State.DEAD:
        return sa.expire_at
    due = [moment for moment in (sa.outbox.timer(), lifetimes.due(sa)) if moment]
    if sa.handshake is not None and not sa.initiator:
        due.append(sa.handshake.since + m.host.limits.half_open_seconds)
    if _watches(m, sa):
        due.append(sa.heard + m.settings.dpd)
    if _keeps_alive(m, sa):
        due.append(sa.sent + m.settings.keepalive)
    return min(due) if due else None


def tick(m: Machine, sa: IkeSa) -> None:
    """Everything that is due now."""
    if sa.state == State.DEAD:
        return
    if sa.outbox.given_up(m.now):
        _give_up(m, sa)
        return
    again = sa.outbox.again(m.now)
    if again:
        m.count("ike_retransmitted")
        mobike.try_another(m, sa)
        m.send(sa, again)
    if sa.handshake is not None and not sa.initiator:
        if m.now >= sa.handshake.since + m.host.limits.half_open_seconds:
            m.bury(sa, "timeout", "the peer began and did not authenticate in time")
        return
    lifetimes.tick(m, sa)
    if _watches(m, sa) and m.now >= sa.heard + m.settings.dpd:
        m.ask(sa, informational.Probe())
    if _keeps_alive(m, sa) and m.now >= sa.sent + m.settings.keepalive:
        m.send(sa, (KEEPALIVE,))


def _watches(m: Machine, sa: IkeSa) -> bool:
    """Liveness is asked when nothing else is: a request under way proves it as well."""
    return (
        sa.state == State.ESTABLISHED and m.peer is not None and m.peer.dpd > 0 and not sa.tasks and sa.asking is None
    )


def _keeps_alive(m: Machine, sa: IkeSa) -> bool:
    return sa.state == State.ESTABLISHED and sa.nat_here and m.peer is not None and m.peer.keepalive > 0


def _give_up(m: Machine, sa: IkeSa) -> None:
    """Nobody answers: for what the peer said without proof, and for a delete, the cause is another."""
    if sa.state == State.CLOSING:
        m.bury(sa, *sa.farewell)
        return
    if sa.state == State.ESTABLISHED:
        m.count("dpd_failed")
    notify, hint = sa.handshake.hint if sa.handshake is not None else (0, "")
    text = "the peer does not answer"
    m.bury(sa, "timeout", f"{text}; somebody, perhaps the peer, said: {hint}" if hint else text, notify)
