"""The three that forward from `in0` to `out0`: the gateway's own workers, the bare forwarder, DPDK's testpmd.

Each is started once and idles between its turns. `counts()` is what the accounts are made of, at rest.
"""

from __future__ import annotations

import mmap
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import ports
from ports import CHILDREN, INSIDE, OUTSIDE, Ports

from xdpsec.channel import messages as words
from xdpsec.channel.framing import Wire
from xdpsec.channel.start import PortStart, QueueStart, WorkerStart
from xdpsec.daemon.regions import HEADER_SIZE, SLOT_SIZE
from xdpsec.workers.native import ffi, lib, verdict_names

NOBODY = 65534
#: A worker imports Python and maps memory; testpmd probes every bus before it forwards.
START_SECONDS = 60.0
#: Taken up again, testpmd polls at once; what stood in its rings is gone after this.
WAKE_SECONDS = 0.05
GRANTED = 1 << 62
STAGES = ("rx", "parse", "crypto", "finish", "tx")


class Contender(Protocol):
    def wake(self) -> None:
        """Its turn comes."""

    def rest(self) -> None:
        """Its turn is over."""

    def counts(self) -> dict[str, Any]:
        """Totals since the start."""

    def times(self) -> tuple[int, int]:
        """ns that the forwarding processes have run so far, what the kernel did for them included, and ns that they
        have waited for their cores."""

    def stop(self) -> None: ...


class Gateway:
    """Real worker processes, confined as in service; this process is their control."""

    def __init__(self, workers: int, cores: Sequence[int], directory: Path, depth: int) -> None:
        self._ports = ports.open_ports(workers, directory, depth)
        self._block = self._map(self._ports.memory.counters)  # keeps the mapping alive
        self._counters: Any = ffi.cast("struct xs_counters *", self._block)
        self._state = self._map(self._ports.memory.state)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._wires: list[Wire] = []
        for worker in range(workers):
            ours, theirs = Wire.pair()
            start = worker_start(self._ports, worker, cores[worker], theirs.fileno())
            argv = [sys.executable, "-m", "xdpsec.workers", start.to_json()]
            self._processes.append(subprocess.Popen(argv, pass_fds=start.descriptors(), stdin=subprocess.DEVNULL))
            theirs.close()
            self._wires.append(ours)
        for worker, wire in enumerate(self._wires):
            self._inform(worker, wire)
        self._ports.serve()

    def _map(self, descriptor: int) -> Any:
        return ffi.from_buffer(mmap.mmap(descriptor, os.fstat(descriptor).st_size))

    def _inform(self, worker: int, wire: Wire) -> None:
        _expect(wire, words.Ready)
        for message in self._snapshot(worker):
            wire.send(message)
            if not isinstance(message, words.NextHop):
                answer = _expect(wire, words.Ack)
                if answer.error:
                    raise SystemExit(f"bench: worker {worker} refuses: {answer.error}")

    def _snapshot(self, worker: int) -> list[Any]:
        workers, out = self._ports.workers, bytes.fromhex(ports.SINK_MAC.replace(":", ""))
        rows = [words.Selector(ports.LOCAL, ports.remote(child)) for child in range(CHILDREN)]
        told: list[Any] = [
            words.PolicyReplace(tuple(words.Policy(row, c, c % workers) for c, row in enumerate(rows))),
            words.RouteReplace((words.Route("10.9.0.0/24", "", OUTSIDE), words.Route(ports.LOCAL, "", INSIDE))),
            words.NextHop(OUTSIDE, ports.PEER, out),
        ]
        for child in range(worker, CHILDREN, workers):
            slot = ffi.cast("struct xs_sa_slot *", self._state + HEADER_SIZE + child * SLOT_SIZE)
            slot.spi, slot.direction, slot.granted = 0x1000 + child, lib.XS_OUTBOUND, GRANTED
            told += [self._sa(child, slot.spi, rows[child]), words.SaUse(child, child)]
        return [*told, words.Go()]

    @staticmethod
    def _sa(child: int, spi: int, selector: words.Selector) -> words.SaInstall:
        return words.SaInstall(
            spi=spi, outbound=True, child=child, slot=child, cipher="aes-gcm", auth="", key=secrets.token_bytes(20),
            auth_key=b"", icv_len=16, esn=True, replay_window=4096, local=ports.OWN, remote=ports.PEER, encap_local=0,
            encap_remote=0, path_mtu=1500, selectors=(selector,),
        )  # fmt: skip

    def wake(self) -> None:
        pass

    def rest(self) -> None:
        pass

    def counts(self) -> dict[str, Any]:
        each = [self._counters[worker] for worker in range(self._ports.workers)]
        verdicts = {name: sum(c.verdicts[i] for c in each) for i, name in enumerate(verdict_names())}
        return {
            "door": self._ports.arrived(),
            "refused": self._ports.refused(),
            "received": sum(c.rx_packets[INSIDE] for c in each),
            "worker_drops": {n: v for n, v in verdicts.items() if v and n != "ENCRYPTED"},
            "sent": sum(c.tx_packets[OUTSIDE] for c in each),
            "completed": sum(c.tx_completed[OUTSIDE] for c in each),
            "per_worker": [int(c.rx_packets[INSIDE]) for c in each],
            "handoff": sum(c.handoff_sent for c in each),
            "cycles": {stage: sum(c.cycles[i] for c in each) for i, stage in enumerate(STAGES)},
            "idle_ns": sum(c.idle_ns for c in each),
            "wakeups": sum(c.wakeups for c in each),
            "batches": [sum(c.batches[i] for c in each) for i in range(8)],
        }

    def times(self) -> tuple[int, int]:
        return times_of(self._processes)

    def stop(self) -> None:
        for wire in self._wires:
            wire.close()  # end of the channel ends a worker
        for process in self._processes:
            process.wait(START_SECONDS)
        self._ports.door.close()


