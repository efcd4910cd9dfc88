"""Children from their negotiation to their end: install, acknowledge, use, retire; when they are replaced and why.

The order that loses no packet: both SAs are installed before the machine answers; what we send moves to the new SA
when the machine says so or the peer's first packet on it proves that it is there; the old one is removed after that.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import structlog

from xdpsec.config.values import Child, Config
from xdpsec.config.values_ike import HARD_OVER_SOFT, Negotiated
from xdpsec.daemon.ike import esp
from xdpsec.daemon.ike.guests import Guests, Key
from xdpsec.daemon.ike.sas import Sas
from xdpsec.daemon.ike.spis import Spis
from xdpsec.daemon.shares import Shares
from xdpsec.ike.events import InstallInbound, NegotiatedChild, Path, RetireChild, UseOutbound
from xdpsec.policy.sa import Sa

#: How long a replaced inbound SA still takes what was on its way.
GRACE_SECONDS = 2.0
#: A peer that asked for a child gets our answer before it has the SAs that our packets need: we wait for its first
#: packet, or so long.
PATIENCE_SECONDS = 0.1
#: The share of a lifetime by which both ends come to rekey at different times.
JITTER = 0.1
NS = 1e9

log = structlog.get_logger()


@dataclass(slots=True)
class Pair:
    """A child's two SAs. `slot_in`, `slot_out` -1 = no worker has them (`parked` says why). `resource`: as in RFC
    9611. `ours`: we asked for it. `guest`, `number`: where it is not the child as configured (guests.py). `came`: it is
    or was up; `ended`: why it goes, in the words of RetireChild."""

    ike: int
    peer: str
    child: Child
    resource: int | None
    owner: int
    spi_in: int
    spi_out: int
    replaces: int
    ours: bool
    suite: str
    ke: tuple[int, ...]
    parked: str = ""
    guest: Key | None = None
    number: int | None = None
    slot_in: int = -1
    slot_out: int = -1
    up: bool = False
    came: bool = False
    ended: str = ""
    retiring: bool = False
    patience: asyncio.TimerHandle | None = None


class Children:
    """`answer(ike, ticket, error)` and its like reach machines; `proved` tells one that a packet of its peer opened,
    `seen` that they come from elsewhere. `changed(pair)` hears of pairs that came up or went."""

    def __init__(
        self,
        config: Config,
        owners: Mapping[int, int],
        sas: Sas,
        spis: Spis,
        answer: Callable[[int, int, object], None],
        rekey: Callable[[int, int], object],
        close: Callable[[int, int], object],
        changed: Callable[[Pair], None],
        guests: Guests,
        show_keys: Callable[[Sa, Sa], None] = lambda inbound, outbound: None,
        proved: Callable[[int, int], object] = lambda ike, spi_in: None,
        seen: Callable[[int, int, str, int], object] = lambda ike, spi_in, remote, port: None,
    ) -> None:
        self._config, self._owners, self._sas, self._spis = config, owners, sas, spis
        self._answer, self._rekey, self._close, self._changed = answer, rekey, close, changed
        self._show_keys, self._proved, self._seen, self._guests = show_keys, proved, seen, guests
        self._wandering = frozenset(peer.name for peer in config.peers if not peer.remote)
        self._children = {child.index: child for child in config.children}
        self._shares = Shares(config.peers, config.gateway.workers)
        self._loop = asyncio.get_running_loop()
        self.pairs: dict[int, Pair] = {}  # by inbound SPI
        self._up: Counter[tuple[int, int | None]] = Counter()  # pairs that are up, by child and worker, None = any
        self.rekeys = 0
        self._by_slot: dict[int, Pair] = {}
        self._of_child: defaultdict[int, dict[int, Pair]] = defaultdict(dict)
        self._of_ike: defaultdict[int, dict[int, Pair]] = defaultdict(dict)

    # --- SPIs, for the machines --------------------------------------------------------------------------------

    def new_spi(self, child: int, resource: int | None) -> int:
        """Placed at the worker `resource`, else at the child's."""
        workers = self._config.gateway.workers
        return self._spis.new(self._owners[child] if resource is None or resource >= workers else resource)

    # --- events --------------------------------------------------------------------------------------------------

    def install(self, event: InstallInbound) -> None:
        negotiated = event.child
        child = self._children[negotiated.index]
        pair = Pair(
            ike=event.ike,
            peer=negotiated.peer,
            child=child,
            resource=negotiated.resource,
            owner=self._spis.owner(negotiated.spi_in),
            spi_in=negotiated.spi_in,
            spi_out=negotiated.spi_out,
            replaces=negotiated.replaces,
            ours=negotiated.initiator,
            suite=esp.suite_name(negotiated),
            ke=negotiated.ke,
            parked=esp.not_carried(negotiated),
        )
        self.pairs[pair.spi_in] = pair
        self._of_child[child.index][pair.spi_in] = self._of_ike[pair.ike][pair.spi_in] = pair
        if pair.parked:
            log.warning("child is negotiated, but its packets are not carried", child=child.label, why=pair.parked)
            self._installed(pair, event.ticket, "")
        elif len(esp.rows(negotiated)) > esp.MAX_SELECTORS:
            self._answer(event.ike, event.ticket, f"more than {esp.MAX_SELECTORS} pairs of prefixes")
        elif not self._shares.may(pair.peer, pair.ike, self._sas.free):
            self._answer(event.ike, event.ticket, f"{pair.peer} has all slots of sa_state that it may have")
        else:
            self._place(pair, negotiated, event.ticket)

    def _place(self, pair: Pair, negotiated: NegotiatedChild, ticket: int) -> None:
        waiting = 2
        errors: list[str] = []

        def done(error: str) -> None:
            nonlocal waiting
            waiting -= 1
            if error:
                errors.append(error)
            if not waiting:
                self._installed(pair, ticket, errors[0] if errors else "")

        if pair.peer in self._wandering or esp.narrowed(negotiated, pair.child):
            pair.guest = (pair.ike, pair.child.index, esp.rows(negotiated))
            pair.number = self._guests.admit(pair.guest, pair.owner)
        soft, hard = limits(pair.child.negotiated)
        inbound, outbound = esp.pair(negotiated, self._config.gateway, pair.child.label, pair.number, soft, hard)
        self._show_keys(inbound, outbound)
        self._shares.take(pair.peer, pair.ike, 2)
        freed = partial(self._shares.take, pair.peer, pair.ike, -1)
        pair.slot_in = self._sas.install(inbound, pair.owner, done, freed)
        pair.slot_out = self._sas.install(outbound, pair.owner, done, freed)
        self._by_slot |= {slot: pair for slot in (pair.slot_in, pair.slot_out) if slot >= 0}

    def _installed(self, pair: Pair, ticket: int, error: str) -> None:
        if error:
            log.error("child not installed", child=pair.child.label, spi=hex(pair.spi_in), error=error)
        self._answer(pair.ike, ticket, error)

    def use(self, event: UseOutbound) -> None:
        pair = self.pairs.get(event.spi_in)
        if pair is None or pair.patience is not None:
            return
        if pair.ours or pair.replaces or pair.parked:
            self._use(pair)
        else:
            pair.patience = self._loop.call_later(PATIENCE_SECONDS, self._use, pair)

    def first_use(self, slot: int) -> None:
        """A packet opened on a new inbound SA: the peer has the pair, and what we send may go there too."""
        pair = self._by_slot.get(slot)
        if pair is not None and slot == pair.slot_in:
            self._use(pair)
            self._proved(pair.ike, pair.spi_in)

    def elsewhere(self, slot: int, remote: str, port: int) -> None:
        """ESP shows it first, where a NAT forgot the peer and no message of IKE is on its way."""
        pair = self._by_slot.get(slot)
        if pair is not None and slot == pair.slot_in and not pair.retiring:
            self._seen(pair.ike, pair.spi_in, remote, port)

    def _use(self, pair: Pair) -> None:
        if pair.patience is not None:
            pair.patience.cancel()
        if pair.slot_out >= 0:
            self._sas.use(pair.slot_out)
        if pair.guest is not None:
            self._guests.serve(pair.guest)  # its policies lead to an SA that is there
        if not pair.up:
            pair.up = pair.came = True
            self.rekeys += bool(pair.replaces)
            self._count(pair, 1)
            self._changed(pair)

    def retire(self, event: RetireChild) -> None:
        pair = self.pairs.get(event.spi_in)
        if pair is None:
            return
        pair.retiring, pair.ended = True, event.reason
        if pair.guest is not None and not any(self._of_guest(pair)):
            self._guests.withdraw(pair.guest)  # the peer takes nothing on it any more
        if event.reason == "rekeyed" or self._give_over(pair):
            self._loop.call_later(GRACE_SECONDS, self._remove, pair)
            self._make_room(pair)
        else:
            self._remove(pair)

    def _make_room(self, newest: Pair) -> None:
        """Who rekeys so often that the next pair had no slot loses the grace of what was replaced before."""
        if not self._shares.may(newest.peer, newest.ike, self._sas.free):
            oldest = next((pair for pair in self._beside(newest) if pair.retiring and pair is not newest), None)
            if oldest is not None:
                self._remove(oldest)

    def forsake(self, ike: int) -> None:
        """A machine that broke may have left pairs that it does not know of."""
        for pair in list(self._of_ike.get(ike, {}).values()):
            pair.ended = pair.ended or "failed"
            self._remove(pair)

    def _remove(self, pair: Pair) -> None:
        if self.pairs.pop(pair.spi_in, None) is None:
            return
        for index, key in ((self._of_child, pair.child.index), (self._of_ike, pair.ike)):
            del index[key][pair.spi_in]
            if not index[key]:
                del index[key]
        if pair.patience is not None:
            pair.patience.cancel()
        for slot in (pair.slot_out, pair.slot_in):
            if slot >= 0:
                self._by_slot.pop(slot, None)
                self._sas.remove(slot)
        if pair.guest is not None:
            self._guests.leave(pair.guest)
        self._spis.free(pair.spi_in)
        self._count(pair, -int(pair.up))
        pair.up = False
        self._changed(pair)

    def _beside(self, pair: Pair) -> Iterator[Pair]:
        """All of its child, of a guest's those of the same talk: thousands of guests may have a child together."""
        index = pair.child.index
        found = self._of_child.get(index, {}) if pair.guest is None else self._of_ike.get(pair.ike, {})
        return (other for other in found.values() if other.child.index == index)

    def _of_guest(self, pair: Pair) -> Iterator[Pair]:
        """Those that go on where it ends."""
        for other in self._beside(pair):
            if other.guest == pair.guest and not other.retiring:
                yield other

    def _give_over(self, pair: Pair) -> bool:
        """What is sent on it goes on another pair of its child, where there is one (two IKE SAs with one peer); True
        when there is, so that it may still take what is on its way."""
        for other in self._beside(pair):
            same = (other.owner, other.number) == (pair.owner, pair.number)
            if other.up and not other.retiring and same and other.slot_out >= 0:
                if self._sas.in_use(pair.slot_out):
                    self._sas.use(other.slot_out)
                return True
        return False

    def silent_for(self, spis: tuple[int, ...], now: float) -> float | None:
        """Seconds since a packet opened on any of these inbound SPIs; None = none ever did."""
        slots = [pair.slot_in for spi in spis if (pair := self.pairs.get(spi)) is not None and pair.slot_in >= 0]
        last = max((self._sas.idle_ns(slot) for slot in slots), default=0)
        return max(0.0, now - last / NS) if last else None

    # --- limits -----------------------------------------------------------------------------------------------------

    def worn(self, slot: int) -> None:
        """A limit by bytes, packets or numbers is near."""
        pair = self._by_slot.get(slot)
        if pair is not None:
            self._rekey(pair.ike, pair.spi_in)

    def spent(self, slot: int) -> None:
        """A hard limit: the SA carries nothing more."""
        pair = self._by_slot.get(slot)
        if pair is not None:
            self._close(pair.ike, pair.spi_in)

    def moved(self, ike: int, path: Path, encap: bool) -> None:
        """The peer is elsewhere, or we are: the SAs of its children follow."""
        ports = (path.local_port, path.remote_port) if encap else (0, 0)
        for pair in self._of_ike.get(ike, {}).values():
            for slot in (pair.slot_in, pair.slot_out):
                self._sas.move(slot, path.local, path.remote, ports)

    # --- questions -----------------------------------------------------------------------------------------------

    def is_up(self, child: int, worker: int | None = None) -> bool:
        """Whether a pair of SAs of the child carries packets, at this worker or at any."""
        return self._up[child, worker] > 0

    def _count(self, pair: Pair, step: int) -> None:
        for worker in (None, pair.owner):
            self._up[pair.child.index, worker] += step


def limits(negotiated: Negotiated | None) -> tuple[tuple[int, int], tuple[int, int]]:
    """(bytes, packets) at which an SA is to be replaced, sooner by chance, and at which it stops."""
    if negotiated is None:
        return (0, 0), (0, 0)
    sooner = 1 - JITTER * random.random()
    octets, packets = negotiated.rekey_bytes, negotiated.rekey_packets
    soft = int(octets * sooner), int(packets * sooner)
    return soft, (int(octets * HARD_OVER_SOFT), int(packets * HARD_OVER_SOFT))
