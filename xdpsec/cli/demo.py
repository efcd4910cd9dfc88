"""`xdpsec demo`: two gateways and two hosts in network namespaces of this machine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Keys(StrEnum):
    """Where the SAs' keys come from."""

    IKE = "ike"
    MANUAL = "manual"


KeysOption = Annotated[Keys, typer.Option("--keys", help="negotiated by IKEv2, or made by hand")]
KeepOption = Annotated[bool, typer.Option("--keep", help="leave it running and say how to look around")]
RemoveOption = Annotated[str, typer.Option("--remove", metavar="NAME", help="remove a demo that was kept")]
JsonFileOption = Annotated[Path | None, typer.Option("--json-file", metavar="FILE", help="write the figures there too")]
SecondsOption = Annotated[
    int, typer.Option("--seconds", min=1, max=60, help="about the length of each of four iperf3 runs")
]


def demo(
    keep: KeepOption = False,
    remove: RemoveOption = "",
    json_file: JsonFileOption = None,
    seconds: SecondsOption = 4,
    keys: KeysOption = Keys.IKE,
) -> None:
    """Send real traffic between two gateways made here.

    In network namespaces of their own. Shows the figures and removes everything."""
    from xdpsec.demo import run  # no other command pays for what it loads

    if remove:
        raise typer.Exit(run.remove(remove))
    raise typer.Exit(run.main(keep=keep, json_file=json_file, seconds=seconds, manual=keys is Keys.MANUAL))
