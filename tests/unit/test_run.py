"""tests/run: who ends it from outside ends the stage too, which removes what it has made before either is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
#: A test that never ends, and a removal that takes until every process was told again.
ENDLESS = """
import pathlib, signal, time, pytest
@pytest.fixture
def made():
    path = pathlib.Path(__file__).with_name("made")
    path.touch()
    yield
    print("removing", flush=True)
    while not path.with_name("again").exists():
        time.sleep(0.01)
    path.unlink()
def test_endless(made):
    print("made", flush=True)
    signal.pause()
"""
#: The runner with that test as the first of two stages.
RUNNER = """
import importlib.machinery, importlib.util, pathlib, sys
loader = importlib.machinery.SourceFileLoader("run", sys.argv[1] + "/run")
run = sys.modules["run"] = importlib.util.module_from_spec(importlib.util.spec_from_loader("run", loader))
sys.path.insert(0, sys.argv[1])
loader.exec_module(run)
run.LOGS, run.AS_ROOT = pathlib.Path(sys.argv[2]), ()
run.STAGES = (run.Stage("endless", ".", run.pytest(sys.argv[2], "-s")), run.Stage("next", ".", run.script("false")))
sys.exit(run.main([]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_end_it_removes_what_it_made_and_says_what_was_not_run(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "test_endless.py").write_text(ENDLESS)
    # a shell's background job ignores Ctrl-C, and what it starts
    argv = ["env", "--default-signal=INT", sys.executable, "-c", RUNNER, str(TESTS), str(tmp_path)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout
        for line in process.stdout:
            if line == "made\n":
                assert (tmp_path / "made").exists()
                process.send_signal(number)
            if line == "removing\n":
                os.killpg(process.pid, number)  # all at once, as a terminal does it
                (tmp_path / "again").touch()
                break
        rest = process.stdout.read()
        status = process.wait()
    finally:
        with process, contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert not (tmp_path / "made").exists()
    assert status == 1
    assert "0 passed, 1 failed, 0 skipped" in rest.splitlines()
    assert rest.count("NOT RUN") == 1
