"""Each counter that a machine or its host names is a metric, and each such metric is counted somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from xdpsec.metrics.ike import COUNTED

XDPSEC = Path(__file__).resolve().parents[3] / "xdpsec"


def test_names_of_counters() -> None:
    files = [file for room in ("ike", "daemon/ike") for file in (XDPSEC / room).rglob("*.py")]
    named = {name for file in files for name in re.findall(r'\bcount(?:ed)?[\[(]"(\w+)"', file.read_text())}
    assert named == set(COUNTED)
