"""What commands share: their options, how they print, and the words for their statuses."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from xdpsec.errors import one_line

if TYPE_CHECKING:
    import rich.table
    from rich.console import Console
    from rich.text import Text

#: Statuses beside 0: it went wrong; a person must mend the input; no gateway runs.
FAILURE, BAD_INPUT, NOT_RUNNING = 1, 2, 3
DEFAULT_CONFIG = Path("/etc/xdpsec/xdpsec.toml")
#: Columns where nobody's terminal says how many: wide enough that no row of ours breaks.
PIPE_COLUMNS = 180
#: Rows from which on a table is laid out without rich.
MANY = 200

ConfigOption = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="configuration of the gateway")]
TargetsArgument = Annotated[
    list[str], typer.Argument(metavar="PEER[/CHILD]", help="as the configuration names them", show_default=False)
]
PeerArgument = Annotated[str, typer.Argument(metavar="PEER", help="as the configuration names it", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]


def complain(text: str) -> None:
    """One sentence on stderr."""
    print(f"xdpsec: {one_line(text)}", file=sys.stderr)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def console() -> Console:
    from rich.console import Console  # takes as long to load as a listing of thousands to come, and those need none

    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)


@dataclass(slots=True)
class Table:
    """Columns whose name begins with ">" are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str | Text, ...]] = field(default_factory=list)

    def add_row(self, *cells: str | Text) -> None:
        self.rows.append(cells)


def table(title: str, *columns: str) -> Table:
    return Table(title, columns)


def show(made: Table) -> None:
    """A table on stdout. With thousands of rows it is laid out here, the same but for breaking what is too wide: rich
    takes milliseconds a row."""
    if len(made.rows) <= MANY:
        out = console()
        out.width = max(out.width, _least(made))
        out.print(_rich(made))
        return
    columns = []
    for column, body in zip(made.columns, zip(*made.rows, strict=True), strict=True):
        cells = [column.removeprefix(">"), *map(str, body)]
        width = max(map(len, cells))
        columns.append([cell.rjust(width) if column.startswith(">") else cell.ljust(width) for cell in cells])
    head, *rows = ("   ".join(cells).rstrip() for cells in zip(*columns, strict=True))
    rule = "─" * (sum(len(cells[0]) for cells in columns) + 3 * (len(columns) - 1))
    title = [made.title] if made.title else []
    print("\n".join([*title, head, rule, *rows]))


def _least(made: Table) -> int:
    """Columns of a terminal that it takes: a number cut short says nothing, the terminal may wrap the line. The last
    column breaks between words."""
    *others, last = zip(made.columns, *made.rows, strict=True)
    widths = [max(len(str(cell)) for cell in column) for column in others]
    return sum(widths) + 3 * len(widths) + max(len(word) for cell in last for word in ["", *str(cell).split()])


def _rich(made: Table) -> rich.table.Table:
    from rich import box
    from rich.table import Table as RichTable

    drawn = RichTable(
        title=made.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False
    )
    for column in made.columns:
        side: Literal["left", "right"] = "right" if column.startswith(">") else "left"
        drawn.add_column(column.removeprefix(">"), justify=side, no_wrap=column is not made.columns[-1])
    for row in made.rows:
        drawn.add_row(*row)
    return drawn


def seconds(value: float) -> str:
    """A time for people: 4.2 s, 12 min, 3.5 h, 2.1 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.1f} s"
