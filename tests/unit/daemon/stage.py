"""A supervisor in a process of its own with a control that the test plays, in the namespace of the calling thread."""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from xdpsec.channel.framing import Received, Wire, close_all
from xdpsec.channel.messages import Done, Message, PortAttached, Ready
from xdpsec.net.door import CONTROL_MAPS

HERE = Path(__file__).parent
#: Starting a Python process on a busy machine takes seconds; whoever waits longer waits for nothing.
SECONDS = 60.0
FAKE_CONTROL, FAKE_WORKER = (str(HERE / "fake_control.py"),), (str(HERE / "fake_worker.py"),)
RUN = """
import importlib, json, sys
from xdpsec.daemon.supervisor import Programs, main
for name, value in json.loads(sys.argv[4]).items():
    setattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2], value)
python = (sys.executable, "-I")
sys.exit(main(sys.argv[1], Programs((*python, *json.loads(sys.argv[2])), (*python, *json.loads(sys.argv[3])))))
"""
CONFIG = """
[gateway]
outside = ["out0"]
inside = ["in0"]
workers = {workers}
user = "nobody"
run_dir = "{folder}/run"
state_dir = "{folder}/state"

[peers.b]
remote = "10.9.0.2"
children.lan = {{ local = ["10.1.0.0/16"], remote = ["10.2.0.0/16"], manual = {{ spi_in = 0x1001, spi_out = 0x2001, \
key_file = "{folder}/lan.keys" }} }}
"""


def write_config(folder: Path, workers: int = 2) -> Path:
    path = folder / "gw.toml"
    path.write_text(CONFIG.format(folder=folder, workers=workers))
    return path


@dataclass
class Supervisor:
    """The process, what it and its children write to stderr (line by line, from a thread), and the test as control.

    `constants`: dotted names of waiting times that a test shortens. `maps`: the door's, of the control met last."""

    config: Path
    control: Sequence[str] = FAKE_CONTROL
    worker: Sequence[str] = FAKE_WORKER
    environment: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    control_pid: int = 0
    maps: dict[str, int] = field(default_factory=dict)
    constants: dict[str, float] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                RUN,
                str(self.config),
                json.dumps(self.control),
                json.dumps(self.worker),
                json.dumps(self.constants),
            ],
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ) | self.environment,
        )
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._wire: Wire | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(SECONDS)
        if self._wire:
            self._wire.close()
        close_all(tuple(self.maps.values()))
        self._reader.join(SECONDS)

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr:
            for line in self.process.stderr:
                self._queue.put(line.rstrip())
        self._queue.put(None)

    # --- log -----------------------------------------------------------------------------------------------------

    def wait_line(self, *parts: str) -> str:
        """The next line of stderr with all `parts`."""
        while True:
            line = self._queue.get(timeout=SECONDS)
            assert line is not None, f"the supervisor ended without {parts}: {self.lines}"
            self.lines.append(line)
            if all(part in line for part in parts):
                return line

    def wait_event(self, event: str) -> dict[str, str]:
        """The fields of the next such event."""
        quoted = f'event="{event}"' if " " in event else f"event={event}"
        return dict(part.split("=", 1) for part in self.wait_line(quoted).split() if "=" in part)

    def so_far(self) -> list[str]:
        """Every line that has arrived; the next `wait_line` begins after them."""
        while not self._queue.empty():
            self.lines.append(self._queue.get() or "")
        return self.lines

    def end(self) -> tuple[int, str]:
        """Its status, and all that it said, once it is over."""
        status = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        return status, "\n".join(line for line in self.so_far() if line)

    # --- the test as control -------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        return self.config.parent

    def meet(self) -> int:
        """Speak through the control that runs now; its pid. Waits for it to be there."""
        if self._wire:
            self._wire.close()
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer.connect(str(self.folder / "run" / "control.sock"))
        self._wire = Wire(peer)
        ready, maps = self.hear()[1:]
        assert isinstance(ready, Ready)
        close_all(tuple(self.maps.values()))
        self.maps = dict(zip(CONTROL_MAPS, maps, strict=True))
        self.control_pid = ready.pid
        return ready.pid

    def hear(self) -> Received:
        """The next word of the supervisor. ChannelClosed when control is gone."""
        assert self._wire is not None
        while (received := self._wire.receive()) is None:
            if not select.select([self._wire], [], [], SECONDS)[0]:
                raise TimeoutError("no word from the supervisor")
        return received

    def say(self, message: Message) -> None:
        """A word to the supervisor; control keeps `Ready` to itself."""
        assert self._wire is not None
        self._wire.send(message)

    def ask(self, message: Message) -> Received:
        """The answer to a request; the caller closes the descriptors."""
        self.say(message)
        received = self.hear()
        assert isinstance(received.message, Done | PortAttached), received
        return received

    def do(self, message: Message) -> tuple[int, ...]:
        """A request that must succeed; its descriptors."""
        received = self.ask(message)
        assert getattr(received.message, "error", "") == ""
        return received.descriptors

    def refusal(self, message: Message) -> str:
        received = self.ask(message)
        close_all(received.descriptors)
        assert isinstance(received.message, Done)
        assert received.message.error
        return received.message.error

    def control_exits(self, status: int) -> None:
        self.say(Ready(status, 0))

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """What is done within, the supervisor finds done: every thread of it is stopped meanwhile."""
        self.signal(signal.SIGSTOP)
        try:
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
            yield
        finally:
            self.signal(signal.SIGCONT)


def wait_gone(pids: Sequence[int]) -> None:
    """Each process ends by itself."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            assert select.select([descriptor], [], [], SECONDS)[0], f"process {pid} lives on"
        finally:
            os.close(descriptor)
