"""A real worker process, started as the supervisor starts it: while it has an SA its memory holds the key, and once it
was told to drop the SA no byte of it is left anywhere in the process. Root reads /proc/PID/mem.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.rig.patience import HANG_SECONDS
from netns.rig.sites import pair
from xdpsec.channel import messages as words
from xdpsec.channel.framing import Wire
from xdpsec.channel.start import WorkerStart
from xdpsec.config.suites import SUITES, Suite
from xdpsec.daemon import regions

CHUNKS, CHUNK, SLOTS = 4096, 2048, 8
NOBODY = 65534
#: A piece this long does not stand in memory by chance.
PIECE = 16
CHUNK_READ = 1 << 20


class Worker:
    """The process, and control's end of its channel."""

    def __init__(self, process: subprocess.Popen[bytes], wire: Wire) -> None:
        self.process, self._wire, self.said = process, wire, 0

    def say(self, message: words.Message) -> words.Message:
        """Send and wait for the answer."""
        self._wire.send(message)
        self.said += 1
        return self.hear()

    def hear(self) -> words.Message:
        while (received := self._wire.receive()) is None:
            assert select.select([self._wire], [], [], HANG_SECONDS)[0], "the worker does not answer"
        return received.message


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One for all keys: what an earlier test left would be no later one's."""
    state, slots = regions.open_state(tmp_path_factory.mktemp("worker") / "sa_state", SLOTS, regions.boot_id())
    memory = regions.make(1, CHUNKS, CHUNK, state, slots)
    ours, theirs = Wire.pair()
    start = WorkerStart(
        worker=0, workers=1, core=-1, uid=NOBODY, gid=NOBODY, parent=os.getpid(), channel_fd=theirs.fileno(),
        umem_fd=memory.umem, umem_size=memory.umem_size, chunk_size=CHUNK, pool_fd=memory.pool, state_fd=memory.state,
        state_size=memory.state_size, counters_fd=memory.counters, handoff_fd=memory.handoff, wake_fds=(), burst=64,
        spin_us=0, hold=64, ports=(),
    )  # fmt: skip
    command = [sys.executable, "-m", "xdpsec.workers", start.to_json()]
    process = subprocess.Popen(command, pass_fds=start.descriptors())
    theirs.close()
    made = Worker(process, ours)
    try:
        assert isinstance(made.hear(), words.Ready)
        yield made
    finally:
        process.kill()
        process.wait()
        ours.close()
        for descriptor in (memory.umem, memory.pool, memory.state, memory.counters, memory.handoff, *memory.wake):
            os.close(descriptor)


def pieces_in(pid: int, key: bytes) -> int:
    """How many pieces of `key` stand in the writable memory of a process, at any place."""
    wanted = [key[at : at + PIECE] for at in range(0, len(key) - PIECE + 1, PIECE)]
    found = 0
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if match:
                found += sum(block.count(piece) for block in _blocks(memory.fileno(), match) for piece in wanted)
    return found


def _blocks(descriptor: int, match: re.Match[str]) -> Iterator[bytes]:
    """A mapping in blocks that overlap by a piece."""
    at, end = (int(text, 16) for text in match.groups())
    while at < end:
        with contextlib.suppress(OSError):  # a mapping that cannot be read holds nothing of ours
            yield os.pread(descriptor, min(CHUNK_READ, end - at), at)
        at += CHUNK_READ - PIECE + 1


def install(suite: Suite, key: bytes, auth_key: bytes, outbound: bool, engine: str) -> words.SaInstall:
    return words.SaInstall(
        spi=0x2001, outbound=outbound, child=0, slot=0, cipher=suite.cipher, auth=suite.auth, key=key,
        auth_key=auth_key, icv_len=suite.icv_len, esn=True, replay_window=4096, local="192.0.2.1", remote="192.0.2.2",
        encap_local=0, encap_remote=0, path_mtu=1500, selectors=(words.Selector("10.1.0.0/16", "10.2.0.0/16"),),
        engine=engine,
    )  # fmt: skip


@pytest.mark.parametrize("engine", ["ipsec-mb", "openssl"])
@pytest.mark.parametrize("outbound", [False, True], ids=["inbound", "outbound"])
@pytest.mark.parametrize(
    "name", ["aes128gcm16", "aes256-sha256", "aes256-sha512", "aes256ccm8", "aes192ctr-aescmac", "chacha20poly1305"]
)
def test_a_dropped_sa_leaves_no_key(worker: Worker, name: str, outbound: bool, engine: str) -> None:
    suite = SUITES[name]
    key, auth_key = secrets.token_bytes(suite.key_len), secrets.token_bytes(suite.auth_len)
    answer = worker.say(install(suite, key, auth_key, outbound, engine))
    assert isinstance(answer, words.Ack)
    assert answer.error == ""
    # the first round key of AES is the key (FIPS 197 sec. 5.2): the scan finds what is there
    assert pieces_in(worker.process.pid, key[:16]) > 0
    assert worker.say(words.SaRemove(0)) == words.Ack(worker.said)
    assert pieces_in(worker.process.pid, key[: len(key) // PIECE * PIECE]) == 0
    assert pieces_in(worker.process.pid, auth_key) == 0


def test_keys_of_a_live_gateway_are_with_their_worker() -> None:
    """Each key is in the memory of the worker that owns its SA, not in the other's, and never in the supervisor's."""
    with pair() as made:
        made.a.start()
        status = made.a.ask("status")
        pids = [row["pid"] for row in status["workers"]]
        owners = {row["label"].rpartition("/")[2]: row["owner"] for row in status["children"]}
        for child in made.children:
            for sa in (child.forth, child.back):
                key = bytes.fromhex(sa.key.encryption)[:PIECE]
                owner = owners[child.name]
                assert pieces_in(pids[owner], key) > 0
                assert pieces_in(pids[1 - owner], key) == 0
                assert pieces_in(made.a.supervisor, key) == 0
