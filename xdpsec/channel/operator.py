"""What the CLI may ask of a running gateway on its operator socket: a third closed vocabulary, with a version.

A connection opens with Hello; each question gets one answer that names it by `seq`. Anything else ends the connection.
Ids from 128 on; times in nanoseconds; names of verdicts as in bpf/shared.h. Knows no socket.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdpsec.channel import negotiation

#: Grows when a word changes its fields or meaning. A gateway answers its own version only.
VERSION = 5

# --- values inside answers -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Count:
    """One counter by its name."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class PortRow:
    """`side` "outside" or "inside"; `mode` "native" or "generic"; `bind` "zero-copy" or "copy"; MTU in bytes."""

    index: int
    interface: str
    side: str
    mode: str
    bind: str
    queues: int
    mtu: int


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """`state` "starting", "serving" or "down"; `pid` 0 = none; packets over all ports; `cycles` per stage;
    `idle_ns` asleep out of `alive_ns`."""

    index: int
    core: int
    pid: int
    state: str
    restarts: int
    packets_in: int
    packets_out: int
    handoff_sent: int
    handoff_received: int
    cycles: tuple[Count, ...]
    idle_ns: int
    alive_ns: int


@dataclass(frozen=True, slots=True)
class ChildRow:
    """`up`: both SAs carry packets; else `error` may say why not. Prefixes as configured."""

    label: str
    up: bool
    owner: int
    local: tuple[str, ...]
    remote: tuple[str, ...]
    error: str


@dataclass(frozen=True, slots=True)
class SaRow:
    """`direction` "in" or "out"; `number` is the next sequence number (out) or the highest authenticated one (in);
    bytes of inner packets; `idle_ns` since the last packet, -1 = none yet; `drops` the reasons that happened."""

    label: str
    direction: str
    spi: int
    worker: int
    suite: str
    engine: str
    esn: bool
    replay_window: int
    local: str
    remote: str
    encap: tuple[int, int]
    number: int
    granted: int
    packets: int
    bytes: int
    idle_ns: int
    drops: tuple[Count, ...]
    error: str


@dataclass(frozen=True, slots=True)
class PortDrops:
    """What the door decided on a port: all verdicts."""

    interface: str
    verdicts: tuple[Count, ...]


@dataclass(frozen=True, slots=True)
class WorkerDrops:
    """How frames left a worker: all verdicts."""

    worker: int
    verdicts: tuple[Count, ...]


@dataclass(frozen=True, slots=True)
class SocketDrops:
    """XDP_STATISTICS of one AF_XDP socket."""

    interface: str
    queue: int
    worker: int
    counts: tuple[Count, ...]


@dataclass(frozen=True, slots=True)
class SaDrops:
    """Drops of one SA: the reasons that happened."""

    label: str
    direction: str
    drops: tuple[Count, ...]


# --- operator -> control -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """First word of a connection: the VERSION that the asking side speaks. Answered by Welcome."""

    version: int


@dataclass(frozen=True, slots=True)
class StatusQuery:
    """Answered by Status."""


@dataclass(frozen=True, slots=True)
class SasQuery:
    """Answered by Sas."""


@dataclass(frozen=True, slots=True)
class DropsQuery:
    """Answered by Drops."""


# --- control -> operator -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Welcome:
    """The VERSION that this gateway speaks, and which xdpsec it is. Where the two versions differ it closes then."""

    seq: int
    version: int
    gateway: str


@dataclass(frozen=True, slots=True)
class Status:
    """`state` "starting", "serving" or "degraded". `metrics_error` is empty, or says why nobody listens there.
    `troubles`: one sentence for each barrier that is gone and cannot be put back. `more`: another page of children
    follows, the rest said again."""

    seq: int
    version: str
    state: str
    config: str
    uptime_ns: int
    ports: tuple[PortRow, ...]
    workers: tuple[WorkerRow, ...]
    children: tuple[ChildRow, ...]
    metrics_address: str
    metrics_port: int
    metrics_error: str
    troubles: tuple[str, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Sas:
    """Every SA, by child, inbound first; `more`: another page follows."""

    seq: int
    rows: tuple[SaRow, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Drops:
    """Where frames ended: at the door, in the workers, in the sockets between them, per SA. `more`: another page of SAs
    follows, the rest said again."""

    seq: int
    door: tuple[PortDrops, ...]
    workers: tuple[WorkerDrops, ...]
    sockets: tuple[SocketDrops, ...]
    sas: tuple[SaDrops, ...]
    more: bool


Question = Hello | StatusQuery | SasQuery | DropsQuery | negotiation.Question
Answer = Welcome | Status | Sas | Drops | negotiation.Answer

#: Answers that may come in pages, the last without `more`, and the field that goes on from page to page.
PAGED: dict[type, str] = {Status: "children", Sas: "rows", Drops: "sas", negotiation.Peers: "rows"}

#: id on the wire -> class, part of messages.TABLE.
TABLE: dict[int, type] = {
    128: Hello,
    129: StatusQuery,
    130: SasQuery,
    131: DropsQuery,
    160: Welcome,
    161: Status,
    162: Sas,
    163: Drops,
    **negotiation.TABLE,
}
