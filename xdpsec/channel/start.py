"""What control and a worker are told at birth: one record, JSON in the argument list; descriptors are inherited.

Not a message: it is read once, before there is a channel. Keys never stand here, since arguments are public.
Knows no socket and no C.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class QueueStart:
    """This worker's socket on a queue and the queue's first socket, which has the shared rings; sizes in entries."""

    queue: int
    own_fd: int
    queue_fd: int
    rx_size: int
    tx_size: int
    fill_size: int
    completion_size: int


@dataclass(frozen=True, slots=True)
class PortStart:
    """One port: `role` 0 outside, 1 inside (shared.h); mac as 12 hex digits; addresses as text, empty = none."""

    index: int
    role: int
    mac: str
    mtu: int
    addr4: str
    addr6: str
    queues: tuple[QueueStart, ...]


@dataclass(frozen=True, slots=True)
class WorkerStart:
    """Everything a worker needs before its first message. Sizes in bytes; `core` -1 = not pinned; `wake_fds` is
    empty with one worker; `parent` is the process whose death ends the worker."""

    worker: int
    workers: int
    core: int
    uid: int
    gid: int
    parent: int
    channel_fd: int
    umem_fd: int
    umem_size: int
    chunk_size: int
    pool_fd: int
    state_fd: int
    state_size: int
    counters_fd: int
    handoff_fd: int
    wake_fds: tuple[int, ...]
    burst: int
    spin_us: int
    hold: int  # frames of one child that wait for its SA
    ports: tuple[PortStart, ...]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> WorkerStart:
        """Raises TypeError, KeyError or ValueError on anything but a whole record: our own bug."""
        record = json.loads(text)
        record["ports"] = tuple(_port(port) for port in record["ports"])
        record["wake_fds"] = tuple(record["wake_fds"])
        return cls(**record)

    def descriptors(self) -> tuple[int, ...]:
        """Every descriptor that the worker inherits, each once."""
        queues = [queue for port in self.ports for queue in port.queues]
        fixed = [self.channel_fd, self.umem_fd, self.pool_fd, self.state_fd, self.counters_fd, self.handoff_fd]
        return tuple(dict.fromkeys([*fixed, *self.wake_fds, *[fd for q in queues for fd in (q.own_fd, q.queue_fd)]]))


def _port(record: dict[str, Any]) -> PortStart:
    return PortStart(**{**record, "queues": tuple(QueueStart(**queue) for queue in record["queues"])})


@dataclass(frozen=True, slots=True)
class ControlStart:
    """Everything control needs before it speaks. Sizes in bytes. `config_fd` holds the configuration as the supervisor
    read it, `config_file` is what errors call it, `cores` the machine's as the supervisor parsed it; `maps` are the
    door's (name -> descriptor, door.CONTROL_MAPS); `operator_fd` listens; `parent` is the process whose death ends
    control."""

    uid: int
    gid: int
    parent: int
    boot_id: str
    channel_fd: int
    config_fd: int
    config_file: str
    cores: tuple[int, ...]
    state_fd: int
    state_size: int
    counters_fd: int
    pool_fd: int
    pool_size: int
    maps: Mapping[str, int]
    operator_fd: int

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ControlStart:
        """Raises TypeError, KeyError or ValueError on anything but a whole record: our own bug."""
        record = json.loads(text)
        return cls(**{**record, "cores": tuple(record["cores"])})

    def descriptors(self) -> tuple[int, ...]:
        """Every descriptor that control inherits."""
        fixed = (self.channel_fd, self.config_fd, self.state_fd, self.counters_fd, self.pool_fd, self.operator_fd)
        return (*fixed, *self.maps.values())
