"""What the host and time want of a machine, turned into tasks: connect, close, children, lifetimes.

Everything a wish leads to is told by events. RFC 7296 sec. 1.4.1, 2.8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdpsec.ike.settings import ChildSettings, PeerSettings
from xdpsec.ike.v2 import children, ike_sa_init, informational
from xdpsec.ike.v2.flow import Reply
from xdpsec.ike.v2.sa import IkeSa, State

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine


def connect(m: Machine, peer: PeerSettings, wanted: tuple[tuple[ChildSettings, int | None], ...]) -> None:
    """Begin an IKE SA as its initiator, with these children (and the worker index of each, None = any)."""
    sa = m.sa
    m.peer, m.initiator, m.wanted = peer, True, wanted
    sa.initiator = True
    sa.spi_i = m.registry.claim(m)
    m.ask(sa, ike_sa_init.Begin())


def close(m: Machine, reason: str, text: str) -> None:
    """Every IKE SA of the machine, and with them their children."""
    for sa in m.sas:
        informational.part(m, sa, reason, text)


def first_child(m: Machine, may: bool) -> tuple[children.Offered | None, Reply]:
    """The child for IKE_AUTH and its payloads; none if none waits, or the policy wants none there."""
    if not m.wanted or not may:
        return None, ()
    (child, resource), m.wanted = m.wanted[0], m.wanted[1:]
    return children.offer(m, child, resource, ike_auth=True)


def begin_life(m: Machine, sa: IkeSa) -> None:
    """Set the ends of an SA that was just authenticated: the soft one less a little chance, so that thousands do not
    rekey at once, nor both sides of one."""
    life = m.settings.lifetime
    share = int.from_bytes(m.host.random(2), "big") / 65536
    sa.rekey_at = m.now + life.soft_seconds * (1 - life.jitter * share) if life.soft_seconds else 0.0
    sa.expire_at = m.now + life.hard_seconds if life.hard_seconds else 0.0


def expire(m: Machine, sa: IkeSa) -> None:
    """The hard end."""
    informational.part(m, sa, "expired", "the IKE SA reached the end of its life")


def renew(m: Machine, sa: IkeSa) -> None:
    """The soft end."""


def outlived(m: Machine) -> None:
    """A newer machine has the same peer: this one goes soon, unless the peer deletes it before (it reauthenticates)."""
    for sa in m.sas:
        if sa.state != State.DEAD:
            soon = m.now + m.host.limits.outlived_seconds
            sa.expire_at = min(sa.expire_at or soon, soon)
