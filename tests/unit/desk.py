"""A command line run to its end in this process, and a gateway's socket that answers it from a thread."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from gateway import FakeSource

from xdpsec.channel import operator as words
from xdpsec.cli import main
from xdpsec.daemon.operator import Desk, OperatorServer

#: The thread serves and ends at once; on a loaded machine that may take a while.
SECONDS = 60.0


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> Ran:
    """`xdpsec WORDS`."""
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["xdpsec", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main.main()
    printed = capsys.readouterr()
    code = ended.value.code
    return Ran(code if isinstance(code, int) else 0, printed.out, printed.err)


def sentence(ran: Ran, status: int, *parts: str) -> None:
    """It failed with `status` and one line on stderr that has every one of `parts`."""
    assert ran.status == status, ran
    assert ran.out == ""
    assert ran.err.startswith("xdpsec: ")
    assert ran.err.count("\n") == 1
    for part in parts:
        assert part in ran.err


def configuration(folder: Path, **gateway: object) -> Path:
    """A whole configuration in `folder`, run_dir too; `gateway` adds to [gateway] as written."""
    lines = "".join(f"{name} = {value}\n" for name, value in gateway.items())
    path = folder / "xdpsec.toml"
    path.write_text(
        f"""[gateway]
outside = ["out0"]
inside = ["in0"]
run_dir = "{folder}/run"
state_dir = "{folder}/state"
{lines}
[peers.branch]
remote = "203.0.113.7"
[peers.branch.children.lan]
local = ["10.1.0.0/16"]
remote = ["10.2.0.0/16"]
manual = {{ spi_in = 0x1001, spi_out = 0x2001, key_file = "{folder}/lan.keys" }}
"""
    )
    return path


def write_keys(path: Path, fill: str = "") -> None:
    """A right key file for aes256-sha256; `fill` is the first byte of the inbound encryption key in hexadecimal."""
    key = {
        name: (fill if name == "ie" and fill else os.urandom(1).hex()) + os.urandom(31).hex()
        for name in ("ie", "ii", "oe", "oi")
    }
    path.write_text(
        f'inbound = {{ encryption = "{key["ie"]}", integrity = "{key["ii"]}" }}\n'
        f'outbound = {{ encryption = "{key["oe"]}", integrity = "{key["oi"]}" }}\n'
    )
    path.chmod(0o600)


class Silent:
    """A desk that nobody asks."""

    def answer(self, question: object, seq: int, connection: object) -> words.Answer:
        raise AssertionError(question)

    def gone(self, connection: object) -> None:
        pass


@contextmanager
def answering(directory: Path, source: FakeSource, desk: Desk | None = None) -> Iterator[None]:
    """A gateway's operator socket in `directory`, served by a thread until the end; `desk` answers about peers."""
    directory.mkdir(exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(directory / "control.sock"))
    listener.listen()
    loop = asyncio.new_event_loop()
    started = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        server = OperatorServer(os.dup(listener.fileno()), source, desk or Silent(), clock=lambda: 160.0)
        started.set()
        await stop.wait()
        server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(SECONDS)
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(SECONDS)
        loop.close()
        listener.close()
        (directory / "control.sock").unlink()
