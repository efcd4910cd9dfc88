"""Memory that outlives its users: sa_state kept over a restart, dropped after a reboot; the pool whole."""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

import pytest

from xdpsec.daemon import regions
from xdpsec.daemon.slots import Slots
from xdpsec.net.values import Rings
from xdpsec.workers.native import ffi, lib

BOOT, OTHER_BOOT = b"11111111-aaaa", b"22222222-bbbb"
MARK = b"what a worker wrote"


def write_slot(descriptor: int, slot: int) -> None:
    os.pwrite(descriptor, MARK, regions.HEADER_SIZE + slot * regions.SLOT_SIZE)


def read_slot(descriptor: int, slot: int) -> bytes:
    return os.pread(descriptor, len(MARK), regions.HEADER_SIZE + slot * regions.SLOT_SIZE)


def test_slots_survive_a_restart_and_the_file_grows(tmp_path: Path) -> None:
    descriptor, slots = regions.open_state(tmp_path / "sa_state", 4, BOOT)
    assert slots == 4
    write_slot(descriptor, 3)
    os.close(descriptor)
    descriptor, slots = regions.open_state(tmp_path / "sa_state", 16, BOOT)
    assert (slots, read_slot(descriptor, 3)) == (16, MARK)
    assert os.fstat(descriptor).st_size == regions.state_size(16)
    os.close(descriptor)
    descriptor, slots = regions.open_state(tmp_path / "sa_state", 2, BOOT)
    assert (slots, read_slot(descriptor, 3)) == (16, MARK)
    os.close(descriptor)


def test_after_a_reboot_nothing_of_the_old_file_is_believed(tmp_path: Path) -> None:
    descriptor, _ = regions.open_state(tmp_path / "sa_state", 4, BOOT)
    write_slot(descriptor, 3)
    os.close(descriptor)
    descriptor, slots = regions.open_state(tmp_path / "sa_state", 4, OTHER_BOOT)
    assert (slots, read_slot(descriptor, 3)) == (4, bytes(len(MARK)))
    os.close(descriptor)


@pytest.mark.parametrize("junk", [b"", b"x", os.urandom(4096)])
def test_a_file_that_is_not_ours_starts_empty(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "sa_state"
    path.write_bytes(junk)
    descriptor, _ = regions.open_state(path, 1, BOOT)
    assert read_slot(descriptor, 0) == bytes(len(MARK))
    assert os.fstat(descriptor).st_mode & 0o077 == 0
    os.close(descriptor)


@pytest.mark.parametrize("slots", [0, 1, 5, 2**20 + 1, 2**32 - 1])
@pytest.mark.parametrize("grown", [False, True])
def test_a_header_that_a_worker_changed_is_not_believed(tmp_path: Path, slots: int, grown: bool) -> None:
    """Workers hold the file: neither its header nor its size says how much memory we take. The sparse file of the
    largest is 20 TB."""
    path = tmp_path / "sa_state"
    descriptor, _ = regions.open_state(path, 4, BOOT)
    write_slot(descriptor, 3)
    header = ffi.new("struct xs_state_header *")
    ffi.memmove(header, os.pread(descriptor, regions.HEADER_SIZE, 0), regions.HEADER_SIZE)
    header.slots = slots
    os.pwrite(descriptor, bytes(ffi.buffer(header)), 0)
    believed = grown and slots == 5  # this is what we make ourselves when a configuration has grown
    if grown:
        os.ftruncate(descriptor, regions.state_size(slots))
    os.close(descriptor)
    descriptor, found = regions.open_state(path, 4, BOOT)
    assert found == (5 if believed else 4)
    assert os.fstat(descriptor).st_size == regions.state_size(found)
    assert read_slot(descriptor, 3) == (MARK if believed else bytes(len(MARK)))
    assert Slots(descriptor, regions.state_size(found)).count == found
    os.close(descriptor)


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sa_state").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        regions.open_state(tmp_path / "sa_state", 1, BOOT)


def test_the_pool_is_whole_and_the_counters_hold_every_worker(tmp_path: Path) -> None:
    state, slots = regions.open_state(tmp_path / "sa_state", 1, BOOT)
    made = regions.make(2, 128, 2048, state, slots)
    pool = ffi.new("char[]", lib.xs_pool_size(128))
    ffi.memmove(pool, os.pread(made.pool, lib.xs_pool_size(128), 0), lib.xs_pool_size(128))
    free = ffi.new("uint32_t *")
    assert lib.xs_pool_count(pool, 128, 0, free) == 128
    assert free[0] == 128
    assert os.fstat(made.umem).st_size == made.umem_size == 128 * 2048
    assert os.fstat(made.counters).st_size == 2 * ffi.sizeof("struct xs_counters")
    assert len(made.wake) == 2
    for descriptor in (made.umem, made.pool, made.state, made.counters, made.handoff, *made.wake):
        os.close(descriptor)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_umem_holds_every_ring_at_once(workers: int) -> None:
    rings = Rings(rx=1024, tx=512, fill=2048, completion=2048)
    assert regions.chunk_count(workers, 4, rings) >= 4 * (2048 + workers * (1024 + 512)) + workers * (2048 + 1024 + 256)
    chunks = regions.chunk_count(workers, 3, Rings(rx=1, tx=1, fill=1, completion=1))
    assert chunks * 2048 % regions.HUGE_PAGE == 0


@pytest.mark.parametrize(("spare", "huge"), [(2, True), (1, False)])
def test_packets_lie_in_huge_pages_where_there_are_enough(spare: int, huge: bool) -> None:
    """Seen by the kernel: the pages of a mapping, in /proc/self/smaps."""
    setting = Path("/proc/sys/vm/nr_hugepages")
    if not os.access(setting, os.W_OK):
        pytest.skip("this machine's number of huge pages may not be changed: /proc/sys is read-only")
    with setting.open() as locked:  # the machine has one, and whoever runs this test beside us changes it too
        fcntl.flock(locked, fcntl.LOCK_EX)
        before = int(setting.read_text())
        used = before - _free_huge_pages()
        setting.write_text(str(used + spare))
        try:
            if _free_huge_pages() != spare:
                pytest.skip("the kernel has no huge pages to give: its memory is in pieces")
            descriptor, found = regions.packet_memory(2 * regions.HUGE_PAGE)
            with mmap.mmap(descriptor, 2 * regions.HUGE_PAGE) as memory:
                memory[-1] = 1
                smaps = Path("/proc/self/smaps").read_text().split("xdpsec-umem")[1]
                assert ("KernelPageSize:     2048 kB" in smaps.split("VmFlags")[0]) == huge == found
            os.close(descriptor)
        finally:
            setting.write_text(str(before))


def _free_huge_pages() -> int:
    return next(int(line.split()[1]) for line in Path("/proc/meminfo").open() if line.startswith("HugePages_Free"))


def test_chunks_stay_within_a_page() -> None:
    assert regions.chunk_size([1500, 1500]) == 2048
    assert regions.chunk_size([1500, 3000]) == 4096


def test_nobody_can_pull_the_pages_from_under_another() -> None:
    """memfd_create(2): a mapping beyond the end is SIGBUS, in every worker at once."""
    descriptor = regions.memfd("test", 8192)
    for size in (0, 4096, 16384):
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, size)
    os.close(descriptor)
