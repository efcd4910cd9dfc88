"""The result table: one row for each case with each peer, printed at the end and kept as build/interop.json."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "build" / "interop.json"


@dataclass
class Row:
    """`role` says what we were: "gateway" with manual keys, "initiator" or "responder" with IKE, "-" where two others
    prove the harness. `detail` is for a person."""

    peer: str
    version: str
    role: str
    case: str
    ok: bool = False
    detail: str = ""


class Results:
    """Collects rows over a run of pytest."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    @contextmanager
    def row(self, peer: str, version: str, role: str, case: str) -> Iterator[Row]:
        """A row that is ok when the block ends without an exception."""
        row = Row(peer, version, role, case)
        self.rows.append(row)
        try:
            yield row
        except BaseException as error:
            row.detail = f"{type(error).__name__}: {error}".splitlines()[0]
            raise
        row.ok = True

    def complete(self, wanted: Sequence[tuple[str, str, str]]) -> int:
        """Add a red row for each (peer, role, case) that is not there; how many."""
        there = {(row.peer, row.role, row.case) for row in self.rows}
        missing = [key for key in wanted if key not in there]
        self.rows += [Row(peer, "", role, case, detail="not played") for peer, role, case in missing]
        return len(missing)

    def write(self) -> None:
        FILE.parent.mkdir(exist_ok=True)
        rows = [dataclasses.asdict(row) for row in self.rows]
        FILE.write_text(json.dumps(rows, indent=1) + "\n")

    def lines(self) -> list[str]:
        """The table as text, columns as wide as they must be."""
        table = [("peer", "version", "role", "case", "result", "detail")]
        table += [(r.peer, r.version, r.role, r.case, "ok" if r.ok else "FAILED", r.detail) for r in self.rows]
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]) - 1)]
        return [
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
            for row in table
        ]
