"""What the operator is shown of a live gateway is what happened: pings counted exactly, by the CLI and by Prometheus'
endpoint alike, and a child's counters that never fall back while this boot lasts."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from netns.rig import books
from netns.rig.gateways import Gateway, kill
from netns.rig.patience import until
from netns.rig.sites import Pair, pair
from xdpsec.demo.lab import run

CHILD = 2
PINGS = 25
Metrics = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module")
def site() -> Iterator[Pair]:
    with pair() as made:
        made.start()
        yield made


def scrape(gateway: Gateway) -> tuple[str, Metrics]:
    text = books.scrape(gateway)
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return text, {(s.name, tuple(sorted(s.labels.items()))): s.value for s in samples}


def carried(gateway: Gateway) -> dict[tuple[str, str, str], float]:
    """(metric, child, direction) -> value, of what must never fall back."""
    return {
        (name, dict(labels)["child"], dict(labels)["direction"]): value
        for (name, labels), value in scrape(gateway)[1].items()
        if name in ("xdpsec_child_packets_total", "xdpsec_child_bytes_total")
    }


def sa(rows: list[dict[str, Any]], child: str, direction: str) -> dict[str, Any]:
    """Its row of list-sas."""
    return next(row for row in rows if (row["label"].split("/")[1], row["direction"]) == (child, direction))


def heartbeats(gateway: Gateway) -> dict[str, float]:
    """Worker -> seconds since it last breathed."""
    wanted = "xdpsec_worker_heartbeat_age_seconds"
    return {dict(labels)["worker"]: age for (name, labels), age in scrape(gateway)[1].items() if name == wanted}


def fell(before: dict[tuple[str, str, str], float], after: dict[tuple[str, str, str], float]) -> list[object]:
    assert before.keys() == after.keys()
    return [key for key in before if after[key] < before[key]]


def traffic(made: Pair) -> None:
    made.ping(made.where.a, CHILD, "-c", str(PINGS), "-i", "0.02")


def serving(gateway: Gateway, worker: int, pid: int) -> None:
    """Wait until another process than `pid` serves as the worker."""

    def again() -> bool:
        row = gateway.ask("status")["workers"][worker]
        return bool(row["state"] == "serving" and row["pid"] != pid)

    until(again, f"worker {worker} back")


def test_pings_are_counted_exactly_and_everywhere_the_same(site: Pair) -> None:
    name = site.children[CHILD].name
    before, sas_before, drops_before = carried(site.a), site.a.ask("list-sas"), site.a.ask("drops")
    traffic(site)
    after, sas, drops = carried(site.a), site.a.ask("list-sas"), site.a.ask("drops")
    for direction in ("in", "out"):
        key = ("xdpsec_child_packets_total", name, direction)
        assert after[key] - before[key] == PINGS
        old, new = sa(sas_before, name, direction), sa(sas, name, direction)
        assert new["packets"] - old["packets"] == PINGS
        assert new["bytes"] - old["bytes"] == PINGS * 84  # 20 IPv4, 8 ICMP, 56 that ping sends
        assert after["xdpsec_child_bytes_total", name, direction] == new["bytes"]
        assert new["last_seen_s"] >= 0
    owner = str(sa(sas, name, "in")["worker"])
    moved = {v: n - drops_before["workers"][owner][v] for v, n in drops["workers"][owner].items()}
    assert {v: n for v, n in moved.items() if n} == {"DECRYPTED": PINGS, "ENCRYPTED": PINGS}
    assert drops["door"]["lan0"]["INSIDE_TO_WORKER"] - drops_before["door"]["lan0"]["INSIDE_TO_WORKER"] == PINGS


def test_the_endpoint_is_as_promtool_wants_it_and_names_every_child(site: Pair) -> None:
    text, samples = scrape(site.a)
    assert run(["promtool", "check", "metrics"], text_input=text) == ""
    up = {dict(labels)["child"]: value for (name, labels), value in samples.items() if name == "xdpsec_child_up"}
    assert up == {child.name: 1.0 for child in site.children}
    engines = {dict(labels)["engine"] for name, labels in samples if name == "xdpsec_child_sas"}
    assert engines == {"ipsec-mb"}


def test_a_worker_that_hangs_shows_and_one_that_dies_takes_no_child_counter_back(site: Pair) -> None:
    traffic(site)
    before = carried(site.a)
    status = site.a.ask("status")
    pid = status["workers"][0]["pid"]
    os.kill(status["workers"][1]["pid"], signal.SIGSTOP)  # a worker that hangs shows by its heartbeat
    try:
        kill([pid])
        serving(site.a, 0, pid)
        ages = heartbeats(site.a)
        assert ages["0"] < ages["1"]
    finally:
        os.kill(status["workers"][1]["pid"], signal.SIGCONT)
    assert site.a.ask("status")["workers"][0]["restarts"] == 1
    traffic(site)
    assert fell(before, carried(site.a)) == []


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_in_the_same_boot_keeps_the_childrens_counters(site: Pair, end: str) -> None:
    traffic(site)
    before = carried(site.a)
    if end == "stop":
        stopped = site.a.cli("stop", "--config", str(site.a.config))
        assert (stopped.returncode, stopped.stderr) == (0, "")
        site.a.gone([])
    else:
        site.a.kill()
    asked = site.a.cli("status", "--config", str(site.a.config))
    assert (asked.returncode, asked.stdout) == (3, "")
    assert asked.stderr.count("\n") == 1
    site.a.start()
    after = carried(site.a)
    assert fell(before, after) == []
    name = ("xdpsec_child_packets_total", site.children[CHILD].name, "out")
    assert after[name] == before[name]
    traffic(site)
    assert carried(site.a)[name] == before[name] + PINGS
