"""A supervisor and its workers for tests of control's rooms: all in one loop, over real channels. They do as told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from xdpsec.channel import messages as words
from xdpsec.channel.framing import Received, Wire, close_all
from xdpsec.channel.hub import Peer

ACKED = (
    words.SaInstall, words.SaRemove, words.SaUse, words.SaMove, words.PolicyReplace, words.PolicyFirst,
    words.RouteReplace, words.Go,
)  # fmt: skip
TOLD = (*ACKED, words.SeqGrant, words.PathMtu, words.NextHop, words.SaQuery, words.Stop)
SECONDS = 30


class Worker:
    """Acks everything, remembers it. `refuses`: SPIs that it will not install."""

    def __init__(self, index: int, wire: Wire, refuses: frozenset[int]) -> None:
        self.index, self.refuses = index, refuses
        self.heard: list[words.Message] = []
        self.ended = asyncio.Event()
        self.peer = Peer(wire, frozenset(TOLD), self._hear, lambda reason: self.ended.set())
        self.peer.tell(words.Ready(index, 4000 + index))

    def _hear(self, received: Received) -> None:
        message = received.message
        self.heard.append(message)
        if isinstance(message, words.SaQuery):
            installed = (word for word in self.heard if isinstance(word, words.SaInstall))
            self.peer.tell(words.SaEngines(received.seq, tuple((word.slot, "openssl") for word in installed)))
        elif isinstance(message, words.Stop):
            self.peer.close()
            self.ended.set()
        elif isinstance(message, ACKED):
            refused = isinstance(message, words.SaInstall) and message.spi in self.refuses
            self.peer.tell(words.Ack(received.seq, "no room" if refused else ""))

    def kinds(self) -> list[type]:
        return [type(message) for message in self.heard]


class Boss:
    """The supervisor's end. `control` is the other one, for who is tested. `mute` workers are never born."""

    def __init__(self) -> None:
        ours, self.wire = Wire.pair()
        accepts = frozenset({words.SpawnWorker, words.WorkerServes, words.SetNeighbour})
        self.peer = Peer(ours, accepts, self._hear, lambda reason: None)
        self.workers: dict[int, Worker] = {}
        self.births: list[int] = []
        self.serving: asyncio.Queue[int] = asyncio.Queue()
        self.kept: list[words.SetNeighbour] = []
        self.refuses: frozenset[int] = frozenset()
        self.stillborn = 0

    def _hear(self, received: Received) -> None:
        message = received.message
        if isinstance(message, words.SpawnWorker):
            self.births.append(message.worker)
            if self.stillborn:
                self.stillborn -= 1
                self.peer.tell(words.Done(received.seq, "no memory"))
                return
            ours, theirs = Wire.pair()
            self.workers[message.worker] = Worker(message.worker, ours, self.refuses)
            self.peer.tell(words.Done(received.seq), [theirs.socket.detach()], give=True)
            return
        if isinstance(message, words.WorkerServes):
            self.serving.put_nowait(message.worker)
        if isinstance(message, words.SetNeighbour):
            self.kept.append(message)
        self.peer.tell(words.Done(received.seq))

    async def serve(self, count: int) -> None:
        """Until so many workers more have their snapshots."""
        for _ in range(count):
            await self.serving.get()

    def kill(self, worker: int) -> None:
        self.workers[worker].peer.close()
        self.peer.tell(words.WorkerDied(worker, -9))

    def close(self) -> None:
        self.peer.close()
        for worker in self.workers.values():
            worker.peer.close()


def hear_all(heard: list[words.Message]) -> Callable[[Received], None]:
    def hear(received: Received) -> None:
        close_all(received.descriptors)
        heard.append(received.message)

    return hear


def run(test: Callable[[], Coroutine[Any, Any, None]] | Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        await asyncio.wait_for(test(), SECONDS)

    asyncio.run(within())
