"""Each counter that a machine or its host names is a metric, and each such metric is counted somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from attacker import Attacker

from xdpsec.ike.events import Counted
from xdpsec.metrics.ike import COUNTED
from xdpsec.numbers import ExchangeType, NotifyType
from xdpsec.wire.message import encode_payloads
from xdpsec.wire.payloads import Notify

XDPSEC = Path(__file__).resolve().parents[3] / "xdpsec"


def test_names_of_counters() -> None:
    files = [file for room in ("ike", "daemon/ike") for file in (XDPSEC / room).rglob("*.py")]
    named = {name for file in files for name in re.findall(r'\bcount(?:ed)?[\[(]"(\w+)"', file.read_text())}
    assert named == set(COUNTED)


@pytest.mark.parametrize(("kind", "label"), [(NotifyType.NO_PROPOSAL_CHOSEN, "NO_PROPOSAL_CHOSEN"), (9000, "other")])
def test_labels_are_of_a_closed_set(kind: int, label: str) -> None:
    """Whoever has keys with us may send any number, and each label lasts for the life of the gateway."""
    bad = Attacker().called()
    for data in bad.held:
        bad.send(data)
    refusal = bad.sealed(ExchangeType.IKE_AUTH, *encode_payloads((Notify(kind),)), response=True, message_id=1)
    bad.send(refusal)
    assert [one.label for one in bad.b.told(Counted) if one.name == "ike_refused"] == [label]
