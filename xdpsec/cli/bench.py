"""`xdpsec bench`: the benchmark of a source tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import typer

import xdpsec
from xdpsec.errors import LocalError

SCRIPT = Path("tests/bench/run.py")


def bench(context: typer.Context) -> None:
    """Measure this machine, in a source tree.

    Against the bare engine call and a bare forwarder. Arguments go to tests/bench/run.py."""
    script = Path(next(iter(xdpsec.__path__))).parent / SCRIPT
    if not script.exists():
        raise LocalError(f"the benchmark needs a source tree, which has {SCRIPT}; run `make bench` in one")
    raise typer.Exit(subprocess.run([sys.executable, str(script), *context.args], check=False).returncode)
