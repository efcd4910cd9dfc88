"""A gateway as its operator runs it, and everything that can be done to it: started, stopped, killed whole or in part,
rebooted. Started gateways are waited for by sd_notify(3), ended ones by their death. Knows nothing of IPsec.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netns.rig.patience import HANG_SECONDS
from xdpsec.channel import negotiation
from xdpsec.channel import operator as words
from xdpsec.cli import shapes
from xdpsec.cli.client import Client, run_dir
from xdpsec.demo.lab import Lab, Process, run
from xdpsec.demo.waiting import Notification

XDPSEC = str(Path(sys.executable).with_name("xdpsec"))
QUESTIONS: dict[str, tuple[Any, Any, Any]] = {
    "status": (words.StatusQuery(), words.Status, shapes.status),
    "list-sas": (words.SasQuery(), words.Sas, shapes.sas),
    "drops": (words.DropsQuery(), words.Drops, shapes.drops),
    "list-peers": (negotiation.PeersQuery(), negotiation.Peers, shapes.peers),
}
BOOT_ID = "/proc/sys/kernel/random/boot_id"


class GatewayError(Exception):
    """The gateway did not start; the text is the end of its log."""


class Gateway:
    """`config` lies in a directory of its own, which also takes the log and what the configuration puts there."""

    def __init__(self, lab: Lab, namespace: str, config: Path) -> None:
        self.namespace, self.config = namespace, config
        self.log = config.with_name("log")
        self._lab = lab
        self._boot = ""
        self._process: Process | None = None

    # --- life ------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def begin(self) -> Process:
        """Start it and wait for nothing."""
        assert not self.running, "it runs already"
        command = [XDPSEC, "run", "--config", str(self.config)]
        if self._boot:
            # `ip netns exec` gives a mount namespace of its own
            command = ["sh", "-c", f'mount --bind "{self._boot}" {BOOT_ID} && exec "$@"', "sh", *command]
        self._notification = Notification(self.config.with_name("notify"))
        self._process = self._lab.start(self.namespace, command, self.log, env=self._notification.environment)
        return self._process

    def start(self, limit: float = HANG_SECONDS) -> float:
        """Start it and wait until it says that it serves, at most `limit` seconds; the seconds that took."""
        began = time.monotonic()
        self.begin()
        self.ready(limit)
        return time.monotonic() - began

    def ready(self, limit: float = HANG_SECONDS) -> None:
        """After `begin`: wait until it says that it serves."""
        assert self._process is not None
        try:
            if not self._notification.wait(self._process, limit):
                raise GatewayError(f"{self.namespace} did not start:\n{self.tail(12)}")
        finally:
            self._notification.close()

    def refuse(self) -> str:
        """Start it, expect that it ends by itself with status 2, and return what it said."""
        before = len(self.log.read_text()) if self.log.exists() else 0
        process = self.begin()
        self._notification.close()
        status = process.wait(HANG_SECONDS)
        said = self.log.read_text()[before:]
        assert status == 2, f"status {status} instead of 2: {said}"
        return said

    def stop(self) -> int:
        """SIGTERM, as systemd does, and wait; its status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(HANG_SECONDS)

    def kill(self) -> None:
        """SIGKILL for every process at once; returns when all are gone."""
        pids = self.pids()
        kill(pids)
        if self._process is not None:
            self._process.wait(HANG_SECONDS)

    def reboot(self) -> None:
        """What a reboot leaves of a gateway that is dead: no tmpfs state, another boot id. The fence stands: the unit
        would have set it before the interfaces came up."""
        assert not self.running
        shutil.rmtree(self.config.with_name("run"), ignore_errors=True)
        self._boot = str(self.config.with_name("boot_id"))
        Path(self._boot).write_text(f"{uuid.uuid4()}\n")

    # --- processes -------------------------------------------------------------------------------------------

    @property
    def supervisor(self) -> int:
        assert self._process is not None
        return self._process.pid

    def pids(self) -> list[int]:
        """Every process in its namespace."""
        return [int(word) for word in run(["ip", "netns", "pids", self.namespace]).split()]

    def control(self) -> int:
        """The pid of control."""
        return next(pid for pid in self.pids() if b"xdpsec.daemon.control" in _command(pid))

    def workers(self) -> list[int]:
        """The pids of the workers, by index."""
        return [worker["pid"] for worker in self.ask("status")["workers"]]

    def gone(self, pids: Sequence[int]) -> int:
        """Wait until these, and the process itself, have ended by themselves; its status."""
        assert self._process is not None
        wait_gone(pids)
        return self._process.wait(HANG_SECONDS)

    # --- questions -------------------------------------------------------------------------------------------

    def ask(self, verb: str) -> Any:
        """What `xdpsec VERB --json` prints, without a new process each time; test_books compares the two."""
        question, kind, shape = QUESTIONS[verb]
        with Client(run_dir(self.config)) as client:
            return json.loads(json.dumps(shape(client.ask(question, kind))))

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Any command of the CLI in the gateway's namespace."""
        argv = ["ip", "netns", "exec", self.namespace, XDPSEC, *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=HANG_SECONDS, check=False)

    def tail(self, lines: int) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def kill(pids: Sequence[int]) -> None:
    """SIGKILL for all, then wait until the last is gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_gone(pids)


def wait_gone(pids: Sequence[int]) -> None:
    """Until all have ended, reaped or not."""
    until = time.monotonic() + HANG_SECONDS
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            gone = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]
            os.close(descriptor)
            assert gone, f"process {pid} has not ended within {HANG_SECONDS:.0f} s"


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
