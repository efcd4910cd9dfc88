"""stop, fence, bench, demo, run: argv reaches the right call, and what cannot be done is one sentence."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import desk
import pytest
from desk import configuration, sentence
from shell import sh

Xdpsec = Callable[..., desk.Ran]
BIN = Path(sys.executable).with_name("xdpsec")
COMMANDS = ("run", "stop", "fence", "check", "status", "list-sas", "drops", "demo", "bench", "doctor")


def test_the_fence_closes_and_only_stop_open_opens_it(xdpsec: Xdpsec, tmp_path: Path, namespace: None) -> None:
    config = configuration(tmp_path)
    ran = xdpsec("fence", "-c", config)
    assert (ran.status, ran.err) == (0, "")
    assert "10.1.0.0/16 . 10.2.0.0/16" in sh("nft list table inet xdpsec")
    assert "203.0.113.7" in sh("nft list table inet xdpsec")  # the peer is spared
    sentence(xdpsec("stop", "-c", config), 3, "no gateway runs")
    assert "table inet xdpsec" in sh("nft list tables")
    opened = xdpsec("stop", "--open", "-c", config)
    assert (opened.status, opened.out) == (0, "no gateway ran; the fence is open\n")
    assert "xdpsec" not in sh("nft list tables")


def test_the_fence_wants_a_right_configuration(xdpsec: Xdpsec, tmp_path: Path, namespace: None) -> None:
    config = configuration(tmp_path, spin_us="-1")
    sentence(xdpsec("fence", "-c", config), 2, "spin_us", f"{config}:6")
    assert sh("nft list tables") == ""


def test_bench_runs_the_script_of_the_tree_with_its_arguments(
    xdpsec: Xdpsec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xdpsec.__path__", [str(tmp_path / "xdpsec")])
    sentence(xdpsec("bench"), 1, "needs a source tree", "make bench")
    script = tmp_path / "tests/bench/run.py"
    script.parent.mkdir(parents=True)
    script.write_text(f"import sys; open('{tmp_path}/told', 'w').write(' '.join(sys.argv[1:])); sys.exit(5)")
    assert xdpsec("bench", "--only", "memory", "x").status == 5
    assert (tmp_path / "told").read_text() == "--only memory x"


def test_the_demo_does_not_begin_what_it_cannot_write_down(xdpsec: Xdpsec, tmp_path: Path) -> None:
    ran = xdpsec("demo", "--json-file", tmp_path / "gone/figures.json")
    assert (ran.status, ran.out) == (2, "")
    assert f"there is no directory {tmp_path}/gone" in ran.err


def test_demo_and_run_hand_their_status_on(xdpsec: Xdpsec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []

    def answer(status: int) -> Callable[..., int]:
        def called(*words: object, **named: object) -> int:
            told.append(named or words[0])
            return status

        return called

    monkeypatch.setattr("xdpsec.demo.run.main", answer(4))
    monkeypatch.setattr("xdpsec.demo.run.remove", answer(0))
    monkeypatch.setattr("xdpsec.daemon.supervisor.main", answer(2))
    assert xdpsec("demo", "--keep", "--seconds", "2").status == 4
    assert xdpsec("demo", "--remove", "xs-1").status == 0
    assert xdpsec("run", "-c", tmp_path / "x.toml").status == 2
    assert xdpsec("demo", "--keys", "manual").status == 4
    briefly = {"keep": True, "json_file": None, "seconds": 2, "manual": False}
    by_hand = {"keep": False, "json_file": None, "seconds": 4, "manual": True}
    assert told == [briefly, "xs-1", str(tmp_path / "x.toml"), by_hand]


def test_help_names_every_command_and_completion_ships() -> None:
    text = subprocess.run([BIN, "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    for command in COMMANDS:
        assert f"  {command} " in text
    assert "--install-completion" in text
    script = subprocess.run(
        [BIN], capture_output=True, text=True, check=True, timeout=60,
        env={"_XDPSEC_COMPLETE": "complete_bash", "COMP_WORDS": "xdpsec dr", "COMP_CWORD": "1", "PATH": "/usr/bin"},
    )  # fmt: skip
    assert script.stdout.split() == ["drops"]


def test_output_that_is_closed_is_no_error(tmp_path: Path) -> None:
    line = f"{BIN} doctor -c {configuration(tmp_path)} >&-"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


def test_output_that_nobody_reads_any_more_is_no_error(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    for unbuffered, reader in itertools.product(("", "1"), ("true", "head -c 1")):
        line = f"set -o pipefail; PYTHONUNBUFFERED={unbuffered} {BIN} doctor --json -c {config} | {reader}"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
        assert done.stderr == ""
