"""A gateway seen from outside, as frozen values: what control knows of it (View), what shared memory counts, and the
Source that gives both. The operator socket and the metrics collector read nothing else.

Times are CLOCK_MONOTONIC. No key stands here. Layout of what is counted: bpf/shared.h.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

#: States of a worker: it waits for its snapshot, it takes frames, it is gone and will be replaced.
STARTING, SERVING, DOWN = "starting", "serving", "down"

#: Stages of the pipeline, in the order of enum xs_stage.
STAGES = ("rx", "parse", "crypto", "finish", "tx")

# --- what control knows --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Port:
    """An attached interface: `mode` "native" or "generic", `bind` "zero-copy" or "copy", MTU in bytes."""

    index: int
    interface: str
    outside: bool
    mode: str
    bind: str
    queues: int
    ifindex: int
    mac: bytes
    mtu: int

    @property
    def side(self) -> str:
        return "outside" if self.outside else "inside"


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker. `core` -1 = not pinned; `pid` 0 while it is down; `restarts` since control started."""

    index: int
    core: int
    pid: int
    state: str
    restarts: int


@dataclass(frozen=True, slots=True)
class ChildView:
    """A configured child; `owner` is the worker that has both its SAs; `stands`: it is to be up all the time. `up`: an
    SA of either direction carries packets; `error` is empty, or one sentence that says why one of its SAs does not."""

    index: int
    peer: str
    name: str
    local: tuple[str, ...]
    remote: tuple[str, ...]
    owner: int
    stands: bool = True
    up: bool = False
    error: str = ""

    @property
    def label(self) -> str:
        return f"{self.peer}/{self.name}"


@dataclass(frozen=True, slots=True)
class SaView:
    """One SA. `child` is the index of its child, `slot` its place in sa_state, `engine` the one that serves it (empty
    until the worker said so), addresses are outer ones, `encap` (local, remote) UDP ports or (0, 0). `error` is
    empty, or one sentence that says why the SA does not carry packets."""

    child: int
    label: str
    peer: str
    outbound: bool
    spi: int
    worker: int
    slot: int
    suite: str
    engine: str
    esn: bool
    replay_window: int
    local: str
    remote: str
    encap: tuple[int, int]
    error: str = ""

    @property
    def direction(self) -> str:
        return "out" if self.outbound else "in"


class Carried(NamedTuple):
    """What SAs of a child that are gone have carried: packets, bytes of inner packets, drops by verdict number."""

    packets: int
    bytes: int
    drops: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PeerView:
    """A peer that negotiates. `remote` as configured, "" = any; the rest is of its newest IKE SA, empty while there is
    none: where it is, who both are, algorithms, since when (CLOCK_MONOTONIC), what it leased to us."""

    name: str
    remote: str
    children: int
    up: bool
    address: str = ""
    local_id: str = ""
    remote_id: str = ""
    suite: str = ""
    hybrid: bool = False
    ppk: bool = False
    initiator: bool = False
    since: float = 0.0
    leased: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IkeView:
    """IKE as a whole. `peers` may be made as they are read, once. `handshakes` by outcome; `durations` of those that
    succeeded, by upper bound in seconds, the last above all `bounds`; `counted` by (name, label); `gate` and
    `datagrams` by what became of messages for nobody; `certificates`: file, name, end in seconds since 1970."""

    peers: Iterable[PeerView]
    handshakes: Mapping[str, int]
    bounds: tuple[float, ...]
    durations: tuple[int, ...]
    seconds: float
    rekeys: Mapping[str, int]
    half_open: int
    counted: Mapping[tuple[str, str], int]
    gate: Mapping[str, int]
    datagrams: Mapping[str, int]
    certificates: tuple[tuple[str, str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class BarrierView:
    """What keeps the gateway closed: the fence, or the door of a port. `gone`: times that somebody took it off since
    the supervisor started; `error`: empty while it stands, else one sentence that says why it cannot be put back."""

    name: str
    gone: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class MetricsView:
    """Where Prometheus asks; port 0 = nowhere. `error`: empty, or one sentence that says why nobody listens."""

    address: str
    port: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """The gateway now. `version` of xdpsec; `started` in seconds of CLOCK_MONOTONIC. `children` in the order of the
    file, `sas` by child, inbound first: thousands, and so each may be made as it is read, once. `faulty`: some SA
    carries nothing."""

    version: str
    config_file: str
    started: float
    ports: tuple[Port, ...]
    workers: tuple[WorkerView, ...]
    children: Iterable[ChildView]
    sas: Iterable[SaView]
    metrics: MetricsView
    barriers: tuple[BarrierView, ...] = ()
    ike: IkeView | None = None
    carried: Mapping[tuple[int, bool], Carried] = field(default_factory=dict)
    faulty: bool = False

    @property
    def state(self) -> str:
        """ "starting" before every worker served once, "degraded" when one is down, an SA carries nothing or a
        barrier is gone."""
        if any(barrier.error for barrier in self.barriers):
            return "degraded"
        if self.faulty or any(worker.state == DOWN for worker in self.workers):
            return "degraded"
        if all(worker.state == SERVING for worker in self.workers):
            return "serving"
        return "degraded" if any(worker.restarts for worker in self.workers) else "starting"


# --- what shared memory counts -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counters:
    """One worker's struct xs_counters, field by field; verdicts by number, ports by index, stages in order."""

    verdicts: tuple[int, ...]
    batches: tuple[int, ...]
    batch_packets: int
    rx_packets: tuple[int, ...]
    rx_bytes: tuple[int, ...]
    tx_packets: tuple[int, ...]
    tx_bytes: tuple[int, ...]
    tx_completed: tuple[int, ...]
    cycles: tuple[int, ...]
    handoff_sent: int
    handoff_received: int
    held: int
    ring_rx_fill: int
    ring_fill_missing: int
    wakeups: int
    idle_ns: int
    started_ns: int
    heartbeat_ns: int


@dataclass(frozen=True, slots=True)
class Slot:
    """What the counters of a struct xs_sa_slot say; drops by verdict number, bytes of inner packets."""

    next_seq: int
    granted: int
    floor: int
    top: int
    packets: int
    bytes: int
    last_seen_ns: int
    drops: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SocketCounts:
    """XDP_STATISTICS of one AF_XDP socket, by the kernel's names."""

    worker: int
    port: int
    queue: int
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PoolUse:
    """Chunks of the UMEM by their owner."""

    chunks: int
    free: int
    kernel: int
    workers: tuple[int, ...]


class Source(Protocol):
    """Everything that can be shown, as it is at the moment of the call. None of the calls blocks or fails."""

    def view(self) -> View: ...

    def counters(self) -> tuple[Counters, ...]:
        """One per worker."""

    def slot(self, slot: int) -> Slot:
        """One SA's numbers."""

    def door(self) -> tuple[tuple[int, ...], ...]:
        """[port][verdict] in frames, summed over CPUs."""

    def sockets(self) -> tuple[SocketCounts, ...]:
        """One per AF_XDP socket that is known."""

    def pool(self) -> PoolUse: ...
