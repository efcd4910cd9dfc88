"""A Source as Prometheus families, made when Prometheus asks: nothing is counted twice and nothing is kept here.

Names and units follow the Prometheus conventions. Labels are bounded: port, queue, worker, peer, child, direction and
the reasons of the verdict lists (bpf/shared.h); an SPI is never one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector as PrometheusCollector

from xdpsec.metrics import ike
from xdpsec.metrics.values import SERVING, STAGES, ChildView, Counters, SaView, Slot, Source, View
from xdpsec.workers.native import door_verdict_names, lib, verdict_names

DROP = "DROP_"
#: Upper bounds of the burst sizes that xs_counters.batches counts: 1, 2-3, 4-7, ... 128 and more.
BATCH_BOUNDS = (*(str(float(2 ** (bucket + 1) - 1)) for bucket in range(lib.XS_BATCH_BUCKETS - 1)), "+Inf")
#: XDP_STATISTICS: what counts lost frames, and what counts moments in which a ring had nothing for the kernel.
SOCKET_DROPS = ("rx_dropped", "rx_ring_full", "rx_invalid_descs", "tx_invalid_descs")
SOCKET_EMPTY = {"rx_fill_ring_empty": "fill", "tx_ring_empty": "tx"}
NS = 1e9
SEQ_END = {True: 1 << 64, False: 1 << 32}  # first number that an SA with, without ESN may not use

Family = Any  # prometheus_client's families share no typed base


class Collector(PrometheusCollector):
    """Register one in a registry of the gateway's own."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator[Family]:
        view, counters = self._source.view(), self._source.counters()
        now = time.monotonic()
        yield from _gateway(view, now)
        yield from _workers(view, counters, now)
        yield _batches(counters)
        yield from _door(view, self._source.door())
        yield from _sockets(self._source, view)
        yield from _pool(self._source)
        slots = [(sa, self._source.slot(sa.slot)) for sa in view.sas]
        yield from _children(view, slots, now)
        yield from _sequence(view, slots)
        yield from ike.families(view)


def _counter(name: str, text: str, labels: Sequence[str]) -> Family:
    return CounterMetricFamily(f"xdpsec_{name}", text, labels=labels)


def _gauge(name: str, text: str, labels: Sequence[str] = ()) -> Family:
    return GaugeMetricFamily(f"xdpsec_{name}", text, labels=labels)


def _rows(family: Family, rows: Iterable[tuple[Sequence[object], float]]) -> Family:
    for labels, value in rows:
        family.add_metric([str(label) for label in labels], value)
    return family


# --- the gateway ---------------------------------------------------------------------------------------------


def _gateway(view: View, now: float) -> Iterator[Family]:
    info = InfoMetricFamily("xdpsec_build", "Version of the running gateway")
    info.add_metric([], {"version": view.version})
    yield info
    yield _rows(_gauge("uptime_seconds", "Seconds since control started"), [((), now - view.started)])
    text = "1 for each configured interface; how its door is attached"
    ports = _gauge("port_info", text, ("port", "side", "mode", "bind"))
    yield _rows(ports, (((p.interface, p.side, p.mode, p.bind), 1) for p in view.ports))
    mtu = _gauge("port_mtu_bytes", "MTU of the interface", ("port",))
    yield _rows(mtu, (((p.interface,), p.mtu) for p in view.ports))
    up = _gauge("worker_up", "1 while the worker takes frames", ("worker",))
    yield _rows(up, (((w.index,), w.state == SERVING) for w in view.workers))
    gone = _counter("barrier_gone", "Times that somebody took off the fence or the door of a port", ("barrier",))
    yield _rows(gone, (((b.name,), b.gone) for b in view.barriers))
    stands = _gauge("barrier_stands", "1 while the fence, the door of a port is where it belongs", ("barrier",))
    yield _rows(stands, (((b.name,), not b.error) for b in view.barriers))
    restarts = _counter("worker_restarts", "Times the worker was replaced since control started", ("worker",))
    yield _rows(restarts, (((w.index,), w.restarts) for w in view.workers))


