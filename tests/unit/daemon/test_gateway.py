"""A gateway between a supervisor and workers that the test plays: it serves, its workers' words reach whom they are
for, what is seen of it is so, and a stop leaves exact numbers on disk, of those alone who are known to be gone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from crew import Boss
from hurry import hurry
from structlog.testing import capture_logs

from xdpsec.channel import messages as words
from xdpsec.channel.hub import Peer
from xdpsec.config.keys import read_keys
from xdpsec.config.loader import parse
from xdpsec.daemon import regions, setup
from xdpsec.daemon.durable import Marker, StateFile
from xdpsec.daemon.gateway import Gateway
from xdpsec.daemon.requests import open_key_file
from xdpsec.daemon.setup import Keys
from xdpsec.daemon.slots import Slots
from xdpsec.daemon.snapshot import Snapshots
from xdpsec.metrics.values import SERVING, Port

CONFIG = """
[gateway]
outside = ["wan0"]
inside = ["lan0"]
workers = 2
state_dir = "FOLDER"

[peers.b]
local = "192.0.2.1"
remote = "192.0.2.2"
"""
CHILD = """children.lan{n} = {{ local = ["10.1.{n}.0/24"], remote = ["10.2.{n}.0/24"], manual = {{ spi_in = {spi}, \
spi_out = {out}, key_file = "FOLDER/lan{n}.keys" }} }}
"""
PORTS = (
    Port(0, "wan0", True, "native", "copy", 2, 40, bytes(6), 1500),
    Port(1, "lan0", False, "native", "copy", 2, 41, bytes(6), 1500),
)
ROUTE = words.Route("192.0.2.0/24", "", 0)
ZONE = "fe80::1%" + "x" * 200  # RFC 4007 sec. 11 gives a zone's name no end


class Watcher:
    """daemon.rooms.Watcher: one route, nothing ever changes."""

    def __init__(self) -> None:
        self._bell = os.eventfd(0, os.EFD_NONBLOCK)

    def fileno(self) -> int:
        return self._bell

    def drain(self) -> bool:
        return False

    def routes(self) -> tuple[words.Route, ...]:
        return (ROUTE,)

    def next_hops(self) -> tuple[words.NextHop, ...]:
        return ()

    def addresses(self) -> tuple[str, ...]:
        return ("192.0.2.1",)

    def outer(self, ports: Collection[int]) -> tuple[str, ...]:
        return ("192.0.2.1",)

    def close(self) -> None:
        os.close(self._bell)


class Maps:
    """daemon.rooms.Maps: only own addresses are told to it once we run."""

    def __init__(self) -> None:
        self.addresses: Sequence[str] = ()

    def set_addresses(self, addresses: Sequence[str]) -> None:
        self.addresses = addresses

    def set_buckets(self, owners: Sequence[int | None]) -> None:
        raise AssertionError("set at the start")

    def set_prefixes(self, local: Mapping[str, int], remote: Mapping[str, tuple[int, Sequence[int]]]) -> None:
        raise AssertionError("set at the start")

    def verdicts(self) -> Sequence[Sequence[int]]:
        return ()


class Scene:
    """Two children, two workers, one child on each. `stop` ends the gateway; `run` is its life."""

    def __init__(self, folder: Path) -> None:
        text = CONFIG + "".join(CHILD.format(n=n, spi=0x1001 + n, out=0x2001 + n) for n in range(2))
        self.config = parse(text.replace("FOLDER", str(folder)), "gw.toml", (0, 1))
        pairs, markers = {}, {}
        for _, manual in self.config.manual:
            file = Path(manual.key_file)
            file.touch(0o600)
            both = [{"encryption": os.urandom(32).hex(), "integrity": os.urandom(32).hex()} for _ in range(2)]
            rows = [", ".join(f'{name} = "{value}"' for name, value in one.items()) for one in both]
            file.write_text(f"inbound = {{ {rows[0]} }}\noutbound = {{ {rows[1]} }}\n")
            opened, marker = open_key_file(str(file))
            pairs[str(file)] = read_keys(opened, str(file), manual.suite)
            markers[str(file)] = Marker(marker, str(file))
            os.close(opened)
        descriptor, count = regions.open_state(folder / "sa_state", 8, b"boot")
        self.slots = Slots(descriptor, regions.state_size(count))
        self.security = setup.seat(self.config, Keys(pairs, markers), self.slots, 0.0)
        self.state = StateFile(self.config.gateway.state_dir)
        self.boss, self.maps, self.watcher = Boss(), Maps(), Watcher()
        accepts = frozenset({words.Done, words.WorkerDied})
        self.supervisor = Peer(self.boss.wire, accepts, lambda received: self._died(received.message), lambda _: None)
        self.gateway = Gateway(
            self.config, self.supervisor, self.maps, self.slots, self.security, PORTS, self.watcher, 0.0
        )
        self.stop = asyncio.Event()
        self.run = asyncio.create_task(self.gateway.run(self.stop))

    def _died(self, message: words.Message) -> None:
        assert isinstance(message, words.WorkerDied)
        self.gateway.fleet.died(message.worker, message.status)

    def slot(self, child: int, outbound: bool) -> int:
        return next(s.slot for s in self.security.seats.values() if (s.sa.child, s.sa.outbound) == (child, outbound))

    def says(self, worker: int, message: words.Message) -> None:
        self.boss.workers[worker].peer.tell(message)

    async def heard(self, worker: int, message: words.Message) -> None:
        while message not in self.boss.workers[worker].heard:
            await asyncio.sleep(0.001)


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    made = Scene(folder)
    await made.boss.serve(2)
    while {worker.state for worker in made.gateway.view().workers} != {SERVING}:
        await asyncio.sleep(0.001)
    try:
        yield made
    finally:
        made.stop.set()
        await made.run
        made.boss.close()
        made.supervisor.close()
        made.watcher.close()


def test_it_serves_and_shows_itself(tmp_path: Path) -> None:
    async def test() -> None:
        async with scene(tmp_path) as s:
            assert list(s.maps.addresses) == ["192.0.2.1"]
            view = s.gateway.view()
            sas = [(sa.label, sa.direction) for sa in view.sas]
            assert sas == [("b/lan0", "in"), ("b/lan0", "out"), ("b/lan1", "in"), ("b/lan1", "out")]
            assert view.state == "serving"
            assert [(child.label, child.owner, child.up) for child in view.children] == [
                ("b/lan0", s.security.owners[0], True), ("b/lan1", s.security.owners[1], True),
            ]  # fmt: skip
            assert [(b.name, b.gone, b.error) for b in view.barriers] == [
                ("fence", 0, ""), ("door of wan0", 0, ""), ("door of lan0", 0, ""),
            ]  # fmt: skip
            s.gateway.breaches = {-1: words.Breach(-1, 2, "no nft"), 1: words.Breach(1, 1, "")}
            view = s.gateway.view()
            assert [(b.gone, b.error) for b in view.barriers] == [(2, "no nft"), (0, ""), (1, "")]
            assert view.state == "degraded"
            for worker in (0, 1):
                mine = {one.child for one in s.boss.workers[worker].heard if isinstance(one, words.SaInstall)}
                assert mine == {child for child, owner in s.security.owners.items() if owner == worker}

    hurry(test)


def test_a_view_makes_no_row_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who greets, or wants a word on the whole, does not pay for thousands of SAs."""
    made: list[str] = []

    def counted(name: str) -> None:
        true = getattr(Snapshots, name)

        def count(*given: object) -> object:
            made.append(name)
            return true(*given)

        monkeypatch.setattr(Snapshots, name, count)

    counted("_view")
    counted("condition")

    async def test() -> None:
        async with scene(tmp_path) as s:
            now = s.gateway.view()
            assert now.state == "serving"
            assert made == []
            next(iter(now.sas))
            next(iter(now.children))
            assert made == ["_view", "condition"]

    hurry(test)


