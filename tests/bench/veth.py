"""The gateway, the bare forwarder with and without the cipher, and testpmd over veth, in turns: each in its own
namespace, fed by live frames.

Figures are 1 s / output rate under overload, medians of the alternations. The accounts of the gateway and of the
forwarder must close afterwards, and the gateway runs at 80 % of what it reached.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from values import SIZES, Row

from xdpsec.demo.lab import Lab

ALTERNATIONS = 12
#: So many times all contenders are started anew, each time for a part of the alternations: where the kernel happens to
#: put rings and packets moves what one and the same program carries by a tenth.
PLACINGS = 3
TURN_MS = 400
#: The share of its own output under overload that the gateway must carry without loss.
STEADY_SHARE = 0.8
STEADY_SIZE = 1408
STATION = Path(__file__).parent / "station.py"
KINDS = ("gateway", "forward", "cipher", "testpmd")
#: Rows of the gateway, by what it is held against.
NAMES = {"forward": "veth-forward", "testpmd": "veth-testpmd"}
#: The row of the forwarder that also seals against the one that does not: what cipher and longer frame cost alone.
SEALER = "veth-sealer"
#: Of receive rings: what a gateway has by default, and what rides out the 40 ms for which a virtual machine's core was
#: seen to be away, at 600,000 packets a second.
DEPTH, DEEP = 4096, 32768


class Station:
    """Our end of station.py."""

    def __init__(self, lab: Lab, kind: str, workers: int, programs: Path, depth: int = DEPTH) -> None:
        namespace = lab.namespace(f"{kind}{workers}")
        for name in ("in", "out"):
            lab.cable((namespace, f"{name}0"), (namespace, f"{name}1"), workers)
            for end in "01":
                lab.ip(namespace, "link", "set", f"{name}{end}", "arp", "off")
        for interface, program in (("in1", "pass"), ("out1", "sink")):
            generate = str(programs / "generate.bpf.o")
            lab.ip(namespace, "link", "set", "dev", interface, "xdpdrv", "obj", generate, "program", program)
        argv = [sys.executable, str(STATION), kind, str(workers), str(programs), str(lab.directory), str(depth)]
        self._process = lab.start(namespace, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None)
        self._read()

    def ask(self, **what: Any) -> dict[str, Any]:
        self._process.stdin.write(json.dumps(what).encode() + b"\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        return self._read()

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise SystemExit("bench: a station ended early; its last words are above")
        return dict(json.loads(line))

    def blast(self, size: int, ms: int = TURN_MS, rate: int = 0) -> dict[str, Any]:
        return self.ask(do="blast", size=size, ms=ms, rate=rate)


def unaccounted(counts: dict[str, Any]) -> int:
    """Frames in, less frames out, less counted drops: 0 when the account closes. In: the door's verdicts; out:
    completions; drops: what the door, the sockets and the workers counted."""
    door = counts["door"]
    passed = sum(frames for verdict, frames in door.items() if verdict.startswith("PASS_"))
    dropped = sum(frames for verdict, frames in door.items() if verdict.startswith("DROP_"))
    drops = passed + dropped + sum(counts["refused"].values()) + sum(counts["worker_drops"].values())
    return int(sum(door.values()) - counts["completed"] - drops)


@dataclass(frozen=True, slots=True)
class Steady:
    """The run of one contender at 80 % of the output that it held at `size` bytes: frames offered and come out;
    drops by who counted them (door, socket or worker) and why; the depth of its receive rings; seconds that its
    workers ran, and that they waited for cores which others had."""

    kind: str
    size: int
    workers: int
    seconds: float
    rate: int
    offered: int
    out: int
    depth: int
    ran: float
    waited: float
    reasons: dict[str, int]

    @property
    def dropped(self) -> int:
        return self.offered - self.out


@contextlib.contextmanager
def stations(workers: int, programs: Path) -> Iterator[dict[str, Station]]:
    kinds = KINDS if shutil.which("dpdk-testpmd") else KINDS[:3]
    with Lab() as lab:
        yield {kind: Station(lab, kind, workers, programs) for kind in kinds}


@dataclass(frozen=True, slots=True)
class Taken:
    """What one placing yields at one size: ns a packet of each contender, one per turn; of those with accounts what
    these do not explain; of the gateway packets, cycles of each stage and packets handed over."""

    rates: dict[str, list[float]]
    loss: dict[str, int]
    packets: int
    cycles: dict[str, int]
    handoff: int


def measure(
    programs: Path, workers: int, steady_seconds: float, told: Callable[[Row], None], turns: int = ALTERNATIONS
) -> tuple[list[Row], list[Steady]]:
    """Rows for each size: the gateway against the bare forwarder and, where DPDK is, testpmd; the forwarder that seals
    too against the bare one. Then the steady runs of the gateway and of the bare forwarder, where a core is left for
    the generator, which keeps pace by spinning."""
    taken: dict[int, list[Taken]] = {size: [] for size in SIZES}
    for _ in range(PLACINGS):
        with stations(workers, programs) as found:
            for size in SIZES:
                taken[size].append(_take(found, size, -(-turns // PLACINGS)))
    rows = [row for size in SIZES for row in _rows(size, workers, taken[size])]
    for row in rows:
        told(row)
    steady: list[Steady] = []
    for depth in (DEEP, DEPTH) if workers < len(os.sched_getaffinity(0)) else ():
        with Lab() as lab:
            for kind in ("gateway", "forward"):
                station = Station(lab, kind, workers, programs, depth)
                rate = int(saturated(station, turns) * STEADY_SHARE)
                steady.append(run_steady(station, kind, workers, depth, rate, steady_seconds))
    return rows, steady


def _take(found: dict[str, Station], size: int, turns: int) -> Taken:
    before = found["gateway"].ask(do="count")
    rates = alternate(found, size, turns)
    accounts = {kind: found[kind].ask(do="count") for kind in ("gateway", "forward", "cipher")}
    after = accounts["gateway"]
    return Taken(
        rates,
        {kind: unaccounted(counts) for kind, counts in accounts.items()},
        after["completed"] - before["completed"],
        {stage: after["cycles"][stage] - before["cycles"][stage] for stage in after["cycles"]},
        after["handoff"] - before["handoff"],
    )


def alternate(found: dict[str, Station], size: int, turns: int) -> dict[str, list[float]]:
    """ns a packet, one list per contender."""
    taken: dict[str, list[float]] = {kind: [] for kind in found}
    for turn in range(turns + 1):
        for kind, station in found.items():
            rate = station.blast(size)["rate"]
            if turn:  # the first turn warms up
                taken[kind].append(1e9 / rate if rate else float("inf"))
    return taken


def _rows(size: int, workers: int, placings: list[Taken]) -> list[Row]:
    ns = {kind: statistics.median(x for one in placings for x in one.rates[kind]) for kind in placings[0].rates}
    loss = {kind: sum(abs(one.loss[kind]) for one in placings) for kind in placings[0].loss}
    packets = max(sum(one.packets for one in placings), 1)
    cycles = {stage: sum(one.cycles[stage] for one in placings) / packets for stage in placings[0].cycles}
    ratios = [statistics.median(one.rates["gateway"]) / statistics.median(one.rates["forward"]) for one in placings]
    more = {"cycles": cycles, "handoff": sum(one.handoff for one in placings), "ratios": ratios}
    rows = [
        Row(name, size, workers, ns["gateway"], ns[kind], loss["gateway"], more)
        for kind, name in NAMES.items()
        if kind in ns
    ]
    return [*rows, Row(SEALER, size, workers, ns["cipher"], ns["forward"], loss["forward"] + loss["cipher"])]


def reasons(counts: dict[str, Any]) -> dict[str, int]:
    """Drops by who counted them and why."""
    door = {verdict: frames for verdict, frames in counts["door"].items() if verdict.startswith("DROP_")}
    return {**door, **counts["refused"], **counts["worker_drops"]}


def saturated(station: Station, turns: int) -> float:
    """Packets a second that came out in every turn of overload: with the same rings, in the same memory, for both move
    what a contender carries; and a virtual machine's core is not equally fast for a whole minute."""
    rates = [station.blast(STEADY_SIZE)["rate"] for _ in range(turns + 1)]
    return float(min(rates[1:]))  # the first turn warms up


def run_steady(station: Station, kind: str, workers: int, depth: int, rate: int, seconds: float) -> Steady:
    before = reasons(station.ask(do="count"))
    run = station.blast(STEADY_SIZE, int(seconds * 1000), rate)
    after = reasons(station.ask(do="count"))
    new = {name: frames - before.get(name, 0) for name, frames in after.items() if frames != before.get(name, 0)}
    ran, waited = run["ran_ns"] / 1e9, run["waited_ns"] / 1e9
    return Steady(kind, STEADY_SIZE, workers, seconds, rate, run["offered"], run["sunk"], depth, ran, waited, new)
