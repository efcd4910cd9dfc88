"""The memory port against the bare engine call: runs bench-memory (memory.c) once per direction, size and workers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from values import SIZES, Row

#: Through each side, per row: the loss target is counted on it.
PACKETS = 10_000_000
#: Short slices, many turns: a slice that another process disturbed does not move the median.
ALTERNATIONS = 250
#: 10 million packets at 300 ns a side are 6 s; a machine ten times slower still ends.
TIMEOUT = 120.0


def measure(program: Path, cores: int, packets: int, told: Callable[[Row], None]) -> list[Row]:
    """One row per direction, size and number of workers that has cores."""
    rows = []
    for direction in ("encrypt", "decrypt"):
        for workers in range(1, min(cores, 2) + 1):
            for size in SIZES:
                rows.append(_one(program, direction, size, workers, packets))
                told(rows[-1])
    return rows


def _one(program: Path, direction: str, size: int, workers: int, packets: int) -> Row:
    argv = [str(program), direction, str(size), str(workers), str(packets), str(ALTERNATIONS)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(argv)}: {done.stderr.strip() or f'exit {done.returncode}'}")
    found = json.loads(done.stdout)
    return Row(
        found["name"], size, workers, found["ours_ns"], found["theirs_ns"], found["loss"],
        {"packets": found["packets"], "cycles": found["cycles"]},
    )  # fmt: skip
