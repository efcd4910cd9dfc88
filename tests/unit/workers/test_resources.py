"""Two workers, one child: each sends by an SA of its own where it has one (RFC 9611), else by the owner's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import ESP
from scapy.layers.l2 import Ether
from test_apply import AUTH, CHUNK, CHUNKS, INSIDE, KEY, OUR_MAC, OUTSIDE, SLOTS, selector

from xdpsec.channel import messages as words
from xdpsec.channel.framing import Wire
from xdpsec.workers import native
from xdpsec.workers.apply import Applier, report
from xdpsec.workers.native import ffi, lib

#: SPI and slot of each worker's own SA.
OWN = ((0x2001, 0), (0x2002, 1))


class Two:
    """Both workers on the same memory, each with ports of its own; frames go from one to the other."""

    def __init__(self) -> None:
        slot_size = ffi.sizeof("struct xs_sa_slot")
        state = bytearray(ffi.sizeof("struct xs_state_header") + SLOTS * slot_size)
        header = ffi.cast("struct xs_state_header *", ffi.from_buffer(state))
        header.version, header.slots, header.slot_size = lib.XS_STATE_VERSION, SLOTS, slot_size
        header.window_bits = lib.XS_WINDOW_DEFAULT
        pool = ffi.new("char[]", lib.xs_pool_size(CHUNKS))
        native.check(lib.xs_pool_format(pool, CHUNKS), "pool")
        shared = [ffi.new("char[]", CHUNKS * CHUNK), pool, header, state, ffi.new("char[]", lib.xs_handoff_size(2))]
        self.workers = [self._worker(index, len(state), shared) for index in (0, 1)]
        self.wires = [Wire.pair() for _ in self.workers]
        self._appliers = [Applier(wire[1], core) for wire, core in zip(self.wires, self.workers, strict=True)]

    def _worker(self, index: int, state_size: int, shared: list[Any]) -> native.Worker:
        counters = ffi.new("struct xs_counters *")
        conf = ffi.new("struct xs_worker_conf *", {"index": index, "workers": 2, "umem_size": CHUNKS * CHUNK})
        conf.umem, conf.pool, conf.counters, conf.handoff = shared[0], shared[1], counters, shared[4]
        conf.state, conf.state_size = ffi.cast("void *", shared[2]), state_size
        conf.chunk_size, conf.burst = CHUNK, 64
        core = native.Worker(conf, [*shared, counters])
        for port, role in ((OUTSIDE, lib.XS_ROLE_OUTSIDE), (INSIDE, lib.XS_ROLE_INSIDE)):
            core.add_port(port, role, lib.XS_PORT_MEMORY, bytes.fromhex("020000000001"), 1500, "192.0.2.1", "")
        return core

    def say(self, worker: int, *messages: words.Message) -> None:
        """Every answer is an Ack without an error."""
        control, wire = self.wires[worker]
        for message in messages:
            control.send(message)
        while (received := wire.receive()) is not None:
            self._appliers[worker].apply(received)
        assert all(answer == words.Ack(answer.seq) for answer in self.heard(worker) if isinstance(answer, words.Ack))

    def heard(self, worker: int) -> list[words.Message]:
        report(self.wires[worker][1], self.workers[worker])
        said = []
        while (received := self.wires[worker][0].receive()) is not None:
            said.append(received.message)
        return said

    def send(self, worker: int) -> list[int]:
        """A packet of the child comes to this worker; the SPIs of what leaves by each worker's port, in order."""
        packet = IP(src="10.1.0.5", dst="10.2.0.9") / UDP(sport=1, dport=2)
        frame = bytes(Ether(dst=OUR_MAC) / packet)
        native.check(lib.xs_memory_put(self.workers[worker]._handle, INSIDE, frame, len(frame)), "put")
        for core in (self.workers[worker], self.workers[1 - worker]):
            lib.xs_worker_breathe(core._handle)
        space, left = ffi.new("uint8_t[]", CHUNK), []
        for core in self.workers:
            while length := lib.xs_memory_take(core._handle, OUTSIDE, space, CHUNK):
                left.append(Ether(bytes(ffi.buffer(space, length)))[ESP].spi)
        return left


@pytest.fixture
def two() -> Iterator[Two]:
    made = Two()
    snapshot = (
        words.RouteReplace((words.Route("192.0.2.0/24", "", OUTSIDE), words.Route("10.1.0.0/16", "", INSIDE))),
        words.NextHop(OUTSIDE, "192.0.2.2", bytes.fromhex("020000000009")),
        words.PolicyReplace((words.Policy(selector(), 0, owner=0),)),
        words.Go(),
    )
    for worker in (0, 1):
        made.say(worker, *snapshot)
    yield made
    for core in made.workers:
        core.free()
    for control, wire in made.wires:
        control.close()
        wire.close()


def give(two: Two, worker: int) -> None:
    spi, slot = OWN[worker]
    install = words.SaInstall(
        spi=spi, outbound=True, child=0, slot=slot, cipher="aes-cbc", auth="sha256", key=bytes(KEY),
        auth_key=bytes(AUTH), icv_len=16, esn=True, replay_window=64, local="192.0.2.1", remote="192.0.2.2",
        encap_local=0, encap_remote=0, path_mtu=1500, selectors=(selector(),),
    )  # fmt: skip
    two.say(worker, install, words.SeqGrant(slot, 1 << 40), words.SaUse(0, slot))


def test_each_worker_sends_by_its_own_sa_or_by_the_owners(two: Two) -> None:
    give(two, 0)
    assert two.send(0) == two.send(1) == [0x2001]
    give(two, 1)
    assert (two.send(0), two.send(1)) == ([0x2001], [0x2002])
    two.say(1, words.SaRemove(OWN[1][1]))
    assert two.send(1) == [0x2001]


def test_the_owner_alone_asks_for_an_sa_and_holds(two: Two) -> None:
    assert two.send(1) == two.send(0) == []
    assert (two.heard(0), two.heard(1)) == ([words.Acquire(0)], [])
    give(two, 1)  # an SA for one worker: what the owner holds is not this one's to send
    assert (two.send(1), two.send(0)) == ([0x2002], [])
    give(two, 0)
    assert two.send(0) == [0x2001] * 4
