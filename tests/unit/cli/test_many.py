"""Thousands of rows and peers: laid out and read without what takes milliseconds for each, and the same to the eye."""

from __future__ import annotations

import tomllib

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
