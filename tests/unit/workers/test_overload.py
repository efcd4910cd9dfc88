"""Real workers on tiny rings, more frames than they hold: whatever runs out, each frame is counted once.

Frames come in by live frames through the door (BPF_PROG_TEST_RUN), so that how many and when is exact. Books, as the
budget of the data plane has them: in = the door's verdicts; drops = rx_dropped and rx_ring_full of the sockets, and the
workers' verdicts; out = completions.
"""

from __future__ import annotations

import itertools
import mmap
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from shell import sh

from xdpsec.channel import messages as words
from xdpsec.channel.framing import Wire
from xdpsec.channel.start import PortStart, QueueStart, WorkerStart
from xdpsec.daemon import regions
from xdpsec.net.afxdp import Sockets, statistics
from xdpsec.net.door import Door, DoorMaps
from xdpsec.net.values import Link, PortSockets, Rings
from xdpsec.workers import worker as worker_room
from xdpsec.workers.apply import Applier
from xdpsec.workers.native import check, door_verdict_names, ffi, lib, verdict_names

OUTSIDE, INSIDE = 0, 1
MAC, SINK = bytes.fromhex("020000000001"), bytes.fromhex("020000000099")
#: The kernel frees what it sent in a moment; on a loaded machine a moment is longer.
REST_SECONDS = 60.0


