"""Two sites under traffic, watched: a tap on the wan, one at host A, and flows on every child both ways, all the time.

It begins with the control run: neither door nor fence, and inner packets must be seen on the wan both ways. Only then
an empty tap means something.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from netns.rig.flows import Flows
from netns.rig.patience import HANG_SECONDS, until
from netns.rig.sites import Pair, leaked, nonces, pair
from netns.rig.spaces import packet
from netns.rig.tap import Frame, Tap
from xdpsec.demo.topology import OUTSIDE

#: Packets a second on each of the sixteen ways: enough that no gap of a tenth of a second is unseen.
RATE = 40.0
#: Packets sent on every way before nothing is believed to be seen where nothing is the expected.
QUIET_PACKETS = 40
FORGED = b"forged in the clear on the wan"


@dataclass
class World:
    """`served`: when both gateways first were ready; `clear`: the control run's inner frames by interface."""

    pair: Pair
    wan: Tap
    host: Tap
    flows: Flows
    clear: Counter[str]
    forged_in_control: bool
    served: float = 0.0

    def forge(self) -> None:
        """A packet that says it comes from a host of site b, in the clear, on the wan, for a host of site a."""
        where = self.pair.where
        frame = Ether(dst=self._mac(where.a.gateway, OUTSIDE), src=self._mac(where.wan, where.a.wan_port))
        frame /= IP(src=where.b.address(0), dst=where.a.address(0)) / UDP(sport=7, dport=7) / Raw(FORGED)
        with packet(where.wan, where.a.wan_port) as out:
            out.send(bytes(frame))

    def _mac(self, namespace: str, interface: str) -> str:
        text = self.pair.lab.inside(namespace, "cat", f"/sys/class/net/{interface}/address")
        return text.strip()

    def closed(self, since: float) -> None:
        """Nothing of the inside was on the wan since then, the taps saw everything, no forged packet came through, and
        there was something to leak."""
        assert not leaked(self.wan.frames(since), self.flows)
        assert self.wan.lost() == self.host.lost() == 0
        assert not [frame for frame in self.host.frames(since) if is_forged(frame)]
        assert all(record.sent[-1] > since for record in self.flows.records)

    def unique(self) -> None:
        """No (key, nonce) pair is on the wan twice, since the gateways first served."""
        counts = Counter(nonces(self.wan.frames(self.served)))
        repeated = [pair_ for pair_, count in counts.items() if count > 1]
        assert len(counts) > 1000, "a capture with next to no ESP proves nothing"
        assert not repeated, f"{len(repeated)} pairs of key and nonce twice, the first: {repeated[0]}"

    def quiet(self) -> None:
        """So much that packets could leak; one is forged meanwhile."""
        self.forge()
        since = time.monotonic()
        until(lambda: self.flows.sent_since(since) >= QUIET_PACKETS, "packets that could leak")


def is_forged(frame: Frame) -> bool:
    return FORGED in frame.raw


@contextmanager
def world(workers: int = 2) -> Iterator[World]:
    """After the control run, both gateways serving."""
    with pair(workers) as made, Tap(made.where.wan) as wan, Tap(made.where.a.host) as host, made.flows(RATE) as flows:
        flows.wait()
        clear = Counter(text.partition(":")[0] for text in leaked(wan.frames(), flows))
        watched = World(made, wan, host, flows, clear, False)
        watched.forge()
        host.wait(is_forged, HANG_SECONDS)
        watched.forged_in_control = True
        made.start()
        flows.wait()
        watched.served = time.monotonic()
        yield watched


def door(gateway: Any, interface: str, verdict: str) -> int:
    """A verdict counter of the door, as `xdpsec drops` has it."""
    return int(gateway.ask("drops")["door"][interface].get(verdict, 0))
