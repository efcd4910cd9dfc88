"""Rows for people: a line as each is measured, a table at the end."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from values import Row


def progress(console: Console, row: Row) -> None:
    what = f"{row.name} {row.size} B, {row.workers} worker{'s' if row.workers > 1 else ''}"
    console.print(f"{what}: {row.ours_ns:.1f} ns against {row.theirs_ns:.1f} ns, lost {row.loss}")


def table(console: Console, rows: Sequence[Row]) -> None:
    out = Table(title="ns a packet, medians of one run")
    for name in ("name", "size", "workers", "ours", "theirs", "ratio", "overhead", "loss"):
        out.add_column(name, justify="left" if name == "name" else "right")
    for row in rows:
        out.add_row(
            row.name, str(row.size), str(row.workers), f"{row.ours_ns:.1f}", f"{row.theirs_ns:.1f}",
            f"{row.ratio:.3f}", f"{row.overhead_ns:.1f}", str(row.loss),
        )  # fmt: skip
    console.print(out)
