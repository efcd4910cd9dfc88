"""Whatever dies, nothing of the inside is seen on the wan, and nothing forged on the wan gets inside.

Gateway A is mistreated while traffic runs on all children both ways. Every station forwards and has a route, so that
only door and fence stand in between: the control run shows what happens without them. Then traffic must flow again
with no number used twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from netns.rig import books
from netns.rig.gateways import kill
from netns.rig.links import detach, xdp_links
from netns.rig.watch import AGAIN_SECONDS, QUIET_SECONDS, World, door, world
from xdpsec.demo.topology import INSIDE, OUTSIDE


@pytest.fixture(scope="module")
def watched() -> Iterator[World]:
    with world() as made:
        yield made


def test_control_run(watched: World) -> None:
    """Without fence and door the same packets are seen on the wan, from both sites, and a forged one gets inside."""
    assert watched.clear[watched.pair.where.a.wan_port] > 0
    assert watched.clear[watched.pair.where.b.wan_port] > 0
    assert watched.forged_in_control


def quiet(watched: World) -> None:
    """Some time in which packets could leak; one is forged meanwhile."""
    watched.forge()
    time.sleep(QUIET_SECONDS)


def everything_killed(watched: World) -> None:
    watched.pair.a.kill()
    quiet(watched)
    watched.pair.a.start()


def both_gateways_killed(watched: World) -> None:
    for gateway in watched.pair.gateways:
        gateway.kill()
    quiet(watched)
    for gateway in watched.pair.gateways:
        gateway.start()


def supervisor_killed(watched: World) -> None:
    """Its death takes all others with it."""
    gateway = watched.pair.a
    others = [pid for pid in gateway.pids() if pid != gateway.supervisor]
    assert len(others) >= 3  # control and two workers
    kill([gateway.supervisor])
    gateway.gone(others)
    quiet(watched)
    gateway.start()


def control_killed(watched: World) -> None:
    kill([watched.pair.a.control()])
    quiet(watched)


def worker_killed(watched: World) -> None:
    kill([watched.pair.a.workers()[0]])
    quiet(watched)


def stopped(watched: World) -> None:
    assert watched.pair.a.stop() == 0
    quiet(watched)
    watched.pair.a.start()


def restarted(watched: World) -> None:
    watched.pair.a.stop()
    watched.pair.a.start()


def door_detached(watched: World) -> None:
    """One program taken off under the running gateway, then the other, then both: the kernel gets every frame there
    until the supervisor has put them back."""
    gateway = watched.pair.a
    links = sorted(xdp_links(gateway.supervisor))
    assert len(links) == 2
    for off in (links[:1], links[1:], links):
        for ifindex in off:
            detach(xdp_links(gateway.supervisor)[ifindex])
        watched.again(time.monotonic())
        quiet(watched)
    stand(watched, {f"door of {OUTSIDE}": 2, f"door of {INSIDE}": 2})


def fence_flushed(watched: World) -> None:
    """As a firewall that is loaded again does it; then everything dies, and only the fence is there."""
    gateway = watched.pair.a
    watched.pair.lab.inside(gateway.namespace, "nft", "flush", "ruleset")
    quiet(watched)
    stand(watched, {"fence": 1})
    gateway.kill()
    quiet(watched)
    gateway.start()


def stand(watched: World, gone: dict[str, int]) -> None:
    """Every barrier stands, and these were found gone at least so often, by the gateway's metrics."""
    samples = books.metrics(watched.pair.a)
    assert {s.value for s in samples if s.name == "xdpsec_barrier_stands"} == {1.0}
    found = {s.labels["barrier"]: s.value for s in samples if s.name == "xdpsec_barrier_gone_total"}
    assert all(found[name] >= times for name, times in gone.items()), found


def configuration_deleted(watched: World) -> None:
    gateway = watched.pair.a
    text = gateway.config.read_text()
    gateway.config.unlink()
    gateway.kill()
    said = gateway.refuse()
    assert str(gateway.config) in said
    assert "Traceback" not in said
    quiet(watched)
    gateway.config.write_text(text)
    gateway.start()


def children_removed(watched: World) -> None:
    """What a new configuration no longer has stays closed."""
    gateway = watched.pair.a
    text = gateway.config.read_text()
    first = text.index(".children.lan2]")
    # a clean stop: after a kill the numbers of a removed child are known by blocks only, and a quiet peer waits for one
    gateway.stop()
    gateway.config.write_text(text[: text.rindex("\n\n", 0, first)] + "\n")
    gateway.start()
    quiet(watched)
    gateway.stop()
    gateway.config.write_text(text)
    gateway.start()


EVENTS = (
    everything_killed, both_gateways_killed, supervisor_killed, control_killed, worker_killed, stopped, restarted,
    door_detached, fence_flushed, configuration_deleted, children_removed,
)  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_nothing_leaks(watched: World, rounds: int, event: Callable[[World], None]) -> None:
    for _ in range(rounds):
        since = time.monotonic()
        event(watched)
        watched.again(time.monotonic())
        watched.closed(since)
        watched.unique()


def test_forged_cleartext_is_a_counted_drop(watched: World) -> None:
    since, before = time.monotonic(), door(watched.pair.a, OUTSIDE, "DROP_CLEARTEXT")
    quiet(watched)
    assert door(watched.pair.a, OUTSIDE, "DROP_CLEARTEXT") == before + 1
    watched.closed(since)


def test_ping_after_kill_and_restart(watched: World) -> None:
    """Within five seconds, on every child, both ways."""
    pair = watched.pair
    pair.a.kill()
    began = time.monotonic()
    pair.a.start()
    for child in range(len(pair.children)):
        for site in (pair.where.a, pair.where.b):
            pair.ping(site, child)
    assert time.monotonic() - began < AGAIN_SECONDS
    watched.unique()
