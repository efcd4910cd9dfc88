"""One talk takes over from another (RFC 7296 sec. 2.8.3), begun by either side, again and again, on a wire that loses:
in the end one of them stands on both sides, with the children.

Fixed schedules are those that once ended with none; hypothesis draws others.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from pair import pair
from test_gates import House, Street, agree, connect, machines, street


@dataclass(frozen=True)
class Step:
    """After `pause` seconds one side wants its newest machine (`back` 0), or one before it, to do something."""

    pause: float
    side: str
    wish: str = "anew"
    back: int = 0


def wish(way: Street, house: House, step: Step) -> None:
    known = machines(house)
    if len(known) <= step.back:
        return
    number = known[-1 - step.back]
    if step.wish == "anew":
        house.gate.reauthenticate(number, way.now)
    elif step.wish == "ike":
        house.gate.wish(number, lambda machine: machine.rekey_ike(way.now))  # type: ignore[attr-defined]
    else:
        spi = next(iter(house.gate.machines[number].sa.children), 0)  # type: ignore[attr-defined]
        house.gate.wish(number, lambda machine: machine.rekey_child(spi, way.now))  # type: ignore[attr-defined]
    way.settle()


def play(steps: list[Step], seed: int, loss: float) -> Street:
    """The whole story, and ten minutes on a good wire after it."""
    chance, calm = random.Random(seed), [False]
    way = street()
    connect(way)
    way.run(6.0)
    way.lost = lambda data, path: not calm[0] and chance.random() < loss
    for step in steps:
        way.run(step.pause)
        wish(way, way.a if step.side == "a" else way.b, step)
    calm[0] = True
    way.run(600.0)
    return way


def judge(way: Street) -> None:
    agree(way)
    assert len(way.a.installed) == len(way.b.installed) == 1
    assert len(machines(way.a)) == len(machines(way.b)) == 1


SCHEDULES = {
    # the answer of IKE_AUTH comes so late that the talk was taken over and closed by the other side long before
    "late answer": ([Step(14.0, "b"), Step(20.0, "a"), Step(20.0, "b"), Step(10.0, "b", "ike")], 0.5),
    # within five seconds of each other for one side, and not for the other
    "edge": ([Step(14.0, "b"), Step(5.0, "a"), Step(0.005, "b")], 0.0),
    # first SPIs tell which talk goes, not those after a rekey
    "rekeyed": ([Step(0.0, "b"), Step(0.3, "a"), Step(9.8, "a", "ike"), Step(15.0, "a", "ike")], 0.5),
    # a talk that goes, or has gone, begins none anew
    "gone": ([Step(0.0, "b"), Step(5.0, "b"), Step(0.0, "a"), Step(20.0, "b", "anew", 1), Step(1.0, "a")], 0.0),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str) -> None:
    steps, loss = SCHEDULES[name]
    for seed in range(40 if loss else 1):
        judge(play(steps, seed, loss))


def test_who_connects_anew_without_end_has_few_at_once() -> None:
    """Each talk that was taken over stays for a while, but not hundreds of them."""
    both = pair()
    for _ in range(40):
        both.connect()
        both.run(0.2)
        assert sum(not one.sa.dead for one in both.b.machines if one.sas) <= 6
    both.run(120.0)
    both.agree()
    assert len(both.b.installed) == 1


STEPS = some.lists(
    some.builds(
        Step,
        some.sampled_from([0.0, 0.005, 0.01, 0.02, 0.3, 1.0, 4.9, 5.0, 5.1, 10.0, 20.0]),
        some.sampled_from("ab"),
        some.sampled_from(["anew", "anew", "anew", "ike", "child"]),
        some.sampled_from([0, 0, 1]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS, some.integers(0, 2**32), some.sampled_from([0.0, 0.1, 0.3, 0.5]))
def test_both_ends_keep_the_same(steps: list[Step], seed: int, loss: float) -> None:
    judge(play(steps, seed, loss))
