"""The workers as control sees them: each is asked for, given its snapshot, put to serve, and replaced when it dies.

One task per worker, so that none waits for another. Knows no SA: what a worker is told comes from its owner.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog

from xdpsec.channel import messages as words
from xdpsec.channel.framing import ChannelClosed, Received, Wire, close_all
from xdpsec.channel.hub import ACK_SECONDS, PRIVILEGED_SECONDS, Peer, Refused, Reply
from xdpsec.metrics.values import DOWN, SERVING, STARTING, WorkerView
from xdpsec.workers import native

#: A worker that dies at once is asked for again after the first, then after twice as long, up to the last.
BACKOFF_FIRST, BACKOFF_LAST = 0.05, 5.0
#: A worker that served so long is replaced at once, and the backoff begins anew.
STEADY_SECONDS = 10.0
#: From its birth to Ready a worker imports Python modules and maps memory; on a loaded machine that takes seconds.
READY_SECONDS = 30.0
#: A worker that was told to stop finishes its burst and wipes its keys: microseconds, and a busy core.
STOP_SECONDS = 5.0

ACCEPTS = frozenset(
    {words.Ready, words.Ack, words.GrantWanted, words.ResolveWanted, words.Acquire, words.Exhausted, words.SaEngines}
    | {words.SaFirstUse, words.SaSoft, words.SaElsewhere}
)

log = structlog.get_logger()


class Member:
    """One worker, of this life or the next. `told`: it has its snapshot or is getting it; `over`: this life has ended;
    `gone`: its process uses no slot any more."""

    def __init__(self, index: int, core: int) -> None:
        self.index, self.core = index, core
        self.pid = 0
        self.state = DOWN
        self.restarts = 0
        self.peer: Peer | None = None
        self.sockets: tuple[int, ...] = ()
        self.told = False
        self.ready, self.over, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.served = asyncio.Event()  # in this life or one before
        self.gone.set()
        self.spawning: asyncio.Future[Reply] | None = None

    def view(self) -> WorkerView:
        return WorkerView(self.index, self.core, self.pid, self.state, self.restarts)

    def begin(self, sockets: Sequence[int]) -> None:
        for event in (self.ready, self.over, self.gone):
            event.clear()
        self.sockets, self.state = tuple(sockets), STARTING

    def end(self) -> None:
        """Everything that belonged to this life."""
        if self.peer is not None:
            self.peer.close()
        close_all(self.sockets)
        self.peer, self.sockets, self.pid, self.state, self.told = None, (), 0, DOWN, False
        self.ready.set()  # who waits for it sees that there is no peer
        self.over.set()


class Fleet:
    """`brief(worker, peer)` tells a worker everything before Go, beginning before it first waits;
    `on_word(worker, message)` hears what it reports."""

    def __init__(
        self,
        supervisor: Peer,
        cores: Sequence[int],
        brief: Callable[[int, Peer], Awaitable[None]],
        on_word: Callable[[int, words.Message], None],
    ) -> None:
        self._supervisor, self._brief, self._on_word = supervisor, brief, on_word
        self._stopping = False
        self.members = [Member(index, core) for index, core in enumerate(cores)]

    async def run(self) -> None:
        """Until cancelled: a task per worker. What it raises is a bug of ours."""
        async with asyncio.TaskGroup() as lives:
            for member in self.members:
                lives.create_task(self._live(member))

    async def all_served(self, seconds: float) -> None:
        """Until every worker has taken frames once, or so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for member in self.members:
                    await member.served.wait()

    def views(self) -> tuple[WorkerView, ...]:
        return tuple(member.view() for member in self.members)

    # --- words ---------------------------------------------------------------------------------------------------

    def tell(self, worker: int, message: words.Message) -> None:
        """To a worker that has its snapshot or is getting it; others will find it in theirs."""
        member = self.members[worker]
        if member.told and member.peer is not None and not member.peer.closed:
            with contextlib.suppress(ChannelClosed):
                member.peer.tell(message)

    def post(self, worker: int, message: words.Message) -> asyncio.Future[Reply] | None:
        """As `tell`, for words that are answered; None when the worker will find it in its snapshot."""
        member = self.members[worker]
        if not member.told or member.peer is None or member.peer.closed:
            return None
        try:
            return member.peer.post(message)
        except ChannelClosed:
            return None

    def tell_all(self, message: words.Message) -> None:
        for member in self.members:
            self.tell(member.index, message)

    def died(self, worker: int, status: int) -> None:
        """The supervisor reaped it."""
        member = self.members[worker]
        if member.spawning is not None and not member.spawning.done():
            return  # the one that is being replaced
        if not self._stopping:  # else it was to; how it ended, and the pid of one that never spoke, the supervisor says
            pid = {"pid": member.pid} if member.pid else {}
            log.warning("worker died", worker=worker, status=status, **pid)
        member.gone.set()
        member.end()

    def _hear(self, member: Member, received: Received) -> None:
        close_all(received.descriptors)
        if isinstance(received.message, words.Ready):
            member.pid = received.message.pid
            member.ready.set()
        else:
            self._on_word(member.index, received.message)

    def _lost(self, member: Member, reason: Exception) -> None:
        """The channel ended. At its end of file the worker has wiped its keys and exits; if what it said was wrong, it
        sees our end of file."""
        if isinstance(reason, ChannelClosed):
            member.gone.set()
        else:
            log.error("worker misspoke", worker=member.index, error=str(reason))
        member.end()

    # --- a life --------------------------------------------------------------------------------------------------

    async def _live(self, member: Member) -> None:
        loop = asyncio.get_running_loop()
        pause = BACKOFF_FIRST
        while True:
            began = loop.time()
            try:
                await self._bring_up(member)
                await member.over.wait()
            except (Refused, ChannelClosed, TimeoutError) as error:
                log.error("worker did not start", worker=member.index, error=str(error) or type(error).__name__)
                member.end()
            if self._supervisor.closed:
                return
            if loop.time() - began > STEADY_SECONDS:
                pause = BACKOFF_FIRST
            else:
                await asyncio.sleep(pause)
                pause = min(pause * 2, BACKOFF_LAST)
            member.restarts += 1

    async def _bring_up(self, member: Member) -> None:
        member.spawning = self._supervisor.post(words.SpawnWorker(member.index))
        reply = await self._supervisor.answer(member.spawning, PRIVILEGED_SECONDS)
        channel, *sockets = reply.descriptors
        member.begin(sockets)
        wire = Wire.from_descriptor(channel)
        wire.wipe = native.wipe
        peer = member.peer = Peer(wire, ACCEPTS, partial(self._hear, member), partial(self._lost, member))
        async with asyncio.timeout(READY_SECONDS):
            await member.ready.wait()
        if peer.closed:
            raise ChannelClosed("it ended before it was ready")
        member.told = True
        await self._brief(member.index, peer)
        await peer.call(words.Go(), ACK_SECONDS)
        await self._supervisor.call(words.WorkerServes(member.index), PRIVILEGED_SECONDS)
        if peer.closed:
            raise ChannelClosed("it ended before it served")
        member.state = SERVING
        member.served.set()
        log.info("worker serves", worker=member.index, pid=member.pid, core=member.core)

    # --- the end -------------------------------------------------------------------------------------------------

    async def stop(self) -> frozenset[int]:
        """After `run` was cancelled: every worker stops. The indices of those that use no slot any more."""
        self._stopping = True
        for member in self.members:
            if member.peer is not None:
                with contextlib.suppress(ChannelClosed):
                    member.peer.tell(words.Stop())
        waits = [asyncio.create_task(member.gone.wait()) for member in self.members]
        await asyncio.wait(waits, timeout=STOP_SECONDS)
        for wait in waits:
            wait.cancel()
        return frozenset(member.index for member in self.members if member.gone.is_set())
