"""A Source as Prometheus families, made when Prometheus asks: nothing is counted twice and nothing is kept here.

Names and units follow the Prometheus conventions. Labels are bounded: port, queue, worker, peer, child, direction and
the reasons of the verdict lists (bpf/shared.h); an SPI is never one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import HistogramMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector as PrometheusCollector

from xdpsec.metrics import children, ike
from xdpsec.metrics.families import Family, Steps, add, counter, filled, gauge
from xdpsec.metrics.values import SERVING, STAGES, Counters, Source, View
from xdpsec.workers.native import door_verdict_names, lib, verdict_names

#: Upper bounds of the burst sizes that xs_counters.batches counts: 1, 2-3, 4-7, ... 128 and more.
BATCH_BOUNDS = (*(str(float(2 ** (bucket + 1) - 1)) for bucket in range(lib.XS_BATCH_BUCKETS - 1)), "+Inf")
#: XDP_STATISTICS: what counts lost frames, and what counts moments in which a ring had nothing for the kernel.
SOCKET_DROPS = ("rx_dropped", "rx_ring_full", "rx_invalid_descs", "tx_invalid_descs")
SOCKET_EMPTY = {"rx_fill_ring_empty": "fill", "tx_ring_empty": "tx"}
NS = 1e9


class Collector(PrometheusCollector):
    """Register one in a registry of the gateway's own."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator[Family]:
        """At once."""
        return (family for family in self.steps() if family is not None)

    def steps(self) -> Steps:
        """The same a little at a time; whoever turns it does something else at each None."""
        view, counters = self._source.view(), self._source.counters()
        now = time.monotonic()
        yield from _gateway(view, now)
        yield from _workers(view, counters, now)
        yield _batches(counters)
        yield from _door(view, self._source.door())
        yield from _sockets(self._source, view)
        yield from _pool(self._source)
        yield from children.families(self._source, view, now)
        yield from ike.families(view)


# --- the gateway ---------------------------------------------------------------------------------------------


def _gateway(view: View, now: float) -> Steps:
    info = InfoMetricFamily("xdpsec_build", "Version of the running gateway")
    info.add_metric([], {"version": view.version})
    yield info
    yield from filled(gauge("uptime_seconds", "Seconds since control started"), [((), now - view.started)])
    text = "1 for each configured interface; how its door is attached"
    ports = gauge("port_info", text, ("port", "side", "mode", "bind"))
    yield from filled(ports, (((p.interface, p.side, p.mode, p.bind), 1) for p in view.ports))
    mtu = gauge("port_mtu_bytes", "MTU of the interface", ("port",))
    yield from filled(mtu, (((p.interface,), p.mtu) for p in view.ports))
    up = gauge("worker_up", "1 while the worker takes frames", ("worker",))
    yield from filled(up, (((w.index,), w.state == SERVING) for w in view.workers))
    gone = counter("barrier_gone", "Times that somebody took off the fence or the door of a port", ("barrier",))
    yield from filled(gone, (((b.name,), b.gone) for b in view.barriers))
    stands = gauge("barrier_stands", "1 while the fence, the door of a port is where it belongs", ("barrier",))
    yield from filled(stands, (((b.name,), not b.error) for b in view.barriers))
    restarts = counter("worker_restarts", "Times the worker was replaced since control started", ("worker",))
    yield from filled(restarts, (((w.index,), w.restarts) for w in view.workers))


def _door(view: View, door: Sequence[Sequence[int]]) -> Steps:
    names = door_verdict_names()
    frames = counter("door_frames", "Frames that the XDP program saw, by what it decided", ("port", "verdict"))
    for port in view.ports:
        add(frames, (((port.interface, name), n) for name, n in zip(names, door[port.index], strict=True)))
    yield frames


def _sockets(source: Source, view: View) -> Steps:
    where = ("port", "queue", "worker")
    names = {port.index: port.interface for port in view.ports}
    drops = counter("socket_drops", "Frames or descriptors that an AF_XDP socket lost", (*where, "reason"))
    empty = counter("socket_ring_empty", "Times the kernel found nothing in a ring", (*where, "ring"))
    for socket in source.sockets():
        place = (names.get(socket.port, str(socket.port)), socket.queue, socket.worker)
        add(drops, (((*place, reason), socket.counts[reason]) for reason in SOCKET_DROPS))
        add(empty, (((*place, ring), socket.counts[name]) for name, ring in SOCKET_EMPTY.items()))
    yield drops
    yield empty


