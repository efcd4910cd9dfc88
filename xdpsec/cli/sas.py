"""`xdpsec list-sas`: every SA with its numbers."""

from __future__ import annotations

from typing import Any

from xdpsec.channel import operator as words
from xdpsec.cli import shapes
from xdpsec.cli.client import Client, run_dir
from xdpsec.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, print_json, seconds, show, table


def list_sas(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the SAs and their numbers."""
    with Client(run_dir(config)) as client:
        rows = shapes.sas(client.ask(words.SasQuery(), words.Sas))
    if as_json:
        print_json(rows)
        return
    columns = (
        "child",
        "way",
        "SPI",
        ">worker",
        "suite",
        "engine",
        "ESN",
        ">number",
        ">granted",
        ">packets",
        ">bytes",
        "last",
        "drops",
    )
    made = table("", *columns)
    for row in rows:
        made.add_row(*_cells(row))
    show(made)


def _cells(row: dict[str, Any]) -> list[str]:
    last = "never" if row["last_seen_s"] is None else seconds(row["last_seen_s"])
    drops = row["error"] or ", ".join(f"{name} {count}" for name, count in row["drops"].items())
    return [
        row["label"],
        row["direction"],
        f"{row['spi']:#010x}",
        str(row["worker"]),
        row["suite"],
        row["engine"] or "-",
        "yes" if row["esn"] else "no",
        str(row.get("next_seq", row.get("top"))),
        "-" if row["granted"] is None else str(row["granted"]),
        str(row["packets"]),
        str(row["bytes"]),
        last,
        drops,
    ]
