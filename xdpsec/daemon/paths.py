"""Routes and next hops: what the kernel knows, told to every worker when it changes, and kept alive where we need it.

The kernel sees none of our traffic, so that it would forget the neighbours that we use. Knows no SA: peers are outer
addresses here.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping, Sequence

import structlog

from xdpsec.channel.messages import Message, NextHop, Route, RouteReplace, SetNeighbour
from xdpsec.daemon.rooms import Watcher

#: After each look at the kernel's tables, so that a burst of changes costs a few looks and not one for each.
PAUSE_SECONDS = 0.05
#: Next hops kept alive: a kept one costs the kernel an entry for good (its table holds 1,024 by default).
MAX_KEPT = 512
MTU_DEFAULT = 1500  # towards a peer that no route leads to just now

log = structlog.get_logger()
Hop = tuple[int, str]


class Table:
    """Routes as the kernel has them. A look-up is a step for each length of prefix that there is."""

    def __init__(self, routes: tuple[Route, ...] = ()) -> None:
        self.routes = routes
        self._at: dict[tuple[int, int, int], Route] = {}  # version, prefix length, first address
        for route in routes:
            network = ipaddress.ip_network(route.prefix)
            self._at.setdefault((network.version, network.prefixlen, int(network.network_address)), route)
        self._lengths = sorted({key[:2] for key in self._at}, reverse=True)

    def lookup(self, address: str) -> Route | None:
        """The longest prefix that holds `address`."""
        target = ipaddress.ip_address(address)
        for version, length in self._lengths:
            host = target.max_prefixlen - length
            if version == target.version and (found := self._at.get((version, length, int(target) >> host << host))):
                return found
        return None


class Paths:
    """`mtus`: port index -> MTU of the outside ports; `remotes` are the peers' outer addresses. `tell` reaches every
    worker that has its snapshot or is getting it; `keep` asks for a neighbour to be kept; `moved` hears of new own
    addresses, `resized` of the peers whose path MTU changed, `rerouted` (own addresses, those at
    outside ports) when either those or routes changed, and again with each change until it says that all is settled:
    between reading our tables and asking for a way the kernel may have changed twice."""

    def __init__(
        self,
        watcher: Watcher,
        mtus: Mapping[int, int],
        remotes: Sequence[str],
        tell: Callable[[Message], None],
        keep: Callable[[SetNeighbour], None],
        moved: Callable[[Sequence[str]], None],
        resized: Callable[[str, int], None],
        rerouted: Callable[[Sequence[str], Sequence[str]], bool] = lambda addresses, outer: True,
    ) -> None:
        self._watcher, self._mtus, self._remotes = watcher, mtus, tuple(dict.fromkeys(remotes))
        self._tell, self._keep, self._moved, self._resized = tell, keep, moved, resized
        self._rerouted = rerouted
        self._rung = asyncio.Event()
        self._paths_rang = True
        self._settled = True
        self._kept: dict[Hop, bool] = {}  # in the order of their asking; True: the way to a peer or a router
        self._full = False
        self._addresses: tuple[str, ...] = ()
        self._outer: tuple[str, ...] = ()
        self._path_mtus: dict[str, int] = {}
        self.table = Table()
        self.hops: tuple[NextHop, ...] = ()

    @property
    def routes(self) -> tuple[Route, ...]:
        return self.table.routes

    def path_mtu(self, remote: str) -> int:
        """Bytes: the MTU of the outside port that leads to the peer."""
        return self._mtu(self.table.lookup(remote))

    def _mtu(self, route: Route | None) -> int:
        return self._mtus.get(route.port if route else -1, min(self._mtus.values(), default=MTU_DEFAULT))

    def resolve(self, port: int, address: str) -> None:
        """A packet waits for this next hop. The kernel may have lost what it was to keep (a flush, an interface that
        was down): then it is asked again."""
        if all((hop.port, hop.addr) != (port, address) for hop in self.hops):
            self._kept.pop((port, address), None)
        self._keep_alive((port, address), False)

    async def look(self) -> None:
        """Reads the kernel's tables and tells what changed since the last look."""
        paths, self._paths_rang = self._watcher.drain() or self._paths_rang, False
        if paths:
            routes = await asyncio.to_thread(self._watcher.routes)
            addresses = await asyncio.to_thread(self._watcher.addresses)
            outer = await asyncio.to_thread(self._watcher.outer, self._mtus)
            before = self._addresses, self._outer, self.routes
            if addresses != self._addresses:
                self._addresses = addresses
                self._moved(addresses)
            if routes != self.routes:
                self.table = Table(routes)
                self._tell(RouteReplace(routes))
            self._peers()
            self._outer = outer
            if before != (self._addresses, self._outer, self.routes) or not self._settled:
                self._settled = self._rerouted(addresses, outer)
        hops = await asyncio.to_thread(self._watcher.next_hops)
        gone = {(hop.port, hop.addr) for hop in self.hops} - {(hop.port, hop.addr) for hop in hops}
        fresh = set(hops) - set(self.hops)
        self.hops = hops
        for port, address in sorted(gone):
            self._tell(NextHop(port, address, b""))
            if (port, address) in self._kept:
                self._keep(SetNeighbour(port, address))
        for hop in hops:
            if hop in fresh:
                self._tell(hop)

    async def run(self) -> None:
        """Looks whenever the kernel rings, until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._watcher.fileno(), self._ring)
        try:
            while True:
                await self._rung.wait()
                self._rung.clear()
                await self.look()
                await asyncio.sleep(PAUSE_SECONDS)
        finally:
            loop.remove_reader(self._watcher.fileno())

    def _ring(self) -> None:
        self._paths_rang |= self._watcher.drain()
        self._rung.set()

    def _peers(self) -> None:
        """Next hops and path MTUs of the peers, and the routers that other traffic goes to."""
        for remote in self._remotes:
            route = self.table.lookup(remote)
            if route is not None:
                self._keep_alive((route.port, route.via or remote), True)
            mtu = self._mtu(route)
            if self._path_mtus.setdefault(remote, mtu) != mtu:
                self._path_mtus[remote] = mtu
                self._resized(remote, mtu)
        for route in self.routes:
            if route.via:
                self._keep_alive((route.port, route.via), True)

    def _keep_alive(self, hop: Hop, lasting: bool) -> None:
        if hop in self._kept:
            return
        if len(self._kept) >= MAX_KEPT and not self._make_room():
            if not self._full:
                log.warning("too many next hops", most=MAX_KEPT, port=hop[0], address=hop[1])
            self._full = True
            return
        self._full = False
        self._kept[hop] = lasting
        self._keep(SetNeighbour(*hop))

    def _make_room(self) -> bool:
        """Forgets the oldest that never answered: else one scan of a subnet would shut out its living hosts for good.
        The kernel collects entries that failed."""
        answered = {(hop.port, hop.addr) for hop in self.hops}
        silent = next((hop for hop, lasting in self._kept.items() if not lasting and hop not in answered), None)
        if silent is None:
            return False
        del self._kept[silent]
        return True

    def forget(self, hop: Hop) -> None:
        """The kernel would not keep it: the next packet that needs it asks again."""
        self._kept.pop(hop, None)
