"""What a gateway runs on, as plain frozen values: the configuration after every check, nothing left to decide.

Both the supervisor (which validates what control asks) and control build the same plan from the same file. Keys are
not part of it. Knows no file and no socket.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdpsec.channel.messages import Selector

#: Ring sizes in entries. Fill and completion rings are twice the others: each was a source of loss when equal.
RX_SIZE = TX_SIZE = 2048
FILL_SIZE = COMPLETION_SIZE = 4096
#: Chunks that a worker may keep at hand (XS_CACHE_MAX of the core).
WORKER_CACHE = 2048
#: With 256 bytes of headroom and 64 of tailroom, this MTU still fits a chunk of 2 KiB.
SMALL_CHUNK_MTU = 1700


@dataclass(frozen=True, slots=True)
class PortPlan:
    """One interface; `outside` is the ESP side. `bind` "auto", "zero-copy" or "copy"; `mode` "auto", "native" or
    "generic"."""

    index: int
    interface: str
    outside: bool
    mode: str = "auto"
    bind: str = "auto"


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """One child: `index` is its number in messages, `selectors` its policies in order."""

    index: int
    peer: str
    name: str
    selectors: tuple[Selector, ...]
    key_file: str = ""


@dataclass(frozen=True, slots=True)
class SaPlan:
    """One SA without its keys. `sa_id` (16 bytes) names the key without revealing it; `owner` is the worker."""

    sa_id: bytes
    spi: int
    outbound: bool
    child: int
    owner: int


@dataclass(frozen=True, slots=True)
class Plan:
    """`cores[w]` is worker w's core, -1 = not pinned. `pairs` are the fence's (local, remote) prefixes, `spare` the
    peers' outer addresses. `metrics` and `metrics_port` say where Prometheus asks, port 0 = nowhere."""

    ports: tuple[PortPlan, ...]
    cores: tuple[int, ...]
    children: tuple[ChildPlan, ...]
    pairs: tuple[tuple[str, str], ...]
    spare: tuple[str, ...]
    user: str = "nobody"
    run_directory: str = "/run/xdpsec"
    state_directory: str = "/var/lib/xdpsec"
    metrics: str = "127.0.0.1"
    metrics_port: int = 9754
    burst: int = 64
    spin_us: int = 0
    sa_slots: int = 64

    @property
    def workers(self) -> int:
        return len(self.cores)

    @property
    def key_files(self) -> frozenset[str]:
        return frozenset(child.key_file for child in self.children if child.key_file)


def chunk_size(mtus: list[int]) -> int:
    """Bytes of a UMEM chunk: 2 or 4 KiB (a chunk above a page is refused by the kernel)."""
    return 2048 if max(mtus, default=0) <= SMALL_CHUNK_MTU else 4096


def chunk_count(workers: int, queues: int) -> int:
    """Chunks of the UMEM: every ring of every queue full at once, and every worker's cache. A multiple of 64."""
    count = queues * (FILL_SIZE + workers * (RX_SIZE + TX_SIZE)) + workers * WORKER_CACHE
    return (count + 63) // 64 * 64
