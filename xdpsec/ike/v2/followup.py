"""IKE_FOLLOWUP_KE: the additional key exchanges of CREATE_CHILD_SA, one message pair each (RFC 9370 sec. 2.2.4).

What waits for them is MadeChild or MadeIke: it has `groups`, can `complete` with all secrets, or be dropped.
A responder keeps one such state per IKE SA, found by the link that it gave; a new CREATE_CHILD_SA puts it aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from xdpsec.crypto.exchange import Private
from xdpsec.errors import PeerError
from xdpsec.ike.v2.flow import (
    Ask,
    Received,
    Reply,
    Steps,
    Task,
    finish_exchange,
    respond_exchange,
    start_exchange,
)
from xdpsec.ike.v2.sa import IkeSa, State
from xdpsec.numbers import ExchangeType, NotifyType
from xdpsec.wire.message import find, find_notify
from xdpsec.wire.payloads import KeyExchange, Notify, Payload

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine

LINK = 8  # bytes; the peer returns them and reads nothing in them


class Made(Protocol):
    """An SA that lacks secrets."""

    @property
    def groups(self) -> tuple[int, ...]: ...

    def complete(self, m: Machine, sa: IkeSa, secrets: Sequence[bytes]) -> Steps[None]: ...

    def drop(self, m: Machine) -> None: ...


class Maker(Task, Protocol):
    """Whose exchange it is; `done` when the last message pair is over."""

    def done(self) -> None: ...


# --- we ask -----------------------------------------------------------------------------------------------------


def begin(
    m: Machine, sa: IkeSa, maker: Maker, made: Made, secrets: tuple[bytes, ...], payloads: Sequence[Payload]
) -> None:
    """The answer to CREATE_CHILD_SA chose additional exchanges: run them before anything else."""
    follow = FollowUp(maker, made, secrets)
    try:
        follow.link = _link(payloads)
    except PeerError:
        made.drop(m)
        raise
    m.ask(sa, follow, first=True)


def _link(payloads: Sequence[Payload]) -> Notify:
    link = find_notify(payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE)
    if link is None:
        raise PeerError("more key exchanges are to come, but the peer gives no link to them", NotifyType.INVALID_SYNTAX)
    return Notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, link.data)


class FollowUp:
    """The exchanges that are left, one after the other under the same task."""

    __slots__ = ("link", "made", "maker", "private", "secrets")

    def __init__(self, maker: Maker, made: Made, secrets: tuple[bytes, ...]) -> None:
        self.maker, self.secrets = maker, secrets
        self.made: Made | None = made
        self.private: Private | None = None
        self.link = Notify(NotifyType.ADDITIONAL_KEY_EXCHANGE)

    def ready(self, sa: IkeSa) -> bool:
        return sa.state == State.ESTABLISHED

    @property
    def _left(self) -> tuple[int, ...]:
        assert self.made is not None
        return self.made.groups[len(self.secrets) - 1 :]

    def build(self, m: Machine, sa: IkeSa) -> Steps[Ask | None]:
        self.private = yield from start_exchange(m.host, self._left[0])
        value = KeyExchange(self.private.group, self.private.public)
        return Ask(self, ExchangeType.IKE_FOLLOWUP_KE, (value, self.link))

    def consume(self, m: Machine, sa: IkeSa, received: Received) -> Steps[None]:
        private, self.private = self.private, None
        assert private is not None
        error = next((one for one in received.payloads if type(one) is Notify and one.is_error), None)
        public = find(received.payloads, KeyExchange)
        if error is not None or public is None or public.group != private.group:
            kind = error.kind if error is not None else NotifyType.INVALID_SYNTAX
            raise PeerError("the peer refuses an additional key exchange", kind)
        secret = yield from finish_exchange(private, public.data)
        # commit
        self.secrets = (*self.secrets, secret)
        if self._left:
            self.link = _link(received.payloads)
            m.ask(sa, self, first=True)
            return
        made, self.made = self.made, None
        assert made is not None
        yield from made.complete(m, sa, self.secrets)
        self.maker.done()

    def refused(self, m: Machine, sa: IkeSa, error: PeerError) -> None:
        self.private, self.secrets = None, ()
        if self.made is not None:
            self.made.drop(m)
            self.made = None
        self.maker.refused(m, sa, error)


# --- we are asked -----------------------------------------------------------------------------------------------


class Expected:
    """What the responder keeps between CREATE_CHILD_SA and the last IKE_FOLLOWUP_KE."""

    __slots__ = ("link", "made", "secrets")

    def __init__(self, link: bytes, made: Made, secrets: tuple[bytes, ...]) -> None:
        self.link, self.made, self.secrets = link, made, secrets


def expect(m: Machine, sa: IkeSa, made: Made, secrets: tuple[bytes, ...]) -> Notify:
    """Remember the SA in the making; the notify tells the peer how to go on with it."""
    sa.expected = Expected(m.host.random(LINK), made, secrets)
    return Notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, sa.expected.link)


def forget(m: Machine, sa: IkeSa) -> None:
    """What the peer did not go on with."""
    expected, sa.expected = sa.expected, None
    if expected is not None:
        expected.made.drop(m)


def answer(m: Machine, sa: IkeSa, received: Received) -> Steps[Reply]:
    """The next exchange; after the last one the SA is made."""
    link, public = (
        find_notify(received.payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE),
        find(received.payloads, KeyExchange),
    )
    expected = sa.expected
    if expected is None or link is None or link.data != expected.link:
        raise PeerError("an additional key exchange that nothing here waits for", NotifyType.STATE_NOT_FOUND)
    left = expected.made.groups[len(expected.secrets) - 1 :]
    if public is None or public.group != left[0]:
        forget(m, sa)
        raise PeerError("another key exchange than the one agreed on", NotifyType.INVALID_SYNTAX)
    try:
        value, secret = yield from respond_exchange(m.host, public.group, public.data)
    except PeerError:
        forget(m, sa)
        raise
    reply = KeyExchange(public.group, value)
    if len(left) > 1:
        # commit
        expected.secrets = (*expected.secrets, secret)
        expected.link = m.host.random(LINK)
        return reply, Notify(NotifyType.ADDITIONAL_KEY_EXCHANGE, expected.link)
    sa.expected = None
    yield from expected.made.complete(m, sa, (*expected.secrets, secret))
    return (reply,)
