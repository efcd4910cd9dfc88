"""A start, step by step, with a supervisor that the test plays: keys behind descriptors, SAs in their places, the door
told before a port opens, ports in the order of the configuration."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from crew import run

from xdpsec.channel import messages as words
from xdpsec.channel.framing import Received, Wire
from xdpsec.channel.hub import Peer, Refused
from xdpsec.config.loader import parse
from xdpsec.config.values import Config
from xdpsec.daemon import regions, setup
from xdpsec.daemon.requests import open_key_file
from xdpsec.daemon.slots import Slots
from xdpsec.errors import ConfigError, LocalError
from xdpsec.policy.slots import FREE
from xdpsec.workers import native

HEAD = """
[gateway]
outside = ["wan0", "wan1"]
inside = ["lan0"]
workers = 2
state_dir = "FOLDER/state"

[peers.b]
local = "192.0.2.1"
remote = "192.0.2.2"
"""
CHILD = """children.lan{n} = {{ local = ["10.1.{n}.0/24"], remote = ["10.2.{n}.0/24"], manual = {{ spi_in = {spi}, \
spi_out = {out}, key_file = "FOLDER/lan{n}.keys" }} }}
"""
KEYS = """inbound = {{ encryption = "{0}", integrity = "{1}" }}
outbound = {{ encryption = "{2}", integrity = "{3}" }}
"""
COUNT = 8


def write(folder: Path, count: int = COUNT) -> Config:
    """A configuration with so many children; each has keys of its own."""
    text = HEAD
    for n in range(count):
        text += CHILD.format(n=n, spi=0x1001 + n, out=0x2001 + n)
        file = folder / f"lan{n}.keys"
        file.touch(0o600)
        file.write_text(KEYS.format(*(os.urandom(32).hex() for _ in range(4))))
    (folder / "state").mkdir(exist_ok=True)
    return parse(text.replace("FOLDER", str(folder)), "gw.toml", (0, 1))


class Boss:
    """Answers what control asks at its start. `instead` answers a request, by its kind."""

    def __init__(self, instead: Mapping[type, Callable[[Any], tuple[str, Sequence[int]]]] | None = None) -> None:
        ours, theirs = Wire.pair()
        self.asked: list[words.Message] = []
        self._instead = instead or {}
        accepts = frozenset({words.OpenKeyFile, words.AttachPort})
        self.peer = Peer(ours, accepts, self._hear, lambda reason: None)
        accepts = frozenset({words.Done, words.PortAttached})
        self.control = Peer(theirs, accepts, lambda received: None, lambda reason: None)

    def _hear(self, received: Received) -> None:
        message, seq = received.message, received.seq
        self.asked.append(message)
        if type(message) in self._instead:
            error, descriptors = self._instead[type(message)](message)
            self.peer.tell(words.Done(seq, error), descriptors, give=True)
        elif isinstance(message, words.OpenKeyFile):
            self.peer.tell(words.Done(seq), open_key_file(message.path), give=True)
        elif isinstance(message, words.AttachPort):
            port = message.port
            answer = words.PortAttached(seq, port, 40 + port, bytes([2, 0, 0, 0, 0, port]), 1500, 2, "native", "copy")
            self.peer.tell(answer)


def with_boss(test: Callable[[Boss], Awaitable[None]], boss: Callable[[], Boss] = Boss) -> None:
    async def within() -> None:
        made = boss()
        try:
            await test(made)
        finally:
            made.peer.close()
            made.control.close()

    run(within)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Maps:
    """daemon.rooms.Maps that remembers."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.buckets: Sequence[int | None] = ()
        self.local: Mapping[str, int] = {}
        self.remote: Mapping[str, tuple[int, Sequence[int]]] = {}

    def set_buckets(self, owners: Sequence[int | None]) -> None:
        self.buckets = owners

    def set_addresses(self, addresses: Sequence[str]) -> None:
        raise AssertionError("addresses are the paths' to tell")

    def set_prefixes(self, local: Mapping[str, int], remote: Mapping[str, tuple[int, Sequence[int]]]) -> None:
        self.local, self.remote = local, remote

    def verdicts(self) -> Sequence[Sequence[int]]:
        raise AssertionError("nobody looks at a start")


def make_slots(folder: Path, count: int = 4 * COUNT) -> Slots:
    descriptor, slots = regions.open_state(folder / "sa_state", count, b"boot")
    made = Slots(descriptor, regions.state_size(slots))
    os.close(descriptor)
    return made


# --- keys ------------------------------------------------------------------------------------------------------------


def test_keys_are_read_once_and_only_the_markers_stay_open(tmp_path: Path) -> None:
    config = write(tmp_path, 3)

    async def test(boss: Boss) -> None:
        before = descriptors()
        keys = await setup.open_keys(config, boss.control)
        assert [type(word) for word in boss.asked] == [words.OpenKeyFile] * 3
        assert sorted(keys.pairs) == sorted(keys.markers) == sorted(str(tmp_path / f"lan{n}.keys") for n in range(3))
        text = (tmp_path / "lan1.keys").read_text()
        pair = keys.pairs[str(tmp_path / "lan1.keys")]
        assert bytes(pair.inbound.encryption).hex() in text.splitlines()[0]
        assert bytes(pair.outbound.encryption).hex() in text.splitlines()[1]
        assert descriptors() == before + 3

    with_boss(test)


