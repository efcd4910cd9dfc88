"""Metrics of IKE: each number of a view under its name, and what a scrape reads of it."""

from __future__ import annotations

import dataclasses

from gateway import FakeSource, slot, view
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from xdpsec.metrics.collector import Collector
from xdpsec.metrics.values import Carried, IkeView, PeerView

IKE = IkeView(
    peers=(PeerView("branch", "203.0.113.7", 2, True), PeerView("road", "", 1, False)),
    handshakes={"established": 3, "authentication": 1},
    bounds=(0.1, 1.0),
    durations=(2, 1, 1),
    seconds=4.5,
    rekeys={"ike": 2, "child": 7},
    half_open=5,
    counted={
        ("ike_retransmitted", ""): 4,
        ("ike_refused", "NO_PROPOSAL_CHOSEN"): 2,
        ("ike_ignored", "unknown SPI"): 9,
        ("dpd_failed", ""): 1,
    },
    gate={"cookie sent": 11, "cookie returned": 6, "half open": 0},
    datagrams={"esp": 3},
)
EXPECTED = {
    ("xdpsec_ike_peer_up", ("branch",)): 1,
    ("xdpsec_ike_peer_up", ("road",)): 0,
    ("xdpsec_ike_handshakes_total", ("established",)): 3,
    ("xdpsec_ike_handshakes_total", ("authentication",)): 1,
    ("xdpsec_ike_handshake_seconds_bucket", ("0.1",)): 2,
    ("xdpsec_ike_handshake_seconds_bucket", ("1.0",)): 3,
    ("xdpsec_ike_handshake_seconds_bucket", ("+Inf",)): 4,
    ("xdpsec_ike_handshake_seconds_count", ()): 4,
    ("xdpsec_ike_handshake_seconds_sum", ()): 4.5,
    ("xdpsec_ike_rekeys_total", ("ike",)): 2,
    ("xdpsec_ike_rekeys_total", ("child",)): 7,
    ("xdpsec_ike_half_open", ()): 5,
    ("xdpsec_ike_retransmissions_total", ()): 4,
    ("xdpsec_ike_repeated_requests_total", ()): 0,  # a counter that never moved is there all the same
    ("xdpsec_ike_refused_messages_total", ("NO_PROPOSAL_CHOSEN",)): 2,
    ("xdpsec_ike_ignored_messages_total", ("unknown SPI",)): 9,
    ("xdpsec_ike_dpd_failures_total", ()): 1,
    ("xdpsec_ike_faults_total", ()): 0,
    ("xdpsec_ike_liveness_checks_total", ()): 0,
    ("xdpsec_ike_gate_total", ("cookie_sent",)): 11,
    ("xdpsec_ike_gate_total", ("cookie_returned",)): 6,
    ("xdpsec_ike_gate_total", ("half_open",)): 0,
    ("xdpsec_ike_datagrams_dropped_total", ("esp",)): 3,
}


def scrape(source: FakeSource) -> dict[tuple[str, tuple[str, ...]], float]:
    registry = CollectorRegistry()
    registry.register(Collector(source))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, tuple(s.labels.values())): s.value for family in families for s in family.samples}


def test_every_number_has_its_name() -> None:
    found = scrape(FakeSource(now=view(ike=IKE)))
    ike = {key: value for key, value in found.items() if key[0].startswith("xdpsec_ike_")}
    assert ike == EXPECTED


def test_without_a_peer_that_negotiates_there_is_none_of_it() -> None:
    assert not [name for name, _ in scrape(FakeSource()) if name.startswith("xdpsec_ike_")]


def test_what_sas_carried_that_are_gone_is_counted_on() -> None:
    gone = Carried(100, 9000, slot().drops)
    before = scrape(FakeSource(slots={1: slot(packets=7, bytes=70)}))
    after = scrape(FakeSource(slots={1: slot(packets=7, bytes=70)}, now=view(carried={(0, True): gone})))
    where = ("lan", "out", "branch")
    assert before["xdpsec_child_packets_total", where] == 7
    assert after["xdpsec_child_packets_total", where] == 107
    assert after["xdpsec_child_bytes_total", where] == 9070


def test_a_child_whose_sas_are_all_gone_keeps_its_series() -> None:
    bare = dataclasses.replace(view(carried={(0, True): Carried(100, 9000, slot().drops)}), sas=())
    assert scrape(FakeSource(now=bare))["xdpsec_child_packets_total", ("lan", "out", "branch")] == 100
