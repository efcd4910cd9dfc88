"""Who should be up and is not: when a peer is called, again and again if need be, and when a child is asked for.

A peer is called at start when a child wants that, with the first packet of a child, or when an operator says so. After
a failure it is called again, later each time. Knows no packet and no message.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xdpsec.config.values import Child, Config, Peer

#: A peer that does not answer is called again after the first, then after twice as long, up to the last.
BACKOFF_FIRST, BACKOFF_LAST = 0.25, 60.0
ON_START, ON_TRAFFIC = "on-start", "on-traffic"


@dataclass(slots=True)
class _Peer:
    """`ikes`: machines that talk to it, True = established. `wanted`: somebody wants it to be up."""

    config: Peer
    ikes: dict[int, bool] = field(default_factory=dict)
    wanted: bool = False
    pause: float = field(default_factory=lambda: BACKOFF_FIRST)
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class _Child:
    config: Child
    wanted: bool = False
    asked: bool = False  # an exchange for it is under way
    pause: float = field(default_factory=lambda: BACKOFF_FIRST)
    timer: asyncio.TimerHandle | None = None


class Reach:
    """`connect(peer, children)` gives a machine's number; `open_child(ike, child)` asks a machine; `up(child)` says
    whether it carries packets."""

    def __init__(
        self,
        config: Config,
        connect: Callable[[str, Sequence[str]], int],
        open_child: Callable[[int, Child], object],
        up: Callable[[int], bool],
    ) -> None:
        self._connect, self._open_child, self._up = connect, open_child, up
        self._loop = asyncio.get_running_loop()
        self._peers = {peer.name: _Peer(peer) for peer, _ in config.ike_peers}
        self._children = {c.index: _Child(c) for peer, _ in config.ike_peers for c in peer.children}
        self._running = False

    def start(self) -> None:
        """Everybody who is to be up with the gateway, and who was wanted before."""
        self._running = True
        starting = [child for child in self._children.values() if _start_of(child.config) == ON_START]
        for child in starting:
            child.wanted = True
        for name in dict.fromkeys(child.config.peer for child in self._children.values() if child.wanted):
            self.want_peer(name)

    def close(self) -> None:
        self._running = False
        waiting = [*(one.timer for one in self._peers.values()), *(one.timer for one in self._children.values())]
        for timer in waiting:
            if timer is not None:
                timer.cancel()

    # --- wants ---------------------------------------------------------------------------------------------------

    def acquire(self, index: int) -> None:
        """A packet waits. Only what its child allows."""
        child = self._children.get(index)
        if child is not None and _start_of(child.config) in (ON_START, ON_TRAFFIC):
            self.want(index)

    def want(self, index: int) -> None:
        """The child, and its peer, are to be up from now on."""
        child = self._children[index]
        child.wanted = True
        self.want_peer(child.config.peer)
        self._ask(child)

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
        for child in self._children.values():
            if child.config.peer == name:
                child.wanted = False
        return tuple(peer.ikes)

    # --- what happens --------------------------------------------------------------------------------------------

    def came(self, name: str, ike: int) -> None:
        """An IKE SA with the peer is established."""
        peer = self._peers.get(name)
        if peer is None:
            return
        peer.ikes[ike] = True
        peer.pause = BACKOFF_FIRST
        for child in peer.config.children:  # those that were wanted after the call, or that a peer's call left out
            self._child_later(self._children[child.index])

    def went(self, name: str, ike: int) -> None:
        """A machine is gone, whether it ever reached the peer or not."""
        peer = self._peers.get(name)
        if peer is None:
            return
        peer.ikes.pop(ike, None)
        for child in self._children.values() if not peer.ikes else ():
            if child.config.peer == name:
                child.asked = False
        if peer.wanted and not peer.ikes:
            self._later(peer)

    def failed(self, index: int) -> None:
        """An exchange for the child failed; its IKE SA stays."""
        child = self._children.get(index)
        if child is not None:
            child.asked = False
            self._child_later(child)

    def changed(self, index: int) -> None:
        """The child came up, or a pair of its SAs went."""
        child = self._children.get(index)
        if child is None:
            return
        child.asked = False
        if self._up(index):
            child.pause = BACKOFF_FIRST
        elif child.wanted:
            self._child_later(child)

    def established(self, name: str) -> int | None:
        """The machine of an established IKE SA with the peer, the newest."""
        return next((ike for ike, up in reversed(self._peers[name].ikes.items()) if up), None)

    # --- below ---------------------------------------------------------------------------------------------------

    def _call(self, peer: _Peer) -> None:
        peer.timer = None
        if not peer.wanted or peer.ikes or not self._running:
            return
        missing = [self._children[child.index] for child in peer.config.children]
        missing = [child for child in missing if child.wanted and not self._up(child.config.index)]
        for child in missing:
            child.asked = True
        peer.ikes[self._connect(peer.config.name, [child.config.name for child in missing])] = False

    def _later(self, peer: _Peer) -> None:
        if peer.timer is None and self._running:
            pause, peer.pause = peer.pause, min(peer.pause * 2, BACKOFF_LAST)
            peer.timer = self._loop.call_later(pause * random.uniform(0.75, 1.25), self._call, peer)

    def _child_later(self, child: _Child) -> None:
        if child.wanted and not child.asked and child.timer is None and self._running:
            pause, child.pause = child.pause, min(child.pause * 2, BACKOFF_LAST)
            child.timer = self._loop.call_later(pause * random.uniform(0.75, 1.25), self._child_due, child)

    def _child_due(self, child: _Child) -> None:
        child.timer = None
        self._ask(child)

    def _ask(self, child: _Child) -> None:
        """For a child that an established IKE SA does not have."""
        index = child.config.index
        ike = self.established(child.config.peer)
        if child.wanted and not child.asked and ike is not None and not self._up(index):
            child.asked = True
            self._open_child(ike, child.config)


def _start_of(child: Child) -> str:
    return child.negotiated.start if child.negotiated is not None else ""
