"""The verdict on a gateway's counters: answers as `xdpsec status --json` and `xdpsec drops --json` print them."""

from __future__ import annotations

from typing import Any

import pytest

from xdpsec.demo import figures

STAGES = ("rx", "parse", "crypto", "finish", "tx")
QUIET = {"rx_dropped": 0, "rx_invalid_descs": 0, "tx_invalid_descs": 0, "rx_ring_full": 0, "rx_fill_ring_empty": 9}


def status(handed_over: int = 0, state: str = "serving", restarts: int = 0) -> dict[str, Any]:
    ports = [{"mode": "native", "bind": "copy"}, {"mode": "native", "bind": "copy"}]
    return {
        "state": state,
        "ports": ports,
        "workers": [
            {
                "index": index,
                "core": index,
                "restarts": restarts * index,
                "handoff_sent": handed_over * index,
                "cycles": dict.fromkeys(STAGES, 3000),
            }
            for index in (0, 1)
        ],
    }


def drops(decrypted: tuple[int, int], encrypted: tuple[int, int]) -> dict[str, Any]:
    return {
        "door": {"wan0": {"ESP_TO_WORKER": 7, "DROP_TRUNCATED": 0}, "lan0": {"DROP_CLEARTEXT": 2}},
        "workers": {
            str(index): {"DECRYPTED": decrypted[index], "ENCRYPTED": encrypted[index], "DROP_REPLAY": 0}
            for index in (0, 1)
        },
        "sockets": {"wan0": {"0": {"0": QUIET, "1": {**QUIET, "rx_ring_full": 5}}}},
        "sas": {},
    }


def test_shares_and_cycles_come_from_what_was_carried() -> None:
    read = figures.read("a", status(), drops((100, 300), (500, 500)))
    assert [worker.shares for worker in read.workers] == [{"in": 0.25, "out": 0.5}, {"in": 0.75, "out": 0.5}]
    assert read.workers[0].cycles == dict.fromkeys(STAGES, 5.0)
    assert read.mode == "native XDP, copy"
    assert read.faults() == []


def test_drops_are_named_by_place_and_reason() -> None:
    read = figures.read("a", status(), drops((1, 1), (1, 1)))
    assert read.drops == {("door lan0", "DROP_CLEARTEXT"): 2, ("socket of wan0, queue 0, worker 1", "rx_ring_full"): 5}


@pytest.mark.parametrize(
    ("decrypted", "encrypted", "handed_over", "fault"),
    [
        ((249, 751), (500, 500), 0, "gateway A: worker 0 carried 24.9% of the packets in, less than 25%"),
        ((500, 500), (1000, 0), 0, "gateway A: worker 1 carried 0.0% of the packets out, less than 25%"),
        ((500, 500), (500, 500), 21, "gateway A: 1.1% of the packets were handed over, more than 1%"),
    ],
)
def test_what_is_wrong_is_said(
    decrypted: tuple[int, int], encrypted: tuple[int, int], handed_over: int, fault: str
) -> None:
    handed = figures.read("a", status(handed_over), drops(decrypted, encrypted)).faults()
    assert handed == [fault]


def test_at_most_one_percent_may_be_handed_over() -> None:
    assert figures.read("a", status(20), drops((500, 500), (500, 500))).faults() == []


def test_a_gateway_that_lost_a_worker_is_wrong() -> None:
    answers = drops((500, 500), (500, 500))
    assert figures.read("b", status(state="degraded"), answers).faults() == ["gateway B: it is degraded"]
    replaced = figures.read("b", status(restarts=1), answers).faults()
    assert replaced == ["gateway B: 1 of its workers died and were replaced"]


def test_nothing_carried_is_wrong_everywhere() -> None:
    assert len(figures.read("a", status(), drops((0, 0), (0, 0))).faults()) == 4
