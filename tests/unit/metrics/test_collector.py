"""What Prometheus is told: every verdict by its own name, sums that are right, bounded labels, a clean exposition."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from gateway import PORTS, VERDICT, FakeSource, counters, per_port, sa, slot, verdicts, view
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from xdpsec.metrics.collector import Collector
from xdpsec.metrics.values import DOWN, STARTING, BarrierView, SocketCounts, WorkerView

SHARED = (Path(__file__).parents[3] / "bpf/shared.h").read_text()


def exposition(source: FakeSource) -> str:
    registry = CollectorRegistry()
    registry.register(Collector(source))
    return generate_latest(registry).decode()


def samples(source: FakeSource) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Sample name -> labels, sorted -> value."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(exposition(source)):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {}), f"{sample.name}{labels} stands twice"
            found[sample.name][labels] = sample.value
    return found


def value(source: FakeSource, name: str, **labels: str) -> float:
    return samples(source)[name][tuple(sorted(labels.items()))]


def listed(macro: str) -> list[str]:
    """The names of an X-macro list, read from the header itself."""
    body = SHARED.split(f"#define {macro}(X)")[1].split("\n\n")[0]
    return re.findall(r"X\((\w+), \"[^\"]+\"\)", body)


def test_every_verdict_of_both_lists_is_counted_under_its_own_name() -> None:
    names, door = listed("XS_VERDICTS"), listed("XS_DOOR_VERDICTS")
    assert len(names) > 20
    assert len(door) > 10
    blocks = (counters(verdicts=tuple(range(100, 100 + len(names)))), counters())
    frames = (tuple(range(500, 500 + len(door))), *((0,) * len(door),) * (PORTS - 1))
    found = samples(FakeSource(blocks=blocks, frames=frames))
    for number, name in enumerate(names):
        assert found["xdpsec_worker_verdicts_total"][("verdict", name), ("worker", "0")] == 100 + number
    for number, name in enumerate(door):
        assert found["xdpsec_door_frames_total"][("port", "eth0"), ("verdict", name)] == 500 + number
    assert len(found["xdpsec_worker_verdicts_total"]) == 2 * len(names)
    assert len(found["xdpsec_door_frames_total"]) == 2 * len(door)


def test_the_histogram_is_cumulative_and_its_sum_is_the_packets() -> None:
    # bursts of 1, 1, 3, 64 and 200 packets: buckets by the powers of two of shared.h
    blocks = (counters(batches=(2, 1, 0, 0, 0, 0, 1, 1), batch_packets=1 + 1 + 3 + 64 + 200), counters())
    source = FakeSource(blocks=blocks)
    buckets = {
        dict(labels)["le"]: count
        for labels, count in samples(source)["xdpsec_worker_batch_packets_bucket"].items()
        if dict(labels)["worker"] == "0"
    }
    expected = {"1.0": 2, "3.0": 3, "7.0": 3, "15.0": 3, "31.0": 3, "63.0": 3, "127.0": 4, "+Inf": 5}
    assert {le: int(count) for le, count in buckets.items()} == expected
    assert value(source, "xdpsec_worker_batch_packets_count", worker="0") == 5
    assert value(source, "xdpsec_worker_batch_packets_sum", worker="0") == 269


def test_traffic_and_cycles_stand_under_their_port_direction_and_stage() -> None:
    block = counters(
        rx_packets=per_port(5, 6), tx_packets=per_port(7, 8), rx_bytes=per_port(50, 60), tx_bytes=per_port(70, 80),
        tx_completed=per_port(9, 10), cycles=(1, 2, 3, 4, 5), handoff_sent=11, handoff_received=12,
        idle_ns=1_500_000_000,
    )  # fmt: skip
    source = FakeSource(blocks=(counters(), block))
    assert value(source, "xdpsec_worker_packets_total", worker="1", port="eth0", direction="in") == 5
    assert value(source, "xdpsec_worker_packets_total", worker="1", port="eth1", direction="out") == 8
    assert value(source, "xdpsec_worker_bytes_total", worker="1", port="eth1", direction="in") == 60
    assert value(source, "xdpsec_worker_completions_total", worker="1", port="eth1") == 10
    assert value(source, "xdpsec_worker_cycles_total", worker="1", stage="crypto") == 3
    assert value(source, "xdpsec_worker_handoff_total", worker="1", direction="sent") == 11
    assert value(source, "xdpsec_worker_idle_seconds_total", worker="1") == 1.5
    assert value(source, "xdpsec_worker_restarts_total", worker="1") == 3


def test_a_child_sums_its_sas_and_names_only_the_drops_that_happened() -> None:
    slots = {
        0: slot(packets=10, bytes=1000, drops=verdicts(VERDICT, DROP_ICV=2, DROP_REPLAY=1)),
        1: slot(packets=4, bytes=400),
        7: slot(packets=5, bytes=500, drops=verdicts(VERDICT, DROP_ICV=1)),
    }
    source = FakeSource(now=view(sas=(*view().sas, sa(0, False, 7))), slots=slots)
    lan = {"peer": "branch", "child": "lan"}
    assert value(source, "xdpsec_child_packets_total", **lan, direction="in") == 15
    assert value(source, "xdpsec_child_bytes_total", **lan, direction="in") == 1500
    assert value(source, "xdpsec_child_packets_total", **lan, direction="out") == 4
    drops = samples(source)["xdpsec_child_drops_total"]
    assert {(dict(labels)["direction"], dict(labels)["reason"]): count for labels, count in drops.items()} == {
        ("in", "DROP_ICV"): 3,
        ("in", "DROP_REPLAY"): 1,
    }


def test_a_child_is_up_only_while_both_its_sas_carry_packets() -> None:
    up = {"peer": "branch", "child": "lan"}
    assert value(FakeSource(), "xdpsec_child_up", **up) == 1
    broken = view(sas=(sa(0, False, 0, error="sequence numbers used up"), *list(view().sas)[1:]))
    assert value(FakeSource(now=broken), "xdpsec_child_up", **up) == 0
    down = view(workers=(WorkerView(0, 1, 0, DOWN, 1), view().workers[1]))
    assert value(FakeSource(now=down), "xdpsec_child_up", **up) == 0
    assert value(FakeSource(now=down), "xdpsec_child_up", peer="branch", child="lab") == 1
    assert value(FakeSource(now=down), "xdpsec_worker_up", worker="0") == 0


def test_a_child_that_somebody_asks_for_is_told_from_one_that_stands() -> None:
    lan, lab = view().children
    asked = view(children=(lan, replace(lab, stands=False)))
    stands = samples(FakeSource(now=asked))["xdpsec_child_stands"]
    assert {dict(labels)["child"]: value for labels, value in stands.items()} == {"lan": 1, "lab": 0}


def test_the_state_in_one_word() -> None:
    first, second = (replace(worker, restarts=0) for worker in view().workers)
    assert view().state == "serving"
    assert view(workers=(replace(first, state=STARTING, restarts=0), second)).state == "starting"
    assert view(workers=(replace(first, state=STARTING, restarts=1), second)).state == "degraded"
    assert view(workers=(replace(first, state=DOWN), second)).state == "degraded"
    assert view(sas=(sa(0, True, 1, error="refused"),)).state == "degraded"
    assert view(barriers=(BarrierView("fence", 1), BarrierView("door of eth0", 0))).state == "serving"
    assert view(barriers=(BarrierView("fence", 1, "nft refused"),)).state == "degraded"


def test_barriers_show_how_often_they_were_gone_and_whether_they_stand() -> None:
    source = FakeSource(now=view(barriers=(BarrierView("fence", 2), BarrierView("door of eth0", 1, "taken"))))
    assert value(source, "xdpsec_barrier_gone_total", barrier="fence") == 2
    assert value(source, "xdpsec_barrier_stands", barrier="fence") == 1
    assert value(source, "xdpsec_barrier_gone_total", barrier="door of eth0") == 1
    assert value(source, "xdpsec_barrier_stands", barrier="door of eth0") == 0


def test_sequence_numbers_left_follow_esn_and_direction() -> None:
    sas = (sa(0, True, 1, esn=False), sa(0, False, 0, esn=False), sa(1, True, 3))
    slots = {1: slot(next_seq=1000, granted=1500), 0: slot(top=99, granted=1124), 3: slot(next_seq=1)}
    source = FakeSource(now=view(sas=sas), slots=slots)
    lan = {"peer": "branch", "child": "lan"}
    assert value(source, "xdpsec_child_sequence_left", **lan, direction="out") == 2**32 - 1000
    assert value(source, "xdpsec_child_grant_left", **lan, direction="out") == 500
    assert value(source, "xdpsec_child_sequence_left", **lan, direction="in") == 2**32 - 100
    assert value(source, "xdpsec_child_grant_left", **lan, direction="in") == 1024
    left = value(source, "xdpsec_child_sequence_left", peer="branch", child="lab", direction="out")
    assert left == float(2**64 - 1)


def test_ages_are_absent_until_something_was_seen() -> None:
    assert not samples(FakeSource()).get("xdpsec_child_last_packet_age_seconds")
    now = time.monotonic_ns()
    source = FakeSource(slots={0: slot(last_seen_ns=now - 5_000_000_000)})
    age = value(source, "xdpsec_child_last_packet_age_seconds", peer="branch", child="lan", direction="in")
    assert 5 <= age < 60


def test_sockets_separate_losses_from_empty_rings() -> None:
    counts = {
        "rx_dropped": 1, "rx_invalid_descs": 2, "tx_invalid_descs": 3, "rx_ring_full": 4, "rx_fill_ring_empty": 5,
        "tx_ring_empty": 6,
    }  # fmt: skip
    source = FakeSource(statistics=(SocketCounts(1, 0, 2, counts),))
    place = {"port": "eth0", "queue": "2", "worker": "1"}
    assert value(source, "xdpsec_socket_drops_total", **place, reason="rx_ring_full") == 4
    assert value(source, "xdpsec_socket_ring_empty_total", **place, ring="fill") == 5
    reasons = {dict(labels).get("reason") for labels in samples(source)["xdpsec_socket_drops_total"]}
    assert reasons == {"rx_dropped", "rx_ring_full", "rx_invalid_descs", "tx_invalid_descs"}


def test_no_label_carries_an_spi_and_all_names_are_ours() -> None:
    source = FakeSource(now=view(sas=(sa(0, False, 0, spi=0xDEADBEEF), sa(0, True, 1, spi=0xCAFEBABE))))
    text = exposition(source).lower()
    for spi in (0xDEADBEEF, 0xCAFEBABE):
        assert f"{spi:x}" not in text
        assert str(spi) not in text
    assert all(name.startswith("xdpsec_") for name in samples(source))


def test_promtool_finds_nothing_to_mend() -> None:
    source = FakeSource(
        blocks=(counters(batches=(1,) * 8, batch_packets=500), counters()),
        slots={0: slot(packets=1, drops=verdicts(VERDICT, DROP_ICV=1), last_seen_ns=1)},
        statistics=(SocketCounts(0, 0, 0, dict.fromkeys(_STATISTICS, 0)),),
    )
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing; install Debian's package prometheus (deploy/setup does)"
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=exposition(source),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


_STATISTICS = (
    "rx_dropped", "rx_invalid_descs", "tx_invalid_descs", "rx_ring_full", "rx_fill_ring_empty", "tx_ring_empty",
)  # fmt: skip
