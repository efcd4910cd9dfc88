"""What `up`, `down` and `rekey` share: a target's two names, and a wish that is begun or refused with a sentence."""

from __future__ import annotations

from pathlib import Path

from xdpsec.channel import negotiation as words
from xdpsec.cli.client import Client, run_dir
from xdpsec.errors import LocalError


def split_target(target: str) -> tuple[str, str]:
    """The peer and the child of PEER[/CHILD], "" = none."""
    peer, _, child = target.partition("/")
    return peer, child


def tell(config: Path, wish: words.BringUp | words.BringDown | words.Rekey) -> int:
    """How many exchanges or calls were begun."""
    with Client(run_dir(config)) as client:
        answer = client.ask(wish, words.Begun)
    if answer.error:
        raise LocalError(answer.error)
    return answer.count
