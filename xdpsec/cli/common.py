"""What commands share: their options, how they print, and the words for their statuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

#: Statuses beside 0: it went wrong; a person must mend the input; no gateway runs.
FAILURE, BAD_INPUT, NOT_RUNNING = 1, 2, 3
DEFAULT_CONFIG = Path("/etc/xdpsec/xdpsec.toml")
#: Columns where nobody's terminal says how many: wide enough that no row of ours breaks.
PIPE_COLUMNS = 180
#: Rows from which on a table is laid out without rich.
MANY = 200

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", help="configuration of the gateway", dir_okay=False)
]
TargetsArgument = Annotated[
    list[str], typer.Argument(metavar="PEER[/CHILD]...", help="as the configuration names them", show_default=False)
]
PeerArgument = Annotated[str, typer.Argument(metavar="PEER", help="as the configuration names it", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]


def complain(text: str) -> None:
    """One sentence on stderr."""
    print(f"xdpsec: {text}", file=sys.stderr)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def console() -> Console:
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)


def table(title: str, *columns: str) -> Table:
    """Columns whose name begins with ">" are numbers."""
    made = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False
    )
    for column in columns:
        made.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    return made


def show(made: Table) -> None:
    """A table on stdout. With thousands of rows it is laid out here, the same but for breaking what is too wide: rich
    takes milliseconds a row."""
    if made.row_count <= MANY:
        console().print(made)
        return
    columns = []
    for column in made.columns:
        cells = [str(column.header), *map(str, column.cells)]
        width = max(map(len, cells))
        columns.append([cell.rjust(width) if column.justify == "right" else cell.ljust(width) for cell in cells])
    head, *rows = ("   ".join(cells).rstrip() for cells in zip(*columns, strict=True))
    rule = "─" * (sum(len(cells[0]) for cells in columns) + 3 * (len(columns) - 1))
    title = [str(made.title)] if made.title else []
    print("\n".join([*title, head, rule, *rows]))


def seconds(value: float) -> str:
    """A time for people: 4.2 s, 12 min, 3.5 h, 2.1 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.1f} s"
