"""A running gateway: what workers report goes to grants and paths, what those decide to workers; the view of it all.

Made from a start-up that succeeded. Knows no file and starts no process.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import structlog

from xdpsec.channel import messages as words
from xdpsec.channel.framing import ChannelClosed, FramingError
from xdpsec.channel.hub import PRIVILEGED_SECONDS, Peer, Refused
from xdpsec.config.values import Config
from xdpsec.daemon import ledger
from xdpsec.daemon.barriers import FENCE
from xdpsec.daemon.fleet import Fleet
from xdpsec.daemon.grants import Grants
from xdpsec.daemon.ike import quiet, start
from xdpsec.daemon.ike.service import Ike
from xdpsec.daemon.ike.start import Prepared
from xdpsec.daemon.paths import Paths
from xdpsec.daemon.rooms import Maps, Watcher
from xdpsec.daemon.seats import Seats
from xdpsec.daemon.setup import Security
from xdpsec.daemon.slots import Slots
from xdpsec.daemon.snapshot import Snapshots
from xdpsec.metrics.values import SERVING, BarrierView, ChildView, MetricsView, Port, View
from xdpsec.policy.spd import policies

VERSION = version("xdpsec")  # now: once confined we may not be able to read it

#: Peers are called, and may come, when every worker takes frames; a worker that does not start keeps them no longer.
SERVED_SECONDS = 5.0

log = structlog.get_logger()


class Gateway:
    """`now` in seconds of CLOCK_MONOTONIC. `metrics` is replaced by whoever serves them, `breaches` by whoever hears of
    them."""

    def __init__(
        self,
        config: Config,
        supervisor: Peer,
        maps: Maps,
        slots: Slots,
        security: Security,
        ports: Sequence[Port],
        watcher: Watcher,
        now: float,
        prepared: Prepared | None = None,
    ) -> None:
        self._config, self._supervisor, self._slots = config, supervisor, slots
        self._security, self._ports, self._started = security, tuple(ports), now
        self.ike: Ike | None = None
        self.breaches: Mapping[int, words.Breach] = {}
        self._peers = {child.index: peer.name for peer in config.peers for child in peer.children}
        self._asking: set[asyncio.Task[None]] = set()
        self.metrics = MetricsView(config.gateway.metrics_host, config.gateway.metrics_port)
        self.fleet = Fleet(supervisor, config.gateway.cores, lambda *told: self._snapshots.brief(*told), self._on_word)
        self._grants = Grants(security.seats, security.places, security.ledger, slots, self.fleet.tell)
        self._paths = Paths(
            watcher,
            {port.index: port.mtu for port in ports if port.outside},
            [peer.remote for peer in config.peers if peer.remote],
            tell=self.fleet.tell_all,
            keep=self._keep,
            moved=maps.set_addresses,
            resized=lambda remote, mtu: self._snapshots.resized(remote, mtu, self.fleet.tell),
            rerouted=lambda *ours: self.ike.rerouted(*ours) if self.ike else True,
        )
        rows = policies(config.children, security.owners)
        self._seats = Seats(security.seats)
        self._snapshots = Snapshots(rows, self._seats, self._grants, self._paths, self._peers.__getitem__)
        self.ike = (
            start.build(prepared, config, security, self._seats, slots, self.fleet, self._snapshots)
            if prepared
            else None
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then every worker is stopped and the exact numbers are on disk."""
        await self._paths.look()
        grants = asyncio.create_task(self._grants.run())
        jobs = [_task(stop.wait()), _task(self._paths.run()), _task(self.fleet.run())]
        starting = asyncio.create_task(self._start_ike())
        await asyncio.wait([grants, *jobs], return_when=asyncio.FIRST_COMPLETED)
        for job in jobs:
            job.cancel()
        results = await asyncio.gather(*jobs, return_exceptions=True)
        starting.cancel()
        if self.ike:
            self.ike.close()
        gone = await self.fleet.stop()
        self._grants.close()
        await grants
        for result in results:
            if isinstance(result, Exception):
                raise result
        await self._save_exact(gone)

    async def _start_ike(self) -> None:
        if self.ike:
            await self.fleet.all_served(SERVED_SECONDS)
            self.ike.start()
            quiet.begin()

    async def _save_exact(self, gone: frozenset[int]) -> None:
        """Of the SAs whose worker is gone; what a worker may still use keeps its block."""
        seats = self._security.seats.values()  # those whose numbers outlive us
        places = {seat.sa.sa_id: seat.slot for seat in seats if seat.owner in gone}
        try:
            await asyncio.to_thread(ledger.finish, self._security.ledger, self._slots, places)
        except OSError as error:  # what is there holds: the next start goes on behind whole blocks
            log.error("exact sequence numbers cannot be saved", error=error.strerror, fix="make room on its disk")
            return
        log.info("stopped", exact=len(places), sas=len(seats))

    # --- words from workers --------------------------------------------------------------------------------------

    def _on_word(self, worker: int, message: words.Message) -> None:
        seat = self._seats.get(getattr(message, "slot", -1))
        if seat is not None and seat.owner != worker:
            return  # the slot changed hands meanwhile, or the worker did
        match message:
            case words.GrantWanted(slot, number):
                self._grants.want(slot, number)
                self._negotiated(lambda ike: ike.children.worn(slot))
            case words.ResolveWanted(port, addr) if not (_is_address(addr) and 0 <= port < len(self._ports)):
                raise FramingError("it waits for a neighbour that there is not")
            case words.ResolveWanted(port, addr):
                self._paths.resolve(port, addr)
            case words.SaFirstUse(slot):
                self._negotiated(lambda ike: ike.children.first_use(slot))
            case words.SaSoft(slot):
                self._negotiated(lambda ike: ike.children.worn(slot))
            case words.SaElsewhere(slot, remote, port) if not _is_end(remote, port):
                raise FramingError("it speaks of an address that there is not")
            case words.SaElsewhere(slot, remote, port):
                self._negotiated(lambda ike: ike.children.elsewhere(slot, remote, port))
            case words.Exhausted(slot):
                self._snapshots.exhausted(slot)
                self._negotiated(lambda ike: ike.children.spent(slot))
            case words.Acquire(child) if child < 0 or not (self.ike or child < len(self._config.children)):
                raise FramingError(f"it speaks of child {child}, which there is not")
            case words.Acquire(child) if self.ike and self.ike.negotiates(child):
                self.ike.acquire(child)
            case words.Acquire(child):
                label = self._config.children[child].label
                log.warning("no SA for a packet", child=label, worker=worker, fix="see `xdpsec list-sas`")
            case _:
                raise FramingError(f"it said {type(message).__name__}")

    def _negotiated(self, tell: Callable[[Ike], None]) -> None:
        """What slots of negotiated SAs ask for; those of others are not known there."""
        if self.ike:
            tell(self.ike)

    def _keep(self, message: words.SetNeighbour) -> None:
        asking = asyncio.create_task(self._keep_neighbour(message))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)

    async def _keep_neighbour(self, message: words.SetNeighbour) -> None:
        with contextlib.suppress(ChannelClosed):
            try:
                await self._supervisor.call(message, PRIVILEGED_SECONDS)
            except (Refused, TimeoutError) as error:
                self._paths.forget((message.port, message.addr))
                log.warning("neighbour not kept", port=message.port, address=message.addr, error=str(error))

    # --- what can be seen ----------------------------------------------------------------------------------------

    def view(self) -> View:
        """Costs little whatever there is: rows are made as they are read."""
        return View(
            version=VERSION,
            config_file=self._config.file,
            started=self._started,
            ports=self._ports,
            workers=self.fleet.views(),
            children=self._children(),
            sas=self._snapshots.views(),
            metrics=self.metrics,
            barriers=self._barriers(),
            ike=self.ike.view() if self.ike else None,
            carried=self.ike.carried if self.ike else {},
            faulty=self._snapshots.faulty,
        )

    def _children(self) -> Iterator[ChildView]:
        """Each as it is when its turn comes."""
        owners = self._security.owners
        serving = {member.index for member in self.fleet.views() if member.state == SERVING}
        for child in self._config.children:
            named = (child.index, child.peer, child.name, child.local, child.remote, owners[child.index])
            yield ChildView(*named, child.stands, *self._snapshots.condition(child.index, serving))

    def _barriers(self) -> tuple[BarrierView, ...]:
        names = {FENCE: "fence"} | {port.index: f"door of {port.interface}" for port in self._ports}
        told = {barrier: self.breaches.get(barrier, words.Breach(barrier, 0, "")) for barrier in names}
        return tuple(BarrierView(name, told[barrier].times, told[barrier].error) for barrier, name in names.items())

    def sockets(self) -> list[tuple[int, int, int, int]]:
        """(worker, port, queue, descriptor) of every AF_XDP socket, in the order that the supervisor gives them."""
        queues = [(port.index, queue) for port in self._ports for queue in range(port.queues)]
        return [
            (member.index, port, queue, descriptor)
            for member in self.fleet.members
            for (port, queue), descriptor in zip(queues, member.sockets, strict=False)
        ]


def _is_address(text: str) -> bool:
    """As a worker's core has them: without a zone, which could be any text of any length."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(text)
        return "%" not in text
    return False


def _is_end(address: str, port: int) -> bool:
    """Whether somebody may be there."""
    return 0 < port < 1 << 16 and _is_address(address) and not ipaddress.ip_address(address).is_unspecified


def _task(work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
    return asyncio.create_task(work)