class Gateway:
    """`workers` workers in this process, breathing when told; child c is worker c's, its hosts are 10.2.c.0/24."""

    def __init__(self, veths: tuple[str, str], state: Path, rings: Rings, chunks: int, workers: int = 1) -> None:
        self.workers, self.burst = workers, 64
        descriptor, slots = regions.open_state(state, workers, b"a boot")
        self.memory = regions.make(workers, chunks, 2048, descriptor, slots)
        self.links = [Link(socket.if_nametoindex(name), MAC, 1500, 2) for name in veths]
        maker = Sockets(self.memory.umem, self.memory.umem_size, 2048, rings)
        self.sockets: list[PortSockets] = [maker.open_port(link, workers, "copy") for link in self.links]
        self.door = Door()
        for port, link in enumerate(self.links):
            self.door.attach(port, link, port == OUTSIDE)
        self.maps = DoorMaps(self.door.maps())
        remote = {f"10.2.{c}.0/24": (1 << c, [c]) for c in range(workers)}
        self.maps.set_prefixes({"10.1.0.0/16": (1 << workers) - 1}, remote)
        self._block = mmap.mmap(self.memory.counters, workers * ffi.sizeof("struct xs_counters"))
        self.counters: Any = ffi.cast("struct xs_counters *", ffi.from_buffer(self._block))
        self._wires = [Wire.pair() for _ in range(workers)]
        self.cores = [worker_room.build(self._start(w, rings)) for w in range(workers)]
        for w, core in enumerate(self.cores):
            self._inform(w, core)

    def _start(self, worker: int, rings: Rings) -> WorkerStart:
        sizes = {"rx_size": rings.rx, "tx_size": rings.tx, "fill_size": rings.fill, "completion_size": rings.completion}
        starts = tuple(
            PortStart(p, p, MAC.hex(), 1500, "10.9.0.1", "", tuple(
                QueueStart(q, row[worker], row[0], **sizes) for q, row in enumerate(opened.own)))
            for p, opened in enumerate(self.sockets)
        )  # fmt: skip
        m = self.memory
        return WorkerStart(
            worker=worker, workers=self.workers, core=-1, uid=0, gid=0, parent=0, channel_fd=-1, umem_fd=m.umem,
            umem_size=m.umem_size, chunk_size=2048, pool_fd=m.pool, state_fd=m.state, state_size=m.state_size,
            counters_fd=m.counters, handoff_fd=m.handoff, wake_fds=m.wake, burst=self.burst, spin_us=0, hold=64,
            ports=starts,
        )  # fmt: skip

    def _inform(self, worker: int, core: Any) -> None:
        control, wire = self._wires[worker]
        applier = Applier(wire, core)
        selectors = [words.Selector("10.1.0.0/16", f"10.2.{c}.0/24") for c in range(self.workers)]
        with mmap.mmap(self.memory.state, self.memory.state_size) as state:
            at = ffi.from_buffer(state) + regions.HEADER_SIZE + worker * regions.SLOT_SIZE
            slot = ffi.cast("struct xs_sa_slot *", at)
            slot.spi, slot.direction, slot.granted = 0x1000 + worker, lib.XS_OUTBOUND, 1 << 40
            del slot, at
        told: list[words.Message] = [
            words.PolicyReplace(tuple(words.Policy(s, c, c) for c, s in enumerate(selectors))),
            words.RouteReplace((words.Route("10.9.0.0/24", "", OUTSIDE),)),
            words.NextHop(OUTSIDE, "10.9.0.2", SINK),
            words.SaInstall(
                spi=0x1000 + worker, outbound=True, child=worker, slot=worker, cipher="aes-gcm", auth="",
                key=bytes(range(20)), auth_key=b"", icv_len=16, esn=True, replay_window=64, local="10.9.0.1",
                remote="10.9.0.2", encap_local=0, encap_remote=0, path_mtu=1500, selectors=(selectors[worker],),
            ),
            words.SaUse(worker, worker),
            words.Go(),
        ]  # fmt: skip
        for message in told:
            control.send(message)
        while (received := wire.receive()) is not None:
            applier.apply(received)
        for port, opened in enumerate(self.sockets):
            for queue, row in enumerate(opened.own):
                self.door.serve(port, queue, worker, row[worker])

    def offer(self, count: int, child: int = 0) -> None:
        packet = IP(src="10.1.0.5", dst=f"10.2.{child}.9") / UDP(sport=1, dport=2) / bytes(100)
        frame = bytes(Ether(src="02:00:00:00:00:07", dst="02:00:00:00:00:01") / packet)
        ifindex = self.links[INSIDE].ifindex
        check(lib.xs_door_live(self.door.program, frame, len(frame), ifindex, count, 64), "live frames")

    def breathe(self, worker: int = 0) -> int:
        return int(lib.xs_worker_breathe(self.cores[worker]._handle))

    def total(self, field: Callable[[Any], int]) -> int:
        return sum(field(self.counters[w]) for w in range(self.workers))

    def verdicts(self) -> dict[str, int]:
        names = verdict_names()
        found = [sum(self.counters[w].verdicts[i] for w in range(self.workers)) for i in range(len(names))]
        return {name: count for name, count in zip(names, found, strict=True) if count}

    def refused(self) -> dict[str, int]:
        each = [statistics(fd) for opened in self.sockets for row in opened.own for fd in row]
        return {name: sum(one[name] for one in each) for name in ("rx_dropped", "rx_ring_full")}

    def rest(self) -> None:
        """Until nothing moves and everything sent is complete."""
        deadline = time.monotonic() + REST_SECONDS
        while sum(self.breathe(w) for w in range(self.workers)) or self.sent() != self.completed():
            assert time.monotonic() < deadline, (self.sent(), self.completed(), self.verdicts())

    def sent(self) -> int:
        return self.total(lambda c: c.tx_packets[OUTSIDE])

    def completed(self) -> int:
        return self.total(lambda c: c.tx_completed[OUTSIDE])

    def balance(self) -> None:
        """The accounts close: in = out + counted drops, step by step."""
        door = dict(zip(door_verdict_names(), self.maps.verdicts()[INSIDE], strict=True))
        received, verdicts = self.total(lambda c: c.rx_packets[INSIDE]), self.verdicts()
        assert sum(door.values()) == door["INSIDE_TO_WORKER"] == received + sum(self.refused().values())
        assert received == sum(verdicts.values())
        assert verdicts.get("ENCRYPTED", 0) == self.sent() == self.completed()

    def close(self) -> None:
        for core in self.cores:
            core.free()
        self.door.close()
        m = self.memory
        held = [m.umem, m.pool, m.state, m.counters, m.handoff, *m.wake]
        for descriptor in [*held, *(fd for opened in self.sockets for row in opened.own for fd in row)]:
            os.close(descriptor)
        for wire in itertools.chain(*self._wires):
            wire.close()


