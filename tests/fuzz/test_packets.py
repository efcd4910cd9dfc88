"""The packet fuzzer as a test: a million mutated frames as the gateway is shipped, and a million under sanitizers. What
is checked stands in fuzz_main.c; a failure prints the command that repeats it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "run"
#: seconds; a million frames take about ten, under sanitizers twice that, on a core shared with others
PATIENCE = 300


@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.parametrize("how", [["--seed", "1"], ["--seed", "2", "--sanitize"]], ids=["plain", "sanitized"])
def test_a_million_mutated_frames_leave_nothing_but_counters(how: list[str]) -> None:
    ran = subprocess.run([RUN, *how, "--frames", "1000000"], capture_output=True, text=True, timeout=PATIENCE)
    print(ran.stdout)
    assert ran.returncode == 0, ran.stderr
