"""`xdpsec down PEER`: close what there is with a peer. Its prefixes stay protected: nothing goes out in the clear."""

from __future__ import annotations

from xdpsec.channel import negotiation as words
from xdpsec.cli.common import DEFAULT_CONFIG, ConfigOption, PeerArgument
from xdpsec.cli.wishes import tell


def down(
    peer: PeerArgument,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Close what there is with a peer.

    The IKE SA and its children. Their prefixes stay protected; the peer may call again, we do not until `up`."""
    count = tell(config, words.BringDown(peer))
    print(f"{peer} is being closed; we do not call it again before `xdpsec up {peer}`" if count else f"{peer} was down")
