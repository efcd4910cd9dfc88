"""AF_XDP sockets that share one UMEM: one per port, queue and worker. Making them needs privilege, using them none.

Knows no packet; rings are mapped by the workers (workers/src/port_xsk.c).
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import time

from xdpsec.errors import LocalError
from xdpsec.net.values import Link, PortSockets, Rings
from xdpsec.workers.native import check, ffi, lib

BINDS = {"auto": lib.XS_BIND_AUTO, "zero-copy": lib.XS_BIND_ZERO_COPY, "copy": lib.XS_BIND_COPY}
#: A queue stays taken for a moment after its last socket is closed (the kernel frees it from a work queue), and for
#: longer when a worker of a killed gateway was only just starting: it notices within its start, a second or two.
BUSY_TRIES = 250
BUSY_PAUSE = 0.02
STATISTICS = (
    "rx_dropped",
    "rx_invalid_descs",
    "tx_invalid_descs",
    "rx_ring_full",
    "rx_fill_ring_empty",
    "tx_ring_empty",
)


class Sockets:
    """`umem` is a memfd of `size` bytes in chunks of `chunk_size`; the first socket opened registers it."""

    def __init__(self, umem: int, size: int, chunk_size: int, rings: Rings | None = None) -> None:
        self._umem, self._size, self._chunk_size = umem, size, chunk_size
        self._rings = rings or Rings()
        self._owner = -1

    def open_port(self, link: Link, workers: int, bind: str = "auto") -> PortSockets:
        """All sockets of a port. The caller owns the descriptors; none is left open by an error."""
        opened: list[tuple[int, ...]] = []
        before = self._owner
        try:
            for queue in range(link.queues):
                row: list[int] = []
                try:
                    for _ in range(workers):
                        row.append(self._open(link.ifindex, queue, row[0] if row else -1, bind))
                finally:
                    opened.append(tuple(row))
            zero_copy = check(lib.xs_xsk_zero_copy(opened[0][0]), "AF_XDP options")
        except BaseException:
            self._owner = before
            for descriptor in (fd for row in opened for fd in row):
                with contextlib.suppress(OSError):
                    os.close(descriptor)
            raise
        return PortSockets(tuple(opened), "zero-copy" if zero_copy else "copy")

    def _open(self, ifindex: int, queue: int, first: int, bind: str) -> int:
        """`first`: the queue's first socket, -1 when this is it."""
        conf = ffi.new("struct xs_xsk_conf *", {"ifindex": ifindex, "queue": queue, "queue_first": first < 0})
        conf.umem_size, conf.chunk_size, conf.bind = self._size, self._chunk_size, BINDS[bind]
        conf.share_fd = first if first >= 0 else self._owner
        conf.rx_size, conf.tx_size = self._rings.rx, self._rings.tx
        conf.fill_size, conf.completion_size = self._rings.fill, self._rings.completion
        if self._owner >= 0:
            return self._try(conf)
        with mmap.mmap(self._umem, self._size) as memory:  # registered pages stay pinned without the mapping
            view = ffi.from_buffer(memory)
            conf.umem = view
            try:
                self._owner = self._try(conf)
            finally:
                ffi.release(view)
        return self._owner

    def _try(self, conf: object) -> int:
        result = -errno.EBUSY
        for attempt in range(BUSY_TRIES):
            if attempt:
                time.sleep(BUSY_PAUSE)
            result = lib.xs_xsk_open(conf)
            if result != -errno.EBUSY:
                break
        if result >= 0:
            return int(result)
        raise LocalError(_refusal(-result, conf))


def _refusal(error: int, conf: object) -> str:
    where = f"AF_XDP socket on interface {conf.ifindex}, queue {conf.queue}"  # type: ignore[attr-defined]
    fix = {
        errno.EBUSY: "another program holds this queue; stop it first",
        errno.EPERM: "it needs root (CAP_NET_RAW)",
        errno.ENETDOWN: "set the interface up first (`ip link set dev ... up`)",
        errno.ENOBUFS: "the limit on locked memory is too low; raise RLIMIT_MEMLOCK",
        errno.ENOMEM: "not enough memory for the packet buffers",
        errno.EOPNOTSUPP: 'the driver cannot do that; use `bind = "copy"`',
        errno.EAFNOSUPPORT: "this kernel was built without AF_XDP (CONFIG_XDP_SOCKETS)",
    }.get(error, 'try `bind = "copy"`')
    return f"{where}: {os.strerror(error)}; {fix}"


def statistics(socket: int) -> dict[str, int]:
    """XDP_STATISTICS of one socket, by the names in STATISTICS."""
    values = ffi.new("uint64_t[6]")
    check(lib.xs_xsk_statistics(socket, values), "AF_XDP statistics")
    return dict(zip(STATISTICS, values, strict=True))
