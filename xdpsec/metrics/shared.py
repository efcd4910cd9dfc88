"""The Source over shared memory: counters, sa_state slots, frame pool, the door's verdicts, XDP_STATISTICS.

Memory is mapped for reading only. A worker writes while we read: each number is whole, a set of them is not one
instant. Nothing that stands there says where to read: a worker may be in a stranger's hands. Layout: bpf/shared.h.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xdpsec.metrics.values import Counters, PoolUse, Slot, SocketCounts, View
from xdpsec.workers.native import ffi, lib

#: (worker, port, queue, descriptor) of each AF_XDP socket.
Sockets = Callable[[], Sequence[tuple[int, int, int, int]]]
_COUNTER_FIELDS = tuple(Counters.__dataclass_fields__)
_HEADER, _SLOT = ffi.sizeof("struct xs_state_header"), ffi.sizeof("struct xs_sa_slot")
_SLOT_FIELDS = tuple(Slot.__dataclass_fields__)


def _plain(value: Any) -> Any:
    """int, or tuple of int for an array."""
    return value if isinstance(value, int) else tuple(value)


class _Region:
    """A descriptor's memory, read only; the mapping lives as long as we do."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._map = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        self._view = ffi.from_buffer(self._map)

    def at(self, kind: str, offset: int) -> Any:
        """Pointer to `kind` at a byte offset."""
        return ffi.cast(f"{kind} *", ffi.cast("char *", self._view) + offset)

    def close(self) -> None:
        ffi.release(self._view)
        self._map.close()


class Reader:
    """Reads everything anew at each call. `view` gives what control knows; `verdicts` is DoorMaps.verdicts,
    `statistics` net.afxdp.statistics. The descriptors stay the caller's and may be closed after this returns, those
    of `sockets` aside."""

    def __init__(
        self,
        *,
        view: Callable[[], View],
        workers: int,
        counters_fd: int,
        state_fd: int,
        state_size: int,
        pool_fd: int,
        pool_size: int,
        verdicts: Callable[[], Sequence[Sequence[int]]],
        sockets: Sockets,
        statistics: Callable[[int], Mapping[str, int]],
    ) -> None:
        self._view, self._verdicts, self._sockets, self._statistics = view, verdicts, sockets, statistics
        self._workers = workers
        self._slots = (state_size - _HEADER) // _SLOT
        empty = lib.xs_pool_size(0)
        self._chunks = (pool_size - empty) // (lib.xs_pool_size(1) - empty)
        self._counters = _Region(counters_fd, workers * ffi.sizeof("struct xs_counters"))
        self._state = _Region(state_fd, state_size)
        self._pool = _Region(pool_fd, pool_size)

    def close(self) -> None:
        for region in (self._counters, self._state, self._pool):
            region.close()

    def view(self) -> View:
        return self._view()

    def counters(self) -> tuple[Counters, ...]:
        return tuple(self._block(worker) for worker in range(self._workers))

    def slot(self, slot: int) -> Slot:
        if not 0 <= slot < self._slots:
            raise IndexError(f"sa_state has {self._slots} slots, not {slot + 1}")
        row = self._state.at("struct xs_sa_slot", _HEADER + slot * _SLOT)
        return Slot(*(_plain(getattr(row, name)) for name in _SLOT_FIELDS))

    def door(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(row) for row in self._verdicts())

    def sockets(self) -> tuple[SocketCounts, ...]:
        return tuple(
            SocketCounts(worker, port, queue, self._statistics(descriptor))
            for worker, port, queue, descriptor in self._sockets()
        )

    def pool(self) -> PoolUse:
        pool, free = self._pool.at("char", 0), ffi.new("uint32_t *")

        def count(owner: int) -> int:
            return int(lib.xs_pool_count(pool, self._chunks, owner, free))

        held = tuple(count(lib.XS_OWNER_WORKER + worker) for worker in range(self._workers))
        return PoolUse(self._chunks, int(free[0]), count(lib.XS_OWNER_KERNEL), held)

    def _block(self, worker: int) -> Counters:
        row = self._counters.at("struct xs_counters", worker * ffi.sizeof("struct xs_counters"))
        return Counters(*(_plain(getattr(row, name)) for name in _COUNTER_FIELDS))
