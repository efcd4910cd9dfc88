"""The operator socket against a real client and real misbehaviour: each bad connection ends alone."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_type_hints

import msgpack
import pytest
from gateway import DOOR, VERDICT, FakeSource, counters, per_port, sa, slot, verdicts

from xdpsec.channel import operator as words
from xdpsec.channel.framing import ChannelClosed, Wire, encode, split
from xdpsec.channel.messages import SaQuery
from xdpsec.channel.negotiation import PeerRow, Peers, PeersQuery
from xdpsec.cli.client import Client
from xdpsec.daemon.answers import PAGE, pages
from xdpsec.daemon.operator import MAX_CONNECTIONS, MAX_UNSENT, OperatorServer
from xdpsec.metrics.values import ChildView, Slot, SocketCounts, View

#: The server answers within a turn of the loop; on a loaded machine a turn may take long.
SECONDS = 60.0


@contextmanager
def listener(path: Path) -> Iterator[socket.socket]:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.bind(str(path))
    sock.listen()
    path.chmod(0o600)
    yield sock
    sock.close()


async def readable(wire: Wire) -> None:
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(wire.fileno(), event.set)
    try:
        await asyncio.wait_for(event.wait(), SECONDS)
    finally:
        loop.remove_reader(wire.fileno())


async def receive(wire: Wire) -> object:
    while (received := wire.receive()) is None:
        await readable(wire)
    return received.message


async def ended(wire: Wire) -> None:
    """The other end closes this connection."""
    with pytest.raises(ChannelClosed):
        await receive(wire)


def connect(path: Path) -> Wire:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(str(path))
    return Wire(sock)


class Silent:
    """A desk that nobody asks."""

    def answer(self, question: object, seq: int, connection: object) -> words.Answer:
        raise AssertionError(question)

    def gone(self, connection: object) -> None:
        pass


async def greeted(path: Path) -> Wire:
    wire = connect(path)
    seq = wire.send(words.Hello(words.VERSION))
    assert await receive(wire) == words.Welcome(seq, words.VERSION, "0.1.0")
    return wire


def serve(
    tmp_path: Path, source: FakeSource, talk: Callable[[Path, OperatorServer], Awaitable[None]], desk: Any = None
) -> None:
    """Run `talk` against a server for `source` on a fresh socket."""
    path = tmp_path / "control.sock"

    async def run() -> None:
        with listener(path) as sock:
            server = OperatorServer(os.dup(sock.fileno()), source, desk or Silent(), clock=lambda: 160.0)
            try:
                await talk(path, server)
            finally:
                server.close()

    asyncio.run(run())


def source() -> FakeSource:
    return FakeSource(
        blocks=(
            counters(rx_packets=per_port(5, 6), tx_packets=per_port(7, 8), cycles=(1, 2, 3, 4, 5), idle_ns=30 * 10**9,
                     started_ns=100 * 10**9, handoff_sent=2, verdicts=verdicts(VERDICT, DROP_ICV=3)),
            counters(),
        ),
        slots={
            0: slot(top=41, granted=1065, packets=40, bytes=4000, last_seen_ns=158 * 10**9,
                    drops=verdicts(VERDICT, DROP_REPLAY=2)),
            1: slot(next_seq=12, granted=2048, packets=11, bytes=1100),
        },
        frames=(verdicts(DOOR, ESP_TO_WORKER=44), *[verdicts(DOOR)] * 7),
        statistics=(SocketCounts(1, 0, 0, {"rx_dropped": 1, "rx_ring_full": 0}),),
    )  # fmt: skip


def test_status_says_what_the_gateway_is_and_does(tmp_path: Path) -> None:
    async def talk(path: Path, _: OperatorServer) -> None:
        wire = await greeted(path)
        seq = wire.send(words.StatusQuery())
        answer = await receive(wire)
        assert isinstance(answer, words.Status)
        assert (answer.seq, answer.state, answer.uptime_ns) == (seq, "serving", 60 * 10**9)
        assert [(port.interface, port.side) for port in answer.ports] == [("eth0", "outside"), ("eth1", "inside")]
        worker = answer.workers[0]
        assert (worker.packets_in, worker.packets_out, worker.handoff_sent) == (11, 15, 2)
        assert (worker.idle_ns, worker.alive_ns) == (30 * 10**9, 60 * 10**9)
        assert [(count.name, count.count) for count in worker.cycles][2] == ("crypto", 3)
        assert [(child.label, child.up) for child in answer.children] == [("branch/lan", True), ("branch/lab", True)]
        wire.close()

    serve(tmp_path, source(), talk)


def test_sas_and_drops_carry_the_slots_numbers(tmp_path: Path) -> None:
    async def talk(path: Path, _: OperatorServer) -> None:
        wire = await greeted(path)
        wire.send(words.SasQuery())
        sas = await receive(wire)
        assert isinstance(sas, words.Sas)
        first, second = sas.rows[:2]
        assert (first.direction, first.number, first.granted, first.packets, first.bytes) == ("in", 41, 1065, 40, 4000)
        assert (first.idle_ns, first.drops) == (2 * 10**9, (words.Count("DROP_REPLAY", 2),))
        assert (second.direction, second.number, second.idle_ns, second.drops) == ("out", 12, -1, ())
        wire.send(words.DropsQuery())
        drops = await receive(wire)
        assert isinstance(drops, words.Drops)
        assert {count.name: count.count for count in drops.door[0].verdicts}["ESP_TO_WORKER"] == 44
        assert len(drops.door[0].verdicts) == len(DOOR)
        assert {count.name: count.count for count in drops.workers[0].verdicts}["DROP_ICV"] == 3
        assert (drops.sockets[0].interface, drops.sockets[0].counts[0]) == ("eth0", words.Count("rx_dropped", 1))
        assert drops.sas[0] == words.SaDrops("branch/lan", "in", (words.Count("DROP_REPLAY", 2),))
        wire.close()

    serve(tmp_path, source(), talk)


def test_another_version_is_told_ours_and_closed(tmp_path: Path) -> None:
    async def talk(path: Path, server: OperatorServer) -> None:
        wire = connect(path)
        seq = wire.send(words.Hello(words.VERSION + 1))
        assert await receive(wire) == words.Welcome(seq, words.VERSION, "0.1.0")
        await ended(wire)
        assert server.connections == 0

    serve(tmp_path, source(), talk)


BAD = {
    "no msgpack": b"\x01\xc1",
    "an unknown id": b"\x01" + msgpack.packb((4000, 1, [])),
    "a word of another vocabulary": next(split(encode(SaQuery(), 1))),
    "an answer": next(split(encode(words.Welcome(1, 1, ""), 1))),
    "a wrong type": b"\x01" + msgpack.packb((128, 1, ["one"])),
    "too many fields": b"\x01" + msgpack.packb((128, 1, [1, 2])),
    "an unknown flag": b"\x07" + msgpack.packb((128, 1, [1])),
    "an empty piece": b"\x01",
    "a question before Hello": next(split(encode(words.StatusQuery(), 1))),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_in_the_vocabulary_ends_that_connection_alone(tmp_path: Path, name: str) -> None:
    async def talk(path: Path, server: OperatorServer) -> None:
        good, bad = await greeted(path), connect(path)
        bad.socket.send(BAD[name])
        await ended(bad)
        good.send(words.StatusQuery())
        assert isinstance(await receive(good), words.Status)
        assert server.connections == 1
        good.close()

    serve(tmp_path, source(), talk)


def test_hello_twice_and_descriptors_are_not_wanted(tmp_path: Path) -> None:
    async def talk(path: Path, _: OperatorServer) -> None:
        wire = await greeted(path)
        open_before = len(os.listdir("/proc/self/fd"))
        wire.send(words.StatusQuery(), [0, 1, 2])
        assert isinstance(await receive(wire), words.Status)
        assert len(os.listdir("/proc/self/fd")) == open_before
        wire.send(words.Hello(words.VERSION))
        await ended(wire)

    serve(tmp_path, source(), talk)


def test_connections_are_bounded_and_come_back(tmp_path: Path) -> None:
    async def talk(path: Path, server: OperatorServer) -> None:
        wires = [await greeted(path) for _ in range(MAX_CONNECTIONS)]
        extra = connect(path)
        await ended(extra)
        assert server.connections == MAX_CONNECTIONS
        wires.pop().close()
        while server.connections == MAX_CONNECTIONS:  # the loop learns of the end by an event
            await asyncio.sleep(0)
        wires.append(await greeted(path))
        for wire in wires:
            wire.close()

    serve(tmp_path, source(), talk)


def test_who_asks_without_reading_is_closed(tmp_path: Path) -> None:
    async def talk(path: Path, server: OperatorServer) -> None:
        good, deaf = await greeted(path), await greeted(path)
        packet = next(split(encode(words.DropsQuery(), 9)))
        with suppress(ChannelClosed):
            for _ in range(MAX_UNSENT * 100):
                deaf.send_packet(packet)
                await asyncio.sleep(0)
        assert server.connections == 1
        good.send(words.StatusQuery())
        assert isinstance(await receive(good), words.Status)
        deaf.close()
        good.close()

    serve(tmp_path, source(), talk)


def test_another_user_is_refused_even_where_the_mode_would_let_him() -> None:
    async def talk(path: Path, server: OperatorServer) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o666)
        pid = os.fork()
        if pid == 0:
            os.setgid(65534)
            os.setuid(65534)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            sock.settimeout(SECONDS)
            try:
                sock.connect(str(path))
                os._exit(0 if sock.recv(100) == b"" else 1)
            except OSError:
                os._exit(2)
        status = await asyncio.get_running_loop().run_in_executor(None, os.waitpid, pid, 0)
        assert os.waitstatus_to_exitcode(status[1]) == 0
        assert server.connections == 0
        wire = await greeted(path)
        wire.close()

    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        Path(folder).chmod(0o755)
        serve(Path(folder), source(), talk)


class Many:
    """A desk with thousands of rows, each of which it counts when it is made."""

    def __init__(self, count: int) -> None:
        self.count, self.made = count, 0

    def answer(self, question: object, seq: int, connection: object) -> Iterator[Peers]:
        return (Peers(seq, page, more) for page, more in pages(self._rows()))

    def _rows(self) -> Iterator[PeerRow]:
        for number in range(self.count):
            self.made += 1
            yield peer_row(f"p{number}")

    def gone(self, connection: object) -> None:
        pass


def peer_row(name: str) -> PeerRow:
    blank: dict[type, Any] = {str: "", int: 0, bool: False}
    values = {key: blank.get(hint, ()) for key, hint in get_type_hints(PeerRow).items()}
    return PeerRow(**{**values, "name": name})


def test_thousands_of_rows_come_whole_and_the_loop_turns_meanwhile(tmp_path: Path) -> None:
    async def talk(path: Path, _: OperatorServer) -> None:
        turns: list[int] = []  # rows that were made by each turn of the loop
        ended = asyncio.Event()

        def turn() -> None:
            turns.append(desk.made)
            if not ended.is_set():
                asyncio.get_running_loop().call_soon(turn)

        def ask() -> Peers:
            with Client(path.parent) as client:
                return client.ask(PeersQuery(), Peers)

        turn()
        answer = await asyncio.get_running_loop().run_in_executor(None, ask)
        ended.set()
        assert [row.name for row in answer.rows] == [f"p{number}" for number in range(desk.count)]
        assert max(later - earlier for earlier, later in pairwise(turns)) <= PAGE + 1

    desk = Many(5000)
    serve(tmp_path, FakeSource(), talk, desk)


class Crowd(FakeSource):
    """Thousands of children, whose rows and slots are counted when they are made."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count, self.made, self.read = count, 0, 0

    def _counted(self, rows: Iterable[Any]) -> Iterator[Any]:
        for row in rows:
            self.made += 1
            yield row

    def view(self) -> View:
        numbers = range(self.count)
        children = (ChildView(n, f"p{n}", "lan", (), (), 0) for n in numbers)
        sas = (sa(n, outbound, 2 * n + outbound, label=f"p{n}/lan") for n in numbers for outbound in (False, True))
        return replace(self.now, children=self._counted(children), sas=self._counted(sas))

    def slot(self, number: int) -> Slot:
        self.read += 1
        return super().slot(number)


