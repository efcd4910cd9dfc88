"""Thousands of rows and peers: laid out and read without what takes milliseconds for each, and the same to the eye."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from xdpsec.cli import client, common

ROWS = [("p1", "1", "up"), ("p22", "20,000", ""), ("p333", "3", "wide enough to be cut by nobody")]


@pytest.mark.parametrize("title", ["", "children"])
def test_a_long_table_looks_like_a_short_one(
    title: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for many in (len(ROWS), len(ROWS) - 1):
        monkeypatch.setattr(common, "MANY", many)
        made = common.table(title, "peer", ">count", "state")
        for row in ROWS:
            made.add_row(*row)
        common.show(made)
        said.append([line.rstrip() for line in capsys.readouterr().out.splitlines()])
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "text",
    [
        '[gateway]\nrun_dir = "/a"\n[peers.b]\nx = 1\n',
        '[peers.b]\nx = 1\n[ gateway ] # ours\nrun_dir = "/a"\ninside = [\n  "eth0",\n]\n',
        'gateway.run_dir = "/a"\n',
        'gateway = { run_dir = "/a" }\n',
        '[gateway]\nmatrix = [\n  [1], [2],\n]\nrun_dir = "/a"\n',
        'note = """\n[gateway]\nrun_dir = "/b"\n"""\n[gateway]\nrun_dir = "/a"\n',
        "x = 1\n",
    ],
)
def test_the_gateways_table_is_found_alone(text: str) -> None:
    assert client._gateway_table(text).get("gateway") == tomllib.loads(text).get("gateway")


LONG = """
import sys
from pathlib import Path
from xdpsec.cli import client, common, main
main.application([sys.argv[1]])
made = common.table("", "peer", ">count")
for number in range(common.MANY + 1):
    made.add_row(f"p{number}", "1")
common.show(made)
Path("gw.toml").write_text('[gateway]')
assert str(client.run_dir(Path("gw.toml"))) == "/run/xdpsec"
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"rich", "pydantic", "email"}))
"""


@pytest.mark.parametrize("command", ["list-peers", "status", "list-sas"])
def test_a_long_listing_loads_nothing_that_takes_longer_than_it(command: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LONG, command], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60
    )
    assert ran.stdout.splitlines()[-1] == ""
