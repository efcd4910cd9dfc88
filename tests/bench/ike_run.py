"""`make bench-ike`: what IKE costs, ours beside strongSwan's; prints a table, writes build/bench-ike.json.

ike_run.py [--only PART ...] [--role ROLE] [--small] [--docs]. Parts: psk-x25519, ecdsa-p256, psk-x25519-wide-offer,
crowd (memory, idle, listing), flood, rekey, stall, parse. Rows of parts that were not run stay. Needs root.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from typing import Any

import ike_parts
import report
from rich.console import Console
from rich.table import Table
from run import BUILD, ROOT, build

RESULT = ROOT / "build" / "bench-ike.json"
#: Names of the rows of a part that makes several.
ROWS = {"crowd": ("memory", "idle", "listing")}
SMALL = ike_parts.Sizes(
    connects=100, warm=20, turns=2, some=50, many=200, most=300, settle_seconds=1.0, idle_seconds=5.0, slow=5
)
BEGIN, END = "<!-- figures: tests/bench/ike_run.py --docs -->", "<!-- end of IKE figures -->"
HEADS = ("name", "role", "ours", "theirs", "ratio")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="measure IKE")
    parser.add_argument("--only", nargs="+", default=[], help="parts")
    parser.add_argument("--role", choices=("responder", "initiator"), help="of handshakes, this one alone")
    parser.add_argument("--small", action="store_true", help="few connects and peers: to see that it works")
    parser.add_argument("--docs", action="store_true", help="write the figures into docs/performance.md")
    return parser.parse_args()


def merge(new: list[dict[str, Any]], only: list[str]) -> list[dict[str, Any]]:
    """The new rows, and those from before that this run did not make."""
    if not only or not RESULT.exists():
        return new
    made = {name for part in only for name in ROWS.get(part, (part,))}
    old: list[dict[str, Any]] = json.loads(RESULT.read_text())
    return [row for row in old if row["name"] not in made] + new


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A row with two sides as figures, any other as words."""
    if "ours_ms" in row:
        numbers = (f"{row['ours_ms']:.3f} ms", f"{row['theirs_ms']:.3f} ms", f"{row['ratio']:.2f}")
        return (row["name"], row["role"], *numbers)
    said = ", ".join(f"{key} {value}" for key, value in row.items() if key not in ("name", "peer"))
    return (row["name"], str(row.get("peer", "")), said, "", "")


def table(rows: list[dict[str, Any]]) -> Table:
    out = Table(title="CPU a connect, and what else is promised of IKE")
    for name in HEADS:
        out.add_column(name)
    for row in rows:
        out.add_row(*cells(row))
    return out


def write_docs(rows: list[dict[str, Any]]) -> None:
    path = ROOT / "docs" / "performance.md"
    before, rest = path.read_text().split(BEGIN)
    lines = ["| " + " | ".join(line) + " |" for line in (HEADS, ("---",) * len(HEADS), *map(cells, rows))]
    figures = [f"Machine: {report.machine()}.", "", *lines]
    path.write_text(before + BEGIN + "\n\n" + "\n".join(figures) + "\n\n" + END + rest.split(END)[1])


def main() -> int:
    asked = arguments()
    if os.geteuid() != 0:
        raise SystemExit("bench-ike: it makes network namespaces; run it as root")
    errors = Console(stderr=True, highlight=False)
    build()
    sizes = SMALL if asked.small else ike_parts.Sizes()
    if asked.role:
        sizes = dataclasses.replace(sizes, roles=(asked.role,))
    programs = BUILD / "tests" / "bench"
    rows = merge(ike_parts.everything(sizes, errors.print, programs, asked.only), asked.only)
    if not asked.small:
        RESULT.write_text(json.dumps(rows, indent=1) + "\n")
    Console(highlight=False).print(table(rows))
    if asked.docs:
        write_docs(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