ASKED: list[tuple[Any, Any, str, int]] = [
    (words.StatusQuery(), words.Status, "children", 1),
    (words.SasQuery(), words.Sas, "rows", 2),
    (words.DropsQuery(), words.Drops, "sas", 2),
]


@pytest.mark.parametrize(("question", "kind", "field", "each"), ASKED, ids=["status", "list-sas", "drops"])
def test_no_listing_makes_more_than_a_page_in_a_turn_of_the_loop(
    tmp_path: Path, question: Any, kind: Any, field: str, each: int
) -> None:
    async def talk(path: Path, _: OperatorServer) -> None:
        turns: list[int] = []
        reads: list[int] = []
        ended = asyncio.Event()

        def turn() -> None:
            turns.append(crowd.made)
            reads.append(crowd.read)
            if not ended.is_set():
                asyncio.get_running_loop().call_soon(turn)

        def ask() -> Any:
            with Client(path.parent) as client:
                greeted = crowd.made
                return greeted, client.ask(question, kind)

        turn()
        greeted, answer = await asyncio.get_running_loop().run_in_executor(None, ask)
        ended.set()
        assert greeted == 0, "a greeting asks for no row"
        labels = [row.label for row in getattr(answer, field)]
        assert labels == [f"p{number}/lan" for number in range(crowd.count) for _ in range(each)]
        assert max(later - earlier for earlier, later in pairwise(turns)) <= PAGE + 1
        assert max(later - earlier for earlier, later in pairwise(reads)) <= PAGE + 1

    crowd = Crowd(1000)
    serve(tmp_path, crowd, talk)


def test_who_does_not_take_its_pages_has_none_made(tmp_path: Path) -> None:
    async def talk(path: Path, _: OperatorServer) -> None:
        wire = await greeted(path)
        wire.send(PeersQuery())
        before = -1
        while desk.made != before or desk.made < PAGE:
            before = desk.made
            for _turn in range(20):  # of the loop: each makes rows where they are taken
                await asyncio.sleep(0)
        assert desk.made < desk.count
        wire.close()

    desk = Many(100_000)
    serve(tmp_path, FakeSource(), talk, desk)


def test_the_next_question_may_come_right_behind_the_last_page(tmp_path: Path) -> None:
    """Who is quick asks it before the loop turns; both wait to be read here."""

    async def talk(path: Path, server: OperatorServer) -> None:
        wire = await greeted(path)
        for _ in range(2):
            wire.send(PeersQuery())
        for _ in range(2):
            answer = await receive(wire)
            assert isinstance(answer, Peers)
            assert [row.name for row in answer.rows] == ["p0"]
        wire.close()

    serve(tmp_path, FakeSource(), talk, Many(1))
