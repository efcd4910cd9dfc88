"""Network namespaces, veth pairs and processes in them, all removed again whatever happens.

Everything made here carries the lab's random prefix `xs-<hex>`; nothing outside the lab is touched, and processes
are stopped by the handle that started them. Knows nothing of IPsec.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

#: A process that was told to end gets this long before it is killed: a gateway writes its state in well under a second.
STOP_SECONDS = 10.0


class LabError(Exception):
    """A command of the lab failed; the text is its last line of output."""


def run(argv: Sequence[str], *, timeout: float = 30.0, check: bool = True, text_input: str | None = None) -> str:
    """Run a command to its end and return its standard output."""
    done = subprocess.run(
        list(argv), capture_output=True, text=True, timeout=timeout, input=text_input, check=False
    )
    if check and done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"{' '.join(argv)}: {words[-1] if words else f'exit {done.returncode}'}")
    return done.stdout


class Lab:
    """Owns namespaces and the processes in them; use it as a context manager."""

    def __init__(self) -> None:
        self.name = f"xs-{secrets.token_hex(2)}"
        self._namespaces: list[str] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        # tmpfs: the sa_state files of the gateways live below it, as /run/xdpsec does on a server
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir="/run"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def namespace(self, role: str) -> str:
        """Make a namespace and return its name."""
        name = f"{self.name}-{role}"
        run(["ip", "netns", "add", name])
        self._namespaces.append(name)
        for setting in ("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"):
            self.inside(name, "sysctl", "-qw", setting)
        self.ip(name, "link", "set", "lo", "up")
        return name

    def inside(self, namespace: str, *argv: str, timeout: float = 30.0, check: bool = True) -> str:
        """Run a command to its end inside a namespace."""
        return run(["ip", "netns", "exec", namespace, *argv], timeout=timeout, check=check)

    def ip(self, namespace: str, *argv: str) -> str:
        return run(["ip", "-n", namespace, *argv])

    def cable(self, left: tuple[str, str], right: tuple[str, str], queues: int = 1) -> None:
        """A veth pair between (namespace, interface) and (namespace, interface), both ends up."""
        count = str(queues)
        many = ["numrxqueues", count, "numtxqueues", count]
        run(
            ["ip", "-n", left[0], "link", "add", left[1], *many, "type", "veth"]
            + ["peer", "name", right[1], "netns", right[0], *many]
        )
        for namespace, interface in (left, right):
            # a veth sender leaves checksums to hardware that is not there; the worker would seal them unfilled
            self.inside(namespace, "ethtool", "-K", interface, "tx", "off")
            self.ip(namespace, "link", "set", interface, "up")

    def start(self, namespace: str, argv: Sequence[str], log: Path | None = None, **more: object) -> subprocess.Popen[bytes]:
        """Start a process inside a namespace, in a session of its own so that Ctrl-C reaches it by us alone."""
        sink: IO[bytes] | int = log.open("ab") if log else subprocess.DEVNULL
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *argv],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT if log else subprocess.DEVNULL,
            start_new_session=True,
            **more,  # type: ignore[call-overload]
        )
        if not isinstance(sink, int):
            sink.close()
        self._processes.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """End a process politely, then firmly; return its status."""
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            if process.poll() is None:
                process.kill()
        return process.wait()

    @contextlib.contextmanager
    def running(self, namespace: str, argv: Sequence[str], log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
        process = self.start(namespace, argv, log)
        try:
            yield process
        finally:
            self.stop(process)

    def leave_running(self) -> None:
        """Forget what was made, so that it stays; `remove` takes it away later by its name."""
        self._processes.clear()
        self._namespaces.clear()

    def close(self) -> None:
        """Remove everything, in reverse order; safe to call twice."""
        for process in reversed(self._processes):
            with contextlib.suppress(Exception):
                self.stop(process)
        self._processes.clear()
        for name in reversed(self._namespaces):
            with contextlib.suppress(Exception):
                run(["ip", "netns", "del", name])
        self._namespaces.clear()
