"""The rows of ours_only.tsv: what no daemon of Debian's can play with us, and the test that proves it instead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("ours_only.tsv")
PEER, ROLE = "ours only", "-"


@dataclass(frozen=True, slots=True)
class Proof:
    """`kind` says what the test works with: vectors, a pair of machines, two gateways."""

    case: str
    kind: str
    test: str


def proofs() -> list[Proof]:
    lines = [line for line in FILE.read_text().splitlines() if line and not line.startswith("#")]
    return [Proof(*line.split("\t")) for line in lines]
