"""What strangers send, fuzzed under coverage: a planted bug is found, and nothing else, in the time that CI has. An
hour of it is `make fuzz-ike`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import guided
import pytest

SECONDS = 35
#: Fewer edges of our code than this, and the kept corpus or the counting of coverage is broken.
EDGES = {"ike_codec": 250, "ike_gate": 1500, "ike_proofs": 350}
#: for what libFuzzer does before and after, on a core shared with others
PATIENCE = 240


@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize("target", guided.TARGETS)
def test_nothing_but_refusals(target: str, tmp_path: Path) -> None:
    result = guided.fuzz(target, tmp_path / target, SECONDS)
    print(f"{target}: {result}")
    assert result.finding is None, result.output[-4000:]
    assert result.executions > 1000
    assert result.coverage > EDGES[target]
    assert result.corpus >= len(guided.kept(target).read_text().split())


@pytest.mark.timeout(PATIENCE)
def test_a_planted_bug_is_found_and_can_be_repeated(tmp_path: Path) -> None:
    result = guided.fuzz("ike_codec", tmp_path / "planted", PATIENCE // 2, plant=True)
    print(f"planted: {result}")
    assert result.finding is not None
    assert "IndexError: the planted bug" in result.output
    again = [sys.executable, str(guided.CHILD), "ike_codec"]
    assert subprocess.run([*again, "--plant", str(result.finding)], capture_output=True, check=False).returncode
    assert not subprocess.run([*again, str(result.finding)], capture_output=True, check=False).returncode
