"""The snapshot: everything a worker is told before it takes frames, and which of its SAs it could take.

Policies, routes, next hops, its SAs with their blocks. An SA that the worker refuses is reported and left out; the
others carry packets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set

import structlog

from xdpsec.channel import messages as words
from xdpsec.channel.hub import ACK_SECONDS, Peer, Refused
from xdpsec.daemon.grants import Grants
from xdpsec.daemon.paths import Paths
from xdpsec.daemon.seats import Seat, Seats
from xdpsec.metrics.values import SaView
from xdpsec.workers import native

log = structlog.get_logger()


class Snapshots:
    """`peer_of`: child -> the name of its peer. `guests`, set by whoever has them: policies before the others, which
    change while we run."""

    def __init__(
        self,
        policies: Sequence[words.Policy],
        seats: Seats,
        grants: Grants,
        paths: Paths,
        peer_of: Callable[[int], str],
    ) -> None:
        self._policies, self._seats, self._grants, self._paths = tuple(policies), seats, grants, paths
        self.guests: Callable[[], Sequence[words.Policy]] = tuple
        self._peer_of = peer_of
        self._engines: dict[tuple[int, str], str] = {}  # by worker and suite
        self._errors: dict[int, str] = {}
        self._mtus: dict[int, int] = {}  # of SAs in use, by slot

    async def brief(self, worker: int, peer: Peer) -> None:
        """Tells worker `worker`. What changes meanwhile reaches it by the same channel, behind its tables."""
        seats = self._seats.of(worker)
        calls = [
            peer.post(words.PolicyReplace((*self.guests(), *self._policies))),
            peer.post(words.RouteReplace(self._paths.routes)),
        ]
        for hop in self._paths.hops:
            peer.tell(hop)
        installs = []
        for seat in seats:
            self._mtus.pop(seat.slot, None)
            message = self.install(seat)
            installs.append((seat, message.path_mtu, peer.post(message)))
            wipe(message)
        for call in calls:
            await peer.answer(call, ACK_SECONDS)
        taken: dict[Seat, int] = {}
        for seat, mtu, call in installs:
            try:
                await peer.answer(call, ACK_SECONDS)
                taken[seat] = mtu
                self._errors.pop(seat.slot, None)
            except Refused as refusal:
                self._refused(seat, refusal)
        await self._use(peer, taken)
        await self._ask_engines(peer)

    def install(self, seat: Seat) -> words.SaInstall:
        """The word that installs it; whoever sent it wipes it."""
        return seat.sa.install(seat.slot, self._paths.path_mtu(seat.sa.remote))

    def used(self, seat: Seat, mtu: int, tell: Callable[[words.Message], object]) -> None:
        """The worker was told to send on it; installed with `mtu`. Only of such an SA is a worker told a path MTU."""
        self._mtus[seat.slot] = mtu
        self._resize(seat, self._paths.path_mtu(seat.sa.remote), tell)

    def forget(self, slot: int) -> None:
        """The SA is gone, or not in use any more; the slot may be another's soon."""
        self._mtus.pop(slot, None)
        self._errors.pop(slot, None)

    def _refused(self, seat: Seat, refusal: Refused) -> None:
        self._errors[seat.slot] = f"worker {seat.owner} refused it: {refusal}"
        log.error("SA refused", child=seat.sa.label, spi=hex(seat.sa.spi), worker=seat.owner, error=str(refusal))

    async def _use(self, peer: Peer, taken: Mapping[Seat, int]) -> None:
        """Blocks, and outbound SAs into use; then what the path became since they were installed."""
        for seat in taken:
            if seat.durable:
                peer.tell(self._grants.granted(seat.slot))
        out = {seat: mtu for seat, mtu in taken.items() if self._seats.in_use(seat)}
        for call in [peer.post(words.SaUse(seat.sa.called, seat.slot)) for seat in out]:
            await peer.answer(call, ACK_SECONDS)
        for seat, mtu in out.items():
            self.used(seat, mtu, peer.tell)

    async def _ask_engines(self, peer: Peer) -> None:
        reply = await peer.call(words.SaQuery(), ACK_SECONDS)
        assert isinstance(reply.message, words.SaEngines)
        self.engines(reply.message)

    def unproven(self, seat: Seat) -> bool:
        """Which engine serves its suite on its worker was not asked yet; it counts as asked from here on."""
        key = (seat.owner, seat.sa.suite.name)
        if key in self._engines:
            return False
        self._engines[key] = ""
        return True

    def engines(self, answer: words.SaEngines) -> None:
        """A worker's answer to SaQuery."""
        for slot, engine in answer.rows:
            seat = self._seats.get(slot)
            if seat is not None:
                self._engines[seat.owner, seat.sa.suite.name] = engine

    def resized(self, remote: str, mtu: int, tell: Callable[[int, words.Message], None]) -> None:
        """The path to a peer has another MTU."""
        for seat in self._seats:
            if seat.sa.outbound and seat.sa.remote == remote and seat.slot in self._mtus:
                self._resize(seat, mtu, lambda message, owner=seat.owner: tell(owner, message))  # type: ignore[misc]

    def _resize(self, seat: Seat, mtu: int, tell: Callable[[words.Message], object]) -> None:
        if self._mtus[seat.slot] != mtu:
            self._mtus[seat.slot] = mtu
            tell(words.PathMtu(seat.sa.called, mtu))

    def exhausted(self, slot: int) -> None:
        """The SA stopped for good."""
        seat = self._seats.get(slot)
        if seat is None or not seat.durable:
            return  # a negotiated one is replaced
        sa = seat.sa
        self._errors[slot] = "its sequence numbers are used up; make new keys on both gateways"
        log.error("sequence numbers used up", child=sa.label, spi=hex(sa.spi), fix="make new keys on both gateways")

    def views(self) -> Iterator[SaView]:
        """By child, inbound first; each is made when its turn comes."""
        return (self._view(seat) for child in self._seats.children() for seat in self._seats.of_child(child))

    @property
    def faulty(self) -> bool:
        """Does some SA carry nothing?"""
        return any(self._seats.get(slot) for slot in self._errors)

    def condition(self, child: int, serving: Set[int]) -> tuple[bool, str]:
        """Whether an SA of either direction carries packets at a worker that serves; why one does not, "" = all do."""
        ways: set[bool] = set()
        for seat in self._seats.of_child(child):
            if seat.owner in serving and seat.slot not in self._errors:
                ways.add(seat.sa.outbound)
                if len(ways) == 2:
                    break
        errors = (self._errors.get(seat.slot) for seat in self._seats.of_child(child)) if self._errors else ()
        return len(ways) == 2, next(filter(None, errors), "")

    def _view(self, seat: Seat) -> SaView:
        sa = seat.sa
        return SaView(
            child=sa.child,
            label=sa.label,
            peer=self._peer_of(sa.child),
            outbound=sa.outbound,
            spi=sa.spi,
            worker=seat.owner,
            slot=seat.slot,
            suite=sa.suite.name,
            engine=self._engines.get((seat.owner, sa.suite.name), ""),
            esn=sa.esn,
            replay_window=sa.replay_window,
            local=sa.local,
            remote=sa.remote,
            encap=sa.encap,
            error=self._errors.get(seat.slot, ""),
        )


def wipe(message: words.SaInstall) -> None:
    """Its copies of the keys."""
    native.wipe(message.key)
    native.wipe(message.auth_key)
