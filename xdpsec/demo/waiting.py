"""Waiting for what a process says, by events and with an end: a line on a pipe, a notification on a socket."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from xdpsec.demo.lab import LabError, Process

CHUNK = 65536


class Lines:
    """Lines from a pipe, in order, each once."""

    def __init__(self, pipe: IO[bytes] | None, name: str) -> None:
        assert pipe is not None, "start the process with a pipe"
        self._descriptor = pipe.fileno()
        self._name = name
        self._rest = b""

    def take(self, wanted: Callable[[str], bool], seconds: float) -> tuple[list[str], bool]:
        """Every line up to the first that is wanted, or those of `seconds` without it; and whether it came. LabError
        when the process ended."""
        deadline = time.monotonic() + seconds
        lines: list[str] = []
        while True:
            while b"\n" in self._rest:
                raw, self._rest = self._rest.split(b"\n", 1)
                lines.append(raw.decode(errors="replace"))
                if wanted(lines[-1]):
                    return lines, True
            ready, _, _ = select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return lines, False
            data = os.read(self._descriptor, CHUNK)
            if not data:
                said = [*lines, self._rest.decode(errors="replace")]
                last = next((line for line in reversed(said) if line.strip()), "nothing")
                raise LabError(f"{self._name}: ended too early; its last word was: {last}")
            self._rest += data

    def until(self, wanted: Callable[[str], bool], seconds: float) -> list[str]:
        """The same, but LabError when it does not come."""
        lines, came = self.take(wanted, seconds)
        if not came:
            raise LabError(f"{self._name}: did not say what was waited for within {seconds:.0f} s")
        return lines


class Notification:
    """The socket behind NOTIFY_SOCKET, as systemd would hold it (sd_notify(3))."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the process that shall notify."""
        return {**os.environ, "NOTIFY_SOCKET": str(self._path)}

    def wait(self, process: Process, seconds: float) -> bool:
        """True once READY=1 came; False when the process ended or `seconds` went by without it."""
        deadline = time.monotonic() + seconds
        own, end = self._socket.fileno(), os.pidfd_open(process.pid)
        try:
            while True:
                ready, _, _ = select.select([own, end], [], [], max(0.0, deadline - time.monotonic()))
                if own not in ready:
                    return False
                if b"READY=1" in self._socket.recv(CHUNK).split(b"\n"):
                    return True
        finally:
            os.close(end)

    def close(self) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)