def test_words_of_workers_reach_whom_they_are_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with scene(tmp_path) as s:
            out = s.slot(0, True)
            owner, end = s.security.owners[0], s.security.places[s.security.seats[out].sa.sa_id].grant.end
            s.says(owner, words.GrantWanted(out, end))
            await s.heard(owner, words.SeqGrant(out, end + 4096))
            assert s.state.read()[s.security.seats[out].sa.sa_id].end == end + 4096
            s.says(owner, words.ResolveWanted(0, "192.0.2.2"))
            while words.SetNeighbour(0, "192.0.2.2") not in s.boss.kept:
                await asyncio.sleep(0.001)
            s.says(owner, words.Exhausted(out))
            while not any(sa.error for sa in s.gateway.view().sas):
                await asyncio.sleep(0.001)
            assert {child.index for child in s.gateway.view().children if child.up} == {1}
            with capture_logs() as lines:
                s.says(owner, words.Acquire(1))
                while not any(line.get("child") == "b/lan1" for line in lines):
                    await asyncio.sleep(0.001)

    hurry(test)


def test_what_a_worker_says_of_slots_that_are_nobody_s_changes_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with scene(tmp_path) as s:
            before = s.state.read()
            for slot in (7, 8, -1, 2**32, 2**63):
                s.says(0, words.GrantWanted(slot, 2**64 - 1))
                for kind in (words.SaFirstUse, words.SaSoft, words.Exhausted):
                    s.says(0, kind(slot))
            s.says(0, words.ResolveWanted(1, "10.1.0.9"))  # words keep their order
            while words.SetNeighbour(1, "10.1.0.9") not in s.boss.kept:
                await asyncio.sleep(0.001)
            assert s.state.read() == before
            assert not any(sa.error for sa in s.gateway.view().sas)

    hurry(test)


