"""A second process for key work that would hold the interpreter: large MODP groups, RSA of 4,096 bits.

Forked, since control can start no program any more; it has control's account, no way to /proc, and ends with it. Jobs
and results are pickles over a socket pair, one job at a time, in order. What a job raises comes back as its result.
Jobs wait here, not there: one that nobody wants any more when its turn comes is not done.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import socket
import struct
from collections import deque
from collections.abc import Callable

import structlog

from xdpsec.errors import PeerError
from xdpsec.ike.events import Job
from xdpsec.numbers import NotifyType
from xdpsec.workers.native import lib

_LENGTH = struct.Struct("=I")
#: Behind ordinary processes, and far behind control, which must not wait for it where cores are few.
NICENESS = 10
#: Jobs that it has at once: the one that it does, and the next, so that it never waits for us.
AHEAD = 2

log = structlog.get_logger()
Done = Callable[[object], None]
Wanted = Callable[[], bool]


def _always() -> bool:
    return True


class Helper:
    """`run(job, done, wanted)`: `done` hears what the job returned, or the exception that it raised; nothing when
    `wanted` said no as the job's turn came. Made early, before control has secrets that the process would inherit."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Job, Done, Wanted]] = deque()
        self._given: deque[tuple[Job, Done]] = deque()  # to the process; the first is being done
        self.dropped = 0
        self._suspect: Job | None = None  # the one that it died of
        self._socket, self.pid = _fork()
        self._in, self._out = bytearray(), bytearray()
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def run(self, job: Job, done: Done, wanted: Wanted = _always) -> None:
        self._waiting.append((job, done, wanted))
        self._give()

    def _give(self) -> None:
        while self._waiting and len(self._given) < AHEAD:
            job, done, wanted = self._waiting.popleft()
            if wanted():
                self._given.append((job, done))
                self._send(job)
            else:
                self.dropped += 1

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()  # its end of file
        os.waitpid(self.pid, 0)

    def _send(self, job: Job) -> None:
        body = pickle.dumps(job)
        self._out += _LENGTH.pack(len(body)) + body
        self._writable()

    def _writable(self) -> None:
        try:
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            self._loop.add_writer(self._socket.fileno(), self._writable)
            return
        except OSError:
            return  # the reader sees its end
        self._loop.remove_writer(self._socket.fileno())

    def _readable(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            return self._again()
        self._in += data
        while (body := _take(self._in)) is not None:
            _, done = self._given.popleft()
            self._give()  # it goes on while we deal with what it did
            done(pickle.loads(body))
        return None

    def _again(self) -> None:
        """It died: another one, and what it had not done yet. A job that two died of is given up."""
        log.error("helper process ended", pid=self.pid, jobs=len(self._given) + len(self._waiting))
        if self._given:
            job, done = self._given[0]
            if job is self._suspect:
                self._given.popleft()
                done(PeerError("our helper process cannot do it", NotifyType.TEMPORARY_FAILURE))
            self._suspect = job
        self.close()
        self._in, self._out = bytearray(), bytearray()
        self._socket, self.pid = _fork()
        self._loop.add_reader(self._socket.fileno(), self._readable)
        for job, _ in list(self._given):
            self._send(job)
        self._give()


def _take(buffer: bytearray) -> bytes | None:
    """One whole message from the front."""
    if len(buffer) < _LENGTH.size:
        return None
    end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
    if len(buffer) < end:
        return None
    body = bytes(buffer[_LENGTH.size : end])
    del buffer[:end]
    return body


def _fork() -> tuple[socket.socket, int]:
    """Our end, and the process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    parent = os.getpid()
    pid = os.fork()
    if pid:
        theirs.close()
        ours.setblocking(False)
        return ours, pid
    try:
        keep = theirs.fileno()
        os.closerange(3, keep)
        os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # our end is control's
        if not lib.xs_guard_parent(parent):  # the death signal does not survive a fork
            os.nice(max(0, NICENESS - os.nice(0)))  # control's own preference is not inherited
            gc.freeze()
            _serve(theirs)
    finally:
        os._exit(0)  # nothing of control may run here: no handler, no destructor, no traceback with secrets


def _serve(wire: socket.socket) -> None:
    buffer = bytearray()
    while data := wire.recv(1 << 16):
        buffer += data
        while (body := _take(buffer)) is not None:
            try:
                result = pickle.loads(body).run()
                answer = pickle.dumps(result)
            except Exception as error:  # the peer's fault or a bug: either way it is the machine's to judge
                answer = pickle.dumps(error)
            wire.sendall(_LENGTH.pack(len(answer)) + answer)
