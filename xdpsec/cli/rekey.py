"""`xdpsec rekey PEER[/CHILD]`: new keys for the IKE SA, a child, or with PEER/* every child, now."""

from __future__ import annotations

from xdpsec.channel import negotiation as words
from xdpsec.cli.common import DEFAULT_CONFIG, ConfigOption, TargetsArgument
from xdpsec.cli.wishes import split_target, tell


def rekey(targets: TargetsArgument, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Make new keys for an IKE SA or a child.

    PEER is the IKE SA, PEER/CHILD a child of it, PEER/* every child."""
    for target in targets:
        count = tell(config, words.Rekey(*split_target(target)))
        print(f"{target}: {count} rekeyed; `xdpsec log` shows how it went")