def times_of(processes: Sequence[subprocess.Popen[Any]]) -> tuple[int, int]:
    rows = [Path(f"/proc/{process.pid}/schedstat").read_text().split() for process in processes]
    return sum(int(row[0]) for row in rows), sum(int(row[1]) for row in rows)


def _expect(wire: Wire, kind: type) -> Any:
    while True:
        if not select.select([wire], [], [], START_SECONDS)[0]:
            raise SystemExit(f"bench: a worker did not answer with {kind.__name__} in {START_SECONDS:.0f} s")
        received = wire.receive()
        if received and isinstance(received.message, kind):
            return received.message


def worker_start(given: Ports, worker: int, core: int, channel: int) -> WorkerStart:
    memory, rings = given.memory, given.rings
    sizes = {"rx_size": rings.rx, "tx_size": rings.tx, "fill_size": rings.fill, "completion_size": rings.completion}
    starts = tuple(
        PortStart(
            port, port, link.mac.hex(), link.mtu, ports.OWN if port == OUTSIDE else "10.1.255.1", "",
            tuple(QueueStart(q, row[worker], row[0], **sizes) for q, row in enumerate(given.sockets[port].own)),
        )
        for port, link in enumerate(given.links)
    )  # fmt: skip
    return WorkerStart(
        worker=worker, workers=given.workers, core=core, uid=NOBODY, gid=NOBODY, parent=os.getpid(),
        channel_fd=channel, umem_fd=memory.umem, umem_size=memory.umem_size, chunk_size=memory.chunk_size,
        pool_fd=memory.pool, state_fd=memory.state, state_size=memory.state_size, counters_fd=memory.counters,
        handoff_fd=memory.handoff, wake_fds=memory.wake if given.workers > 1 else (), burst=64, spin_us=0, hold=64,
        ports=starts,
    )  # fmt: skip


