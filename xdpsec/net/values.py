"""Plain values that the room net hands out. Knows no socket and no kernel call."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as the kernel has it. `queues` receive queues; own addresses as text, empty = none."""

    ifindex: int
    mac: bytes
    mtu: int
    queues: int
    addr4: str = ""
    addr6: str = ""


@dataclass(frozen=True, slots=True)
class PortSockets:
    """`own[queue][worker]`: AF_XDP descriptors. own[queue][0] has the queue's fill and completion rings."""

    own: tuple[tuple[int, ...], ...]
    bind: str  # "zero-copy" or "copy"


@dataclass(frozen=True, slots=True)
class Rings:
    """Entries of each ring of a socket, powers of two; fill and completion exist once per queue. A worker that loses
    its core for a tick of the scheduler (4 ms) finds what arrived meanwhile, a million packets a second, in the receive
    ring. Shallow fill rings are twice that (each was a source of loss when equal); deep ones hold enough as they are,
    and twice would cost memory."""

    rx: int = 4096
    tx: int = 2048
    fill: int = 8192
    completion: int = 4096

    @classmethod
    def of_depth(cls, rx: int) -> Rings:
        return cls(rx=rx, fill=max(cls().fill, rx))
