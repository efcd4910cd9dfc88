"""`xdpsec log`: what control has said lately, and goes on saying."""

from __future__ import annotations

import json
from typing import Annotated, Any

import structlog
import typer

from xdpsec.channel import negotiation as words
from xdpsec.channel import operator
from xdpsec.cli.client import Client, run_dir
from xdpsec.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption
from xdpsec.config import hints
from xdpsec.errors import LocalError

_RENDER = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "process", "event"])


def log(
    config: ConfigOption = DEFAULT_CONFIG,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on with new lines until Ctrl-C")] = False,
    peer: Annotated[
        str, typer.Option("--peer", metavar="PEER", help="only lines that name this peer", show_default=False)
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Print the latest lines of the log.

    What control said; --json prints one object a line."""
    with Client(run_dir(config)) as client:
        if peer:
            _know(client, peer)
        answer = client.ask(words.LogQuery(0, False), words.Lines)
        while answer.rows or follow:
            for row in answer.rows:
                _show(row, peer, as_json)
            answer = client.ask(words.LogQuery(answer.last, follow), words.Lines, patient=follow)


def _know(client: Client, peer: str) -> None:
    """LocalError where the gateway has no such peer, of either kind of keys."""
    names = {row.name for row in client.ask(words.PeersQuery(), words.Peers).rows}
    names |= {row.label.partition("/")[0] for row in client.ask(operator.StatusQuery(), operator.Status).children}
    if peer not in names:
        near = hints.meant(peer, names, {})
        raise LocalError(f"there is no peer {peer!r}; {near or '`xdpsec status` names them'}")


def _show(row: str, peer: str, as_json: bool) -> None:
    fields: dict[str, Any] = json.loads(row)
    if peer and peer not in (fields.get("peer"), str(fields.get("child", "")).partition("/")[0]):
        return
    print(row if as_json else _RENDER(None, "", fields), flush=True)
