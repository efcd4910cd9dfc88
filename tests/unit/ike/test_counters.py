"""Each counter that a machine names is a metric, and each such metric is counted somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from xdpsec.metrics.ike import COUNTED

IKE = Path(__file__).resolve().parents[3] / "xdpsec/ike"


def test_names_of_counters() -> None:
    named = {name for file in IKE.rglob("*.py") for name in re.findall(r'\bcount\("(\w+)"', file.read_text())}
    assert named == set(COUNTED)
