"""`make bench`: build the programs, measure memory, veth and an idle gateway, print a table, write build/bench.json.

run.py [--long] [--docs] [--only memory|veth|idle] [--packets N] [--turns N]. What is timed lives here, never in a test.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import idle
import memory
import report
import veth
from rich.console import Console
from values import Row

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "bench"
RESULT = ROOT / "build" / "bench.json"
#: A clean build of the core takes under half a minute on two cores.
BUILD_SECONDS = 300.0
#: The run at 80 % of the output reached: the target's length, and one that fits a coffee.
LONG_SECONDS, SHORT_SECONDS = 60.0, 10.0
#: The row that has a target; its ratio is told for each placing.
WATCHED = veth.NAMES["forward"], veth.STEADY_SIZE


def build() -> Path:
    """Compile what changed; the directory of the programs."""
    for argv in (
        ["cmake", "-S", str(ROOT), "-B", str(BUILD), "-DXS_BENCH=ON", "-DCMAKE_BUILD_TYPE=Release"],
        ["cmake", "--build", str(BUILD), "-j", str(os.cpu_count() or 1)],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
        if done.returncode != 0:
            raise SystemExit(
                f"{done.stdout}{done.stderr}\nbench: the programs do not build; the compiler says why above"
            )
    return BUILD / "tests" / "bench"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="measure the data plane")
    parser.add_argument("--long", action="store_true", help=f"the run at 80 %% takes {LONG_SECONDS:.0f} s")
    parser.add_argument("--only", choices=("memory", "veth", "idle"), help="one part alone")
    parser.add_argument("--packets", type=int, default=memory.PACKETS, help="through each memory row")
    parser.add_argument("--turns", type=int, default=veth.ALTERNATIONS, help="alternations of each veth row")
    parser.add_argument("--docs", action="store_true", help="write the figures into docs/performance.md")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    if asked.only != "memory" and os.geteuid() != 0:
        raise SystemExit("bench: veth and idle make network namespaces; run it as root, or with --only memory")
    console = Console(stderr=True, highlight=False)
    programs = build()
    cores = min(len(os.sched_getaffinity(0)), 2)
    rows: list[Row] = []
    sentences: list[str] = []

    def told(row: Row) -> None:
        report.progress(console, row)

    if asked.only in (None, "memory"):
        rows += memory.measure(programs / "bench-memory", cores, asked.packets, told)
    if asked.only in (None, "veth"):
        seconds = LONG_SECONDS if asked.long else SHORT_SECONDS
        for workers in range(1, cores + 1):
            found, last = veth.measure(programs, workers, seconds, told, asked.turns)
            rows += found
            sentences += [report.placings(row) for row in found if (row.name, row.size) == WATCHED]
            sentences += map(report.steady, last)
    if asked.only in (None, "idle"):
        sentences.append(report.idle(idle.measure(), idle.SECONDS))
    RESULT.write_text(json.dumps([row.record() for row in rows], indent=1) + "\n")
    report.table(Console(highlight=False), rows, sentences)
    if asked.docs:
        report.write_docs(ROOT / "docs" / "performance.md", rows, sentences)
    return 0


if __name__ == "__main__":
    sys.exit(main())
