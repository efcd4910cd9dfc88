"""`xdpsec explain PEER`: why it is down, and the line to change."""

from __future__ import annotations

from xdpsec.channel import negotiation as words
from xdpsec.cli import shapes
from xdpsec.cli.client import Client, run_dir
from xdpsec.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, PeerArgument, print_json
from xdpsec.errors import LocalError


def explain(
    peer: PeerArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Say why a peer is down, and what to change.

    The peer first, then its children; with the line of the configuration."""
    with Client(run_dir(config)) as client:
        answer = client.ask(words.ExplainQuery(peer), words.Explanation)
    if answer.error:
        raise LocalError(answer.error)
    if as_json:
        print_json(shapes.explanation(answer))
        return
    for row in answer.rows:
        print(f"{row.what} is {'up' if row.up else 'down'}: {row.text}" if row.what else f"lately, {row.text}")
        if row.fix:
            print(f"  {row.fix}")
