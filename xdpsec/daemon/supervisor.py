"""The supervisor: the one process with privilege. It holds what must outlive the others, starts them, replaces them.

It never parses a packet and reads no key. Order of a start: configuration, account, directories, lock, fence, memory
and door, control; control asks for the rest (requests.py). The fence stays whatever happens here.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvloop

from xdpsec.channel.framing import ChannelClosed, Received, Wire
from xdpsec.channel.hub import Peer
from xdpsec.channel.messages import Message, Stop, WorkerDied
from xdpsec.config import loader
from xdpsec.config.values import Config
from xdpsec.daemon import log, preflight
from xdpsec.daemon.barriers import Barriers
from xdpsec.daemon.holdings import Holdings
from xdpsec.daemon.lock import Lock
from xdpsec.daemon.notify import notify
from xdpsec.daemon.requests import Requests, pairs, spare
from xdpsec.daemon.rooms import Fence
from xdpsec.daemon.spawn import Child
from xdpsec.daemon.standby import Standby
from xdpsec.errors import LocalError, XdpsecError
from xdpsec.net import fence

#: Status of a process that said in one sentence what a person must mend: starting it again would not help.
ACT = 2
#: Control stops its workers and writes exact sequence numbers in well under a second; a disk that hangs takes longer.
STOP_SECONDS = 10.0
#: Whoever closed its channel is about to exit; a process that has not done so by then never will.
LAST_BREATH_SECONDS = 2.0
#: Pause before control is started again: short, since traffic rests meanwhile, and longer each time it fails again.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0

events = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Programs:
    """argv of control and of a worker, but for the record at its end."""

    control: Sequence[str] = (sys.executable, "-I", "-m", "xdpsec.daemon.control")
    worker: Sequence[str] = (sys.executable, "-I", "-m", "xdpsec.workers")


class Supervisor:
    """One gateway from the first control to the last."""

    def __init__(self, config: Config, holdings: Holdings, wall: Fence, programs: Programs) -> None:
        self._config, self._holdings, self._programs = config, holdings, programs
        self._requests = Requests(config, holdings, wall, self._spawn_worker, self._worker_serves)
        self._barriers = Barriers(wall, holdings, self._tell)
        self._workers: dict[int, Child] = {}
        self._standby = Standby(programs.worker, holdings.worker_start, config.gateway.workers)
        self._serving: set[int] = set()
        self._answers: set[asyncio.Task[None]] = set()
        self._jobs = asyncio.TaskGroup()  # what a request raises is a bug of ours: it ends us, loudly
        self._peer: Peer | None = None
        self._ready = False  # all workers served once: from then on a failure is waited out
        self._whole = False  # all workers of this control served at once
        self._again = False  # end with a status that has us started again

    async def run(self) -> int:
        """Exit status: 0 after a stop, 1 when it had to be forced or we are to be started again, 2 when a person must
        act."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with self._jobs:
            watch = self._jobs.create_task(self._watch(stop))
            try:
                status = await self._lives(stop)
                return max(status, 1) if self._again else status
            finally:
                watch.cancel()
                self._standby.close()

    async def _watch(self, stop: asyncio.Event) -> None:
        """Rings, sockets and all that was told to anybody are of the interface that was: only a new start helps."""
        port = await self._barriers.run()
        events.error("interface was made anew, ending to be started again", interface=self._holdings.interfaces[port])
        self._again = True
        stop.set()

    async def _lives(self, stop: asyncio.Event) -> int:
        """One control after the other."""
        pause = FIRST_PAUSE
        while True:
            self._serving.clear()
            self._whole = False
            status = await self._control(stop)
            if stop.is_set():
                return 0 if status == 0 else 1
            if status == ACT and not self._ready:
                return ACT
            if self._whole:
                pause = FIRST_PAUSE
            events.error("control ended", status=status, again_in_s=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
                return 0
            pause = min(pause * 2, LONGEST_PAUSE)

    # --- control ---------------------------------------------------------------------------------------------------

    async def _control(self, stop: asyncio.Event) -> int:
        """One control from start to end, and the end of its workers; its status."""
        ours, theirs = Wire.pair()
        start = self._holdings.control_start(theirs.fileno())
        control = Child([*self._programs.control, start.to_json()], start.descriptors())
        theirs.close()
        events.info("control started", pid=control.pid)

        def broken(reason: Exception) -> None:
            """End of file comes with its end, which it may take a moment for; other words are a bug of ours."""
            if isinstance(reason, ChannelClosed):
                asyncio.get_running_loop().call_later(LAST_BREATH_SECONDS, control.kill)
            else:
                events.error("control sent nonsense", error=str(reason))
                control.kill()

        self._peer = Peer(ours, self._requests.accepts, self._asked, broken)
        for breach in self._barriers.told():
            self._tell(breach)
        stopping = asyncio.create_task(self._stop(stop, control))
        status = await asyncio.shield(control.exited)
        stopping.cancel()
        self._peer.close()
        await asyncio.gather(*self._answers)  # a worker that is being replaced must not start after its peers' end
        await self._end_workers()
        return status

    async def _stop(self, stop: asyncio.Event, control: Child) -> None:
        await stop.wait()
        notify("STOPPING=1")
        events.info("stopping")
        self._tell(Stop())
        await asyncio.sleep(STOP_SECONDS)  # cancelled by control's end
        events.error("control does not stop", killed_after_s=STOP_SECONDS)
        control.kill()

    def _tell(self, word: Message) -> None:
        if self._peer and not self._peer.closed:
            with contextlib.suppress(ChannelClosed):
                self._peer.tell(word)

    def _asked(self, received: Received) -> None:
        task = self._jobs.create_task(self._answer(received, self._peer))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, received: Received, peer: Peer | None) -> None:
        answer, descriptors = await self._requests.answer(received)
        if peer:
            with contextlib.suppress(ChannelClosed):
                peer.tell(answer, descriptors, give=True)

    # --- workers ---------------------------------------------------------------------------------------------------

    async def _spawn_worker(self, worker: int) -> list[int]:
        """Start it, in place of one that still runs. Control's end of its channel, then its sockets, as duplicates."""
        await self._end_worker(worker)
        child, ours = self._standby.take(worker) or self._new_worker(worker)
        child.on_exit = lambda status: self._worker_ended(worker, child, status)
        self._workers[worker] = child
        events.info("worker started", worker=worker, pid=child.pid)
        return [ours.socket.detach(), *map(os.dup, self._holdings.sockets_of(worker))]

    def _new_worker(self, worker: int) -> tuple[Child, Wire]:
        ours, theirs = Wire.pair()
        start = self._holdings.worker_start(worker, theirs.fileno())
        child = Child([*self._programs.worker, start.to_json()], start.descriptors())
        theirs.close()
        return child, ours

    def _worker_serves(self, worker: int) -> None:
        if worker not in self._workers:
            raise LocalError(f"worker {worker} does not run")
        self._holdings.serve(worker)
        self._serving.add(worker)
        if len(self._serving) == self._config.gateway.workers:
            self._whole = True
            self._standby.prepare()
        if self._whole and not self._ready:
            self._ready = True
            events.info("ready", workers=len(self._serving))
            notify("READY=1")

    def _worker_ended(self, worker: int, child: Child, status: int) -> None:
        """Frames for it are counted drops before anybody hears of its death."""
        self._holdings.clear(worker)
        self._serving.discard(worker)
        if self._workers.get(worker) is not child:
            return  # we ended it ourselves
        del self._workers[worker]
        (events.warning if status else events.info)("worker ended", worker=worker, pid=child.pid, status=status)
        self._tell(WorkerDied(worker, status))

    async def _end_worker(self, worker: int) -> None:
        while child := self._workers.pop(worker, None):  # while we waited, another request may have started one
            child.kill()
            await asyncio.shield(child.exited)

    async def _end_workers(self) -> None:
        children = list(self._workers.values())
        self._workers.clear()  # none is reported as if it had died by itself
        for child in children:
            child.kill()
        for child in children:
            await asyncio.shield(child.exited)


