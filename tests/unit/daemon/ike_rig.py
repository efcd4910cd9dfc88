"""Negotiated children without a machine: events made by hand, workers that are played, everything between is real."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as File

from crew import Boss

from xdpsec.channel import messages as words
from xdpsec.channel.framing import Received
from xdpsec.channel.hub import Peer
from xdpsec.config.loader import parse
from xdpsec.config.values import Config
from xdpsec.crypto.suites import esp_suite
from xdpsec.daemon import regions
from xdpsec.daemon.fleet import Fleet
from xdpsec.daemon.grants import Grants
from xdpsec.daemon.ike.children import Children, Pair
from xdpsec.daemon.ike.guests import Guests
from xdpsec.daemon.ike.sas import Sas
from xdpsec.daemon.ike.spis import Spis
from xdpsec.daemon.paths import Paths
from xdpsec.daemon.seats import Seats
from xdpsec.daemon.slots import Slots
from xdpsec.daemon.snapshot import Snapshots
from xdpsec.ike import selectors
from xdpsec.ike.events import DirectionKeys, InstallInbound, NegotiatedChild, Path, RetireChild, UseOutbound
from xdpsec.numbers import Encr, Protocol

CONFIG = """\
[gateway]
outside = ["out0"]
inside = ["in0"]
workers = 2

[peers.branch]
remote = "203.0.113.7"
local_id = "hq"
remote_id = "branch"
auth = { psk_file = "/etc/xdpsec/branch.psk" }

[peers.branch.children.lan]
local = ["10.1.0.0/16"]
remote = ["10.2.0.0/16"]
MORE
[peers.branch.children.lab]
local = ["10.1.0.0/16"]
remote = ["10.3.0.0/16"]
start = "on-traffic"

[peers.road]
remote = "any"
local_id = "hq"
remote_id = "*.road"
auth = { psk_file = "/etc/xdpsec/branch.psk" }
pool = { addresses = ["10.9.0.0/24"] }
children.net = { local = ["10.1.0.0/16"], remote = ["10.9.0.0/24"], start = "wait" }
"""
PATH = Path("198.51.100.1", 500, "203.0.113.7", 500)
#: Child -> its worker.
OWNERS = {0: 0, 1: 1, 2: 0}
SLOTS = 16


def config(more: str = "") -> Config:
    return parse(CONFIG.replace("MORE", more), "gw.toml", (0, 1))


def negotiated(config: Config, spi_in: int, index: int = 0, **changed: object) -> NegotiatedChild:
    child = config.children[index]
    made = NegotiatedChild(
        peer=child.peer,
        name=child.name,
        index=index,
        resource=None,
        protocol=Protocol.ESP,
        spi_in=spi_in,
        spi_out=spi_in + 1,
        suite=esp_suite(Encr.AES_GCM_16, 128),
        esn=True,
        ke=(),
        mode="tunnel",
        keys_in=DirectionKeys(os.urandom(20), b""),
        keys_out=DirectionKeys(os.urandom(20), b""),
        local=tuple(selectors.selector(text) for text in child.local),
        remote=tuple(selectors.selector(text) for text in child.remote),
        encap=False,
        path=PATH,
        initiator=True,
    )
    return dataclasses.replace(made, **changed)  # type: ignore[arg-type]


class Desk:
    """`answers`: (ike, ticket, result) as the machines would hear them; `asked`: rekeys and closes."""

    def __init__(self, folder: File, more: str = "") -> None:
        self.config = config(more)
        self.boss = Boss()
        accepts = frozenset({words.Done, words.WorkerDied})
        self.supervisor = Peer(self.boss.wire, accepts, self._hear, lambda reason: None)
        descriptor, count = regions.open_state(folder / "sa_state", SLOTS, b"boot")
        self.slots = Slots(descriptor, regions.state_size(count))
        self.seats = Seats({})
        self.words: list[tuple[int, words.Message]] = []
        self.fleet = Fleet(
            self.supervisor,
            [-1, -1],
            lambda *told: self.snapshots.brief(*told),
            lambda *said: self.words.append(said),
        )
        no = lambda *_: None  # noqa: E731
        paths = Paths(None, {0: 1500}, [], no, no, no, no)  # type: ignore[arg-type]
        grants = Grants({}, {}, None, self.slots, no)  # type: ignore[arg-type]
        self.snapshots = Snapshots((), self.seats, grants, paths, lambda child: "branch")
        self.sas = Sas(self.seats, self.slots, self.fleet, self.snapshots)
        self.spis = Spis([0] * 128 + [1] * 128, lambda spi: spi >> 24, (), os.urandom)
        self.answers: list[tuple[int, int, object]] = []
        self.asked: list[tuple[str, int, int]] = []
        self.proved: list[tuple[int, int]] = []
        self.seen: list[tuple[int, int, str, int]] = []
        self.policies: list[list[words.Policy]] = [[]]  # as a worker has them after each word
        self.changes: list[tuple[int, bool]] = []
        self.guests = Guests(len(self.config.children), self._told)
        self.children = Children(
            self.config,
            OWNERS,
            self.sas,
            self.spis,
            answer=lambda *answer: self.answers.append(answer),
            rekey=lambda ike, spi: self.asked.append(("rekey", ike, spi)),
            close=lambda ike, spi: self.asked.append(("close", ike, spi)),
            changed=self._changed,
            proved=lambda ike, spi: self.proved.append((ike, spi)),
            seen=lambda *where: self.seen.append(where),
            guests=self.guests,
        )
        self.life = asyncio.create_task(self.fleet.run())

    def _told(self, word: words.PolicyFirst) -> None:
        others = [row for row in self.policies[-1] if row.child != word.child]
        self.policies.append([*(words.Policy(one, word.child, word.owner) for one in word.selectors), *others])
        assert self.guests.rows() == self.policies[-1], "a successor is told the same"

    def _changed(self, pair: Pair) -> None:
        self.changes.append((pair.child.index, pair.up))

    def _hear(self, received: Received) -> None:
        assert isinstance(received.message, words.WorkerDied)
        self.fleet.died(received.message.worker, received.message.status)

    async def until(self, true: object) -> None:
        """Turns the loop until the callable says so."""
        while not true():  # type: ignore[operator]
            await asyncio.sleep(0.001)

    async def install(self, ticket: int = 1, index: int = 0, **changed: object) -> NegotiatedChild:
        """A child installed and answered for."""
        spi = changed.pop("spi_in", None) or self.children.new_spi(index, None)
        child = negotiated(self.config, spi, index, **changed)  # type: ignore[arg-type]
        self.children.install(InstallInbound(7, ticket, child))
        await self.until(lambda: self.answers and self.answers[-1][1] == ticket)
        return child

    def use(self, child: NegotiatedChild) -> None:
        self.children.use(UseOutbound(7, child.spi_in, child.spi_out, child.index))

    def retire(self, child: NegotiatedChild, reason: str) -> None:
        self.children.retire(RetireChild(7, child.spi_in, child.spi_out, child.index, reason))

    def heard(self, worker: int, *kinds: type) -> list[words.Message]:
        return [word for word in self.boss.workers[worker].heard if isinstance(word, kinds)]


@asynccontextmanager
async def desk(folder: File, more: str = "") -> AsyncIterator[Desk]:
    made = Desk(folder, more)
    await made.boss.serve(2)
    try:
        yield made
    finally:
        made.life.cancel()
        await asyncio.gather(made.life, return_exceptions=True)
        made.supervisor.close()
        made.boss.close()
