"""A worker in reserve: a process that has imported everything and waits to be told which worker it is.

The start of Python and the imports are most of what it takes to replace a worker. Until it is told, it holds the
descriptors of every worker and runs nothing; then it closes what is not its own, and gives up privilege as any other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence

import structlog

from xdpsec.channel.framing import Wire
from xdpsec.channel.start import WorkerStart
from xdpsec.daemon.spawn import Child

#: Instead of a record: it comes by standard input.
LATER = "-"

events = structlog.get_logger()


class Standby:
    """`program` is argv of a worker but for the record; `start` makes the record of a worker, with a channel."""

    def __init__(self, program: Sequence[str], start: Callable[[int, int], WorkerStart], workers: int) -> None:
        self._program, self._start, self._workers = program, start, range(workers)
        self._reserve: tuple[Child, Wire, int] | None = None

    def prepare(self) -> None:
        """Unless one stands there. The ports are attached. Where it cannot start, there is none."""
        if self._reserve and self._reserve[0].alive:
            return
        self.close()
        ours, theirs = Wire.pair()
        number = theirs.fileno()
        try:
            child = Child([*self._program, LATER], tuple(self._descriptors(number)), asked=True)
        except OSError as error:
            ours.close()
            events.warning("no worker in reserve: one that dies is replaced more slowly", error=str(error))
            return
        finally:
            theirs.close()
        self._reserve = child, ours, number

    def _descriptors(self, channel: int) -> Iterable[int]:
        return dict.fromkeys(fd for worker in self._workers for fd in self._start(worker, channel).descriptors())

    def take(self, worker: int) -> tuple[Child, Wire] | None:
        """The one in reserve, as this worker from now on, and our end of its channel; None when there is none."""
        reserve, self._reserve = self._reserve, None
        if reserve is None:
            return None
        child, ours, number = reserve
        with contextlib.suppress(BrokenPipeError):
            if child.alive:
                child.tell(self._start(worker, number).to_json())
                return child, ours
        ours.close()
        return None

    def close(self) -> None:
        """It ends."""
        reserve, self._reserve = self._reserve, None
        if reserve:
            reserve[0].kill()
            reserve[1].close()
