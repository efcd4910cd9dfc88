"""IKE as the gateway has it: made of gate, shell, peers, children; words from workers and operators lead here.

Each event of the machines goes to the one who deals with it. Knows no packet format and no worker word.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from xdpsec.config.values import Child, Config
from xdpsec.daemon.ike import esp, show
from xdpsec.daemon.ike.children import Children, Pair
from xdpsec.daemon.ike.explain import Memory, Outlook
from xdpsec.daemon.ike.fetching import Fetching
from xdpsec.daemon.ike.guests import Guests
from xdpsec.daemon.ike.helper import Helper
from xdpsec.daemon.ike.host import RunningHost
from xdpsec.daemon.ike.journal import Journal
from xdpsec.daemon.ike.peers import Book
from xdpsec.daemon.ike.reach import Reach
from xdpsec.daemon.ike.roaming import Roaming
from xdpsec.daemon.ike.sas import Sas
from xdpsec.daemon.ike.shell import Gate, Shell
from xdpsec.daemon.ike.spis import Spis
from xdpsec.daemon.ike.upkeep import Upkeep
from xdpsec.daemon.lines import Lines
from xdpsec.ike import events, identities
from xdpsec.ike.settings import Host
from xdpsec.metrics.values import IkeView, PeerView
from xdpsec.net.udp import Datagrams
from xdpsec.policy.sa import Sa

log = structlog.get_logger()


class Ike:
    """`make_gate(host)` gives the gate. Serves from `start` on."""

    def __init__(
        self,
        config: Config,
        book: Book,
        owners: Mapping[int, int],
        sas: Sas,
        spis: Spis,
        datagrams: Datagrams,
        make_gate: Callable[[Host], Gate],
        helper: Helper,
        fetching: Fetching,
        guests: Guests,
        upkeep: Upkeep,
        route: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._helper, self._clock, self._datagrams = config, helper, clock, datagrams
        self.carried = sas.sums
        self._fetching, self._upkeep = fetching, upkeep
        self.journal, self.memory = Journal(), Memory()
        self.keys: Lines | None = None  # key log rows, while somebody reads them
        self.children = Children(
            config,
            owners,
            sas,
            spis,
            answer=self._answer,
            rekey=self.rekey_child,
            close=self.close_child,
            changed=self._changed,
            guests=guests,
            show_keys=self._show_keys,
            proved=self._proved,
            seen=self._seen,
        )
        self._host = RunningHost(
            book, self.children.new_spi, spis.free, {peer.name: peer.local for peer in config.peers}
        )
        self.gate = make_gate(self._host)
        self._shell = Shell(self.gate, datagrams, self._hear, clock)
        self.reach = Reach(config, self._shell.connect, self._open_child, self.children.is_up)
        self.up: dict[int, events.IkeUp] = {}  # established IKE SAs by machine
        self._since: dict[int, float] = {}
        self._leases: dict[int, events.AddressLeased] = {}  # what peers gave us
        self._roaming = Roaming(config, route, self._shell.wish, asyncio.get_running_loop().call_later)
        self._handlers = self._table()

    def _table(self) -> dict[type, Callable[[Any, float], object]]:
        """Who deals with which event."""
        return {
            events.IkeUp: self._came,
            events.IkeRekeyed: self._rekeyed,
            events.IkeDown: self._went,
            events.InstallInbound: lambda event, now: self.children.install(event),
            events.UseOutbound: lambda event, now: self.children.use(event),
            events.RetireChild: lambda event, now: self.children.retire(event),
            events.ChildFailed: self._child_failed,
            events.WorkWanted: self._work,
            events.FetchWanted: self._fetch,
            events.FreshWanted: self._fresh,
            events.Note: self._noted,
            events.Fault: self._fault,
            events.Counted: lambda event, now: self.journal.count(event),
            events.PathChanged: self._moved,
            events.AddressLeased: self._leased,
            events.KeyLog: self._key_logged,
        }

    def start(self) -> None:
        """Workers serve: peers may come, and those that are to be up are called."""
        self._shell.start()
        self.reach.start()
        self._upkeep.start()

    def close(self) -> None:
        """Every peer is told goodbye; nobody waits for an answer."""
        self.reach.close()
        for ike in list(self.up):
            self._shell.wish(ike, lambda machine, now: machine.close(now))
        self._shell.close()
        self._fetching.close()
        self._upkeep.close()
        self._helper.close()

    def peers(self) -> Iterator[PeerView]:
        """In the order of the file."""
        return show.peers(self._config, self._newest, self._since, self._leases)

    def _newest(self, peer: str) -> events.IkeUp | None:
        there = [ike for ike in self.reach.machines(peer) if ike in self.up]
        return self.up[max(there, key=self._since.__getitem__)] if there else None

    def view(self) -> IkeView:
        gate = self.gate
        return show.view(
            self.peers(),
            self.journal,
            self.children,
            len(gate.openings),
            gate.counts,
            self._datagrams.counts,
            self._upkeep.ends,
        )

    # --- wishes: of operators, workers and timers ----------------------------------------------------------------

    def bring_up(self, peer: str, child: str = "") -> int:
        """Call the peer, and open the child, or all of them; how many were down."""
        missing = [one for one in self._children_of(peer, child) if not self.children.is_up(one.index)]
        for one in missing:
            self.reach.want(one.index)
        return len(missing)

    def bring_down(self, peer: str) -> int:
        """Close what there is with the peer; it may come again, we do not call. How many IKE SAs that ends."""
        machines = self.reach.drop_peer(peer)
        for ike in machines:
            self._shell.wish(ike, lambda machine, now: machine.close(now))
        return len(machines)

    def give_keys(self, to: Lines | None) -> None:
        """Key log rows of IKE SAs from now on; None = to nobody."""
        self.keys = to
        self._host.keylog = to is not None

    def rekey(self, peer: str, child: str = "") -> int:
        """New keys for the IKE SA, or for the named child, "*" = every child; how many exchanges that begins."""
        if not child:
            ikes = [ike for ike, up in self.up.items() if up.peer == peer]
            return sum(self._shell.wish(ike, lambda machine, now: machine.rekey_ike(now)) for ike in ikes)
        indices = {one.index for one in self._children_of(peer, "" if child == "*" else child)}
        pairs = [pair for pair in self.children.pairs.values() if not pair.retiring and pair.child.index in indices]
        return sum(bool(self.rekey_child(pair.ike, pair.spi_in)) for pair in pairs)

    def _children_of(self, peer: str, child: str) -> Sequence[Child]:
        return [one for one in self._config.children if one.peer == peer and child in ("", one.name)]

    def negotiates(self, child: int) -> bool:
        """Also the child of a guest, who alone can call."""
        return child >= len(self._config.children) or self._config.children[child].negotiated is not None

    def acquire(self, child: int) -> None:
        self.reach.acquire(child)

    def rekey_child(self, ike: int, spi_in: int) -> bool:
        """False when there is nothing to replace, or it is being replaced."""
        begun: list[bool] = []
        self._shell.wish(ike, lambda machine, now: begun.append(machine.rekey_child(spi_in, now)))
        return any(begun)

    def _proved(self, ike: int, spi_in: int) -> bool:
        return self._shell.wish(ike, lambda machine, now: machine.used(spi_in, now))

    def _seen(self, ike: int, spi_in: int, remote: str, port: int) -> bool:
        return self._shell.wish(ike, lambda machine, now: machine.seen(spi_in, remote, port, now))

    def close_child(self, ike: int, spi_in: int) -> bool:
        return self._shell.wish(ike, lambda machine, now: machine.close_child(spi_in, now))

    def _open_child(self, ike: int, child: Child, worker: int | None) -> bool:
        return self._shell.wish(ike, lambda machine, now: machine.open_child(child.name, now, worker))

    def outlook(self, peer: str) -> Outlook:
        """Whether we call it just now, or will."""
        calling, again = self.reach.calling(peer)
        if calling is None:
            return Outlook(again_s=again)
        keyed: list[bool] = []
        self._shell.wish(calling[0], lambda machine, now: keyed.append(machine.keyed))
        return Outlook(calling[1], any(keyed), again)

    # --- events --------------------------------------------------------------------------------------------------

    def _hear(self, event: events.Event, now: float) -> None:
        self._handlers[type(event)](event, now)

    def _answer(self, ike: int, ticket: int, result: object) -> None:
        self._shell.answer(ike, ticket, result)

    def _came(self, event: events.IkeUp, now: float) -> None:
        self.up[event.ike] = event
        self._since[event.ike] = now
        self.memory.came(event, now)
        self.journal.up(event, identities.show(event.local_id), identities.show(event.remote_id))
        self.reach.came(event.peer, event.ike)

    def _rekeyed(self, event: events.IkeRekeyed, now: float) -> None:
        self.journal.rekeyed(event)
        if event.ike in self.up:
            self.up[event.ike] = replace(self.up[event.ike], suite=event.suite, hybrid=event.hybrid)

    def _went(self, event: events.IkeDown, now: float) -> None:
        self.up.pop(event.ike, None)
        self._since.pop(event.ike, None)
        self._leases.pop(event.ike, None)
        self.journal.down(event, now)
        self.memory.went(event)
        if event.peer:
            self.reach.went(event.peer, event.ike)

    def _child_failed(self, event: events.ChildFailed, now: float) -> None:
        log.warning("child SA refused", child=f"{event.peer}/{event.name}", why=event.text, notify=event.notify)
        self.memory.failed(event)
        self.reach.failed(event.index, event.resource, event.notify)

    def _noted(self, event: events.Note, now: float) -> None:
        self.journal.note(event, now)
        self.memory.noted(event, now)

    def _fault(self, event: events.Fault, now: float) -> None:
        self.children.forsake(event.ike)
        self.journal.fault(event, now)

    def _show_keys(self, *sas: Sa) -> None:
        """Of SAs that are about to be installed, while somebody reads."""
        if self.keys is not None:
            for row in filter(None, map(esp.key_row, sas)):
                self.keys.add(row)

    def _key_logged(self, event: events.KeyLog, now: float) -> None:
        if self.keys is not None:
            self.keys.add(event.row)

    def _changed(self, pair: Pair) -> None:
        self.journal.child(pair, self._clock())
        if self.children.is_up(pair.child.index):
            self.memory.opened(pair.child.peer, pair.child.index)
        self.reach.changed(pair.child.index)

    def _work(self, event: events.WorkWanted, now: float) -> None:
        self._helper.run(
            event.job,
            done=lambda result: self._answer(event.ike, event.ticket, result),
            wanted=lambda: self.gate.awaits(event.ike, event.ticket),
        )

    def _fetch(self, event: events.FetchWanted, now: float) -> None:
        self._fetching.fetch(event.urls, lambda: self._answer(event.ike, event.ticket, None))

    def _fresh(self, event: events.FreshWanted, now: float) -> None:
        self._answer(event.ike, event.ticket, self.children.silent_for(event.spis, now))

    def rerouted(self, addresses: Sequence[str], outer: Sequence[str]) -> bool:
        """Routes or our own addresses, those at outside ports among them, are others now. False: to be asked again."""
        self._host.outer = esp.carried(outer)
        return self._roaming.look(self.up, addresses, self._host.outer)

    def _moved(self, event: events.PathChanged, now: float) -> None:
        self.children.moved(event.ike, event.path, event.encap)
        if event.ike in self.up:
            self.up[event.ike] = replace(self.up[event.ike], path=event.path)
        log.info("peer moved", remote=event.path.remote, port=event.path.remote_port, encap=event.encap)

    def _leased(self, event: events.AddressLeased, now: float) -> None:
        self._leases[event.ike] = event
        log.info("addresses leased", addresses=", ".join(event.addresses), dns=", ".join(event.dns))