def test_a_file_that_the_supervisor_should_not_have_given_is_refused(tmp_path: Path) -> None:
    """Owner and mode are looked at again, on the descriptor: what is shown to others is no key."""
    config = write(tmp_path, 1)

    def loose(message: words.OpenKeyFile) -> tuple[str, Sequence[int]]:
        opened = open_key_file(message.path)
        os.fchmod(opened[0], 0o644)
        return "", opened

    async def test(boss: Boss) -> None:
        with pytest.raises(ConfigError, match="mode 0644, open to others"):
            await setup.open_keys(config, boss.control)

    with_boss(test, lambda: Boss({words.OpenKeyFile: loose}))


def test_what_the_supervisor_refuses_ends_the_start_with_its_sentence(tmp_path: Path) -> None:
    config = write(tmp_path, 1)
    no = lambda message: ("ask somebody else", ())  # noqa: E731

    async def test(boss: Boss) -> None:
        with pytest.raises(Refused, match="ask somebody else"):
            await setup.open_keys(config, boss.control)
        with pytest.raises(Refused, match="ask somebody else"):
            await setup.attach(config, boss.control)

    with_boss(test, lambda: Boss({words.OpenKeyFile: no, words.AttachPort: no}))


# --- places ----------------------------------------------------------------------------------------------------------


def test_every_sa_has_its_worker_its_slot_and_a_block_on_disk(tmp_path: Path) -> None:
    config, slots = write(tmp_path), make_slots(tmp_path)

    async def test(boss: Boss) -> None:
        keys = await setup.open_keys(config, boss.control)
        made = setup.seat(config, keys, slots, 1.0)
        assert len(made.seats) == 2 * COUNT
        for slot, seat in made.seats.items():
            assert (seat.slot, slots.sa_ids()[slot]) == (slot, seat.sa.sa_id)
            assert seat.owner == made.owners[seat.sa.child], "both directions of a child on one worker"
            saved = made.ledger.saved(seat.sa.sa_id)
            assert saved is not None
            assert saved.end >= slots.numbers(slot).granted > slots.numbers(slot).used, "on disk before it is granted"
            if not seat.sa.outbound:
                assert made.table[native.bucket_of(seat.sa.spi)] == seat.owner, "where the door steers it"
        assert Counter(made.owners.values()) == {0: COUNT // 2, 1: COUNT // 2}
        again = setup.seat(config, await setup.open_keys(config, boss.control), slots, 2.0)
        assert {slot: seat.sa.sa_id for slot, seat in again.seats.items()} == {
            slot: seat.sa.sa_id for slot, seat in made.seats.items()
        }

    with_boss(test)


def test_slots_of_negotiated_sas_are_free_again(tmp_path: Path) -> None:
    """Their keys ended with the control that negotiated them."""
    config, slots = write(tmp_path, 1), make_slots(tmp_path, 4)

    async def test(boss: Boss) -> None:
        keys = await setup.open_keys(config, boss.control)
        first = setup.seat(config, keys, slots, 1.0)
        (free, *_) = slots.free()
        slots.take(free, b"n" * 16, 7, slots.numbers(next(iter(first.seats))), negotiated=True)
        setup.seat(config, keys, slots, 2.0)
        assert slots.sa_ids()[free] == FREE
        assert len(slots.free()) == 2

    with_boss(test)


def test_too_few_slots_are_one_sentence(tmp_path: Path) -> None:
    config, slots = write(tmp_path, 3), make_slots(tmp_path, 4)

    async def test(boss: Boss) -> None:
        keys = await setup.open_keys(config, boss.control)
        with pytest.raises(LocalError, match="4 slots, too few"):
            setup.seat(config, keys, slots, 1.0)

    with_boss(test)


def test_our_address_on_the_way_to_a_peer_or_a_sentence(namespace: None) -> None:
    assert setup.local_address("127.0.0.9") == "127.0.0.1"
    with pytest.raises(LocalError, match=r"no route leads to the peer 192\.0\.2\.2 .* add a route, or name our outer"):
        setup.local_address("192.0.2.2")


# --- door and ports --------------------------------------------------------------------------------------------------


def test_the_door_is_told_what_is_protected_and_by_whom(tmp_path: Path) -> None:
    config, slots = write(tmp_path), make_slots(tmp_path)

    async def test(boss: Boss) -> None:
        made = setup.seat(config, await setup.open_keys(config, boss.control), slots, 1.0)
        maps = Maps()
        setup.set_door(maps, config, made.table, made.owners)
        assert maps.buckets == made.table
        assert len(maps.buckets) == 256
        for child in config.children:
            (local,), (remote,) = child.local, child.remote
            bits, workers = maps.remote[remote]
            assert list(workers) == [made.owners[child.index]]
            assert maps.local[local] & bits == 1 << child.index
        assert not any(isinstance(word, words.AttachPort) for word in boss.asked)

    with_boss(test)


def test_ports_are_attached_outside_first_and_known_as_they_are(tmp_path: Path) -> None:
    config = write(tmp_path, 1)

    async def test(boss: Boss) -> None:
        ports = await setup.attach(config, boss.control)
        assert boss.asked == [words.AttachPort(0), words.AttachPort(1), words.AttachPort(2)]
        assert [(port.index, port.interface, port.outside) for port in ports] == [
            (0, "wan0", True), (1, "wan1", True), (2, "lan0", False),
        ]  # fmt: skip
        assert [(port.ifindex, port.mac[-1], port.mode, port.bind, port.queues, port.mtu) for port in ports] == [
            (40 + n, n, "native", "copy", 2, 1500) for n in range(3)
        ]

    with_boss(test)
