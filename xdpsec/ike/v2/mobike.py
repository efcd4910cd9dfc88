"""MOBIKE: the side that began moves both ends of the tunnel to other addresses, by saying so (RFC 4555).

Where both know it, nothing else moves an SA: not a message from elsewhere, however authentic (sec. 3.8). The responder
asks the new address before its children follow (sec. 3.7), so that nobody's traffic is aimed at a third party.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from xdpsec.errors import PeerError
from xdpsec.ike.events import Path, PathChanged
from xdpsec.ike.v2 import addresses, informational, nat
from xdpsec.ike.v2.flow import Ask, Received, Reply, Steps, Task
from xdpsec.ike.v2.sa import IkeSa, State
from xdpsec.numbers import ExchangeType, NotifyType
from xdpsec.wire.message import find_notify
from xdpsec.wire.payloads import Notify, Payload

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine

INFORMATIONAL = ExchangeType.INFORMATIONAL
TRIES = 5  # unanswered messages to one address of the peer, some 6 s with the default backoff, before the next one
COOKIE2 = 16  # bytes of ours; 8 to 64 are allowed (sec. 4.2.5)


# --- in IKE_AUTH ------------------------------------------------------------------------------------------------


def offered(m: Machine, sa: IkeSa) -> tuple[Notify, ...]:
    """That we know it, and our other addresses."""
    if not m.settings.mobike:
        return ()
    m.told = addresses.others(m, sa.path)
    return Notify(NotifyType.MOBIKE_SUPPORTED), *addresses.listed(m.told)


def adopt(m: Machine, sa: IkeSa, payloads: Sequence[Payload]) -> None:
    """Commit: the peer knows MOBIKE as well, or not."""
    sa.mobike = m.settings.mobike and find_notify(payloads, NotifyType.MOBIKE_SUPPORTED) is not None
    addresses.learn(m, payloads)


# --- we move ----------------------------------------------------------------------------------------------------


class Move:
    """We are at another address, or aim at another of the peer's; the SA is there already."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def ready(self, sa: IkeSa) -> bool:
        return sa.state == State.ESTABLISHED

    def build(self, m: Machine, sa: IkeSa) -> Steps[Ask | None]:
        yield from ()
        if self.path != sa.path:
            return None  # moved on since
        notifies = nat.notifies(sa.spi_i, sa.spi_r, sa.path, m.settings.force_encap)
        return Ask(self, INFORMATIONAL, (Notify(NotifyType.UPDATE_SA_ADDRESSES), *notifies))

    def consume(self, m: Machine, sa: IkeSa, received: Received) -> Steps[None]:
        yield from ()
        error = next((one for one in received.payloads if type(one) is Notify and one.is_error), None)
        if error is not None:
            raise PeerError("the peer does not move with us", error.kind)
        # commit
        moved(m, sa, received)

    def refused(self, m: Machine, sa: IkeSa, error: PeerError) -> None:
        if not outlived(m, sa, self, self.path):
            m.note("warning", "the peer does not accept our new address", ("why", str(error)))


def move(m: Machine, sa: IkeSa, path: Path) -> None:
    """The wish. Only the side that began may (sec. 2.2); it keeps that role over rekeys. What is under way is sent
    again from the new address at once."""
    if not sa.mobike or not m.initiator or path == sa.path:
        return
    for one in living(m):
        one.path = path
        one.outbox.hurry(m.now)
    m.ask(sa, Move(path), first=True, alone=True)


def outlived(m: Machine, sa: IkeSa, task: Task, path: Path) -> bool:
    """The IKE SA was replaced in the middle of this exchange: its successor asks again."""
    if sa is m.sa or m.sa.state != State.ESTABLISHED or m.sa.path != path:
        return False
    m.ask(m.sa, task, first=True)
    return True


def living(m: Machine) -> list[IkeSa]:
    """All of them move: one that is just being replaced has exchanges under way, and one to come takes its path."""
    return [sa for sa in m.sas if not sa.dead]


def left(m: Machine, sa: IkeSa, path: Path) -> None:
    """A list came along `path`. If it leaves out where we speak to, the peer is there no more."""
    if m.initiator and sa.path.remote not in (path.remote, *m.peer_addresses):
        move(m, m.sa, replace(sa.path, remote=path.remote, remote_port=path.remote_port))


def try_another(m: Machine, sa: IkeSa) -> None:
    """What is under way goes unanswered: from now on to the next of the peer's addresses, in turns. An answer from one
    of them is what moves the tunnel there (sec. 3.5, 3.10); without any the peer is given up as ever."""
    flight = sa.outbox.flight
    if flight is None or flight.tries < TRIES or not (m.initiator and sa.mobike and sa is m.sa):
        return
    here = ipaddress.ip_address(sa.path.local).version
    known = [one for one in m.peer_addresses if ipaddress.ip_address(one).version == here and one != sa.path.remote]
    if not known:
        return
    path = replace(sa.path, remote=known[0], remote_port=sa.path.local_port)  # 4500 at both ends (sec. 3.3)
    # commit
    m.peer_addresses = (*(one for one in m.peer_addresses if one != known[0]), sa.path.remote)
    for one in living(m):
        one.path = path
    m.ask(sa, Move(path), first=True, alone=True)


