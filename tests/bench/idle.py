"""How much of a core an idle gateway uses: the demo's two gateways without traffic, by the kernel's CPU clocks.

All processes of a gateway together, the busier of the two, percent of one core. Nothing is timed against a limit here.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event

from xdpsec.demo import children, topology
from xdpsec.demo.gateway import Gateway
from xdpsec.demo.lab import Lab, run

#: Long enough for every clock that ticks once a second or seldomer.
SECONDS = 60.0
#: What a start sets in motion (neighbours, first grants) has come to rest.
SETTLE_SECONDS = 3.0


def measure(seconds: float = SECONDS) -> float:
    """Percent of one core."""
    with Lab() as lab:
        net = topology.build(lab)
        made = children.make(net.a, net.b)
        pairs = ((net.a, net.b), (net.b, net.a))
        gateways = [
            Gateway(lab, one, children.write(lab.directory / one.letter, one, other, made)) for one, other in pairs
        ]
        for gateway in gateways:
            gateway.wait()
        for child in made:  # an SA that has carried something
            ping = ["ping", "-q", "-c", "2", "-i", "0.2", "-I", net.a.address(child.number)]
            lab.inside(net.a.host, *ping, net.b.address(child.number))
        Event().wait(SETTLE_SECONDS)
        before = {site.letter: _ticks(site.gateway) for site in (net.a, net.b)}
        Event().wait(seconds)
        used = [_ticks(site.gateway) - before[site.letter] for site in (net.a, net.b)]
    return 100.0 * max(used) / os.sysconf("SC_CLK_TCK") / seconds


def _ticks(namespace: str) -> int:
    """User and system time of every process in the namespace, in clock ticks (proc(5), stat, fields 14 and 15)."""
    total = 0
    for pid in run(["ip", "netns", "pids", namespace]).split():
        fields = Path("/proc", pid, "stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total
