"""A child process: started with the descriptors that it is given and nothing else, watched by its pidfd.

Knows no message. What a child gives up it gives up itself (workers/include/guard.h); its death ends with `exited`.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
from collections.abc import Callable, Sequence

#: Nothing of the supervisor's environment is a child's business (NOTIFY_SOCKET least of all).
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class Child:
    """One started process. `exited` gets its status, as Popen has it (negative: the signal), once it is reaped;
    `on_exit` is called with it then. One that is `asked` reads a line of its standard input."""

    def __init__(
        self,
        argv: Sequence[str],
        descriptors: Sequence[int],
        on_exit: Callable[[int], None] = lambda _: None,
        asked: bool = False,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.on_exit = on_exit
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._process = subprocess.Popen(
            argv,
            pass_fds=descriptors,
            stdin=subprocess.PIPE if asked else subprocess.DEVNULL,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,  # Ctrl-C is for the supervisor, which ends its children in order
        )
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._ended)

    @property
    def alive(self) -> bool:
        """As the kernel has it: the loop may hear of its end later."""
        if self.exited.done():
            return False
        ended = select.poll()
        ended.register(self._pidfd, select.POLLIN)
        return not ended.poll(0)

    def tell(self, line: str) -> None:
        """To one that is asked, once. BrokenPipeError when it is gone."""
        assert self._process.stdin
        with self._process.stdin as pipe:
            pipe.write(line.encode() + b"\n")

    def kill(self) -> None:
        """Firmly; safe after its end."""
        if not self.exited.done():
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _ended(self) -> None:
        self._loop.remove_reader(self._pidfd)
        status = self._process.wait()  # at once: the pidfd says that it is over
        os.close(self._pidfd)
        if self._process.stdin:
            self._process.stdin.close()
        self.exited.set_result(status)
        self.on_exit(status)
