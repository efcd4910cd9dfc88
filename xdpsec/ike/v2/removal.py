"""Deletes of children that we ask for: a child that is not wanted, and what a rekey leaves over (RFC 7296 sec. 1.4.1).

After a rekey the one who asked deletes the old child. When both asked, of four nonces the lowest loses, and whoever
made the losing child deletes it instead (sec. 2.8.1). The peer's deletes: children.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdpsec.errors import PeerError
from xdpsec.ike.v2 import children
from xdpsec.ike.v2.flow import Ask, PeerRefuses, Received, Steps
from xdpsec.ike.v2.sa import Child, IkeSa, State
from xdpsec.numbers import ExchangeType
from xdpsec.wire.payloads import Delete

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine


class Removal:
    """Delete one child. `reason` as of RetireChild."""

    __slots__ = ("child", "reason")

    def __init__(self, child: Child, reason: str) -> None:
        self.child, self.reason = child, reason

    def ready(self, sa: IkeSa) -> bool:
        """Not while a request is being answered, which may be the peer's rekey of the same child; nor before the peer
        knows the child."""
        return sa.state == State.ESTABLISHED and not sa.inbox.working and not self.child.prove_at

    def build(self, m: Machine, sa: IkeSa) -> Steps[Ask | None]:
        yield from ()
        return self.delete(sa, self.child)

    def delete(self, sa: IkeSa, child: Child) -> Ask | None:
        if sa.children.get(child.spi_in) is not child:
            return None
        child.deleting = True
        return Ask(self, ExchangeType.INFORMATIONAL, (Delete(child.protocol, (children.spi_bytes(child.spi_in),)),))

    def consume(self, m: Machine, sa: IkeSa, received: Received) -> Steps[None]:
        """The peer has let go of its half; whether it named it matters no more (sec. 2.25.1)."""
        yield from ()
        self._retire(m, sa)

    def refused(self, m: Machine, sa: IkeSa, error: PeerError) -> None:
        """There is no peer to disagree with: ours goes."""
        self._retire(m, sa)

    def _retire(self, m: Machine, sa: IkeSa) -> None:
        if sa.children.get(self.child.spi_in) is self.child:
            children.fall_back(m, sa, self.child)
            m.retire(sa, self.child, self.reason)


class Disown:
    """Delete a child that the peer made for us and that we did not take: its answer or our workers were at fault."""

    __slots__ = ("protocol", "spi")

    def __init__(self, protocol: int, spi: int) -> None:
        self.protocol, self.spi = protocol, spi

    def ready(self, sa: IkeSa) -> bool:
        return sa.state == State.ESTABLISHED

    def build(self, m: Machine, sa: IkeSa) -> Steps[Ask | None]:
        yield from ()
        return Ask(self, ExchangeType.INFORMATIONAL, (Delete(self.protocol, (children.spi_bytes(self.spi),)),))

    def consume(self, m: Machine, sa: IkeSa, received: Received) -> Steps[None]:
        """What it answers is about an SA that we never had."""
        yield from ()

    def refused(self, m: Machine, sa: IkeSa, error: PeerError) -> None:
        """Nothing of ours is left of it."""


def disown(m: Machine, sa: IkeSa, offered: children.Offered, error: PeerError) -> None:
    """The exchange for what we offered failed on our side; unless the peer refused, it has the child."""
    if not isinstance(error, PeerRefuses):
        m.ask(sa, Disown(offered.exchange[0].protocol, offered.spi), first=True)


class Tidy(Removal):
    """After our rekey of `old` made `mine`, whose lower nonce is `nonce`: delete what is over. Decided when the window
    is free, since until then the peer's own rekey of `old` may come in."""

    __slots__ = ("mine", "nonce", "old")

    def __init__(self, old: Child, mine: Child, nonce: bytes) -> None:
        super().__init__(old, "rekeyed")
        self.old, self.mine, self.nonce = old, mine, nonce

    def build(self, m: Machine, sa: IkeSa) -> Steps[Ask | None]:
        yield from ()
        if self.nonce < self.old.rival_nonce:
            self.child = self.mine
        return self.delete(sa, self.child)
