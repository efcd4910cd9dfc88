"""Files read at start: many at once, in their order, and nothing stays open whatever comes between."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from hurry import hurry

from xdpsec.channel import messages as words
from xdpsec.channel.framing import Received, Wire, close_all
from xdpsec.channel.hub import Peer, Refused
from xdpsec.config.loader import parse
from xdpsec.config.values import Config
from xdpsec.daemon.ike import files
from xdpsec.errors import ConfigError

COUNT = files.AT_ONCE + 5
PEER = """[peers.p{n}]
remote = "198.51.100.{n}"
local_id = "hq"
remote_id = "p{n}"
auth = {{ psk_file = "{folder}/p{n}" }}
children.lan = {{ local = ["10.1.0.0/16"], remote = ["10.2.{n}.0/24"] }}
"""


def config(folder: Path) -> Config:
    head = '[gateway]\noutside = ["out0"]\ninside = ["in0"]\n'
    return parse(head + "".join(PEER.format(n=n, folder=folder) for n in range(COUNT)), "gw.toml", (0, 1))


class Supervisor:
    """Answers when the control side can do nothing but wait; `asked`: how many files each question was about."""

    def __init__(self, wire: Wire) -> None:
        self._peer = Peer(wire, frozenset({words.OpenFiles}), self._heard, lambda reason: None)
        self.asked: list[int] = []

    def _heard(self, received: Received) -> None:
        assert isinstance(received.message, words.OpenFiles)
        self.asked.append(len(received.message.paths))
        asyncio.get_running_loop().call_later(0.01, self._answer, received.seq, received.message.paths)

    def _answer(self, seq: int, paths: Sequence[str]) -> None:
        opened: list[int] = []
        for path in paths:
            try:
                opened.append(os.open(path, os.O_RDONLY))
            except OSError as error:
                close_all(opened)
                self._peer.tell(words.Done(seq, f"{path}: {error.strerror}"))
                return
        self._peer.tell(words.Done(seq), opened, give=True)

    def close(self) -> None:
        self._peer.close()


def against(folder: Path, test: Callable[[Peer, Supervisor], Awaitable[None]]) -> None:
    async def run() -> None:
        ours, theirs = Wire.pair()
        supervisor = Supervisor(theirs)
        peer = Peer(ours, frozenset({words.Done}), lambda received: None, lambda reason: None)
        gc.collect()  # what earlier tests left is closed now, not while we count
        before = len(os.listdir("/proc/self/fd"))
        await test(peer, supervisor)
        assert len(os.listdir("/proc/self/fd")) == before
        peer.close()
        supervisor.close()

    for n in range(COUNT):
        (folder / f"p{n}").write_text(f"secret {n}")
    hurry(run)


def test_many_are_asked_for_at_once_and_each_has_its_own(tmp_path: Path) -> None:
    async def test(peer: Peer, supervisor: Supervisor) -> None:
        found = await files.read_all(config(tmp_path), peer)
        assert found == {f"{tmp_path}/p{n}": f"secret {n}".encode() for n in range(COUNT)}
        assert supervisor.asked == [files.AT_ONCE, 5]

    against(tmp_path, test)


def test_the_first_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    async def test(peer: Peer, supervisor: Supervisor) -> None:
        for n in (files.AT_ONCE + 1, files.AT_ONCE + 3):
            (tmp_path / f"p{n}").unlink()
        with pytest.raises(Refused, match=f"p{files.AT_ONCE + 1}: No such file"):
            await files.read_all(config(tmp_path), peer)

    against(tmp_path, test)


def test_one_that_is_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(peer: Peer, supervisor: Supervisor) -> None:
        monkeypatch.setattr(files, "MAX_SIZE", 100)
        (tmp_path / "p3").write_bytes(bytes(101))
        with pytest.raises(ConfigError, match="p3"):
            await files.read_all(config(tmp_path), peer)

    against(tmp_path, test)
