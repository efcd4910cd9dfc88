"""What the host and time want of a machine, turned into tasks: connect, close, children, lifetimes.

Everything a wish leads to is told by events. RFC 7296 sec. 1.4.1, 2.8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdpsec.errors import LocalError
from xdpsec.ike.events import UseOutbound
from xdpsec.ike.settings import ChildSettings, PeerSettings
from xdpsec.ike.v2 import children, create_child, ike_sa_init, informational, rekey_ike, removal
from xdpsec.ike.v2.flow import Reply
from xdpsec.ike.v2.sa import Child, IkeSa, State

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


def other_children(m: Machine, sa: IkeSa) -> None:
    """Those that IKE_AUTH had no room for."""
    for child, resource in m.wanted:
        m.ask(sa, create_child.MakeChild(child, resource))
    m.wanted = ()


def open_child(m: Machine, name: str, resource: int | None) -> None:
    """One more child, as soon as the IKE SA stands."""
    child = next((one for one in m.settings.children if one.name == name), None)
    if child is None:
        raise LocalError(f"peer {m.settings.name} has no child called {name}; see the configuration for those it has")
    m.ask(m.sa, create_child.MakeChild(child, resource))


def rekey_child(m: Machine, spi_in: int) -> bool:
    """A child that is gone, or on its way, needs no successor: False."""
    child = m.sa.children.get(spi_in)
    if child is None or child.rekeying or child.successor:
        return False
    child.rekey_at = 0.0
    m.ask(m.sa, create_child.MakeChild(child.settings, child.resource, child))
    return True


def close_child(m: Machine, spi_in: int) -> None:
    child = m.sa.children.get(spi_in)
    if child is not None:
        m.ask(m.sa, removal.Removal(child, "closed"))


def renew(m: Machine, sa: IkeSa) -> None:
    """New keys for the IKE SA."""
    sa.rekey_at = 0.0
    m.ask(sa, rekey_ike.RekeyIke())


def outlived(m: Machine, wait: float) -> None:
    """A newer machine has the same peer: this one goes in `wait` seconds, unless the peer deletes it before."""
    for sa in m.sas:
        if sa.state != State.DEAD:
            soon = m.now + wait
            sa.expire_at = min(sa.expire_at or soon, soon)
            sa.rekey_at = sa.reauth_at = 0.0
            sa.leave_at = sa.expire_at  # of its successors too, should the peer still make one


def elsewhere(m: Machine, gone: Child) -> None:
    """A child goes with its IKE SA, and another talk with this peer may have made it too: send on that one."""
    if m.peer is None:
        return
    for other in m.registry.established(m.peer.name, m.remote_id):
        for one in other.sa.children.values() if other is not m and other.sas else ():
            if (one.settings.index, one.resource, one.deleting) == (gone.settings.index, gone.resource, False):
                m.emit(UseOutbound(other.number, one.spi_in, one.spi_out, one.settings.index))
                return
