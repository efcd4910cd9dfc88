"""`make killload`: workers are killed in the midst of bursts. Eight TCP flows as fast as they go through both gateways,
a watch on the wan that sees every frame, and a kill -9 as soon as every SA has carried packets since the one before.

The other tests of death send too little to find a worker with its hands full: a chunk that was built and not yet sealed
would leave in the clear, one that was sealed and swept too early would leave twice. Not part of `make test`: it wants
both cores for minutes.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from netns.rig.gateways import kill
from netns.rig.sites import Pair, pair
from xdpsec.demo.lab import Lab, Process
from xdpsec.demo.waiting import Lines

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "killload"
KILLS = 24
#: What iperf3 --repeating-payload repeats.
MARKER = "0123456789" * 3
#: Each SA carries so many frames between two kills; data or the other way's acknowledgements.
BETWEEN = 200
#: A worker is replaced within a second; TCP notices after its own timeouts.
ROUND_SECONDS = 60.0
POLL_SECONDS = 0.2
#: Longer than all rounds: the flows are ended, they do not end.
FLOW_SECONDS = 3600


def build() -> Path:
    for argv in (
        ["cmake", "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja", "-DXS_TESTS=ON"],
        ["cmake", "--build", str(BUILD), "--target", "wan_watch"],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return BUILD / "wan_watch"


class Watch:
    """One wan_watch in a namespace, from its making to `close`."""

    def __init__(self, lab: Lab, namespace: str, program: Path) -> None:
        argv = [str(program), MARKER]
        self._process = lab.start(namespace, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None)
        self._lines = Lines(self._process.stdout, "wan_watch")
        self._lines.until(lambda line: "frames" in line, ROUND_SECONDS)

    def ask(self) -> dict[str, Any]:
        """Counts until now: frames, readable, repeated, dropped, and frames by SA."""
        assert self._process.stdin
        self._process.stdin.write(b"?\n")
        self._process.stdin.flush()
        return dict(json.loads(self._lines.until(lambda line: "sas" in line, ROUND_SECONDS)[-1]))

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(ROUND_SECONDS)


@contextmanager
def watching(made: Pair, program: Path) -> Iterator[Watch]:
    watch = Watch(made.lab, made.where.wan, program)
    try:
        yield watch
    finally:
        watch.close()


def start_flows(made: Pair) -> list[Process]:
    """One TCP stream a child, half of them from each site."""
    clients = []
    for child in made.children:
        source, target = made.where.directions[child.number % 2]
        argv = ["iperf3", "-s", "-1", "--forceflush", "-B", target.address(child.number)]
        server = made.lab.start(target.host, argv, stdout=subprocess.PIPE)
        Lines(server.stdout, "iperf3").until(lambda line: "Server listening" in line, ROUND_SECONDS)
        options = ["--repeating-payload", "-t", str(FLOW_SECONDS), "-B", source.address(child.number)]
        clients.append(made.lab.start(source.host, ["iperf3", *options, "-c", target.address(child.number)]))
    return clients


def carried(watch: Watch, since: list[int], sas: int) -> list[int]:
    """Frames by SA, once each of `sas` has carried BETWEEN more than `since` says; nothing readable, nothing twice."""
    until = time.monotonic() + ROUND_SECONDS
    while True:
        seen = watch.ask()
        assert seen["readable"] == 0, f"frame {seen['first_readable']} of {seen['frames']} shows what is inside"
        assert seen["repeated"] == 0, f"{seen['repeated']} of {seen['frames']} frames bear a number of before"
        counts = [int(count) for count in seen["sas"]]
        before = since + [0] * (len(counts) - len(since))
        if len(counts) == sas and all(now - then >= BETWEEN for now, then in zip(counts, before, strict=True)):
            return counts
        assert time.monotonic() < until, f"{counts} after {before}: an SA carries nothing"
        time.sleep(POLL_SECONDS)


def test_in_the_clear_all_is_readable() -> None:
    """The control run: neither door nor fence, and the watch sees what it must not see below."""
    with pair() as made, watching(made, build()) as watch:
        clients = start_flows(made)
        until = time.monotonic() + ROUND_SECONDS
        while watch.ask()["readable"] < 1000:
            assert time.monotonic() < until, "nothing readable in the clear: the watch is blind"
            time.sleep(POLL_SECONDS)
        seen = watch.ask()
        assert seen["sas"] == []
        assert all(client.poll() is None for client in clients)


def test_killed_workers_leave_nothing_in_the_clear_and_no_number_twice() -> None:
    with pair() as made:
        for gateway in made.gateways:
            gateway.start()
        with watching(made, build()) as watch:
            clients = start_flows(made)
            counts: list[int] = []
            for number in range(KILLS):
                counts = carried(watch, counts, 2 * len(made.children))
                gateway = made.gateways[number % 2]
                kill([gateway.workers()[number // 2 % 2]])
            carried(watch, counts, 2 * len(made.children))
            seen = watch.ask()
            assert all(client.poll() is None for client in clients), "a flow broke"
        restarts = sum(row["restarts"] for gateway in made.gateways for row in gateway.ask("status")["workers"])
    print(f"{KILLS} kills: {seen}")
    assert restarts == KILLS
    assert seen["dropped"] == 0, "the watch did not see every frame: it proves nothing"
    assert seen["frames"] > 100 * KILLS * BETWEEN, "too little to find a worker with its hands full"
