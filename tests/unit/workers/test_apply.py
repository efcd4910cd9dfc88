"""Words through the applier into a real core on memory ports: what the core keeps, what it sends, what it refuses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.layers.l2 import Ether

from xdpsec.channel import messages as words
from xdpsec.channel.framing import ChannelClosed, Wire
from xdpsec.workers import native, worker
from xdpsec.workers.apply import Applier, report
from xdpsec.workers.native import ffi, lib

CHUNKS, CHUNK, SLOTS = 4096, 2048, 8
KEY, AUTH = bytes(range(32)), bytes(range(100, 132))
OUTSIDE, INSIDE = 0, 1
PEER_MAC, OUR_MAC = "02:00:00:00:00:09", "02:00:00:00:00:01"


class Rig(NamedTuple):
    control: Wire
    wire: Wire
    worker: native.Worker
    applier: Applier
    slots: Any

    def say(self, *messages: words.Message) -> list[words.Message]:
        """Send, let the worker apply, and return what it answered."""
        for message in messages:
            self.control.send(message)
        while (received := self.wire.receive()) is not None:
            self.applier.apply(received)
        return self.heard()

    def heard(self) -> list[words.Message]:
        answers = []
        while (received := self.control.receive()) is not None:
            answers.append(received.message)
        return answers


@pytest.fixture
def rig() -> Iterator[Rig]:
    slot_size = ffi.sizeof("struct xs_sa_slot")
    state = bytearray(ffi.sizeof("struct xs_state_header") + SLOTS * slot_size)
    header = ffi.cast("struct xs_state_header *", ffi.from_buffer(state))
    header.version, header.slots, header.slot_size = lib.XS_STATE_VERSION, SLOTS, slot_size
    header.window_bits = lib.XS_WINDOW_DEFAULT
    pool = ffi.new("char[]", lib.xs_pool_size(CHUNKS))
    native.check(lib.xs_pool_format(pool, CHUNKS), "pool")
    umem = ffi.new("char[]", CHUNKS * CHUNK)
    counters = ffi.new("struct xs_counters *")
    conf = ffi.new("struct xs_worker_conf *", {"workers": 1, "umem_size": CHUNKS * CHUNK, "chunk_size": CHUNK})
    conf.umem, conf.pool, conf.counters = umem, pool, counters
    conf.state, conf.state_size, conf.burst = ffi.cast("void *", header), len(state), 64
    core = native.Worker(conf, [umem, pool, counters, header, state])
    for index, role in ((OUTSIDE, lib.XS_ROLE_OUTSIDE), (INSIDE, lib.XS_ROLE_INSIDE)):
        core.add_port(index, role, lib.XS_PORT_MEMORY, bytes.fromhex("020000000001"), 1500, "192.0.2.1", "")
    control, wire = Wire.pair()
    wire.wipe = native.wipe
    first = ffi.cast("char *", header) + ffi.sizeof("struct xs_state_header")
    yield Rig(control, wire, core, Applier(wire, core), ffi.cast("struct xs_sa_slot *", first))
    core.free()
    control.close()
    wire.close()


def selector() -> words.Selector:
    return words.Selector("10.1.0.0/16", "10.2.0.0/16")


def install(spi: int, outbound: bool, slot: int) -> words.SaInstall:
    return words.SaInstall(
        spi=spi, outbound=outbound, child=0, slot=slot, cipher="aes-cbc", auth="sha256", key=bytes(KEY),
        auth_key=bytes(AUTH), icv_len=16, esn=False, replay_window=4096, local="192.0.2.1", remote="192.0.2.2",
        encap_local=0, encap_remote=0, path_mtu=1500, selectors=(selector(),),
    )  # fmt: skip


def test_no_key_is_shown() -> None:
    """Whatever prints a message, such as the words of an error, prints none."""
    shown = repr(install(0x2001, True, 0))
    assert "spi=8193" in shown
    assert repr(bytes(KEY)) not in shown
    assert repr(bytes(AUTH)) not in shown


SNAPSHOT = (
    words.RouteReplace((words.Route("192.0.2.0/24", "", OUTSIDE), words.Route("10.1.0.0/16", "", INSIDE))),
    words.NextHop(OUTSIDE, "192.0.2.2", bytes.fromhex("020000000009")),
    words.PolicyReplace((words.Policy(selector(), 0, 0),)),
    install(0x2001, True, 0),
    install(0x1001, False, 1),
    words.SaUse(0, 0),
    words.SeqGrant(0, 1024),
    words.SeqGrant(1, 1024),
    words.Go(),
)


def put(rig: Rig, port: int, frame: bytes) -> None:
    native.check(lib.xs_memory_put(rig.worker._handle, port, frame, len(frame)), "put")
    lib.xs_worker_breathe(rig.worker._handle)


def take(rig: Rig, port: int) -> bytes:
    space = ffi.new("uint8_t[]", CHUNK)
    return bytes(ffi.buffer(space, lib.xs_memory_take(rig.worker._handle, port, space, CHUNK)))


def cleartext() -> Any:
    return IP(src="10.1.0.5", dst="10.2.0.9") / UDP(sport=1, dport=2) / b"inner"


def test_a_snapshot_is_acked_word_by_word_and_grants_reach_their_slots(rig: Rig) -> None:
    answers = rig.say(*SNAPSHOT)
    assert answers == [words.Ack(seq) for seq in (1, 3, 4, 5, 6, 9)]
    assert rig.applier.running
    assert (rig.slots[0].granted, rig.slots[1].granted) == (1024, 1024)
    assert rig.slots[0].next_seq == 1


def test_what_the_snapshot_says_is_what_crosses(rig: Rig) -> None:
    rig.say(*SNAPSHOT)
    put(rig, INSIDE, bytes(Ether(dst=OUR_MAC, src=PEER_MAC) / cleartext()))
    sealed = Ether(take(rig, OUTSIDE))
    assert (sealed.dst, sealed[IP].src, sealed[IP].dst, sealed[ESP].spi) == (PEER_MAC, "192.0.2.1", "192.0.2.2", 0x2001)
    sa = SecurityAssociation(
        ESP, spi=0x2001, crypt_algo="AES-CBC", crypt_key=KEY, auth_algo="SHA2-256-128", auth_key=AUTH,
        tunnel_header=IP(src="192.0.2.1", dst="192.0.2.2"),
    )  # fmt: skip
    opened = sa.decrypt(sealed[IP])
    assert (opened[IP].src, opened[IP].dst, opened[IP].ttl) == ("10.1.0.5", "10.2.0.9", 63)
    assert bytes(opened[UDP].payload) == b"inner"


def test_refusals_of_the_core_are_sentences(rig: Rig) -> None:
    rig.say(*SNAPSHOT)
    answers = rig.say(
        install(0x1001, False, 1),
        words.SaRemove(7),
        words.SaUse(0, 7),
        words.PolicyReplace((words.Policy(words.Selector("ten", "10.2.0.0/16"), 0, 0),)),
    )
    assert [bool(answer.error) for answer in answers if isinstance(answer, words.Ack)] == [True] * 4
    assert "0x1001" in getattr(answers[0], "error", "")


def test_policies_of_a_child_come_first_and_go_alone(rig: Rig) -> None:
    """RFC 4301 sec. 4.4.1: the SPD is ordered. Child 7 has no SA: its packets wait, and it is asked for."""
    rig.say(*SNAPSHOT)
    host, all_of_it = words.Selector("10.1.0.0/16", "10.2.0.9/32"), selector()
    frame = bytes(Ether(dst=OUR_MAC, src=PEER_MAC) / cleartext())
    for child, selectors, acquired in ((7, (host,), 7), (8, (all_of_it,), 8), (8, (), 7), (7, (), None)):
        assert not any(getattr(answer, "error", "") for answer in rig.say(words.PolicyFirst(child, 0, selectors)))
        put(rig, INSIDE, frame)
        report(rig.wire, rig.worker)
        asked = [word.child for word in rig.heard() if isinstance(word, words.Acquire)]
        assert asked == ([] if acquired is None else [acquired])
    assert Ether(take(rig, OUTSIDE))[ESP].spi == 0x2001


def test_a_removed_sa_is_gone_and_can_come_again(rig: Rig) -> None:
    rig.say(*SNAPSHOT)
    assert rig.say(words.SaRemove(0)) == [words.Ack(10)]
    put(rig, INSIDE, bytes(Ether(dst=OUR_MAC, src=PEER_MAC) / cleartext()))
    assert take(rig, OUTSIDE) == b""
    assert words.Ack(11) in rig.say(install(0x2001, True, 0))


def test_keys_are_wiped_from_the_message_and_from_the_bytes_it_came_in(rig: Rig) -> None:
    frames: list[bytes] = []

    def wipe(data: bytes) -> None:
        frames.append(data)
        native.wipe(data)

    rig.wire.wipe = wipe
    rig.control.send(install(0x2001, True, 0))
    received = rig.wire.receive()
    assert received is not None
    message = received.message
    assert isinstance(message, words.SaInstall)
    assert message.key == KEY
    rig.applier.apply(received)
    assert message.key == bytes(len(KEY))
    assert message.auth_key == bytes(len(AUTH))
    assert len(frames) == 2
    assert not any(KEY in frame or any(frame) for frame in frames)


def test_events_of_the_core_become_words(rig: Rig) -> None:
    rig.say(*SNAPSHOT, words.NextHop(OUTSIDE, "192.0.2.2", b""))
    put(rig, INSIDE, bytes(Ether(dst=OUR_MAC, src=PEER_MAC) / cleartext()))
    report(rig.wire, rig.worker)
    assert words.ResolveWanted(OUTSIDE, "192.0.2.2") in rig.heard()


def test_half_a_grant_asks_for_the_next(rig: Rig) -> None:
    rig.say(*SNAPSHOT[:6], words.SeqGrant(0, 4), words.SeqGrant(1, 4), words.Go())
    for _ in range(3):
        put(rig, INSIDE, bytes(Ether(dst=OUR_MAC, src=PEER_MAC) / cleartext()))
    report(rig.wire, rig.worker)
    assert rig.heard() == [words.GrantWanted(slot=0, number=2)]


def test_engines_are_named_for_each_sa(rig: Rig) -> None:
    rig.say(*SNAPSHOT)
    (answer,) = rig.say(words.SaQuery())
    assert isinstance(answer, words.SaEngines)
    assert {slot for slot, _ in answer.rows} == {0, 1}
    assert all(name in ("ipsec-mb", "openssl") for _, name in answer.rows)


def test_a_word_of_another_direction_ends_the_worker(rig: Rig) -> None:
    rig.control.send(words.Ready(0, 1))
    received = rig.wire.receive()
    assert received is not None
    with pytest.raises(KeyError):
        rig.applier.apply(received)


def test_the_loop_ends_with_stop_and_with_the_channel(rig: Rig) -> None:
    for message in (*SNAPSHOT, words.Stop()):
        rig.control.send(message)
    worker.serve(rig.wire, rig.worker)
    rig.control.close()
    with pytest.raises(ChannelClosed):
        worker.serve(rig.wire, rig.worker)


@pytest.mark.parametrize("text", ["", "192.0.2.1", "2001:db8::1"])
def test_addresses_cross_the_seam_and_come_back(text: str) -> None:
    row = ffi.new("struct xs_addr *")
    native.set_address(row, text)
    assert native.address_text(row) == text
    assert row.family == (ipaddress.ip_address(text).version if text else 0)