def test_what_a_worker_says_of_another_s_slots_changes_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with scene(tmp_path) as s:
            before = s.state.read()
            for slot, seat in s.security.seats.items():
                s.says(1 - seat.owner, words.GrantWanted(slot, 2**64 - 1))
                s.says(1 - seat.owner, words.Exhausted(slot))
            for worker, address in enumerate(("10.1.0.8", "10.1.0.9")):
                s.says(worker, words.ResolveWanted(1, address))  # words keep their order
                while words.SetNeighbour(1, address) not in s.boss.kept:
                    await asyncio.sleep(0.001)
            assert s.state.read() == before
            assert not any(sa.error for sa in s.gateway.view().sas)

    hurry(test)


@pytest.mark.parametrize(
    "where",
    [
        ("", 4500),
        ("x" * 200, 4500),
        ("192.0.2.9", 0),
        ("192.0.2.9", 2**40),
        ("::", 4500),
        ("fe80::1%" + "x" * 200, 4500),
    ],
)
def test_a_worker_that_has_seen_a_peer_nowhere_is_ended(tmp_path: Path, where: tuple[str, int]) -> None:
    async def test() -> None:
        async with scene(tmp_path) as s:
            with capture_logs() as lines:
                s.says(1, words.SaElsewhere(7, *where))
                await s.boss.serve(1)
            (said,) = [line for line in lines if line["event"] == "worker misspoke"]
            assert (said["worker"], said["error"]) == (1, "it speaks of an address that there is not")

    hurry(test)


@pytest.mark.parametrize("hop", [(0, ""), (0, "x" * 200), (0, ZONE), (2, "192.0.2.9"), (-1, "192.0.2.9")])
def test_a_worker_that_waits_for_nobody_is_replaced(tmp_path: Path, hop: tuple[int, str]) -> None:
    """What it makes up is not kept, not logged and not passed on, however long."""

    async def test() -> None:
        async with scene(tmp_path) as s:
            with capture_logs() as lines:
                s.says(1, words.ResolveWanted(*hop))
                await s.boss.serve(1)
            (said,) = [line for line in lines if line["event"] == "worker misspoke"]
            assert (said["worker"], said["error"]) == (1, "it waits for a neighbour that there is not")
            assert words.SetNeighbour(*hop) not in s.boss.kept

    hurry(test)


@pytest.mark.parametrize("child", [-1, 2, 2**40])
def test_a_worker_that_speaks_of_a_child_there_is_not_is_replaced(tmp_path: Path, child: int) -> None:
    async def test() -> None:
        async with scene(tmp_path) as s:
            with capture_logs() as lines:
                s.says(1, words.Acquire(child))
                await s.boss.serve(1)
            (said,) = [line for line in lines if line["event"] == "worker misspoke"]
            assert (said["worker"], said["error"]) == (1, f"it speaks of child {child}, which there is not")
            assert s.gateway.view().workers[0].restarts == 0

    hurry(test)


def test_a_stop_leaves_exact_numbers_of_those_who_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not end keeps its block: it may still use it."""

    async def test() -> None:
        async with scene(tmp_path) as s:
            gone, stuck = s.security.owners[0], s.security.owners[1]
            assert {gone, stuck} == {0, 1}
            monkeypatch.setattr(s.boss.workers[stuck].peer, "_on_message", lambda received: None)
            before = s.state.read()
            out = s.slot(0, True)
            numbers = s.slots.numbers(out)
            s.slots.set_numbers(out, type(numbers)(True, 17, numbers.granted, 0, 0))
        after = s.state.read()
        for seat in s.security.seats.values():
            exact = {True: 17, False: 1}[seat.sa.outbound]
            assert after[seat.sa.sa_id].end == (exact if seat.sa.child == 0 else before[seat.sa.sa_id].end)
        assert s.slots.numbers(out).granted == 17

    hurry(test)
