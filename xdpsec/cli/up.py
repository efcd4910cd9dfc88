"""`xdpsec up PEER[/CHILD]`: call a peer and open its children."""

from __future__ import annotations

from xdpsec.channel import negotiation as words
from xdpsec.cli.common import DEFAULT_CONFIG, ConfigOption, TargetArgument
from xdpsec.cli.wishes import split_target, tell


def up(target: TargetArgument, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Call a peer and open its children, or the one named."""
    count = tell(config, words.BringUp(*split_target(target)))
    print(f"{target}: {count} called for; `xdpsec list-peers` shows what came of it" if count else f"{target} is up")
