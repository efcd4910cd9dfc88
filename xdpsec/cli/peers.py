"""`xdpsec list-peers`: every peer that negotiates, and the IKE SA there is with it."""

from __future__ import annotations

from typing import Any

from xdpsec.channel import negotiation as words
from xdpsec.cli import shapes
from xdpsec.cli.client import Client, run_dir
from xdpsec.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, print_json, seconds, show, table


def list_peers(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the peers and their IKE SAs."""
    with Client(run_dir(config)) as client:
        rows = shapes.peers(client.ask(words.PeersQuery(), words.Peers))
    if as_json:
        print_json(rows)
        return
    made = table(
        "", "peer", "state", "address", "its identity", "suite", "quantum-safe", ">children up", "role", ">age"
    )
    for row in rows:
        made.add_row(*_cells(row))
    if made.rows:
        show(made)
    else:
        print("no peer negotiates its keys")


def _cells(row: dict[str, Any]) -> list[str]:
    children = f"{row['children_up']} of {row['children']}"
    if not row["up"]:
        return [row["name"], "down", row["remote"] or "any", "", "", "", children, "", ""]
    safe = "yes" if row["hybrid"] else "by PPK" if row["ppk"] else "no"
    role = "initiator" if row["initiator"] else "responder"
    age = seconds(row["age_s"])
    return [row["name"], "up", row["address"], row["remote_id"], row["suite"], safe, children, role, age]
