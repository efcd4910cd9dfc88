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
#: Two gateways start and carry traffic.
SECONDS = 110.0


@pytest.mark.parametrize("proof", proofs(), ids=lambda proof: proof.case)
def test_proof(results: Results, proof: Proof) -> None:
    with results.row(PEER, importlib.metadata.version("xdpsec"), ROLE, proof.case) as row:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", proof.test]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
        found = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
        assert done.returncode == 0, f"{proof.test}: {done.stdout.strip().splitlines()[-1]}"
        assert found, done.stdout
        row.detail = f"{proof.kind}: {found[1]} passed, {proof.test}"
