"""A Linux kernel with ESP as an ordinary process: user-mode-linux on one end of a cable, driven over its serial line.

The guest's root is this machine's file system, read-only; what runs in it first is guest.py. Knows nothing of IPsec.
"""

from __future__ import annotations

import json
import secrets
import select
import socket
import time
from pathlib import Path
from typing import Any

from netns.rig.patience import HANG_SECONDS

from interop.ike.vici import Message, ViciError
from xdpsec.demo.lab import Lab, Process, run

KERNEL = Path("/usr/bin/linux.uml")  # the package user-mode-linux
MEMORY = "128M"
HERE = Path(__file__).parent.resolve()
#: Beside the other things that are built; /run may forbid to execute what lies there.
PRELOADED = HERE.parents[1] / "build" / "interop" / "ptrace_wide.so"
#: What the guest's serial line takes at once: a tty's buffer, which once full is not emptied any more.
LINE = 4095
#: Of a batch; quoting and the rest of the request come on top.
BATCH = 3000
#: On a busy machine the guest may miss that its line has something to read; one more byte wakes it.
NUDGE_SECONDS = 1.0
#: Added to a command's own limit: the guest answers late when its core is shared.
GRACE_SECONDS = 30.0


class GuestError(Exception):
    """The guest did not do what it was asked; the text is what it said."""


class Guest:
    """A running kernel whose vec0 is `interface` of `namespace`. It ends with the lab."""

    def __init__(self, lab: Lab, namespace: str, interface: str) -> None:
        self._log = lab.directory / f"{namespace}-{interface}.console"
        self._line, theirs = socket.socketpair()
        self._buffer = b""
        self._asked = 0
        self._process = _boot(lab, namespace, interface, theirs.fileno(), self._log)
        theirs.close()
        self._receive(HANG_SECONDS, nudged=False)  # until it is up, the line echoes
        self.release = self._ask("set_up", HANG_SECONDS, seed=secrets.token_hex(256))["release"]

    def run(self, *argv: str, text: str = "", timeout: float = 30.0, check: bool = True) -> str:
        """A command inside; its output. GuestError when it fails."""
        done = self._ask("run", timeout + GRACE_SECONDS, argv=argv, text=text, limit=timeout)
        if check and done["status"] != 0:
            raise GuestError(f"{' '.join(argv)}: {done['out'].strip()}")
        return str(done["out"])

    def ip(self, *lines: str) -> None:
        """Several `ip` commands, as many at once as the line takes."""
        batch = ""
        for line in lines:
            if len(batch) + len(line) > BATCH:
                self.run("ip", "-batch", "-", text=batch)
                batch = ""
            batch += f"{line}\n"
        self.run("ip", "-batch", "-", text=batch)

    def encapsulate(self, port: int) -> None:
        self._ask("encapsulate", GRACE_SECONDS, port=port)

    def serve(self, address: str, port: int) -> None:
        """A TCP echo server inside."""
        self._ask("serve", GRACE_SECONDS, address=address, port=port)

    def vici(self, path: str, command: str, message: Message, event: str, wait: float) -> list[Message]:
        """A command to the charon inside whose socket is at `path`; as in vici.ask."""
        more = {"path": path, "command": command, "message": message, "event": event, "limit": wait}
        try:
            return list(self._ask("vici", wait + GRACE_SECONDS, **more)["said"])
        except GuestError as error:
            raise ViciError(str(error)) from None

    def ask(self, address: str, port: int, source: str, size: int, timeout: float = 60.0) -> None:
        """`size` bytes by TCP to an echo server and back."""
        self._ask("ask", timeout, address=address, port=port, source=source, size=size)

    def _ask(self, verb: str, timeout: float, **more: Any) -> dict[str, Any]:
        self._asked += 1
        request = json.dumps({"verb": verb, "number": self._asked, **more}).encode() + b"\n"
        assert len(request) <= LINE, "the guest's serial line stops at more than its buffer"
        self._line.sendall(request)
        answer = self._receive(timeout)
        while answer["number"] != self._asked:  # to a question that we gave up
            answer = self._receive(timeout)
        if "error" in answer:
            raise GuestError(f"{verb}: {answer['error']}")
        return answer

    def _receive(self, timeout: float, nudged: bool = True) -> dict[str, Any]:
        """The next line of the guest that is ours: its getty-less line carries nothing else."""
        until = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            left = until - time.monotonic()
            ready = select.select([self._line], [], [], max(0.0, min(left, NUDGE_SECONDS) if nudged else left))[0]
            if not ready and nudged and left > NUDGE_SECONDS:
                self._line.sendall(b"\n")
                continue
            data = self._line.recv(65536) if ready else b""
            if not data:
                what = "ended" if ready else f"did not answer within {timeout:.0f} s"
                raise GuestError(f"the guest kernel {what}: {_tail(self._log)}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _boot(lab: Lab, namespace: str, interface: str, line: int, log: Path) -> Process:
    # the guest speaks on the cable by a packet socket: this end's own stack stays out of it
    lab.ip(namespace, "link", "set", interface, "promisc", "on")
    mac = json.loads(lab.inside(namespace, "ip", "-j", "link", "show", interface))[0]["address"]
    argv = [
        "env", f"LD_PRELOAD={preloaded()}", "TMPDIR=/dev/shm", str(KERNEL), f"mem={MEMORY}",
        "rootfstype=hostfs", "rootflags=/", "ro",
        f"init={HERE / 'guest.py'}", f"umid={namespace}", f"uml_dir={lab.directory}/",
        f"vec0:transport=raw,ifname={interface},depth=128,gro=0,mac={mac}",
        "con=null", "con0=null,fd:1", f"ssl0=fd:{line}", "quiet",
    ]  # fmt: skip
    return lab.start(namespace, argv, log, pass_fds=(line,))


def preloaded() -> Path:
    """ptrace_wide.c as a library, built when it is older than its source."""
    source = HERE / "ptrace_wide.c"
    if not PRELOADED.exists() or PRELOADED.stat().st_mtime < source.stat().st_mtime:
        PRELOADED.parent.mkdir(parents=True, exist_ok=True)
        run(["cc", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", "-o", str(PRELOADED), str(source)])
    return PRELOADED


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return " | ".join(lines[-3:]) or "it said nothing"
