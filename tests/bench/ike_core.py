"""What the protocol core alone costs: gates and machines of both sides in one process, no socket, no worker, no log.

ike_core.py [CONNECTS] [--wide] [--profile responder|initiator]. CPU microseconds a connect and side, the best of a few.
For those who write machines; `make bench-ike` measures whole gateways.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import itertools
import os
import pstats
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ike_offers
from ike_book import DAY, _esp_offer, _ike_offer
from ike_people import GATEWAY_ID, LOCAL, Person

from xdpsec.ike import events, identities, settings
from xdpsec.ike.gate import Gate
from xdpsec.ike.v2.make import Machines

GATEWAY = "10.9.1.1"


@dataclass
class Host:
    """Also the book: a peer by its address."""

    peers: dict[str, settings.PeerSettings]
    limits: settings.Limits = field(default_factory=lambda: settings.Limits(cookie_rate=1e9))
    keylog: bool = False

    def __post_init__(self) -> None:
        self.book = self
        self.random = os.urandom
        self.wall = time.time
        self._spis = itertools.count(0x1000)
        self.names = {peer.name: peer for peer in self.peers.values()}

    def addresses(self, peer: str) -> tuple[str, ...]:
        return ()

    def new_spi(self, child: int, resource: int | None) -> int:
        return next(self._spis)

    def free_spi(self, spi: int) -> None:
        pass

    def by_name(self, name: str) -> settings.PeerSettings | None:
        return self.names.get(name)

    def by_address(self, path: events.Path) -> tuple[settings.PeerSettings, ...]:
        return (self.peers[path.remote if path.local == GATEWAY else path.local],)

    def by_identity(self, idi: Any, idr: Any, candidates: Any) -> tuple[settings.PeerSettings, ...]:
        return tuple(one for one in candidates if one.remote_id.matches(idi))


def sides(count: int, offer: list[ike_offers.Offer]) -> tuple[Host, Host]:
    """The gateway's host, then the peers'."""
    gateway, peers = {}, {}
    offers = tuple(map(_ike_offer, offer))
    narrow = tuple(map(_ike_offer, ike_offers.NARROW))
    children = tuple(map(_esp_offer, ike_offers.CHILD))
    for person in map(Person, range(count)):
        psk = person.psk.encode()
        common: dict[str, Any] = {
            "local_auth": settings.LocalAuth(psk=psk),
            "remote_auth": settings.RemoteAuth(psk=psk),
            "lifetime": DAY,
            "mobike": False,
        }
        here, there = (LOCAL,), (person.prefix,)
        gateway[person.address] = settings.PeerSettings(
            person.name, person.address, identities.parse_identity(GATEWAY_ID), identities.parse_rule(person.identity),
            children=(settings.ChildSettings("net", person.number, here, there, children, DAY),), local=GATEWAY,
            ike_offers=narrow, **common,
        )  # fmt: skip
        peers[person.address] = settings.PeerSettings(
            person.name, GATEWAY, identities.parse_identity(person.identity), identities.parse_rule(GATEWAY_ID),
            children=(settings.ChildSettings("net", person.number, there, here, children, DAY),), local=person.address,
            ike_offers=offers, **common,
        )  # fmt: skip
    return Host(gateway), Host(peers)


class Side:
    """One gate with its clock of CPU time."""

    def __init__(self, host: Host) -> None:
        self.gate = Gate(host, Machines())
        self.used = 0
        self.up = 0
        self.profile: cProfile.Profile | None = None

    def do(self, action: Callable[[], object], now: float) -> list[tuple[bytes, events.Path]]:
        """An action, the events after it with their answers, and what is to be sent."""
        began = time.process_time_ns()
        if self.profile:
            self.profile.enable()
        action()
        while (event := self.gate.next_event()) is not None:
            if isinstance(event, events.InstallInbound):
                self.gate.answer(event.ike, event.ticket, "", now)
            elif isinstance(event, events.UseOutbound):
                self.up += 1
            elif isinstance(event, events.IkeDown):
                raise SystemExit(event.text)
        out = self.gate.messages_to_send(now)
        if self.profile:
            self.profile.disable()
        self.used += time.process_time_ns() - began
        return out


def connect(gateway: Side, peers: Side, name: str, now: float) -> None:
    going, other = peers, gateway
    out = peers.do(lambda: peers.gate.connect(name, now, (("net", None),)), now)
    while out:
        going, other = other, going
        answers = []
        for data, path in out:
            back = events.Path(path.remote, path.remote_port, path.local, path.local_port)
            answers += going.do(partial(going.gate.receive, data, back, now), now)
        out = answers


def run(count: int, wide: bool, profiled: str) -> tuple[float, float]:
    """Microseconds a connect: responder, initiator."""
    hosts = sides(count + 50, ike_offers.WIDE if wide else ike_offers.NARROW)
    gateway, peers = map(Side, hosts)
    now = 100.0
    for number in range(count + 50):
        if number == 50:
            gc.collect()
            gc.freeze()
            gateway.used = peers.used = 0
            if profiled:
                (gateway if profiled == "responder" else peers).profile = cProfile.Profile()
        connect(gateway, peers, f"p{number}", now)
        now += 0.001
    if gateway.up != count + 50 or peers.up != count + 50:
        raise SystemExit(f"only {gateway.up} and {peers.up} of {count + 50} children are up")
    for side in (gateway, peers):
        if side.profile:
            pstats.Stats(side.profile, stream=sys.stdout).sort_stats("tottime").print_stats(45)
    return gateway.used / count / 1000, peers.used / count / 1000


def memory(count: int) -> float:
    """KiB of Python objects that a connect leaves behind, both sides together."""
    gateway, peers = map(Side, sides(count + 50, ike_offers.NARROW))
    for number in range(50):
        connect(gateway, peers, f"p{number}", 100.0)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(50, count + 50):
        connect(gateway, peers, f"p{number}", 100.0)
    gc.collect()
    return (tracemalloc.get_traced_memory()[0] - before) / count / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("connects", type=int, nargs="?", default=100)
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--profile", choices=("responder", "initiator"), default="")
    asked = parser.parse_args()
    runs = [run(asked.connects, asked.wide, asked.profile) for _ in range(1 if asked.profile else 12)]
    responder, initiator = (min(column) for column in zip(*runs, strict=True))
    print(f"responder {responder:.0f} us, initiator {initiator:.0f} us; {memory(200):.1f} KiB, both sides together")


if __name__ == "__main__":
    main()
