"""One gateway for each run_dir: a lock that dies with its holder and names it, and how to stop that holder.

The lock is a POSIX record lock (fcntl(2)): F_GETLK says which process has it, so that a stale pid file harms nobody.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
from pathlib import Path

from xdpsec.errors import LocalError
from xdpsec.net.fence import Fence

NAME = "supervisor.pid"
#: struct flock of 64-bit Linux: type, whence, start, length, pid, padding.
FLOCK = struct.Struct("hhqqi4x")
#: Control gets 10 s to write its state and the supervisor kills what is left then; twice that is a hang.
STOP_SECONDS = 20.0


class Lock:
    """Held from construction to close or death. LocalError when another process has it."""

    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(directory / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = _holder(self._descriptor)
            os.close(self._descriptor)
            raise LocalError(
                f"another xdpsec (process {owner}) runs with run_dir {directory}; stop it, or give this one its own"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    def close(self) -> None:
        """The file stays: whoever opened it meanwhile must meet the same lock."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def holder(directory: Path) -> int:
    """The process that holds the lock of `directory`, 0 = nobody. LocalError when we may not look."""
    try:
        descriptor = os.open(directory / NAME, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise LocalError(f"{directory / NAME} cannot be opened ({error.strerror}); run this as root") from None
    try:
        return _holder(descriptor)
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> int:
    asked = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def stop(directory: Path, open_fence: bool) -> bool:
    """Stop the gateway whose run_dir is `directory`, if one runs, and wait for its end; then remove the fence when told
    so. Whether one ran. LocalError when it does not end, or may not be touched."""
    ran = _stop(directory)
    if open_fence:
        Fence().open()
    return ran


def _stop(directory: Path) -> bool:
    pid = holder(directory)
    if not pid:
        return False
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if holder(directory) != pid:  # its number may be another's by now
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(STOP_SECONDS * 1000):
            raise LocalError(f"xdpsec (process {pid}) did not end within {STOP_SECONDS:.0f} s; end it by kill -9 {pid}")
    except PermissionError:
        raise LocalError(f"xdpsec (process {pid}) cannot be stopped by this user; run this as root") from None
    finally:
        os.close(descriptor)
    return True
