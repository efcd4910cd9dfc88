"""Two of our gateways over IKEv2, as their operator runs them: up, through rekeys, deaths and wrong secrets."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from netns.rig.ike_sites import ike_pair
from netns.rig.sites import Pair

#: From the start of the second gateway until packets cross: a handshake takes milliseconds, a first try that met a
#: gateway still starting is repeated after half a second and then after a little more.
UP_SECONDS = 10.0


@pytest.fixture(scope="module")
def made() -> Iterator[Pair]:
    with ike_pair() as pair:
        for gateway in pair.gateways:
            gateway.start()
        yield pair


def test_packets_cross_both_ways(made: Pair) -> None:
    with made.flows(40) as flows:
        flows.wait(time.monotonic(), UP_SECONDS)
    for gateway in made.gateways:
        status = gateway.ask("status")
        assert [child["up"] for child in status["children"]] == [True] * len(made.children)
