"""How long SAs live: rekeyed at the soft limit less a random share, gone at the hard one (RFC 7296 sec. 2.8).

Seconds only; bytes and packets are counted by the workers, and come as a wish. Both ends draw their own jitter, so that
they seldom rekey at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdpsec.ike.settings import Lifetime
from xdpsec.ike.v2 import create_child, informational, rekey_ike, removal
from xdpsec.ike.v2.sa import Child, IkeSa, State

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine

AGAIN = 120.0  # seconds between attempts to authenticate anew
LINGER = 60.0  # seconds that a replaced IKE SA waits for the peer's delete
RETRY = 10.0  # seconds until a rekey that failed is tried again, and up to as many more (sec. 2.25)


def begin_ike(m: Machine, sa: IkeSa) -> None:
    """Of an IKE SA that stands. Who began the talk also begins it anew, where reauthentication is wanted: a rekey gives
    fresh keys, but no fresh proof (sec. 2.8.3)."""
    if sa.leave_at:
        sa.rekey_at, sa.reauth_at, sa.expire_at = 0.0, 0.0, sa.leave_at
        return
    again = m.settings.reauthentication
    if again and m.initiator and not sa.reauth_at:
        sa.reauth_at = m.now + again * (1 - m.settings.lifetime.jitter * _share(m))
    sa.rekey_at, sa.expire_at = _span(m, m.settings.lifetime)


def begin_child(m: Machine, child: Child) -> None:
    child.rekey_at, child.expire_at = _span(m, child.settings.lifetime)


def rekey_later(m: Machine, one: IkeSa | Child) -> None:
    """The rekey failed: again soon, unless the hard limit comes before."""
    one.rekey_at = m.now + RETRY * (1 + _share(m))


def reauthenticate_soon(m: Machine, sa: IkeSa) -> None:
    """The peer makes no more SAs under this one: only a new talk gives fresh keys."""
    if m.initiator:
        sa.reauth_at = m.now


def due(sa: IkeSa) -> float | None:
    """When tick() has something to do; None = never."""
    times = [sa.rekey_at, sa.expire_at, sa.reauth_at]
    for child in sa.children.values():
        times += child.rekey_at, child.expire_at, child.prove_at
    return min((time for time in times if time), default=None)


def tick(m: Machine, sa: IkeSa) -> None:
    """Everything that is due now."""
    if sa.leave_at and m.now >= sa.leave_at:
        _leave(m, sa)
    if sa.expire_at and m.now >= sa.expire_at:
        sa.rekey_at = sa.expire_at = sa.reauth_at = 0.0
        if sa.state != State.REKEYED and sa.leave_at:
            informational.part(m, sa, "replaced", "another IKE SA with the peer has taken over")
            return
        reason = "rekeyed" if sa.state == State.REKEYED else "expired"
        informational.part(m, sa, reason, "the lifetime of the IKE SA is over")
        return
    if sa.rekey_at and m.now >= sa.rekey_at:
        sa.rekey_at = 0.0
        m.ask(sa, rekey_ike.RekeyIke())
    if sa.reauth_at and m.now >= sa.reauth_at:
        sa.reauth_at = m.now + AGAIN  # if this attempt fails
        m.reauthenticate = True
    for child in tuple(sa.children.values()):
        if child.prove_at and m.now >= child.prove_at:
            child.prove_at = 0.0
        if child.expire_at and m.now >= child.expire_at:
            child.rekey_at = child.expire_at = 0.0
            m.ask(sa, removal.Removal(child, "expired"))
        elif child.rekey_at and m.now >= child.rekey_at:
            child.rekey_at = 0.0
            m.ask(sa, create_child.MakeChild(child.settings, child.resource, child))


def _leave(m: Machine, sa: IkeSa) -> None:
    """Time to go, if the talk that took over still stands and has not been taken over in its turn: else this one stays.
    Where lost messages let both sides see another one taken over, of two talks begun by either side, they must not both
    delete: one of the two waits once more."""
    stands = [one for one in m.registry.established(m.settings.name, m.remote_id) if one is not m and one.stands]
    if not stands:
        sa.leave_at = 0.0
        begin_ike(m, sa)
    elif not m.waited and all(one.initiator != m.initiator and one.first_spis < m.first_spis for one in stands):
        m.waited = True
        sa.leave_at = sa.expire_at = m.now + 1.5 * m.host.limits.outlived_seconds


def _span(m: Machine, life: Lifetime) -> tuple[float, float]:
    soft = life.soft_seconds * (1 - life.jitter * _share(m))
    return m.now + soft if life.soft_seconds else 0.0, m.now + life.hard_seconds if life.hard_seconds else 0.0


def _share(m: Machine) -> float:
    """A random number from 0 to 1."""
    return int.from_bytes(m.host.random(2), "big") / 0xFFFF