class Forward:
    """bench-forward (forward.c) on the same door, sockets and rings; with `cipher` it also seals."""

    BOARD = 64 * (1 + 8) * 8  # room for struct board

    def __init__(
        self, workers: int, cores: Sequence[int], directory: Path, program: Path, depth: int, cipher: bool
    ) -> None:
        self._ports = ports.open_ports(workers, directory, depth)
        board = os.memfd_create("bench-board")
        os.ftruncate(board, self.BOARD)
        self._board = mmap.mmap(board, self.BOARD)
        memory, (outside, inside) = self._ports.memory, self._ports.sockets
        chunks = memory.umem_size // memory.chunk_size
        self._processes: list[subprocess.Popen[str]] = []
        for worker in range(workers):
            queue = worker % len(outside.own)
            arrivals = ",".join(f"{row[worker]}:{row[0]}" for row in inside.own)
            leaving = f"{outside.own[queue][worker]}:{outside.own[queue][0]}"
            argv = [
                program,
                cores[worker],
                worker,
                workers,
                memory.umem,
                chunks,
                board,
                self._ports.rings.rx,
                self._ports.rings.fill,
                int(cipher),
                arrivals,
                leaving,
                ports.SINK_MAC,
            ]
            fds = {memory.umem, board, *(fd for opened in self._ports.sockets for row in opened.own for fd in row)}
            process = subprocess.Popen(list(map(str, argv)), pass_fds=fds, stdout=subprocess.PIPE, text=True)
            self._processes.append(process)
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise SystemExit("bench: the bare forwarder did not start")
        self._ports.serve()

    def wake(self) -> None:
        pass

    def rest(self) -> None:
        pass

    def counts(self) -> dict[str, Any]:
        names = ("received", "sent", "completed", "worker_drops")
        rows = [memoryview(self._board)[64 * (1 + w) :].cast("Q")[:4].tolist() for w in range(self._ports.workers)]
        found: dict[str, Any] = dict(zip(names, map(sum, zip(*rows, strict=True)), strict=True))
        found["worker_drops"] = {"DROP_TX_FULL": found["worker_drops"]} if found["worker_drops"] else {}
        return {"door": self._ports.arrived(), "refused": self._ports.refused(), **found}

    def times(self) -> tuple[int, int]:
        return times_of(self._processes)

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._ports.door.close()


class Testpmd:
    """dpdk-testpmd over its af_xdp driver. It polls for ever, so it is stopped (SIGSTOP) between its turns. Its driver
    sees one queue in a veth, so each queue is a device of its own: a pair of them and a core for each worker."""

    def __init__(self, workers: int, cores: Sequence[int], log: Path) -> None:
        lanes = ",".join(f"{1 + w}@{cores[w]}" for w in range(workers))
        devices = [("in0", queue) for queue in range(workers)], [("out0", queue) for queue in range(workers)]
        pairs = [device for pair in zip(*devices, strict=True) for device in pair]
        vdevs = [f"--vdev=net_af_xdp{i},iface={name},start_queue={queue}" for i, (name, queue) in enumerate(pairs)]
        argv = [
            "dpdk-testpmd", "--no-huge", "-m", "512", "--lcores", f"0@{cores[0]},{lanes}", "--no-pci", "--no-shconf",
            "--no-telemetry", "--file-prefix", f"xs{os.getpid()}",
            *vdevs, "--", "--forward-mode=io", "--auto-start", "--total-num-mbufs=65536", "--burst=64",
            "--stats-period=5", f"--nb-cores={workers}",
        ]  # fmt: skip
        with log.open("wb") as sink:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_SECONDS
        while b"Port statistics" not in log.read_bytes():  # it tells nobody else that it forwards
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"bench: dpdk-testpmd did not start: {log.read_text()[-300:]}")
            time.sleep(WAKE_SECONDS)
        self.rest()

    def wake(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        time.sleep(WAKE_SECONDS)

    def rest(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def counts(self) -> dict[str, Any]:
        return {}

    def times(self) -> tuple[int, int]:
        return times_of([self._process])

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
