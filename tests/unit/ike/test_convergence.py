"""Whatever both sides do at once and whatever the wire does to it, in the end they have the same SAs or none.

Hypothesis draws wishes of both sides with pauses between, and what becomes of each datagram. Then the wire is good for
ten minutes: the same children with keys in = the peer's keys out, one IKE SA or none, no SPI lost, nothing grown.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from pair import ESP_GCM, GCM, A, Pair, Side, child, established, mirrored, peer

from xdpsec.ike.events import Path
from xdpsec.ike.v2.sa import State
from xdpsec.numbers import Ke

WISHES = ("child", "child", "child", "ike", "ike", "open", "close", "move", "move", "restart", "end")
ADDRESSES = (A, "198.51.100.1", "198.51.100.2")  # of side a


@dataclass(frozen=True)
class Step:
    """After `pause` seconds one side wants something."""

    pause: float
    side: str
    wish: str


@dataclass
class Weather:
    """The wire's fate for each datagram, from one seed: lost, delayed so that others overtake it, or twice."""

    seed: int
    loss: float
    twice: float
    slow: float
    calm: bool = False

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def fate(self, number: int, sender: str, data: bytes) -> Iterable[float]:
        if self.calm:
            return (0.01,)
        if self.chance.random() < self.loss:
            return ()
        draw = self.chance.random
        copies = 2 if draw() < self.twice else 1
        return tuple(0.01 + (draw() * 3 if draw() < self.slow else 0) for _ in range(copies))


def wish(both: Pair, side: Side, what: str, chance: random.Random) -> None:
    """What an operator, a timer or a crash may do."""
    if what == "restart":
        side.restart()
        if side is both.a:
            both.connect()
        return
    if not side.machines or side.machine.done or side.sa.state != State.ESTABLISHED:
        return
    machine, now = side.machine, both.now
    spis = sorted(machine.sa.children)
    if what == "ike":
        machine.rekey_ike(now)
    elif what == "open":
        machine.open_child(side.peers[0].children[0].name, now)
    elif what == "end":
        machine.close(now)
    elif what == "move":
        machine.move(replace(machine.sa.path, local=chance.choice(ADDRESSES)), now)
    elif spis and what == "child":
        machine.rekey_child(chance.choice(spis), now)
    elif spis and what == "close":
        machine.close_child(chance.choice(spis), now)
    both.settle()


def _offers(groups: tuple[int, ...], extra: tuple[tuple[int, ...], ...] = ()) -> dict[str, Any]:
    esp = replace(ESP_GCM, ke=groups, extra=extra)
    return {"ike_offers": (replace(GCM, ke=groups, extra=extra),), "children": (child(offers=(esp,)),), "dpd": 30.0}


#: What both sides offer: the same; additional key exchanges; groups that make the first guess of one side wrong.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": (_offers((Ke.X25519,)), _offers((Ke.X25519,))),
    "hybrid": (_offers((Ke.X25519,), ((Ke.ML_KEM_768,), (Ke.ML_KEM_1024,))),) * 2,
    "guess": (_offers((Ke.X25519, Ke.ECP_256)), _offers((Ke.ECP_256,))),
}


#: As long as a request is repeated at all. In less time, a lost answer and four lost repetitions of its request leave
#: one side with a child of its own until that is rekeyed.
PATIENCE = 165.0


def play(steps: list[Step], weather: Weather, variant: str = "plain", lag: float = 0.0, flaky: float = 0.0) -> Pair:
    """The whole story; the pair as it is when all has calmed down."""
    ours, theirs = VARIANTS[variant]
    both = established(peer(**ours), mirrored(peer(**theirs)), children=8, proof=PATIENCE)
    both.wire.fate = weather.fate
    for side in (both.a, both.b):
        side.lag, side.flaky = lag, flaky
    chance = random.Random(weather.seed)
    for step in steps:
        both.run(step.pause)
        wish(both, both.side(step.side), step.wish, chance)
    weather.calm = True
    both.a.flaky = both.b.flaky = 0.0
    both.run(600.0)
    for _ in range(50):  # a probe of liveness may just be under way
        if any(sa.asking for side in (both.a, both.b) for one in side.machines for sa in one.sas):
            both.run(0.1)
    return both


def judge(both: Pair) -> None:
    """The same SAs on both ends or none, and nothing left over."""
    both.agree()
    alive = [[sa for one in side.machines for sa in one.sas if not sa.dead] for side in (both.a, both.b)]
    for mine, theirs in (alive, alive[::-1]):
        assert len(mine) <= 1
        assert [sa.state for sa in mine] == [State.ESTABLISHED] * len(mine)
        assert [(sa.spi_i, sa.spi_r, sa.sk_d) for sa in mine] == [(sa.spi_i, sa.spi_r, sa.sk_d) for sa in theirs]
    for mine, theirs in zip(*alive, strict=True):
        there = mine.path
        assert theirs.path == Path(there.remote, there.remote_port, there.local, there.local_port)
        for side, sa in ((both.a, mine), (both.b, theirs)):
            assert {one.path for one in side.installed.values()} <= {sa.path}
    for side, sas in zip((both.a, both.b), alive, strict=True):
        assert set(side.spis) == {sa.spi_local for sa in sas}
        assert {spi for sa in sas for spi in sa.children} == set(side.installed)
        assert side.lost() == set()
        for sa in sas:
            assert not any((sa.asking, sa.tasks, sa.rival, sa.expected, sa.renewing, sa.busy, sa.reassembly))
            assert not any(one.rekeying or one.deleting or one.successor for one in sa.children.values())
            ends = [sa.rekey_at, *(one.rekey_at for one in sa.children.values())]
            assert min(ends) > both.now  # it goes on from here
        for machine in side.machines:
            assert machine._waiting is None
            assert not machine._datagrams
            assert machine.done or not all(sa.dead for sa in machine.sas)


STEPS = some.lists(
    some.builds(
        Step,
        some.sampled_from([0.0, 0.0, 0.005, 0.01, 0.015, 0.02, 0.3, 0.5, 1.0, 5.0, 20.0]),
        some.sampled_from("ab"),
        some.sampled_from(WISHES),
    ),
    min_size=1,
    max_size=12,
)
WEATHER = some.builds(
    Weather,
    some.integers(0, 2**32),
    some.sampled_from([0.0, 0.0, 0.1, 0.4]),
    some.sampled_from([0.0, 0.2]),
    some.sampled_from([0.0, 0.3]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS, WEATHER, some.sampled_from(sorted(VARIANTS)), some.sampled_from([0.0, 0.0, 0.004, 0.3]))
def test_both_ends_converge(steps: list[Step], weather: Weather, variant: str, lag: float) -> None:
    judge(play(steps, weather, variant, lag))


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS, WEATHER, some.sampled_from(sorted(VARIANTS)))
def test_both_ends_converge_when_workers_refuse(steps: list[Step], weather: Weather, variant: str) -> None:
    judge(play(steps, weather, variant, 0.004, 0.3))
