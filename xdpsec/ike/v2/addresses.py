"""The addresses that each side has beside the one in use: told in IKE_AUTH, and again when they change (RFC 4555 sec.
3.4, 3.6). Each list replaces the one before. What the side that began does with the peer's is in mobike.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from xdpsec.errors import PeerError
from xdpsec.ike.events import Path
from xdpsec.ike.v2.flow import Ask, Received, Steps
from xdpsec.ike.v2.sa import IkeSa, State
from xdpsec.numbers import ExchangeType, NotifyType
from xdpsec.wire.message import find_notify
from xdpsec.wire.payloads import Notify, Payload

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine

MOST = 16  # addresses of either side that are told or remembered
_KINDS: dict[int, int] = {NotifyType.ADDITIONAL_IP4_ADDRESS: 4, NotifyType.ADDITIONAL_IP6_ADDRESS: 16}


# --- ours -------------------------------------------------------------------------------------------------------


def others(m: Machine, path: Path) -> tuple[str, ...]:
    """Where the peer may reach us beside the path's end."""
    return tuple(one for one in m.host.addresses(m.settings.name) if one != path.local)[:MOST]


def listed(addresses: Sequence[str]) -> tuple[Notify, ...]:
    """As payloads, of IKE_AUTH too: there, nothing says that there are none (sec. 3.4)."""
    kinds = {size: kind for kind, size in _KINDS.items()}
    packed = [ipaddress.ip_address(one).packed for one in addresses]
    return tuple(Notify(kinds[len(one)], one) for one in packed)


class Tell:
    """The list as it is now, if the peer has another one."""

    __slots__ = ()

    def ready(self, sa: IkeSa) -> bool:
        return sa.state == State.ESTABLISHED

    def build(self, m: Machine, sa: IkeSa) -> Steps[Ask | None]:
        yield from ()
        mine = others(m, sa.path)
        if not sa.mobike or mine == m.told:
            return None
        # commit
        m.told = mine
        return Ask(self, ExchangeType.INFORMATIONAL, listed(mine) or (Notify(NotifyType.NO_ADDITIONAL_ADDRESSES),))

    def consume(self, m: Machine, sa: IkeSa, received: Received) -> Steps[None]:
        """The peer has it, and does with it what it wants."""
        yield from ()

    def refused(self, m: Machine, sa: IkeSa, error: PeerError) -> None:
        """Where the IKE SA was replaced meanwhile its successor says it."""
        m.told = None
        if sa is not m.sa and m.sa.state == State.ESTABLISHED:
            m.ask(m.sa, self)


def changed(m: Machine, local: str) -> None:
    """The wish: ours are others now. A responder moves nothing, but where the address in use is gone it speaks from
    `local`, and the initiator sees by the list that it must move (sec. 3.6)."""
    sa = m.sa
    if not sa.mobike or sa.state != State.ESTABLISHED:
        return
    if local and not m.initiator and local != sa.path.local:
        for one in [one for one in m.sas if not one.dead]:
            one.path = replace(one.path, local=local)
            one.outbox.hurry(m.now)
        m.told = None  # where the list is as it was, its coming from elsewhere is the news
    if others(m, sa.path) != m.told:
        m.ask(sa, Tell(), alone=True)


# --- the peer's -------------------------------------------------------------------------------------------------


def learn(m: Machine, payloads: Sequence[Payload]) -> bool:
    """Remember the peer's list; whether there was one."""
    notifies = [value for value in payloads if type(value) is Notify]
    extra = [value for value in notifies if _KINDS.get(value.kind) == len(value.data)]
    if not extra and find_notify(payloads, NotifyType.NO_ADDITIONAL_ADDRESSES) is None:
        return False
    m.peer_addresses = tuple(str(ipaddress.ip_address(value.data)) for value in extra[:MOST])
    return True
