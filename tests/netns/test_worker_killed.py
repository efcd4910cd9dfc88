"""A worker that is killed under traffic is replaced: its SAs go on with their next numbers, the other worker's flows do
not notice, and every packet that was lost is in a counter."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from netns.rig import books
from netns.rig.flows import Flows
from netns.rig.gateways import Gateway, kill
from netns.rig.patience import until
from netns.rig.sites import Pair, nonces, pair
from netns.rig.tap import Tap
from xdpsec.demo.topology import INSIDE, OUTSIDE

#: A hundred packets a second on each of sixteen ways: a gap of ten milliseconds shows.
RATE = 100.0
#: On each way, before a death and after it.
PACKETS = 100
#: What one worker has in its hands at most (`burst`): who dies in the midst of it tells nobody.
BURST = 64


@dataclass(frozen=True)
class Scene:
    pair: Pair
    tap: Tap
    flows: Flows


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with pair() as made, Tap(made.where.wan) as tap:
        made.start()
        with made.flows(RATE) as flows:
            flows.wait()
            yield Scene(made, tap, flows)


def ways_of(scene: Scene, worker: int) -> set[str]:
    """Names of the ways whose SAs are this worker's of gateway A."""
    children = scene.pair.a.ask("status")["children"]
    owned = {child["label"].rpartition("/")[2] for child in children if child["owner"] == worker}
    return {way.name for way in scene.flows.ways if way.name.split()[0] in owned}


@pytest.mark.parametrize("worker", [0, 1])
def test_only_its_own_flows_notice(scene: Scene, worker: int) -> None:
    gateway, own = scene.pair.a, ways_of(scene, worker)
    assert 0 < len(own) < len(scene.flows.ways)
    flows, since = scene.flows, time.monotonic()
    until(lambda: flows.sent_since(since) >= PACKETS, "packets before the death")
    before = gateway.ask("status")["workers"]
    kill([before[worker]["pid"]])
    death = time.monotonic()
    flows.wait()
    until(lambda: flows.sent_since(death) >= PACKETS, "packets after the death")
    end = time.monotonic()
    flows.wait(end)
    until(lambda: set(flows.lost(since, end)) <= own, lambda: f"{flows.lost(since, end)}: not of {own} alone")
    after = gateway.ask("status")["workers"]
    assert after[worker]["pid"] != before[worker]["pid"]
    assert after[worker]["restarts"] == before[worker]["restarts"] + 1
    assert after[1 - worker]["pid"] == before[1 - worker]["pid"]
    assert [row["state"] for row in after] == ["serving", "serving"]


def test_every_lost_packet_is_counted(scene: Scene, rounds: int) -> None:
    """After more deaths, at rest."""
    gateway, flows = scene.pair.a, scene.flows
    for number in range(2 * rounds):
        kill([gateway.ask("status")["workers"][number % 2]["pid"]])
        flows.wait()
    flows.pause()
    found: list[tuple[int, int, int]] = []  # (lost, counted, unsaid) at each look

    def told() -> bool:
        page = books.read(gateway)
        found.append((sum(flows.lost(0, time.monotonic()).values()), *account(gateway, page)))
        rest = all(page.redirected[port] == page.taken[port] + page.lost[port] for port in (OUTSIDE, INSIDE))
        rest &= all(page.given[port] == page.completed[port] for port in (OUTSIDE, INSIDE))
        lost, counted, unsaid = found[-1]
        return rest and lost == counted + unsaid and found[-2:-1] == found[-1:]

    until(told, lambda: f"lost, counted, unsaid: {found[-2:]}")
    lost, _, unsaid = found[-1]
    deaths = sum(row["restarts"] for row in gateway.ask("status")["workers"])
    assert deaths >= 2 * rounds
    assert 0 <= unsaid <= deaths * BURST
    assert lost > 0


def account(gateway: Gateway, page: books.Page) -> tuple[int, int]:
    """Drops by their counters, and what died in a worker's hands without a verdict."""
    door = gateway.ask("drops")["door"]
    counted = sum(door[port]["DROP_NO_WORKER"] for port in (OUTSIDE, INSIDE)) + sum(page.lost.values())
    counted += sum(count for verdict, count in page.verdicts.items() if verdict.startswith("DROP_"))
    return counted, sum(page.taken.values()) - sum(page.verdicts.values()) - page.held


def test_no_number_serves_twice(scene: Scene) -> None:
    until(lambda: len(nonces(scene.tap.frames())) > 1000, "numbers enough, where no other test ran before")
    assert scene.tap.lost() == 0
    counts = Counter(nonces(scene.tap.frames()))
    assert max(counts.values()) == 1
    assert all(record.twice == 0 for record in scene.flows.records)
