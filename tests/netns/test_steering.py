"""Each SA belongs to one worker, whatever the number of workers, and changes hands when that number does: every child
works after every restart, both ways, no number serves twice, and hardly a packet crosses from worker to worker."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from netns.rig.gateways import Gateway
from netns.rig.watch import RATE, World, world

#: What the issue allows: 1 of 100.
HANDOFF_SHARE = 0.01
#: With eight children of alike load.
LEAST_SHARE = {1: 1.0, 2: 0.25, 4: 0.1}


@pytest.fixture(scope="module")
def watched() -> Iterator[World]:
    with world(workers=2) as made:
        yield made


def change(watched: World, workers: int) -> None:
    for gateway in watched.pair.gateways:
        gateway.stop()
    watched.pair.set_workers(workers)
    watched.pair.start()


@pytest.mark.parametrize("workers", [4, 1, 2])
def test_every_sa_works(watched: World, workers: int) -> None:
    """From two workers to these, one after the other. The flows never stop, the keys never change."""
    since = time.monotonic()
    change(watched, workers)
    watched.flows.wait()
    watched.quiet()
    watched.closed(since)
    watched.unique()
    for gateway in watched.pair.gateways:
        check_shares(gateway, workers)


def check_shares(gateway: Gateway, workers: int) -> None:
    status, sas = gateway.ask("status"), gateway.ask("list-sas")
    rows = status["workers"]
    assert len(rows) == workers
    assert all(child["up"] for child in status["children"])
    owners = {sa["label"]: {other["worker"] for other in sas if other["label"] == sa["label"]} for sa in sas}
    assert all(len(found) == 1 for found in owners.values()), "a child's two SAs are with one worker"
    per_worker = Counter(worker for found in owners.values() for worker in found)
    assert sorted(per_worker) == list(range(workers))
    assert max(per_worker.values()) - min(per_worker.values()) <= 1
    packets = [row["packets_in"] for row in rows]
    assert min(packets) >= LEAST_SHARE[workers] * sum(packets)
    assert sum(row["handoff_sent"] for row in rows) <= HANDOFF_SHARE * sum(packets)


def test_frames_of_an_sa_reach_its_worker(watched: World) -> None:
    """By two counts that do not know each other: what each worker opened and sealed is what its SAs carried."""
    gateway = watched.pair.a
    change(watched, 4)
    watched.flows.wait()
    since = time.monotonic()
    watched.flows.pause()
    watched.flows.settle(since)
    watched.flows.close()
    before = carried(gateway), worked(gateway)
    with watched.pair.flows(RATE) as flows:
        flows.wait()
        flows.pause()
        flows.settle()
    after = carried(gateway), worked(gateway)
    by_sa, by_worker = (now - then for now, then in zip(after, before, strict=True))
    assert by_sa == by_worker
    assert len(by_sa) == 8, "four workers, both directions"


def carried(gateway: Gateway) -> Counter[tuple[int, str]]:
    """(worker, direction) -> packets of the SAs there."""
    sums: Counter[tuple[int, str]] = Counter()
    for sa in gateway.ask("list-sas"):
        sums[sa["worker"], sa["direction"]] += sa["packets"]
    return sums


def worked(gateway: Gateway) -> Counter[tuple[int, str]]:
    """(worker, direction) -> frames with the verdict that means success."""
    sums: Counter[tuple[int, str]] = Counter()
    for worker, verdicts in gateway.ask("drops")["workers"].items():
        sums[int(worker), "in"] = verdicts.get("DECRYPTED", 0)
        sums[int(worker), "out"] = verdicts.get("ENCRYPTED", 0)
    return sums
