"""`xdpsec up PEER[/CHILD]`: call a peer and open its children."""

from __future__ import annotations

from xdpsec.channel import negotiation as words
from xdpsec.cli.common import DEFAULT_CONFIG, ConfigOption, TargetsArgument
from xdpsec.cli.wishes import split_target, tell


def up(targets: TargetsArgument, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Call peers and open their children, or those named."""
    for target in targets:
        count = tell(config, words.BringUp(*split_target(target)))
        text = f"{target}: {count} called for; `xdpsec list-peers` shows what came of it"
        print(text if count else f"{target} is up")
