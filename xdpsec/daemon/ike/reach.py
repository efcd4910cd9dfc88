"""Who should be up and is not: when a peer is called, again and again if need be, and when a child is asked for.

A peer is called at start when a child wants that, with the first packet of a child, or when an operator says so. After
a failure it is called again, later each time. A child with a pair of SAs for each worker (RFC 9611) is as many wishes.
Knows no packet and no message.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xdpsec.config.values import Child, Config, Peer
from xdpsec.numbers import NotifyType

#: A peer that does not answer is called again after the first, then after twice as long, up to the last.
BACKOFF_FIRST, BACKOFF_LAST = 0.25, 60.0
#: Peers that are called in one turn at start, and seconds to the next.
AT_ONCE, BETWEEN_SECONDS = 32, 0.05
ON_START, ON_TRAFFIC = "on-start", "on-traffic"
#: The peer has no more for us: what is there must do.
ENOUGH = frozenset((NotifyType.TS_MAX_QUEUE, NotifyType.NO_ADDITIONAL_SAS))
#: A child by name, and the worker that it is for; None = whichever.
Wanted = tuple[str, int | None]


@dataclass(slots=True)
class _Peer:
    """`ikes`: machines that talk to it, True = established. `wanted`: somebody wants it to be up."""

    config: Peer
    ikes: dict[int, bool] = field(default_factory=dict)
    wanted: bool = False
    pause: float = field(default_factory=lambda: BACKOFF_FIRST)
    timer: asyncio.TimerHandle | None = None
    called: float = 0.0  # when last, by the loop's clock


@dataclass(slots=True)
class _Wish:
    """A pair of SAs of a child; `asked`: an exchange for it is under way. `enough`: the peer has no more for us
    in this talk."""

    child: Child
    worker: int | None
    wanted: bool = False
    asked: bool = False
    enough: bool = False
    pause: float = field(default_factory=lambda: BACKOFF_FIRST)
    timer: asyncio.TimerHandle | None = None

    @property
    def open(self) -> bool:
        return self.wanted and not self.asked and not self.enough


class Reach:
    """`connect(peer, wanted)` gives a machine's number; `open_child(ike, child, worker)` asks a machine; `up(child,
    worker)` says whether it carries packets."""

    def __init__(
        self,
        config: Config,
        connect: Callable[[str, Sequence[Wanted]], int],
        open_child: Callable[[int, Child, int | None], object],
        up: Callable[[int, int | None], bool],
    ) -> None:
        self._connect, self._open_child, self._up = connect, open_child, up
        self._loop = asyncio.get_running_loop()
        self._peers = {peer.name: _Peer(peer) for peer, _ in config.ike_peers}
        workers = config.gateway.workers
        self._wishes = {c.index: _wishes_of(c, workers) for peer, _ in config.ike_peers for c in peer.children}
        self._running = False
        self._starting: deque[str] = deque()

    def start(self) -> None:
        """Everybody who is to be up with the gateway, and who was wanted before."""
        self._running = True
        for wish in self._all():
            wish.wanted |= _start_of(wish.child) == ON_START
        self._starting = deque(dict.fromkeys(wish.child.peer for wish in self._all() if wish.wanted))
        self._start_some()

    def _start_some(self) -> None:
        """Thousands of calls in one turn would keep everybody else waiting."""
        for _ in range(min(AT_ONCE, len(self._starting))):
            self.want_peer(self._starting.popleft())
        if self._starting and self._running:
            self._loop.call_later(BETWEEN_SECONDS, self._start_some)

    def close(self) -> None:
        self._running = False
        timers = [*(one.timer for one in self._peers.values()), *(one.timer for one in self._all())]
        for timer in timers:
            if timer is not None:
                timer.cancel()

    def _all(self) -> list[_Wish]:
        return [wish for wishes in self._wishes.values() for wish in wishes]

    def _of_peer(self, peer: _Peer) -> list[_Wish]:
        return [wish for child in peer.config.children for wish in self._wishes[child.index]]

    # --- wants ---------------------------------------------------------------------------------------------------

    def acquire(self, index: int) -> None:
        """A packet waits. Only what its child allows."""
        wishes = self._wishes.get(index, [])
        if wishes and _start_of(wishes[0].child) in (ON_START, ON_TRAFFIC):
            self.want(index)

    def want(self, index: int) -> None:
        """The child, and its peer, are to be up from now on."""
        wishes = self._wishes[index]
        for wish in wishes:
            wish.wanted, wish.enough = True, False
        self.want_peer(wishes[0].child.peer)
        for wish in wishes:
            self._ask(wish)

    def want_peer(self, name: str) -> None:
        peer = self._peers[name]
        peer.wanted = bool(peer.config.remote)
        if peer.wanted and not peer.ikes and peer.timer is None:
            self._call(peer)

    def drop_peer(self, name: str) -> tuple[int, ...]:
        """Nobody wants it any more; the machines that talk to it."""
        peer = self._peers[name]
        peer.wanted = False
        if peer.timer is not None:
            peer.timer.cancel()
            peer.timer = None
        for wish in self._of_peer(peer):
            wish.wanted = False
        return tuple(peer.ikes)

    def machines(self, name: str) -> tuple[int, ...]:
        """Those that talk to it, or try to."""
        return tuple(self._peers[name].ikes)

    # --- what happens --------------------------------------------------------------------------------------------

    def came(self, name: str, ike: int) -> None:
        """An IKE SA with the peer is established."""
        peer = self._peers.get(name)
        if peer is None:
            return
        peer.ikes[ike] = True
        peer.pause = BACKOFF_FIRST
        for wish in self._of_peer(peer):  # those that were wanted after the call, or that a peer's call left out
            wish.enough = False
            self._wish_later(wish)

    def went(self, name: str, ike: int) -> None:
        """A machine is gone, whether it ever reached the peer or not."""
        peer = self._peers.get(name)
        if peer is None:
            return
        peer.ikes.pop(ike, None)
        if peer.ikes:
            return
        for wish in self._of_peer(peer):
            wish.asked = wish.enough = False
        if peer.wanted:
            self._later(peer)

    def failed(self, index: int, worker: int | None, notify: int) -> None:
        """An exchange for the child failed; its IKE SA stays."""
        for wish in self._wishes.get(index, []):
            if wish.worker == worker:
                wish.asked = False
                wish.enough = notify in ENOUGH and worker is not None
                self._wish_later(wish)

    def changed(self, index: int) -> None:
        """A pair of the child's SAs came up, or went."""
        for wish in self._wishes.get(index, []):
            if self._up(index, wish.worker):
                wish.asked = False
                wish.pause = BACKOFF_FIRST
            elif wish.worker is None or not wish.asked:
                wish.asked = False
                self._wish_later(wish)

    def established(self, name: str) -> int | None:
        """The machine of an established IKE SA with the peer, the newest."""
        return next((ike for ike, up in reversed(self._peers[name].ikes.items()) if up), None)

    def calling(self, name: str) -> tuple[tuple[int, float] | None, float | None]:
        """The machine that calls the peer now and for how many seconds; in how many it is called again. None = not."""
        peer, now = self._peers[name], self._loop.time()
        ike = next((ike for ike, up in peer.ikes.items() if not up), None)
        again = max(0.0, peer.timer.when() - now) if peer.timer is not None else None
        return (ike, now - peer.called) if ike is not None else None, again

    # --- below ---------------------------------------------------------------------------------------------------

    def _call(self, peer: _Peer) -> None:
        peer.timer = None
        if not peer.wanted or peer.ikes or not self._running:
            return
        missing = [w for w in self._of_peer(peer) if w.wanted and not self._up(w.child.index, w.worker)]
        for wish in missing:
            wish.asked = True
        wanted = [(wish.child.name, wish.worker) for wish in missing]
        peer.called = self._loop.time()
        peer.ikes[self._connect(peer.config.name, wanted)] = False

    def _later(self, peer: _Peer) -> None:
        if peer.timer is None and self._running:
            pause, peer.pause = peer.pause, min(peer.pause * 2, BACKOFF_LAST)
            peer.timer = self._loop.call_later(pause * random.uniform(0.75, 1.25), self._call, peer)

    def _wish_later(self, wish: _Wish) -> None:
        if wish.open and wish.timer is None and self._running:
            pause, wish.pause = wish.pause, min(wish.pause * 2, BACKOFF_LAST)
            wish.timer = self._loop.call_later(pause * random.uniform(0.75, 1.25), self._wish_due, wish)

    def _wish_due(self, wish: _Wish) -> None:
        wish.timer = None
        self._ask(wish)

    def _ask(self, wish: _Wish) -> None:
        """For a pair that an established IKE SA does not have."""
        ike = self.established(wish.child.peer)
        if wish.open and ike is not None and not self._up(wish.child.index, wish.worker):
            wish.asked = True
            self._open_child(ike, wish.child, wish.worker)


def _wishes_of(child: Child, workers: int) -> list[_Wish]:
    each = child.negotiated is not None and child.negotiated.per_worker and workers > 1
    return [_Wish(child, worker) for worker in (range(workers) if each else (None,))]


def _start_of(child: Child) -> str:
    return child.negotiated.start if child.negotiated is not None else ""