def watch(m: Machine, sa: IkeSa) -> tuple[Notify, ...]:
    """Behind a NAT, a probe of liveness asks where the peer sees us: the NAT may have changed its mind (sec. 3.8)."""
    if not (sa.mobike and m.initiator and sa.nat_here):
        return ()
    return nat.notifies(sa.spi_i, sa.spi_r, sa.path, m.settings.force_encap)


def watched(m: Machine, sa: IkeSa, received: Received) -> None:
    """Tell the peer to follow when its answer names another place than the one before."""
    seen = find_notify(received.payloads, NotifyType.NAT_DETECTION_DESTINATION_IP)
    if seen is None or not (sa.mobike and m.initiator):
        return
    before, sa.seen_as = sa.seen_as, hash(seen.data)
    if before not in (0, sa.seen_as):
        m.ask(sa, Move(sa.path), first=True, alone=True)


def moved(m: Machine, sa: IkeSa, received: Received) -> None:
    """Commit: the children follow, in UDP where a NAT is on the new path."""
    seen = nat.detect(received.payloads, sa.spi_i, sa.spi_r, received.path)
    told = find_notify(received.payloads, NotifyType.NAT_DETECTION_DESTINATION_IP)
    for one in living(m):
        one.nat_here, one.nat_there = seen or (one.nat_here, one.nat_there)
        one.seen_as = hash(told.data) if told is not None else 0
    addresses.changed(m, "")  # the one that was in use may be another one now
    m.emit(PathChanged(m.number, sa.path, sa.encap))


# --- the peer moves ---------------------------------------------------------------------------------------------


def answer(m: Machine, sa: IkeSa, received: Received) -> Reply:
    """What an INFORMATIONAL request says of addresses, and the part of its answer that belongs to it."""
    payloads = received.payloads
    cookie = find_notify(payloads, NotifyType.COOKIE2)
    reply: Reply = (cookie,) if cookie is not None else ()
    if not sa.mobike:
        return reply
    expect_no_nat(payloads, received.path)
    if addresses.learn(m, payloads):
        left(m, sa, received.path)
    asks = nat.detect(payloads, sa.spi_i, sa.spi_r, received.path)
    if find_notify(payloads, NotifyType.UPDATE_SA_ADDRESSES) is not None:
        if m.initiator:
            raise PeerError("only the side that began may move the tunnel", NotifyType.UNACCEPTABLE_ADDRESSES)
        # commit
        for one in living(m):
            one.path = received.path
            if asks is not None:
                one.nat_here, one.nat_there = asks
        m.ask(m.sa, Reached(m.host.random(COOKIE2), received.path), first=True, alone=True)
        addresses.changed(m, "")
    if asks is not None:
        reply = (*reply, *nat.notifies(sa.spi_i, sa.spi_r, received.path, m.settings.force_encap))
    return reply


def expect_no_nat(payloads: Sequence[Payload], path: Path) -> None:
    """NO_NATS_ALLOWED carries what the peer wrote into its headers: source, destination, ports (sec. 3.9, 4.2.6)."""
    said = find_notify(payloads, NotifyType.NO_NATS_ALLOWED)
    if said is None:
        return
    ends = ((path.remote, path.remote_port), (path.local, path.local_port))
    seen = b"".join(ipaddress.ip_address(address).packed for address, _ in ends)
    seen += b"".join(port.to_bytes(2, "big") for _, port in ends)
    if said.data != seen:
        raise PeerError("a NAT is on the path, which the peer does not allow", NotifyType.UNEXPECTED_NAT_DETECTED)


class Reached:
    """Does the peer get what we send to its new address? Its children follow when the cookie came back."""

    __slots__ = ("cookie", "path")

    def __init__(self, cookie: bytes, path: Path) -> None:
        self.cookie, self.path = cookie, path

    def ready(self, sa: IkeSa) -> bool:
        return sa.state == State.ESTABLISHED

    def build(self, m: Machine, sa: IkeSa) -> Steps[Ask | None]:
        yield from ()
        if self.path != sa.path:
            return None  # moved on since
        return Ask(self, INFORMATIONAL, (Notify(NotifyType.COOKIE2, self.cookie),))

    def consume(self, m: Machine, sa: IkeSa, received: Received) -> Steps[None]:
        yield from ()
        cookie = find_notify(received.payloads, NotifyType.COOKIE2)
        if cookie is None or cookie.data != self.cookie:
            informational.part(m, sa, "refused", "the cookie sent to the peer's new address came back changed")
            return
        # commit
        if self.path == sa.path:
            m.emit(PathChanged(m.number, sa.path, sa.encap))

    def refused(self, m: Machine, sa: IkeSa, error: PeerError) -> None:
        if not outlived(m, sa, self, self.path):
            m.note("warning", "the peer's new address is not proved", ("why", str(error)))