# --- start -----------------------------------------------------------------------------------------------------------


def main(config_path: str, programs: Programs | None = None) -> int:
    """Run the gateway of a configuration file until it is told to stop; its exit status."""
    log.configure("supervisor")
    try:
        with contextlib.ExitStack() as opened:
            config, holdings, wall = _prepare(config_path, opened)
            supervisor = Supervisor(config, holdings, wall, programs or Programs())
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(supervisor.run())
    except (XdpsecError, OSError) as error:
        print(f"xdpsec: {error}", file=sys.stderr)
        return ACT
    except KeyboardInterrupt:  # before there was a loop to tell
        return 0


def _prepare(config_path: str, opened: contextlib.ExitStack) -> tuple[Config, Holdings, Fence]:
    """Everything up to control, in the order of the caption; what was opened is closed with `opened`."""
    preflight.check_root()
    cores = tuple(sorted(os.sched_getaffinity(0)))
    raw = loader.read(config_path)
    config = loader.parse_bytes(raw, config_path, cores)
    gc.freeze()  # it stays as long as we do
    account = preflight.account(config)
    directory = preflight.run_directory(Path(config.gateway.run_dir))
    preflight.state_directory(Path(config.gateway.state_dir), account, config.gateway.user)
    opened.callback(Lock(directory).close)
    if not preflight.in_memory(directory):
        events.warning("run_dir is on a disk: mount a tmpfs there, each packet writes to it", run_dir=str(directory))
    if not preflight.raise_limits():
        events.warning("memory cannot be locked: raise RLIMIT_MEMLOCK, keys may be swapped to a disk")
    wall = fence.Fence()
    wall.protect(pairs(config), spare(config))
    events.info("fence closed", pairs=len(pairs(config)))
    holdings = Holdings(config, raw, cores, account)
    opened.callback(holdings.close)
    events.info("memory for packets", mib=holdings.packets[0] >> 20, huge_pages=holdings.packets[1])
    return config, holdings, wall
