"""The far side of the IKE bench: every peer at once in one process, each at its own address, by our own machines.

ike_station.py DIRECTORY: DIRECTORY/station.json says who they are and what they offer. Commands come as JSON lines on
standard input, one answer each on standard output. Answers whoever calls; its children protect nothing.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path as File
from typing import Any

from ike_book import Peers
from ike_people import Person

from xdpsec.daemon.ike.helper import Helper
from xdpsec.daemon.ike.host import RunningHost
from xdpsec.daemon.ike.shell import Shell
from xdpsec.ike import events
from xdpsec.ike.gate import Gate
from xdpsec.ike.v2.make import Machines
from xdpsec.net.udp import PORTS, Ends, Receive, Udp, Way, open_socket
from xdpsec.workers.native import prefer

Words = dict[str, Any]
#: Longer than any machine tries.
PATIENCE = 200.0


class Clocked(Udp):
    """Remembers when each peer's last datagram left, for the time that its answer took."""

    def __init__(self, descriptors: list[int]) -> None:
        super().__init__(descriptors)
        self.left: dict[str, float] = {}
        self.took: dict[str, list[float]] = {}

    def start(self, receive: Receive, done: Callable[[], None]) -> None:
        def clocked(data: bytes, way: Way) -> None:
            left = self.left.pop(way.local, None)
            if left is not None and way.local in self.took:
                self.took[way.local].append(time.monotonic() - left)
            receive(data, way)

        super().start(clocked, done)

    def send(self, data: bytes, way: Ends) -> None:
        if way.local in self.took:
            self.left.setdefault(way.local, time.monotonic())
        super().send(data, way)


class Station:
    """`up`: children by (peer name) that carry both directions; a call is done when its child is up or it failed."""

    def __init__(self, directory: File) -> None:
        plan = json.loads((directory / "station.json").read_text())
        self.udp = Clocked([open_socket(socket.AF_INET, port).detach() for port in PORTS])
        self.helper = Helper()
        self.book = Peers(plan)
        spis = itertools.count(0x1000)
        host = RunningHost(self.book, lambda child, resource: next(spis), lambda spi: None, {})
        self.shell = Shell(Gate(host, Machines()), self.udp, self.hear, time.monotonic)
        self.children: dict[int, tuple[str, int]] = {}  # machine -> peer, inbound SPI of its child
        self.machines: dict[str, int] = {}
        self.events: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._waiting: dict[str, asyncio.Future[bool]] = {}
        self._rekeyed: dict[int, asyncio.Future[None]] = {}

    # --- events --

    def hear(self, event: events.Event, now: float) -> None:
        self.events[type(event).__name__] += 1
        match event:
            case events.InstallInbound():
                self.shell.answer(event.ike, event.ticket, "")
                self.children[event.ike] = (event.child.peer, event.child.spi_in)
                self.machines[event.child.peer] = event.ike
                self._settle(event.child.peer, True)
                if event.child.replaces and (waiting := self._rekeyed.pop(event.ike, None)):
                    waiting.set_result(None)
            case events.WorkWanted():
                self.helper.run(event.job, lambda result: self.shell.answer(event.ike, event.ticket, result))
            case events.FetchWanted() | events.FreshWanted():
                self.shell.answer(event.ike, event.ticket, None)
            case events.IkeDown():
                self.children.pop(event.ike, None)
                self.failures[event.text] += 1
                self._settle(event.peer, False)
            case events.ChildFailed():
                self.failures[event.text] += 1
                self._settle(event.peer, False)

    def _settle(self, peer: str, up: bool) -> None:
        waiting = self._waiting.pop(peer, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(up)

    # --- commands --

    async def call(self, side: str, first: int, count: int, window: int) -> Words:
        """`count` peers call the gateway, `window` of them at a time."""
        names = deque(f"{side}/p{number}" for number in range(first, first + count))
        seconds: list[float] = []
        failed: list[str] = []

        async def worker() -> None:
            while names:
                name = names.popleft()
                began = time.monotonic()
                future = self._waiting[name] = asyncio.get_running_loop().create_future()
                self.shell.connect(name, (("net", None),))
                if await future:
                    seconds.append(time.monotonic() - began)
                else:
                    failed.append(name)

        began = time.monotonic()
        await asyncio.gather(*(worker() for _ in range(window)))
        return {
            "up": len(seconds),
            "failed": failed[:5],
            "why": dict(self.failures.most_common(3)),
            "took": time.monotonic() - began,
            "seconds": sorted(seconds),
        }

    async def rekey(self, side: str, first: int, count: int) -> Words:
        """New keys for the children of peers that are up, all at once."""
        began = time.monotonic()
        futures = []
        for number in range(first, first + count):
            machine = self.machines[f"{side}/p{number}"]
            spi = self.children[machine][1]
            future = self._rekeyed[machine] = asyncio.get_running_loop().create_future()
            futures.append(future)
            self.shell.wish(machine, _rekeying(spi))
        done, _ = await asyncio.wait(futures, timeout=PATIENCE)
        return {"rekeyed": len(done), "took": time.monotonic() - began}

    async def call_watched(self, side: str, first: int, count: int, watched: int) -> Words:
        """`count` peers call at once; how long each answer to the `watched` first people took meanwhile, who ask for
        signs of life by themselves."""
        self.udp.took = {Person(number).address: [] for number in range(watched)}
        self.udp.left.clear()
        said = await self.call(side, first, count, count)
        took, self.udp.took = self.udp.took, {}
        return {**said, "waits": list(itertools.chain(*took.values()))}

    async def await_up(self, count: int, seconds: float) -> Words:
        """Until `count` children are up, whoever called."""
        deadline = time.monotonic() + seconds
        while len(self.children) < count and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        return {"up": len(self.children), "events": dict(self.events), "why": dict(self.failures.most_common(3))}

    async def forget(self) -> Words:
        """Say goodbye to all."""
        for machine in list(self.children):
            self.shell.wish(machine, lambda found, now: found.close(now))
        await asyncio.sleep(1.0)
        return {"up": len(self.children)}


def _rekeying(spi: int) -> Callable[[Any, float], None]:
    return lambda machine, now: machine.rekey_child(spi, now)


async def serve(directory: File) -> None:
    prefer()  # as the gateway does: what waits for a core here would look like a gateway that waits
    station = Station(directory)
    station.shell.start()
    gc.freeze()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps({"ready": True}), flush=True)
    while line := await reader.readline():
        command = json.loads(line)
        verb = getattr(station, command.pop("verb"))
        print(json.dumps(await verb(**command)), flush=True)


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(File(sys.argv[1])))
