"""The memory that outlives processes: UMEM, frame pool, counters and handoff in memfds, sa_state in a tmpfs file.

The supervisor makes them and keeps every descriptor; control and workers map them. Layout: bpf/shared.h; sizes from
the core. Knows nothing of what stands in a slot.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from xdpsec.net.values import Rings
from xdpsec.workers import native
from xdpsec.workers.native import ffi, lib

HEADER_SIZE: int = ffi.sizeof("struct xs_state_header")
SLOT_SIZE: int = ffi.sizeof("struct xs_sa_slot")
STATE_MAGIC = 0x7864707365633031  # XS_STATE_MAGIC, "xdpsec01"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
#: Chunks that a worker may keep at hand (XS_CACHE_MAX of the core).
WORKER_CACHE = 2048
#: Frames that wait in a worker: for SAs, and for neighbours (XS_HELD_FOR_HOPS of the core).
WORKER_HELD: int = lib.XS_HELD_MAX + 256
#: A file with more slots than this and than the configuration wants was not made by us.
MAX_SLOTS = 1 << 20
#: Bytes of one, as the machines have them that we know. The UMEM fills whole ones, so that it can lie in them.
HUGE_PAGE = 2 << 20
#: With 256 bytes of headroom and 64 of tailroom, this MTU still fits a chunk of 2 KiB.
SMALL_CHUNK_MTU = 1700


def chunk_size(mtus: Iterable[int]) -> int:
    """Bytes of a UMEM chunk: 2 or 4 KiB (a chunk above a page is refused by the kernel)."""
    return 2048 if max(mtus, default=0) <= SMALL_CHUNK_MTU else 4096


def chunk_count(workers: int, queues: int, rings: Rings) -> int:
    """Chunks of the UMEM: every ring of every queue full at once, every worker's cache and what waits in
    it. As many as fill huge pages."""
    count = queues * (rings.fill + workers * (rings.rx + rings.tx)) + workers * (WORKER_CACHE + WORKER_HELD)
    return -(-count * 2048 // HUGE_PAGE) * HUGE_PAGE // 2048


def state_size(slots: int) -> int:
    return HEADER_SIZE + slots * SLOT_SIZE


@dataclass(frozen=True, slots=True)
class Regions:
    """Descriptors and sizes in bytes. `handoff` and `wake` exist with one worker too, unused."""

    umem: int
    umem_size: int
    umem_huge: bool
    chunk_size: int
    pool: int
    state: int
    state_size: int
    counters: int
    handoff: int
    wake: tuple[int, ...]


def memfd(name: str, size: int, flags: int = 0) -> int:
    """Of this size for good: nobody who holds it can pull the pages from under another (SIGBUS)."""
    descriptor = os.memfd_create(f"xdpsec-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | flags)
    try:
        os.ftruncate(descriptor, size)
    except OSError:
        os.close(descriptor)
        raise
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return descriptor


def packet_memory(size: int) -> tuple[int, bool]:
    """Descriptor of the UMEM, and whether it is in huge pages: it is when the machine has as many to spare. The first
    mapping sets them aside for as long as the descriptor lives."""
    try:
        descriptor = memfd("umem", size, os.MFD_HUGETLB)
    except OSError:  # no such kernel, or huge pages of another size
        return memfd("umem", size), False
    try:
        mmap.mmap(descriptor, size).close()
    except OSError:
        os.close(descriptor)
        return memfd("umem", size), False
    return descriptor, True


def make(workers: int, chunks: int, chunk_size: int, state: int, slots: int) -> Regions:
    """Every region, the pool formatted. `state` and `slots` as open_state gives them."""
    pool = memfd("pool", lib.xs_pool_size(chunks))
    with mmap.mmap(pool, lib.xs_pool_size(chunks)) as memory:
        view = ffi.from_buffer(memory)
        native.check(lib.xs_pool_format(view, chunks), "frame pool")
        ffi.release(view)
    umem, huge = packet_memory(chunks * chunk_size)
    return Regions(
        umem=umem,
        umem_size=chunks * chunk_size,
        umem_huge=huge,
        chunk_size=chunk_size,
        pool=pool,
        state=state,
        state_size=state_size(slots),
        counters=memfd("counters", workers * ffi.sizeof("struct xs_counters")),
        handoff=memfd("handoff", lib.xs_handoff_size(workers)),
        wake=tuple(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(workers)),
    )


def boot_id() -> bytes:
    return BOOT_ID.read_text().strip().encode()


def open_state(path: Path, slots: int, boot: bytes) -> tuple[int, int]:
    """Descriptor of sa_state for this boot, and its number of slots.

    A file of this boot and version is kept and grows when it is too small; anything else starts empty (its SAs
    then begin behind their marks on disk, as after a reboot). Only its
    owner may read it; a symbolic link is refused (OSError)."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)
    header = ffi.new("struct xs_state_header *")
    raw = os.pread(descriptor, HEADER_SIZE, 0)
    if len(raw) == HEADER_SIZE:
        ffi.memmove(header, raw, HEADER_SIZE)
    same = (header.magic, header.version, header.slot_size) == (STATE_MAGIC, lib.XS_STATE_VERSION, SLOT_SIZE)
    # workers can write header and file: a size that is not ours is not believed, and then nothing else in it is
    same = same and header.slots <= max(slots, MAX_SLOTS) and os.fstat(descriptor).st_size == state_size(header.slots)
    if not same or ffi.string(header.boot_id) != boot:
        os.ftruncate(descriptor, 0)
        header = ffi.new("struct xs_state_header *")
        header.magic, header.version, header.slot_size = STATE_MAGIC, lib.XS_STATE_VERSION, SLOT_SIZE
        header.window_bits = lib.XS_WINDOW_DEFAULT
        header.boot_id = boot
    header.slots = max(header.slots, slots)
    os.ftruncate(descriptor, state_size(header.slots))
    os.pwrite(descriptor, bytes(ffi.buffer(header)), 0)
    return descriptor, int(header.slots)
