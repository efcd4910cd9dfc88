"""What the documents show is so: the reference is current, and every configuration in them is one that we accept."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from xdpsec.config.keys import parse_keys
from xdpsec.config.loader import parse
from xdpsec.config.suites import SUITES

if TYPE_CHECKING:
    from desk import Ran

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = [
    pytest.param(text, id=f"{document.name}-{number}")
    for document in DOCUMENTS
    for number, text in enumerate(re.findall(r"```toml\n(.*?)```", document.read_text(), re.DOTALL))
    if not text.startswith("inbound = ")  # a key file; those of the guide are read below
]


@pytest.mark.parametrize("script", ["docs/generate.py", "docs/generate_seen.py"])
def test_reference_is_current(script: str) -> None:
    done = subprocess.run([sys.executable, script, "--check"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_documents_show_configurations() -> None:
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("text", EXAMPLES)
def test_check_finds_the_example_right(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xdpsec: Callable[..., Ran]
) -> None:
    """On a machine with eight cores; as somebody who may not look at its files and interfaces."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "xdpsec.toml").write_text(text)
    ran = xdpsec("check", tmp_path / "xdpsec.toml")
    assert (ran.status, ran.err) == (0, "")
    assert "xdpsec.toml is right" in ran.out
    assert all(child.label in ran.out for child in parse(text, "xdpsec.toml", range(8)).children)


def test_written_keys_are_accepted() -> None:
    """The lines of the guide that make a key file, run as they stand there."""
    guide = (ROOT / "docs" / "guide.md").read_text()
    command = re.search(r"```sh\n(key\(\)[^`]*)```", guide, re.DOTALL)
    assert command, "the guide shows no way to make keys"
    made = subprocess.run(["bash", "-c", command[1]], capture_output=True, check=True, timeout=60)
    assert parse_keys(made.stdout, "lab.keys", SUITES["aes256-sha256"])


@pytest.mark.parametrize(
    "link", sorted({(d, link) for d in DOCUMENTS for link in re.findall(r"\]\(([^)#]+)", d.read_text())})
)
def test_link_leads_somewhere(link: tuple[Path, str]) -> None:
    document, target = link
    assert "://" in target or (document.parent / target).exists()


@pytest.mark.parametrize("file", ["deploy/grafana/xdpsec.json", "deploy/prometheus/alerts.yml", "docs/guide.md"])
def test_every_metric_that_is_asked_for_is_documented(file: str) -> None:
    rows = re.findall(r"^\| `(xdpsec_\w+)` \| (\w+) \|", (ROOT / "docs/seen.md").read_text(), re.MULTILINE)
    told = {
        name + end
        for name, kind in rows
        for end in (("", "_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }
    asked = set(re.findall(r"\bxdpsec_\w+", (ROOT / file).read_text()))
    assert asked - told == set()
    assert len(asked) > 3
