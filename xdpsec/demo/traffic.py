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
#: All pings are done within three seconds; beyond this ping itself hangs.
PING_LIMIT_SECONDS = 20.0
#: No test takes this long, not on a machine that does ten other things: then something hangs.
IPERF_SECONDS = 60.0
#: Bytes of a datagram: with every header of the largest suite it fits the MTU.
DATAGRAM = 1320


@dataclass(frozen=True, slots=True)
class Load:
    """What each child carries. TCP carries `mebibytes`, however long it takes: every child the same, so that a busy
    core makes it slower and not less. UDP sends `rate` (as iperf3 writes it: "20M") for `seconds`."""

    protocol: str
    mebibytes: int = 0
    rate: str = ""
    seconds: int = 0

    @property
    def options(self) -> list[str]:
        if self.protocol == "TCP":
            return ["-n", f"{self.mebibytes}M"]
        return ["-u", "-b", self.rate, "-l", str(DATAGRAM), "-t", str(self.seconds)]


@dataclass(frozen=True, slots=True)
class Stream:
    """What one direction of one protocol carried. Payload bits a second: over all children until the last had its
    share, and those of the slowest and the fastest child alone. `lost`: share of the `packets`, datagrams (UDP)."""

    protocol: str
    sender: str
    receiver: str
    bits_per_second: float
    lost: float
    slowest: float
    fastest: float
    packets: int = 0


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
        said = _output(process, "ping", PING_LIMIT_SECONDS)
        found = re.search(r"(\d+) packets transmitted, (\d+) received", said)
        if not found or found[1] != found[2]:
            counts = f"{found[2]} of {found[1]} pings came back" if found else "ping did not work"
            raise LabError(f"{source.address(sa.child)} to {target.address(sa.child)} (SPI {sa.spi:#x}): {counts}")
    return PINGS * len(started)


def iperf(lab: Lab, ends: tuple[Site, Site], children: Sequence[Child], load: Load) -> Stream:
    """iperf3 from the first site to the second, one stream for each child, all at once."""
    source, target = ends
    numbers = [child.number for child in children]
    servers = [_server(lab, target, number) for number in numbers]
    options = ["-J", "-i", "0", *load.options]
    pairs = [["-B", source.address(number), "-c", target.address(number)] for number in numbers]
    clients = [lab.start(source.host, ["iperf3", *options, *pair], stdout=subprocess.PIPE) for pair in pairs]
    received = [_received(client) for client in clients]
    for server in servers:
        _output(server, "iperf3", IPERF_SECONDS)
    rates = [float(one["bits_per_second"]) for one in received]
    packets = sum(one.get("packets", 0) for one in received)
    return Stream(
        protocol=load.protocol,
        sender=source.letter,
        receiver=target.letter,
        bits_per_second=8 * sum(one["bytes"] for one in received) / max(one["seconds"] for one in received),
        lost=sum(one.get("lost_packets", 0) for one in received) / packets if packets else 0.0,
        slowest=min(rates),
        fastest=max(rates),
        packets=packets,
    )


def _server(lab: Lab, site: Site, number: int) -> Process:
    """A server for one test, that listens."""
    argv = ["iperf3", "-s", "-1", "--forceflush", "-B", site.address(number)]
    process = lab.start(site.host, argv, stdout=subprocess.PIPE)
    Lines(process.stdout, "iperf3").until(lambda line: "Server listening" in line, IPERF_SECONDS)
    return process


def _received(client: Process) -> dict[str, Any]:
    """The receiver's account of a test; what was lost is not in its bytes."""
    report = json.loads(_output(client, "iperf3", IPERF_SECONDS))
    if "error" in report:
        raise LabError(f"iperf3: {report['error']}")
    received: dict[str, Any] = report["end"]["sum_received"]
    return received


def _output(process: Process, name: str, seconds: float) -> str:
    try:
        return process.communicate(timeout=seconds)[0].decode()
    except subprocess.TimeoutExpired:
        raise LabError(f"{name}: not done after {seconds:.0f} s") from None
