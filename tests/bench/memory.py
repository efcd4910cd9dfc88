"""The memory port against the bare engine call: runs bench-memory (memory.c) once per direction, size and workers."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from values import SIZES, Row

#: Through each side, per row: the loss target is counted on it.
PACKETS = 10_000_000
#: Every row is measured in so many passes over all rows; the pass in which the bare call was fastest counts. A core of
#: a virtual machine is slower for seconds at a time, and which pass was disturbed shows in theirs, not in ours.
PASSES = 3
#: Of each pass. Short slices, many turns: a slice that another process disturbed does not move the median.
ALTERNATIONS = 100
#: A pass takes 2 s at 300 ns a side; a machine ten times slower still ends.
TIMEOUT = 60.0


def measure(program: Path, cores: int, packets: int, told: Callable[[Row], None]) -> list[Row]:
    """One row per direction, size and number of workers that has cores."""
    kinds = list(itertools.product(("encrypt", "decrypt"), range(1, min(cores, 2) + 1), SIZES))
    passes = [[_one(program, *kind, packets // PASSES) for kind in kinds] for _ in range(PASSES)]
    rows = [_quietest(taken) for taken in zip(*passes, strict=True)]
    for row in rows:
        told(row)
    return rows


def _quietest(taken: Sequence[Row]) -> Row:
    best = min(taken, key=lambda row: row.theirs_ns)
    return dataclasses.replace(best, loss=sum(row.loss for row in taken))


def _one(program: Path, direction: str, workers: int, size: int, packets: int) -> Row:
    argv = [str(program), direction, str(size), str(workers), str(packets), str(ALTERNATIONS)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(argv)}: {done.stderr.strip() or f'exit {done.returncode}'}")
    found = json.loads(done.stdout)
    return Row(
        found["name"], size, workers, found["ours_ns"], found["theirs_ns"], found["loss"],
        {"packets": found["packets"], "cycles": found["cycles"]},
    )  # fmt: skip
