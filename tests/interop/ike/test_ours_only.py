"""With --whole: the proofs that ours_only.tsv names, each run by itself and told in the table like the rest."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

from interop.ike.alone import PEER, ROLE, Proof, proofs
from interop.results import Results

ROOT = Path(__file__).resolve().parents[3]
#: Each of these tests ends before it, in order.
SECONDS = 550.0


@pytest.mark.parametrize("proof", proofs(), ids=lambda proof: proof.case)
def test_proof(results: Results, proof: Proof) -> None:
    with results.row(PEER, importlib.metadata.version("xdpsec"), ROLE, proof.case) as row:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.endings", proof.test]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
            try:
                said, _ = run.communicate(timeout=SECONDS)
            finally:
                run.terminate()  # it removes what it has made
                run.wait()
        found = re.search(r"^(\d+) passed", said, re.MULTILINE)
        assert run.returncode == 0, f"{proof.test}: {said.strip().splitlines()[-1]}"
        assert found, said
        row.detail = f"{proof.kind}: {found[1]} passed, {proof.test}"
