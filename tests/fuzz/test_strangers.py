"""What strangers send, fuzzed under coverage: a planted bug is found, and nothing else, among as many inputs as CI has
time for. An hour of it is `make fuzz-ike`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import guided
import pytest

#: Inputs, some twenty seconds' worth on an idle core; a busy one takes as long as it takes.
RUNS = {"ike_codec": 400_000, "ike_gate": 8_000, "ike_proofs": 150_000}
#: Fewer edges of our code than this, and the kept corpus or the counting of coverage is broken.
EDGES = {"ike_codec": 250, "ike_gate": 1500, "ike_proofs": 350}
#: The planted bug is found within some ten thousand.
PLANTED_RUNS = 500_000
#: seconds; nobody comes to it but who hangs
PATIENCE = 900


@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize("target", guided.TARGETS)
def test_nothing_but_refusals(target: str, tmp_path: Path) -> None:
    result = guided.fuzz(target, tmp_path / target, runs=RUNS[target])
    print(f"{target}: {result}")
    assert result.finding is None, result.output[-4000:]
    assert result.executions >= RUNS[target]
    assert result.coverage > EDGES[target]
    assert result.corpus >= len(guided.kept(target).read_text().split())


@pytest.mark.timeout(PATIENCE)
def test_a_planted_bug_is_found_and_can_be_repeated(tmp_path: Path) -> None:
    result = guided.fuzz("ike_codec", tmp_path / "planted", runs=PLANTED_RUNS, plant=True)
    print(f"planted: {result}")
    assert result.finding is not None
    assert "IndexError: the planted bug" in result.output
    again = [sys.executable, str(guided.CHILD), "ike_codec"]
    assert subprocess.run([*again, "--plant", str(result.finding)], capture_output=True, check=False).returncode
    assert not subprocess.run([*again, str(result.finding)], capture_output=True, check=False).returncode