def _pool(source: Source) -> Steps:
    pool = source.pool()
    owners = [("free", pool.free), ("kernel", pool.kernel), *((f"worker {w}", n) for w, n in enumerate(pool.workers))]
    frames = gauge("pool_frames", "Frames of the packet memory by their owner", ("owner",))
    yield from filled(frames, (((owner,), count) for owner, count in owners))


# --- workers -------------------------------------------------------------------------------------------------

_WORKER = ("worker",)
_Readers = tuple[tuple[str, str, Callable[[Counters], float]], ...]
_CPU_COUNTERS: _Readers = (
    ("worker_idle_seconds", "Seconds asleep", lambda c: c.idle_ns / NS),
    ("worker_wakeups", "Times the worker slept and was woken", lambda c: c.wakeups),
)
_RING_GAUGES: _Readers = (
    ("worker_ring_rx_frames", "Frames found in the receive rings at the last breath", lambda c: c.ring_rx_fill),
    ("worker_ring_fill_missing_frames", "Frames short in the fill rings", lambda c: c.ring_fill_missing),
    ("worker_held_frames", "Frames that wait for a neighbour or an SA", lambda c: c.held),
)


def _workers(view: View, counters: Sequence[Counters], now: float) -> Steps:
    rows = list(enumerate(counters))
    verdicts = counter("worker_verdicts", "Frames by how they left the worker", ("worker", "verdict"))
    for worker, c in rows:
        add(verdicts, (((worker, name), n) for name, n in zip(verdict_names(), c.verdicts, strict=True)))
    yield verdicts
    yield from _traffic(view, rows)
    handoff = counter("worker_handoff", "Frames handed from worker to worker", ("worker", "direction"))
    for worker, c in rows:
        add(handoff, [((worker, "sent"), c.handoff_sent), ((worker, "received"), c.handoff_received)])
    yield handoff
    cycles = counter("worker_cycles", "Cycles of the time stamp counter spent per stage", ("worker", "stage"))
    for worker, c in rows:
        add(cycles, (((worker, stage), n) for stage, n in zip(STAGES, c.cycles, strict=True)))
    yield cycles
    for name, text, value in _CPU_COUNTERS:
        yield from filled(counter(name, text, _WORKER), (((worker,), value(c)) for worker, c in rows))
    for name, text, value in _RING_GAUGES:
        yield from filled(gauge(name, text, _WORKER), (((worker,), value(c)) for worker, c in rows))
    beat = gauge(
        "worker_heartbeat_age_seconds", "Seconds since the worker last breathed; it does once a second", _WORKER
    )
    yield from filled(beat, (((worker,), max(0.0, now - c.heartbeat_ns / NS)) for worker, c in rows if c.heartbeat_ns))


def _traffic(view: View, rows: Sequence[tuple[int, Counters]]) -> Steps:
    """What crossed each port: taken from receive rings, put into transmit rings."""
    where = ("worker", "port", "direction")
    packets = counter("worker_packets", "Frames by port", where)
    octets = counter("worker_bytes", "Bytes of frames by port", where)
    done = counter("worker_completions", "Frames that the kernel reported as sent", ("worker", "port"))
    for worker, c in rows:
        for port in view.ports:
            at, name = port.index, port.interface
            add(packets, [((worker, name, "in"), c.rx_packets[at]), ((worker, name, "out"), c.tx_packets[at])])
            add(octets, [((worker, name, "in"), c.rx_bytes[at]), ((worker, name, "out"), c.tx_bytes[at])])
            add(done, [((worker, name), c.tx_completed[at])])
    yield from (packets, octets, done)


def _batches(counters: Sequence[Counters]) -> Family:
    family = HistogramMetricFamily("xdpsec_worker_batch_packets", "Packets per received burst", labels=("worker",))
    for worker, c in enumerate(counters):
        total, buckets = 0, []
        for bound, count in zip(BATCH_BOUNDS, c.batches, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric([str(worker)], buckets, c.batch_packets)
    return family
