"""`xdpsec run`: the gateway in the foreground."""

from __future__ import annotations

import typer

from xdpsec.cli.common import DEFAULT_CONFIG, ConfigOption


def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the gateway in the foreground.

    Until SIGTERM or Ctrl-C. Protected prefixes stay closed then. Status 2: a person must act first."""
    from xdpsec.daemon import supervisor  # no other command pays for what it loads

    raise typer.Exit(supervisor.main(str(config)))
