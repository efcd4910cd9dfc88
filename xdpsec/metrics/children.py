"""Children of the configuration and what their SAs carry, as Prometheus families. One pass over children, one over SAs,
both as they are read.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from xdpsec.metrics.families import SLICE, Steps, add, counter, filled, gauge, sliced
from xdpsec.metrics.values import SaView, Slot, Source, View
from xdpsec.workers.native import verdict_names

DROP = "DROP_"
NS = 1e9
SEQ_END = {True: 1 << 64, False: 1 << 32}  # first number that an SA with, without ESN may not use

_CHILD = ("peer", "child")
_DIRECTED = (*_CHILD, "direction")


@dataclass(slots=True)
class _Sums:
    """Of one child and direction over all its SAs, those that are gone too: each series stands once and never falls
    back. Of several SAs the one with the least left counts. `left` None: there is no SA."""

    labels: tuple[str, ...]
    packets: int = 0
    bytes: int = 0
    drops: tuple[int, ...] = ()
    last_seen_ns: int = 0
    left: int | None = None
    granted: int = 0
    engines: dict[tuple[str, str], int] = field(default_factory=dict)

    def carried(self, packets: int, octets: int, drops: tuple[int, ...]) -> None:
        self.packets += packets
        self.bytes += octets
        if any(drops):
            before = self.drops or (0,) * len(drops)
            self.drops = tuple(old + new for old, new in zip(before, drops, strict=True))

    def add(self, sa: SaView, slot: Slot) -> None:
        self.carried(slot.packets, slot.bytes, slot.drops)
        self.last_seen_ns = max(self.last_seen_ns, slot.last_seen_ns)
        used = slot.next_seq if sa.outbound else slot.top + 1
        left, granted = max(0, SEQ_END[sa.esn] - used), max(0, slot.granted - used)
        self.granted = granted if self.left is None else min(self.granted, granted)
        self.left = left if self.left is None else min(self.left, left)
        key = (sa.suite, sa.engine or "unknown")
        self.engines[key] = self.engines.get(key, 0) + 1

    def age(self, now: float) -> float:
        return max(0.0, now - self.last_seen_ns / NS)


class _Table:
    """`rows`: (child, outbound) -> its sums, made when the first number comes."""

    def __init__(self) -> None:
        self.names: dict[int, tuple[str, str]] = {}
        self.rows: dict[tuple[int, bool], _Sums] = {}

    def sums(self, child: int, outbound: bool) -> _Sums:
        found = self.rows.get((child, outbound))
        if found is None:
            found = self.rows[child, outbound] = _Sums((*self.names[child], "out" if outbound else "in"))
        return found


def families(source: Source, view: View, now: float) -> Steps:
    up = gauge("child_up", "1 while both SAs of a configured child carry packets", _CHILD)
    stands = gauge("child_stands", "1 where the child is to be up all the time, 0 where somebody asks for it", _CHILD)
    table = _Table()
    for child in sliced(view.children):
        if child is None:
            yield None
            continue
        table.names[child.index] = child.peer, child.name
        add(up, [((child.peer, child.name), child.up)])
        add(stands, [((child.peer, child.name), child.stands)])
        for outbound in (False, True):
            gone = view.carried.get((child.index, outbound))
            if gone is not None:
                table.sums(child.index, outbound).carried(*gone)
    yield up
    yield stands
    for sa in sliced(view.sas):
        if sa is None:
            yield None
        elif sa.child in table.names:
            table.sums(sa.child, sa.outbound).add(sa, source.slot(sa.slot))
    yield from _carried(table.rows.values())
    yield from _numbers(table.rows.values(), now)
    while table.rows:  # to let go of all at once takes as long as any step
        del table.rows[next(reversed(table.rows))]
        if len(table.rows) % SLICE == 0:
            yield None


def _carried(rows: Collection[_Sums]) -> Steps:
    packets = counter("child_packets", "Packets that the child's SAs carried", _DIRECTED)
    yield from filled(packets, ((one.labels, one.packets) for one in rows))
    octets = counter("child_bytes", "Bytes of inner packets that the child's SAs carried", _DIRECTED)
    yield from filled(octets, ((one.labels, one.bytes) for one in rows))
    # a reason shows from its first drop on: thousands of children times all reasons would be too many series
    drops = counter("child_drops", "Packets of the child's SAs that were dropped", (*_DIRECTED, "reason"))
    reasons = tuple(name if name.startswith(DROP) else "" for name in verdict_names())
    for one in sliced(rows):
        if one is None:
            yield None
        else:
            add(drops, [((*one.labels, name), n) for name, n in zip(reasons, one.drops, strict=False) if n and name])
    yield drops


def _numbers(rows: Collection[_Sums], now: float) -> Steps:
    age = gauge("child_last_packet_age_seconds", "Seconds since the last packet, once there was one", _DIRECTED)
    yield from filled(age, ((one.labels, one.age(now)) for one in rows if one.last_seen_ns))
    left = gauge("child_sequence_left", "Sequence numbers until the SA must be replaced", _DIRECTED)
    yield from filled(left, ((one.labels, one.left) for one in rows if one.left is not None))
    marks = gauge("child_grant_left", "Sequence numbers left below the saved mark", _DIRECTED)
    yield from filled(marks, ((one.labels, one.granted) for one in rows if one.left is not None))
    serving = gauge(
        "child_sas", "SAs by suite and by the crypto engine that serves them", (*_DIRECTED, "suite", "engine")
    )
    yield from filled(serving, (((*one.labels, *key), n) for one in rows for key, n in one.engines.items()))
