"""`make bench`: build the programs, measure memory and veth, print a table, write build/bench.json.

run.py [--long] [--only memory|veth] [--packets N]. Root is needed for veth. What is timed lives here, never in a test.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import memory
import report
from rich.console import Console
from values import Row

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "bench"
RESULT = ROOT / "build" / "bench.json"
#: A clean build of the core takes under half a minute on two cores.
BUILD_SECONDS = 300.0


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
    parser.add_argument("--long", action="store_true", help="the 80 %% run takes 60 s")
    parser.add_argument("--only", choices=("memory", "veth"), help="one half alone")
    parser.add_argument("--packets", type=int, default=memory.PACKETS, help="through each memory row")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    console = Console(stderr=True, highlight=False)
    programs = build()
    rows: list[Row] = []
    if asked.only != "veth":
        cores = len(os.sched_getaffinity(0))
        rows += memory.measure(
            programs / "bench-memory", cores, asked.packets, lambda row: report.progress(console, row)
        )
    RESULT.write_text(json.dumps([row.record() for row in rows], indent=1) + "\n")
    report.table(Console(highlight=False), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
