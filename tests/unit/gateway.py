"""A gateway for tests of what is shown: a Source whose numbers are written down here, two workers, two children."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from xdpsec.metrics.values import (
    SERVING,
    ChildView,
    Counters,
    MetricsView,
    PoolUse,
    Port,
    SaView,
    Slot,
    SocketCounts,
    View,
    WorkerView,
)
from xdpsec.workers.native import door_verdict_names, lib, verdict_names

PORTS = lib.XS_MAX_PORTS
VERDICT = {name: number for number, name in enumerate(verdict_names())}
DOOR = {name: number for number, name in enumerate(door_verdict_names())}


def per_port(*values: int) -> tuple[int, ...]:
    return (*values, *([0] * (PORTS - len(values))))


def counters(**more: object) -> Counters:
    """An idle worker's block, changed by `more`."""
    zero = Counters(
        verdicts=(0,) * len(VERDICT), batches=(0,) * lib.XS_BATCH_BUCKETS, batch_packets=0, rx_packets=per_port(),
        rx_bytes=per_port(), tx_packets=per_port(), tx_bytes=per_port(), tx_completed=per_port(),
        cycles=(0,) * lib.XS_STAGE_COUNT, handoff_sent=0, handoff_received=0, held=0,
        ring_rx_fill=0, ring_fill_missing=0, wakeups=0, idle_ns=0, started_ns=0, heartbeat_ns=0,
    )  # fmt: skip
    return replace(zero, **more)  # type: ignore[arg-type]


def verdicts(names: dict[str, int], **counts: int) -> tuple[int, ...]:
    """One count per verdict of the list `names`, in order."""
    return tuple(counts.get(name, 0) for name in names)


def slot(**more: object) -> Slot:
    zero = Slot(next_seq=1, granted=1024, floor=0, top=0, packets=0, bytes=0, last_seen_ns=0, drops=verdicts(VERDICT))
    return replace(zero, **more)  # type: ignore[arg-type]


def sa(child: int, outbound: bool, slot: int, **more: object) -> SaView:
    row = SaView(
        child=child, label=f"branch/{'lan' if child == 0 else 'lab'}", peer="branch", outbound=outbound,
        spi=0x1000 + slot, worker=child, slot=slot, suite="aes256-sha256", engine="ipsec-mb", esn=True,
        replay_window=4096, local="198.51.100.1", remote="203.0.113.7", encap=(0, 0),
    )  # fmt: skip
    return replace(row, **more)  # type: ignore[arg-type]


def view(**more: object) -> View:
    whole = View(
        version="0.1.0",
        config_file="/etc/xdpsec/xdpsec.toml",
        started=100.0,
        ports=(
            Port(0, "eth0", True, "native", "copy", 2, 11, bytes(6), 1500),
            Port(1, "eth1", False, "generic", "copy", 2, 12, bytes(6), 9000),
        ),
        workers=(WorkerView(0, 1, 4001, SERVING, 0), WorkerView(1, 2, 4002, SERVING, 3)),
        children=(
            ChildView(0, "branch", "lan", ("10.1.0.0/16",), ("10.2.0.0/16",), 0),
            ChildView(1, "branch", "lab", ("10.1.9.0/24",), ("10.9.0.0/16",), 1),
        ),
        sas=(sa(0, False, 0), sa(0, True, 1), sa(1, False, 2), sa(1, True, 3)),
        metrics=MetricsView("127.0.0.1", 9310),
    )
    made = replace(whole, **more)  # type: ignore[arg-type]
    return replace(made, children=tuple(_known(made)), faulty=any(sa.error for sa in made.sas))


def _known(made: View) -> Iterator[ChildView]:
    """Children as the gateway knows them: what their SAs say."""
    serving = {worker.index for worker in made.workers if worker.state == SERVING}
    for child in made.children:
        mine = [sa for sa in made.sas if sa.child == child.index]
        ways = {sa.outbound for sa in mine if not sa.error and sa.worker in serving}
        error = next((sa.error for sa in mine if sa.error), "")
        yield replace(child, up=ways == {False, True}, error=error)


@dataclass
class FakeSource:
    """xdpsec.metrics.values.Source with what a test put into it."""

    now: View = field(default_factory=view)
    blocks: tuple[Counters, ...] = field(default_factory=lambda: (counters(), counters()))
    slots: dict[int, Slot] = field(default_factory=dict)
    frames: tuple[tuple[int, ...], ...] = ((0,) * len(DOOR),) * PORTS
    statistics: tuple[SocketCounts, ...] = ()
    chunks: PoolUse = field(default_factory=lambda: PoolUse(1024, 1000, 20, (3, 1)))

    def view(self) -> View:
        return self.now

    def counters(self) -> tuple[Counters, ...]:
        return self.blocks

    def slot(self, number: int) -> Slot:
        return self.slots.get(number, slot())

    def door(self) -> tuple[tuple[int, ...], ...]:
        return self.frames

    def sockets(self) -> tuple[SocketCounts, ...]:
        return self.statistics

    def pool(self) -> PoolUse:
        return self.chunks