@pytest.fixture
def gateway(veths: tuple[str, str], tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    made: list[Gateway] = []

    def make(rings: Rings, chunks: int, workers: int = 1) -> Gateway:
        made.append(Gateway(veths, tmp_path / "sa_state", rings, chunks, workers))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_receive_ring_full(gateway: Callable[..., Gateway]) -> None:
    one = gateway(Rings(rx=64, tx=256, fill=256, completion=256), 2048)
    one.offer(200)
    one.rest()
    assert one.refused() == {"rx_dropped": 0, "rx_ring_full": 136}
    assert one.verdicts() == {"ENCRYPTED": 64}
    one.balance()


def test_fill_ring_empty(gateway: Callable[..., Gateway]) -> None:
    """The kernel counts it twice, as rx_dropped and rx_fill_ring_empty; the account takes the first."""
    one = gateway(Rings(rx=256, tx=256, fill=64, completion=256), 2048)
    one.offer(200)
    one.rest()
    assert one.refused() == {"rx_dropped": 136, "rx_ring_full": 0}
    assert one.verdicts() == {"ENCRYPTED": 64}
    one.balance()


def test_pool_exhausted(gateway: Callable[..., Gateway]) -> None:
    """Fewer chunks than the fill rings of the four queues hold: those of the inside get what the outside left. Again
    and again, for a chunk that is lost once is missing for ever."""
    one = gateway(Rings(rx=256, tx=256, fill=256, completion=256), 2 * 256 + 200)
    for _ in range(50):
        one.offer(300)
        one.rest()
    carried = one.verdicts()["ENCRYPTED"]
    assert one.refused()["rx_dropped"] > 0
    one.balance()
    one.offer(300)
    one.rest()
    assert one.verdicts()["ENCRYPTED"] - carried == carried // 50
    one.balance()


def test_burst_longer_than_the_transmit_ring(gateway: Callable[..., Gateway]) -> None:
    """The kernel takes what it is given, so a short ring costs calls, not frames."""
    one = gateway(Rings(rx=256, tx=16, fill=512, completion=64), 2048)
    one.offer(256)
    one.rest()
    assert one.verdicts() == {"ENCRYPTED": 256}
    one.balance()


def test_link_down(gateway: Callable[..., Gateway]) -> None:
    """The kernel takes nothing: the ring keeps what it holds for later, the rest is counted."""
    one = gateway(Rings(rx=256, tx=64, fill=512, completion=64), 2048)
    sh("ip link set out0 down")
    one.offer(256)
    while one.breathe():
        pass
    assert one.verdicts() == {"ENCRYPTED": 64, "DROP_TX_FULL": 192}
    assert one.completed() == 0
    sh("ip link set out0 up")
    one.rest()
    assert one.verdicts() == {"ENCRYPTED": 64, "DROP_TX_FULL": 192}
    one.balance()


def test_two_workers_share_the_rings_of_a_queue(gateway: Callable[..., Gateway]) -> None:
    """Both send on queues of their own and fill and reap those of both."""
    one = gateway(Rings(rx=64, tx=64, fill=128, completion=128), 4096, workers=2)
    for turn in range(100):
        one.offer(40, child=0)
        one.offer(100, child=1)
        one.breathe(turn % 2)
        if turn % 3:
            one.breathe(1 - turn % 2)
    one.rest()
    one.balance()
    carried = [int(one.counters[w].rx_packets[INSIDE]) for w in range(2)]
    assert min(carried) > 1000
    assert one.refused()["rx_ring_full"] > 0
    one.offer(64, child=0)
    one.offer(64, child=1)
    one.rest()
    assert [int(one.counters[w].rx_packets[INSIDE]) for w in range(2)] == [count + 64 for count in carried]
    one.balance()
