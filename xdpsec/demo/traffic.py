"""Pings and iperf3 over all children at once, from one host to the other. Knows addresses, no IPsec."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xdpsec.demo.children import Child, Sa
from xdpsec.demo.lab import Lab, LabError, Process
from xdpsec.demo.topology import Site, Topology
from xdpsec.demo.waiting import Lines

#: Pings of each child and direction, and seconds between two of them.
PINGS, PING_GAP = 5, 0.1
#: Seconds that ping waits for the last answer.
PING_SECONDS = 2
#: iperf3 has this long beyond its test to start, to exchange results and to end.
IPERF_EXTRA_SECONDS = 20.0
#: Bytes of a datagram: with every header of the largest suite it fits the MTU.
DATAGRAM = 1320


@dataclass(frozen=True, slots=True)
class Stream:
    """What one direction of one protocol carried over all children: payload bits a second, and its share lost (UDP)."""

    protocol: str
    sender: str
    receiver: str
    bits_per_second: float
    lost: float
    slowest: float
    fastest: float


def ping_all(lab: Lab, topology: Topology, children: Sequence[Child]) -> int:
    """Ping across every child both ways, all at once, each SA with its own pattern. Returns the number of pings;
    LabError names the first that was not answered."""
    started: list[tuple[Site, Site, Sa, Process]] = []
    for child in children:
        for sa, (source, target) in zip((child.forth, child.back), topology.directions, strict=True):
            options = ["-q", "-c", str(PINGS), "-i", str(PING_GAP), "-W", str(PING_SECONDS), "-p", sa.pattern]
            addresses = ["-I", source.address(sa.child), target.address(sa.child)]
            process = lab.start(source.host, ["ping", *options, *addresses], stdout=subprocess.PIPE)
            started.append((source, target, sa, process))
    for source, target, sa, process in started:
        said = _output(process, "ping", PINGS * PING_GAP + PING_SECONDS + IPERF_EXTRA_SECONDS)
        found = re.search(r"(\d+) packets transmitted, (\d+) received", said)
        if not found or found[1] != found[2]:
            counts = f"{found[2]} of {found[1]} pings came back" if found else "ping did not work"
            raise LabError(f"{source.address(sa.child)} to {target.address(sa.child)} (SPI {sa.spi:#x}): {counts}")
    return PINGS * len(started)


def iperf(lab: Lab, ends: tuple[Site, Site], children: Sequence[Child], seconds: int, rate: str = "") -> Stream:
    """iperf3 from the first site to the second, one stream for each child, all at once: TCP, or with `rate` (of each
    stream, as iperf3 writes it: "20M") UDP."""
    source, target = ends
    numbers = [child.number for child in children]
    servers = [_server(lab, target, number) for number in numbers]
    kind = ["-u", "-b", rate, "-l", str(DATAGRAM)] if rate else []
    options = ["-J", "-i", "0", "-t", str(seconds), *kind]
    pairs = [["-B", source.address(number), "-c", target.address(number)] for number in numbers]
    clients = [lab.start(source.host, ["iperf3", *options, *pair], stdout=subprocess.PIPE) for pair in pairs]
    ends_of = [_result(client, seconds) for client in clients]
    for server in servers:
        _output(server, "iperf3", IPERF_EXTRA_SECONDS)
    received = [end["sum_received"] for end in ends_of]
    rates = [float(one["bits_per_second"]) for one in received]
    packets = sum(one.get("packets", 0) for one in received)
    lost = sum(one.get("lost_packets", 0) for one in received) / packets if packets else 0.0
    rates = [bits * (1 - one.get("lost_percent", 0) / 100) for bits, one in zip(rates, received, strict=True)]
    protocol = "UDP" if rate else "TCP"
    return Stream(protocol, source.letter, target.letter, sum(rates), lost, min(rates), max(rates))


def _server(lab: Lab, site: Site, number: int) -> Process:
    """A server for one test, that listens."""
    argv = ["iperf3", "-s", "-1", "--forceflush", "-B", site.address(number)]
    process = lab.start(site.host, argv, stdout=subprocess.PIPE)
    Lines(process.stdout, "iperf3").until(lambda line: "Server listening" in line, IPERF_EXTRA_SECONDS)
    return process


def _result(client: Process, seconds: int) -> dict[str, Any]:
    report = json.loads(_output(client, "iperf3", seconds + IPERF_EXTRA_SECONDS))
    if "error" in report:
        raise LabError(f"iperf3: {report['error']}")
    end: dict[str, Any] = report["end"]
    return end


def _output(process: Process, name: str, seconds: float) -> str:
    try:
        return process.communicate(timeout=seconds)[0].decode()
    except subprocess.TimeoutExpired:
        raise LabError(f"{name}: not done after {seconds:.0f} s") from None
