"""The reader over real memfds: what C writes is what it says, live, and it cannot write."""

from __future__ import annotations

import mmap
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gateway import FakeSource, view
from prometheus_client import CollectorRegistry, generate_latest

from xdpsec.channel.framing import decode, encode
from xdpsec.daemon import answers, regions
from xdpsec.metrics.collector import Collector
from xdpsec.metrics.shared import Reader
from xdpsec.workers.native import ffi, lib

CHUNKS = 128


@dataclass
class Lab:
    reader: Reader
    counters: mmap.mmap
    state: mmap.mmap
    pool: mmap.mmap


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    state, slots = regions.open_state(tmp_path / "sa_state", 4, b"boot")
    made = regions.make(2, CHUNKS, 2048, state, slots)
    pool_size = lib.xs_pool_size(CHUNKS)
    writers = (
        mmap.mmap(made.counters, 2 * ffi.sizeof("struct xs_counters")),
        mmap.mmap(made.state, made.state_size),
        mmap.mmap(made.pool, pool_size),
    )
    reader = Reader(
        view=view, workers=2, counters_fd=made.counters, state_fd=made.state, state_size=made.state_size,
        pool_fd=made.pool, pool_size=pool_size, verdicts=lambda: [[1, 2], [3, 4]],
        sockets=lambda: [(0, 1, 2, 77)], statistics=lambda descriptor: {"rx_dropped": descriptor},
    )  # fmt: skip
    for descriptor in (made.umem, made.pool, made.state, made.counters, made.handoff, *made.wake):
        os.close(descriptor)  # the reader keeps none
    yield Lab(reader, *writers)
    reader.close()


def test_a_worker_is_read_from_its_own_block_while_it_writes(lab: Lab) -> None:
    memory = ffi.from_buffer(lab.counters)
    block = ffi.cast("struct xs_counters *", memory) + 1
    block.verdicts[lib.XS_V_COUNT - 1] = 9
    block.batches[7], block.batch_packets = 3, 400
    block.rx_packets[7], block.tx_bytes[0] = 5, 2**40
    block.cycles[lib.XS_STAGE_TX], block.heartbeat_ns = 6, 2**63
    first, second = lab.reader.counters()
    assert set(first.verdicts) == {0}
    assert second.verdicts == (*[0] * (lib.XS_V_COUNT - 1), 9)
    assert (second.batches[7], second.batch_packets) == (3, 400)
    assert (second.rx_packets[7], second.tx_bytes[0]) == (5, 2**40)
    assert (second.cycles[-1], second.heartbeat_ns) == (6, 2**63)
    block.batch_packets += 1
    assert lab.reader.counters()[1].batch_packets == 401
    ffi.release(memory)


def test_a_slot_is_read_whole_and_only_where_there_is_one(lab: Lab) -> None:
    memory = ffi.from_buffer(lab.state)
    at = regions.HEADER_SIZE + 3 * regions.SLOT_SIZE
    row = ffi.cast("struct xs_sa_slot *", ffi.cast("char *", memory) + at)
    row.next_seq, row.granted, row.top, row.floor = 11, 12, 13, 14
    row.packets, row.bytes, row.last_seen_ns, row.drops[5] = 15, 16, 17, 18
    found = lab.reader.slot(3)
    assert (found.next_seq, found.granted, found.top, found.floor) == (11, 12, 13, 14)
    assert (found.packets, found.bytes, found.last_seen_ns, found.drops[5]) == (15, 16, 17, 18)
    assert lab.reader.slot(2).packets == 0
    for absent in (-1, 4):
        with pytest.raises(IndexError, match="slots"):
            lab.reader.slot(absent)
    ffi.release(memory)


def test_the_pool_is_counted_by_owner(lab: Lab) -> None:
    whole = lab.reader.pool()
    assert (whole.chunks, whole.free, whole.kernel, whole.workers) == (CHUNKS, CHUNKS, 0, (0, 0))
    owners = len(lab.pool) - CHUNKS  # one owner byte per chunk ends the region
    lab.pool[owners : owners + 6] = bytes(
        [lib.XS_OWNER_KERNEL] * 3 + [lib.XS_OWNER_WORKER] + [lib.XS_OWNER_WORKER + 1] * 2
    )
    used = lab.reader.pool()
    assert (used.free, used.kernel, used.workers) == (CHUNKS - 6, 3, (1, 2))


def test_door_and_sockets_are_passed_on(lab: Lab) -> None:
    assert lab.reader.door() == ((1, 2), (3, 4))
    (socket,) = lab.reader.sockets()
    assert (socket.worker, socket.port, socket.queue, socket.counts) == (0, 1, 2, {"rx_dropped": 77})
    assert lab.reader.view().version == "0.1.0"


@pytest.mark.parametrize("how", ["ones", "zeroes", "chance"])
def test_whatever_a_worker_in_a_stranger_s_hands_writes_is_only_numbers(lab: Lab, how: str) -> None:
    """Headers, counts and slots too: what is read stays inside, and can be told to Prometheus and to the operator."""
    chance = random.Random(4301)
    for _ in range(20 if how == "chance" else 1):
        for region in (lab.counters, lab.state, lab.pool):
            size = len(region)
            region[:] = {"ones": b"\xff" * size, "zeroes": bytes(size)}.get(how) or chance.randbytes(size)
        assert lab.reader.pool().chunks == CHUNKS
        with pytest.raises(IndexError):
            lab.reader.slot(4)
        source = FakeSource(
            blocks=lab.reader.counters(),
            chunks=lab.reader.pool(),
            slots=dict(enumerate(map(lab.reader.slot, range(4)))),
        )
        registry = CollectorRegistry()
        registry.register(Collector(source))
        assert generate_latest(registry)
        said: tuple[Any, ...] = (
            *answers.status(source, 1, 200.0),
            *answers.sas(source, 1, 200.0),
            *answers.drops(source, 1),
        )
        for answer in said:
            assert decode(encode(answer, 1)) == (1, answer)


def test_the_reader_maps_everything_read_only(lab: Lab) -> None:
    """By the kernel's own list of our mappings: shared, readable, not writable."""
    writers = {id(region): region for region in (lab.counters, lab.state, lab.pool)}
    modes = [line.split()[1] for line in Path("/proc/self/maps").read_text().splitlines() if "memfd:xdpsec" in line]
    assert modes.count("r--s") == 2  # counters and pool; sa_state is a file
    assert modes.count("rw-s") == len(writers) - 1
