"""The longest that parsing any one message takes: every shape of tests/unit/wire_shapes.py, valid and hostile.

ike_parse.py prints them all. CPU time of one call, the best of a few. Each shape must be parsed or refused with a
PeerError: anything else ends the bench.
"""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from wire_shapes import Shape, shapes

from xdpsec.errors import PeerError

ROUNDS = 15


def milliseconds(shape: Shape) -> float:
    took = []
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        with contextlib.suppress(PeerError):
            shape.parse()
        took.append(time.process_time_ns() - began)
    return min(took) / 1e6


def measure() -> tuple[float, str]:
    """Milliseconds of the worst shape, and its name."""
    return max((milliseconds(shape), shape.name) for shape in shapes())


if __name__ == "__main__":
    for one in shapes():
        print(f"{milliseconds(one):.3f} ms  {one.name}")
