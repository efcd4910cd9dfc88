"""`xdpsec fence`: close the protected prefixes without a gateway, at boot before the interfaces come up."""

from __future__ import annotations

from xdpsec.cli.common import DEFAULT_CONFIG, ConfigOption
from xdpsec.config.loader import load
from xdpsec.daemon.requests import pairs, spare
from xdpsec.net.fence import Fence


def fence(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Close the protected prefixes without a gateway.

    For the time at boot before the interfaces come up; `run` does it first, too. `stop --open` opens them again."""
    whole = load(str(config))
    Fence().protect(pairs(whole), spare(whole))
    print(f"closed: {len(pairs(whole))} pairs of prefixes")