def _door(view: View, door: Sequence[Sequence[int]]) -> Iterator[Family]:
    names = door_verdict_names()
    frames = _counter("door_frames", "Frames that the XDP program saw, by what it decided", ("port", "verdict"))
    for port in view.ports:
        _rows(frames, (((port.interface, name), n) for name, n in zip(names, door[port.index], strict=True)))
    yield frames


def _sockets(source: Source, view: View) -> Iterator[Family]:
    where = ("port", "queue", "worker")
    names = {port.index: port.interface for port in view.ports}
    drops = _counter("socket_drops", "Frames or descriptors that an AF_XDP socket lost", (*where, "reason"))
    empty = _counter("socket_ring_empty", "Times the kernel found nothing in a ring", (*where, "ring"))
    for socket in source.sockets():
        place = (names.get(socket.port, str(socket.port)), socket.queue, socket.worker)
        _rows(drops, (((*place, reason), socket.counts[reason]) for reason in SOCKET_DROPS))
        _rows(empty, (((*place, ring), socket.counts[name]) for name, ring in SOCKET_EMPTY.items()))
    yield drops
    yield empty


def _pool(source: Source) -> Iterator[Family]:
    pool = source.pool()
    owners = [("free", pool.free), ("kernel", pool.kernel), *((f"worker {w}", n) for w, n in enumerate(pool.workers))]
    frames = _gauge("pool_frames", "Frames of the packet memory by their owner", ("owner",))
    yield _rows(frames, (((owner,), count) for owner, count in owners))


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


def _workers(view: View, counters: Sequence[Counters], now: float) -> Iterator[Family]:
    rows = list(enumerate(counters))
    verdicts = _counter("worker_verdicts", "Frames by how they left the worker", ("worker", "verdict"))
    for worker, c in rows:
        _rows(verdicts, (((worker, name), n) for name, n in zip(verdict_names(), c.verdicts, strict=True)))
    yield verdicts
    yield from _traffic(view, rows)
    handoff = _counter("worker_handoff", "Frames handed from worker to worker", ("worker", "direction"))
    for worker, c in rows:
        _rows(handoff, [((worker, "sent"), c.handoff_sent), ((worker, "received"), c.handoff_received)])
    yield handoff
    cycles = _counter("worker_cycles", "Cycles of the time stamp counter spent per stage", ("worker", "stage"))
    for worker, c in rows:
        _rows(cycles, (((worker, stage), n) for stage, n in zip(STAGES, c.cycles, strict=True)))
    yield cycles
    for name, text, value in _CPU_COUNTERS:
        yield _rows(_counter(name, text, _WORKER), (((worker,), value(c)) for worker, c in rows))
    for name, text, value in _RING_GAUGES:
        yield _rows(_gauge(name, text, _WORKER), (((worker,), value(c)) for worker, c in rows))
    beat = _gauge(
        "worker_heartbeat_age_seconds", "Seconds since the worker last breathed; it does once a second", _WORKER
    )
    yield _rows(beat, (((worker,), max(0.0, now - c.heartbeat_ns / NS)) for worker, c in rows if c.heartbeat_ns))


def _traffic(view: View, rows: Sequence[tuple[int, Counters]]) -> Iterator[Family]:
    """What crossed each port: taken from receive rings, put into transmit rings."""
    where = ("worker", "port", "direction")
    packets = _counter("worker_packets", "Frames by port", where)
    octets = _counter("worker_bytes", "Bytes of frames by port", where)
    done = _counter("worker_completions", "Frames that the kernel reported as sent", ("worker", "port"))
    for worker, c in rows:
        for port in view.ports:
            at, name = port.index, port.interface
            _rows(packets, [((worker, name, "in"), c.rx_packets[at]), ((worker, name, "out"), c.tx_packets[at])])
            _rows(octets, [((worker, name, "in"), c.rx_bytes[at]), ((worker, name, "out"), c.tx_bytes[at])])
            _rows(done, [((worker, name), c.tx_completed[at])])
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


# --- children ------------------------------------------------------------------------------------------------

Numbers = Sequence[tuple[SaView, Slot]]
_CHILD = ("peer", "child")
_DIRECTED = (*_CHILD, "direction")


