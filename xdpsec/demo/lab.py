"""Network namespaces, veth pairs and processes in them, all removed again whatever happens.

Everything made here carries the lab's random name `xs-<hex>`, and removal goes by that name alone: what an interrupted
call left half made is found too, and nothing outside the lab is touched. Knows nothing of IPsec.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

#: A process that was told to end gets this long before it is killed: a gateway writes its state in well under a second.
STOP_SECONDS = 10.0
#: More than one round only when something started a process while the lab was being removed.
ROUNDS = 3
#: Ctrl-C, kill and a closed terminal.
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NAMES = re.compile(r"xs-[0-9a-f]{6}")
NAMESPACES = Path("/run/netns")
#: A lab's directory is in memory, as /run/xdpsec is on a server: each packet writes to sa_state. Where /run is a disk,
#: as in some containers, /dev/shm is none.
ROOTS = (Path("/run"), Path("/dev/shm"))

Process = subprocess.Popen[bytes]


class LabError(Exception):
    """A command of the lab failed; the text is its last line of output."""


def run(
    argv: Sequence[str],
    *,
    timeout: float = 30.0,
    check: bool = True,
    text_input: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a command to its end and return its standard output. `timeout` in seconds."""
    try:
        done = subprocess.run(
            list(argv), capture_output=True, text=True, timeout=timeout, input=text_input, env=environment, check=False
        )
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(argv)}: not done after {timeout:.0f} s") from None
    if check and done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"{' '.join(argv)}: {words[-1] if words else f'exit {done.returncode}'}")
    return done.stdout


class Lab:
    """Owns namespaces and the processes in them; use it as a context manager."""

    def __init__(self) -> None:
        self.name = f"xs-{secrets.token_hex(3)}"
        self.directory = _root() / self.name
        self._processes: list[Process] = []
        self._kept = False
        self.directory.mkdir()
        # others may pass through, for a gateway's user has its state below; the key files are closed by their own mode
        self.directory.chmod(0o711)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def namespace(self, role: str) -> str:
        """Make a namespace and return its name."""
        name = f"{self.name}-{role}"
        run(["ip", "netns", "add", name])
        self.inside(name, "sysctl", "-qw", *(f"net.ipv6.conf.{which}.disable_ipv6=1" for which in ("all", "default")))
        self.ip(name, "link", "set", "lo", "up")
        return name

    def inside(self, namespace: str, *argv: str, **more: Any) -> str:
        """`run` inside a namespace."""
        return run(["ip", "netns", "exec", namespace, *argv], **more)

    def ip(self, namespace: str, *argv: str) -> str:
        return run(["ip", "-n", namespace, *argv])

    def cable(self, left: tuple[str, str], right: tuple[str, str], queues: int = 1) -> None:
        """A veth pair between (namespace, interface) and (namespace, interface), both ends up."""
        count = str(queues)
        many = ["numrxqueues", count, "numtxqueues", count]
        peer = ["peer", "name", right[1], "netns", right[0], *many]
        self.ip(left[0], "link", "add", left[1], *many, "type", "veth", *peer)
        for namespace, interface in (left, right):
            # a veth sender leaves checksums to hardware that is not there; the worker would seal them unfilled
            self.inside(namespace, "ethtool", "-K", interface, "tx", "off")
            self.ip(namespace, "link", "set", interface, "up")

    def start(self, namespace: str, argv: Sequence[str], log: Path | None = None, **more: Any) -> Process:
        """Start a process inside a namespace, in a session of its own so that Ctrl-C reaches it by us alone."""
        sink: IO[bytes] | int = log.open("ab") if log else subprocess.DEVNULL
        settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": sink, "stderr": sink, **more}
        process = subprocess.Popen(["ip", "netns", "exec", namespace, *argv], start_new_session=True, **settings)
        self._processes.append(process)
        if not isinstance(sink, int):
            sink.close()
        return process

    def stop(self, process: Process) -> int:
        """End a process politely, then firmly; return its status."""
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            if process.poll() is None:
                process.kill()
        return process.wait()

    @contextlib.contextmanager
    def running(self, namespace: str, argv: Sequence[str], log: Path | None = None) -> Iterator[Process]:
        process = self.start(namespace, argv, log)
        try:
            yield process
        finally:
            self.stop(process)

    def leave_running(self) -> None:
        """Keep what was made; `remove` takes it away later by its name."""
        self._kept = True

    def close(self) -> None:
        """Remove everything; safe to call twice."""
        if self._kept:
            return
        with _undisturbed():
            remove(self.name)
            for process in self._processes:  # killed: nothing but the kernel can hold them up
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_SECONDS)
            self._processes.clear()


def remove(name: str) -> bool:
    """Remove the lab of that name: processes, namespaces, directory. False when there is none."""
    if not NAMES.fullmatch(name):
        raise LabError(f"{name!r} is no name of a lab; they look like xs-0a1b2c")
    namespaces = sorted(path.name for path in NAMESPACES.glob(f"{name}-*"))
    directories = [root / name for root in ROOTS if (root / name).exists()]
    found = bool(namespaces or directories)
    for _ in range(ROUNDS):
        pids = [pid for namespace in namespaces for pid in _pids(namespace)]
        if not pids:
            break
        _end(pids)
    for namespace in namespaces:
        run(["ip", "netns", "del", namespace])
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)
    return found


def _root() -> Path:
    """The first of ROOTS that is in memory."""
    return next((root for root in ROOTS if run(["stat", "-f", "-c", "%T", str(root)]).strip() == "tmpfs"), ROOTS[0])


def _pids(namespace: str) -> list[int]:
    # an interrupted `ip netns add` may leave a name without a namespace behind it
    return [int(word) for word in run(["ip", "netns", "pids", namespace], check=False).split()]


def _end(pids: Sequence[int]) -> None:
    """End processes, those first that lead a session: they are what `start` started, and end their children."""
    opened: dict[int, int] = {}
    leaders: set[int] = set()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            opened[pid] = os.pidfd_open(pid)
            if os.getsid(pid) == pid:
                leaders.add(pid)
    _signal([opened[pid] for pid in leaders], signal.SIGTERM)
    _signal(list(opened.values()), signal.SIGKILL)
    for descriptor in opened.values():
        os.close(descriptor)


def _signal(descriptors: Sequence[int], number: signal.Signals) -> None:
    """Send, then wait until all are gone, STOP_SECONDS at most."""
    for descriptor in descriptors:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
    until = time.monotonic() + STOP_SECONDS
    for descriptor in descriptors:
        select.select([descriptor], [], [], max(0.0, until - time.monotonic()))


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Without Ctrl-C and its like: removal takes a second or two, and half of it helps nobody."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
