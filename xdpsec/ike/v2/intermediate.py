"""IKE_INTERMEDIATE: one additional key exchange each, mixed into the keys before anybody is authenticated.

RFC 9242, RFC 9370 sec. 2.2.2. Both messages go under the old keys; what AUTH takes of them is chained here (IntAuth).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdpsec.crypto.exchange import Private
from xdpsec.errors import PeerError
from xdpsec.ike.v2 import extensions, informational, keylog, keys, sealing
from xdpsec.ike.v2.flow import Ask, Received, Reply, Steps, finish_exchange, respond_exchange, start_exchange
from xdpsec.ike.v2.sa import Handshake, IkeSa, State
from xdpsec.numbers import ExchangeType, Ke, NotifyType, name_of
from xdpsec.wire.message import find
from xdpsec.wire.payloads import KeyExchange

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine


@dataclass(frozen=True, slots=True)
class Mix:
    """The next additional key exchange that was agreed."""

    def ready(self, sa: IkeSa) -> bool:
        return sa.state == State.KEYED

    def build(self, m: Machine, sa: IkeSa) -> Steps[Ask | None]:
        shake = sa.shake
        private = yield from start_exchange(m.host, shake.extra[0])
        return Ask(self, ExchangeType.IKE_INTERMEDIATE, (KeyExchange(private.group, private.public),), private)

    def consume(self, m: Machine, sa: IkeSa, received: Received) -> Steps[None]:
        shake = sa.shake
        assert received.ask is not None
        private: Private = received.ask.context
        theirs = _value(received, shake)
        secret = yield from finish_exchange(private, theirs)
        # commit
        sa.asking = None
        _mix(m, sa, secret, request=shake.octets, response=_heard(received))
        extensions.proceed(m, sa)

    def refused(self, m: Machine, sa: IkeSa, error: PeerError) -> None:
        """The IKE SA goes with it."""
        informational.part(m, sa, "refused", str(error), error.notify)


def answer(m: Machine, sa: IkeSa, received: Received) -> Steps[Reply]:
    shake = sa.shake
    if not shake.extra:
        raise PeerError("the peer runs an additional key exchange that was not agreed", NotifyType.INVALID_SYNTAX)
    public, secret = yield from respond_exchange(m.host, shake.extra[0], _value(received, shake))
    # commit
    shake.heard_octets = _heard(received)
    shake.secret = secret
    return (KeyExchange(shake.extra[0], public),)


def settle(m: Machine, sa: IkeSa) -> None:
    """Our reply is sealed with the old keys: now the new ones."""
    shake = sa.shake
    secret, shake.secret = shake.secret, b""
    _mix(m, sa, secret, request=shake.heard_octets, response=shake.octets)


def _heard(received: Received) -> bytes:
    return sealing.intauth_octets(received.header, received.first, received.plaintext)


def _value(received: Received, shake: Handshake) -> bytes:
    theirs = find(received.payloads, KeyExchange)
    if theirs is None or not shake.extra or theirs.group != shake.extra[0]:
        wanted = name_of(Ke, shake.extra[0]) if shake.extra else "no one"
        raise PeerError(f"IKE_INTERMEDIATE without a value for {wanted}", NotifyType.INVALID_SYNTAX)
    return theirs.data


def _mix(m: Machine, sa: IkeSa, secret: bytes, request: bytes, response: bytes) -> None:
    """Commit: IntAuth by the keys that protected the exchange, then the next keys (RFC 9242 sec. 3.3.2)."""
    shake, suite = sa.shake, sa.algorithms
    old = shake.sk
    shake.intauth_i = keys.intauth_step(suite.prf, old.pi, shake.intauth_i, request)
    shake.intauth_r = keys.intauth_step(suite.prf, old.pr, shake.intauth_r, response)
    seed = keys.mixed_seed(suite, old.d, shake.nonce_i, shake.nonce_r, secret)
    new = keys.ike_keys(suite, seed, shake.nonce_i, shake.nonce_r, sa.spi_i, sa.spi_r)
    shake.keys = new
    shake.extra = shake.extra[1:]
    sa.use_keys(suite, new)
    keylog.log(m, sa, suite, new)