def _by_child(view: View, slots: Numbers) -> Iterator[tuple[tuple[str, str, str], SaView, Slot]]:
    """((peer, child, direction), SA, its numbers)."""
    names: dict[int, ChildView] = {child.index: child for child in view.children}
    for sa, slot in slots:
        child = names.get(sa.child)
        if child is not None:
            yield (child.peer, child.name, sa.direction), sa, slot


def _sums(view: View, slots: Numbers) -> dict[tuple[str, str, str], tuple[int, int, list[int]]]:
    """Packets, bytes and drops of each child and direction over all its SAs, those that are gone too: each series
    stands once and never falls back."""
    sums: dict[tuple[str, str, str], tuple[int, int, list[int]]] = {}
    for child in view.children:
        for outbound, direction in ((False, "in"), (True, "out")):
            gone = view.carried.get((child.index, outbound))
            if gone is not None:
                sums[child.peer, child.name, direction] = gone.packets, gone.bytes, list(gone.drops)
    for labels, _, slot in _by_child(view, slots):
        packets, octets, drops = sums.get(labels, (0, 0, [0] * len(slot.drops)))
        merged = [old + new for old, new in zip(drops, slot.drops, strict=True)]
        sums[labels] = packets + slot.packets, octets + slot.bytes, merged
    return sums


def _children(view: View, slots: Numbers, now: float) -> Iterator[Family]:
    up = _gauge("child_up", "1 while both SAs of a configured child carry packets", _CHILD)
    ups = view.ups()
    yield _rows(up, (((c.peer, c.name), c.index in ups) for c in view.children))
    stands = _gauge("child_stands", "1 where the child is to be up all the time, 0 where somebody asks for it", _CHILD)
    yield _rows(stands, (((c.peer, c.name), c.stands) for c in view.children))
    packets = _counter("child_packets", "Packets that the child's SAs carried", _DIRECTED)
    octets = _counter("child_bytes", "Bytes of inner packets that the child's SAs carried", _DIRECTED)
    # a reason shows from its first drop on: thousands of children times all reasons would be too many series
    drops = _counter("child_drops", "Packets of the child's SAs that were dropped", (*_DIRECTED, "reason"))
    for labels, (carried, size, reasons) in _sums(view, slots).items():
        _rows(packets, [(labels, carried)])
        _rows(octets, [(labels, size)])
        seen = ((name, n) for name, n in zip(verdict_names(), reasons, strict=True) if n and name.startswith(DROP))
        _rows(drops, (((*labels, name), n) for name, n in seen))
    yield from (packets, octets, drops)
    last: dict[tuple[str, str, str], int] = {}
    for labels, _, slot in _by_child(view, slots):
        last[labels] = max(last.get(labels, 0), slot.last_seen_ns)
    age = _gauge("child_last_packet_age_seconds", "Seconds since the last packet, once there was one", _DIRECTED)
    yield _rows(age, ((labels, max(0.0, now - at / NS)) for labels, at in last.items() if at))


def _sequence(view: View, slots: Numbers) -> Iterator[Family]:
    """Of several SAs of a child the one with the least left counts."""
    left: dict[tuple[str, str, str], int] = {}
    granted: dict[tuple[str, str, str], int] = {}
    engines: dict[tuple[str, ...], int] = {}
    for labels, sa, slot in _by_child(view, slots):
        used = slot.next_seq if sa.outbound else slot.top + 1
        left[labels] = min(left.get(labels, SEQ_END[True]), max(0, SEQ_END[sa.esn] - used))
        granted[labels] = min(granted.get(labels, SEQ_END[True]), max(0, slot.granted - used))
        key = (*labels, sa.suite, sa.engine or "unknown")
        engines[key] = engines.get(key, 0) + 1
    numbers = _gauge("child_sequence_left", "Sequence numbers until the SA must be replaced", _DIRECTED)
    yield _rows(numbers, left.items())
    marks = _gauge("child_grant_left", "Sequence numbers left below the saved mark", _DIRECTED)
    yield _rows(marks, granted.items())
    serving = _gauge(
        "child_sas", "SAs by suite and by the crypto engine that serves them", (*_DIRECTED, "suite", "engine")
    )
    yield _rows(serving, engines.items())
