"""`xdpsec stop`: end the gateway; the fence stays unless told otherwise."""

from __future__ import annotations

from typing import Annotated

import typer

from xdpsec.cli.client import run_dir
from xdpsec.cli.common import DEFAULT_CONFIG, NOT_RUNNING, ConfigOption, complain
from xdpsec.daemon import lock

OpenOption = Annotated[
    bool, typer.Option("--open", help="remove the fence too: protected prefixes are reachable in the clear")
]


def stop(config: ConfigOption = DEFAULT_CONFIG, open_fence: OpenOption = False) -> None:
    """Stop the gateway and wait for its end.

    Protected prefixes stay closed, unless --open is given. Status 3 when no gateway runs."""
    directory = run_dir(config)
    ran = lock.stop(directory, open_fence)
    if ran:
        print("stopped" + ("; the fence is open" if open_fence else "; protected prefixes stay closed"))
    elif open_fence:
        print("no gateway ran; the fence is open")
    else:
        complain(f"no gateway runs with run_dir {directory}")
        raise typer.Exit(NOT_RUNNING)
