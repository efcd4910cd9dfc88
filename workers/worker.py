"""One worker process: map the memory, give up privileges, then apply messages, breathe, report.

C owns the packets, Python the pauses between them. Knows no policy, no IKE and no network beyond its descriptors.
"""

from __future__ import annotations

import itertools
import mmap
import os
import select
import signal
import sys
from typing import Any

from xdpsec.channel.framing import ChannelClosed, Wire
from xdpsec.channel.messages import Ready
from xdpsec.channel.start import WorkerStart
from xdpsec.workers import native
from xdpsec.workers.apply import Applier, report
from xdpsec.workers.native import ffi, lib

#: The longest stay in C: the heartbeat in shared memory moves at least so often.
PAUSE_MS = 1000


def _map(descriptor: int, size: int) -> Any:
    """The region as a C pointer; the mapping lives as long as the pointer."""
    return ffi.from_buffer(mmap.mmap(descriptor, size))


def build(start: WorkerStart) -> native.Worker:
    """The C worker on the memory and sockets of `start`."""
    size = ffi.sizeof("struct xs_counters")
    umem = _map(start.umem_fd, start.umem_size)
    pool = _map(start.pool_fd, lib.xs_pool_size(start.umem_size // start.chunk_size))
    state = _map(start.state_fd, start.state_size)
    counters = _map(start.counters_fd, size * start.workers)
    handoff = _map(start.handoff_fd, lib.xs_handoff_size(start.workers)) if start.workers > 1 else ffi.NULL
    wake = ffi.new("int[]", list(start.wake_fds)) if start.wake_fds else ffi.NULL
    conf = ffi.new(
        "struct xs_worker_conf *",
        {
            "index": start.worker,
            "workers": start.workers,
            "umem": ffi.cast("void *", umem),
            "umem_size": start.umem_size,
            "chunk_size": start.chunk_size,
            "pool": ffi.cast("void *", pool),
            "state": ffi.cast("void *", state),
            "state_size": start.state_size,
            "counters": ffi.cast("char *", counters) + size * start.worker,
            "handoff": ffi.cast("void *", handoff),
            "wake_fds": wake,
            "burst": start.burst,
            "spin_us": start.spin_us,
            "hold": start.hold,
        },
    )
    worker = native.Worker(conf, [umem, pool, state, counters, handoff, wake])
    for port in start.ports:
        worker.add_port(
            port.index, port.role, lib.XS_PORT_XSK, bytes.fromhex(port.mac), port.mtu, port.addr4, port.addr6
        )
        for q in port.queues:
            worker.add_queue(
                port=port.index, queue=q.queue, own_fd=q.own_fd, queue_fd=q.queue_fd, rx_size=q.rx_size,
                tx_size=q.tx_size, fill_size=q.fill_size, completion_size=q.completion_size,
            )  # fmt: skip
    return worker


def confine(start: WorkerStart) -> None:
    """Pinned, locked in memory, without privileges, bound to the parent's life, filtered: in this order, since a
    change of ids clears the death signal and the dumpable flag."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor decides when we end
    if start.core >= 0:
        os.sched_setaffinity(0, {start.core})
    native.prefer()
    lib.xs_guard_memory()  # where the limits do not allow it, keys may be swapped: doctor says so
    native.check(lib.xs_guard_drop(start.uid, start.gid), "giving up privileges")
    if lib.xs_guard_parent(start.parent):
        raise ChannelClosed("the supervisor is gone")
    native.check(lib.xs_guard_undumpable(), "closing /proc")
    native.check(lib.xs_guard_seccomp(), "system call filter")


def serve(wire: Wire, worker: native.Worker) -> None:
    """Until Stop. ChannelClosed when control is gone, which ends the worker too."""
    applier = Applier(wire, worker)
    while not applier.stopped:
        if applier.running:
            worker.run(wire.fileno(), PAUSE_MS)
            report(wire, worker)
        else:
            select.select([wire], [], [])  # frames wait in their rings until the snapshot is whole
        while not applier.stopped and (received := wire.receive()) is not None:
            applier.apply(received)


def stand_by() -> int:
    """A worker that is told by a line of stdin which one it is, when one is wanted. It has inherited what any of them
    needs, and keeps what is its own. Exit status as `main`; 0 when it was never told."""
    line = sys.stdin.readline()
    if not line:
        return 0
    start = WorkerStart.from_json(line)
    keep = sorted({0, 1, 2, *start.descriptors(), os.sysconf("SC_OPEN_MAX")})
    for below, above in itertools.pairwise(keep):
        os.closerange(below + 1, above)
    return main(start)


def main(start: WorkerStart) -> int:
    """Exit status: 0 after Stop, 1 when control is gone."""
    wire = Wire.from_descriptor(start.channel_fd)
    wire.wipe = native.wipe
    worker = build(start)
    try:
        confine(start)
        wire.send(Ready(start.worker, os.getpid()))
        serve(wire, worker)
    except ChannelClosed:
        return 1
    finally:
        worker.free()
    return 0
