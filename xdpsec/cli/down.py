"""`xdpsec down PEER`: close what there is with a peer. Its prefixes stay protected: nothing goes out in the clear."""

from __future__ import annotations

from typing import Annotated

import typer

from xdpsec.channel import negotiation as words
from xdpsec.cli.common import DEFAULT_CONFIG, ConfigOption
from xdpsec.cli.wishes import tell


def down(
    peer: Annotated[str, typer.Argument(help="a peer of the configuration", show_default=False)],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Close the IKE SA with a peer and its children; their prefixes stay protected."""
    count = tell(config, words.BringDown(peer))
    print(f"{peer} is being closed" if count else f"{peer} was down")
