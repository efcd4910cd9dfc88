"""Frames in are frames out plus counted drops, exactly, on every port, once all is at rest: after easy traffic, and
after more than the gateways can carry."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from netns.rig import books
from netns.rig.patience import HANG_SECONDS, until
from netns.rig.sites import Pair, pair
from netns.rig.tap import ETHERTYPE_IP, Tap
from xdpsec.demo.topology import INSIDE, OUTSIDE
from xdpsec.demo.waiting import Lines

#: More than the gateways forward, for long enough that rings run full.
FLOOD = ("-u", "-b", "0", "-l", "200", "-t", "2")


@pytest.fixture(scope="module")
def made() -> Iterator[Pair]:
    with pair() as pair_:
        pair_.start()
        yield pair_


def test_easy_traffic(made: Pair) -> None:
    """None is dropped, and the cables' far ends count what the gateways say."""
    with made.flows(40) as flows:
        flows.wait()
        until(lambda: flows.sent_since(0) >= 80, "packets of every size")
        flows.pause()
        flows.settle()
    books.rest(made.gateways)
    for site in (made.where.a, made.where.b):
        page = books.read(made.gateway(site))
        books.check(page)
        assert sum(page.lost.values()) == 0
        for port, end in ((INSIDE, (site.host, "eth0")), (OUTSIDE, (made.where.wan, site.wan_port))):
            sent, _ = books.cable(made.lab, *end)
            assert page.came[port] == sent, f"{site.letter} {port}: what the far end sent is what the door counted"


def leaves(tree: object, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
    """Every number of an answer by the keys that lead to it."""
    if isinstance(tree, dict):
        return {at: n for key, value in tree.items() for at, n in leaves(value, (*path, key)).items()}
    if isinstance(tree, list):
        return leaves({str(at): value for at, value in enumerate(tree)}, path)
    return {path: tree} if isinstance(tree, int) else {}


def test_the_command_line_shows_the_same(made: Pair) -> None:
    """`drops --json`, as an operator's script reads it: between what the socket says before and after. At rest too a
    worker wakes once a second, and the kernel counts that it found its transmit rings empty."""
    before = leaves(made.a.ask("drops"))
    printed = leaves(json.loads(made.a.cli("drops", "--json", "--config", str(made.a.config)).stdout))
    after = leaves(made.a.ask("drops"))
    assert before.keys() == printed.keys() == after.keys()
    assert len(printed) > 0
    wrong = {key: n for key, n in printed.items() if not before[key] <= n <= after[key]}
    assert wrong == {}


def test_what_the_cable_delivers_is_what_completed(made: Pair) -> None:
    """Seen from host A: IPv4 frames that came in are the gateway's completions inside."""
    site = made.where.a
    before = books.read(made.a)
    with Tap(site.host, "eth0") as tap, made.flows(40) as flows:
        flows.wait()
        flows.pause()
        flows.settle()
        books.rest(made.gateways)
        completed = books.read(made.a).completed[INSIDE] - before.completed[INSIDE]
        until(lambda: seen(tap) >= completed, lambda: f"{completed} completed, {seen(tap)} seen")
        assert seen(tap) == completed


def seen(tap: Tap) -> int:
    return sum(frame.raw[12:14] == ETHERTYPE_IP.to_bytes(2, "big") for frame in tap.frames())


def test_more_than_can_be_carried(made: Pair) -> None:
    """A flood from both hosts: what is dropped is in a counter."""
    lab, where = made.lab, made.where
    servers = [
        lab.start(site.host, ["iperf3", "-s", "--forceflush", "-B", site.address(0)], stdout=subprocess.PIPE)
        for site in (where.a, where.b)
    ]
    for server in servers:
        Lines(server.stdout, "iperf3").until(lambda line: "Server listening" in line, HANG_SECONDS)
    clients = [
        lab.start(here.host, ["iperf3", "-c", there.address(0), "-B", here.address(0), *FLOOD])
        for here, there in where.directions
    ]
    for client in clients:
        client.wait(HANG_SECONDS)
    for server in servers:
        lab.stop(server)
    books.rest(made.gateways)
    assert all(books.read(gateway).taken[INSIDE] > 10_000 for gateway in made.gateways), "no flood"
