"""What thousands of peers cost at start, counted: how often an address is read from its text for each of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest

from xdpsec.config.loader import parse
from xdpsec.config.values import Config
from xdpsec.daemon.credentials import Credentials
from xdpsec.daemon.ike import doubts
from xdpsec.daemon.requests import pairs, spare
from xdpsec.net import fence
from xdpsec.net.fetch import forbidden_in
from xdpsec.policy import prefixes

GATEWAY = '[gateway]\noutside = ["wan0"]\ninside = ["lan0"]\n'
PEER = """
[peers.p{0}]
remote = "203.0.113.{0}"
local = "192.0.2.1"
local_id = "gw.example.org"
remote_id = "p{0}.example.org"
auth = {{ psk_file = "/etc/xdpsec/p{0}.psk" }}
[peers.p{0}.children.net]
local = ["10.1.0.0/16"]
remote = ["10.9.{0}.0/24"]
"""


def text(count: int) -> str:
    return GATEWAY + "".join(map(PEER.format, range(1, count + 1)))


def configuration(count: int) -> Callable[[], object]:
    written = text(count)
    return lambda: parse(written, "xdpsec.toml", [0, 1])


def later(step: Callable[[Config], object]) -> Callable[[int], Callable[[], object]]:
    def make(count: int) -> Callable[[], object]:
        config = parse(text(count), "xdpsec.toml", [0, 1])
        return lambda: step(config)

    return make


def tries(config: Config) -> object:
    return prefixes.tables(config.children, {child.index: 0 for child in config.children}, 1)


def forbidden(config: Config) -> object:
    return forbidden_in(text for child in config.children for text in (*child.local, *child.remote))


def looked(config: Config) -> object:
    read = {ike.auth.psk_file: b"0x" + b"5a" * 32 for _, ike in config.ike_peers}
    return list(doubts.found(config, read, Credentials(read, {}), lambda remote: ""))


def closed(config: Config) -> None:
    fence.Fence().protect(pairs(config), spare(config))


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (configuration, 5),  # four in the file, and its remote prefix once more among those of others
        (later(tries), 1),
        (later(forbidden), 1),
        (later(looked), 0),
        (later(closed), 2),  # its remote prefix, its outer address
    ],
    ids=["configuration", "tries", "forbidden", "doubts", "fence"],
)
def test_a_peer_more_is_so_many_addresses_more(
    make: Callable[[int], Callable[[], object]], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []

    def counted(one: Callable[..., object]) -> Callable[..., object]:
        def call(what: object, **how: object) -> object:
            read.append(what)
            return one(what, **how)

        return call

    for name in ("ip_network", "ip_address"):
        monkeypatch.setattr(ipaddress, name, counted(getattr(ipaddress, name)))
    monkeypatch.setattr(fence, "_nft", lambda *_: '{"nftables": []}')

    def reads(count: int) -> int:
        run = make(count)
        read.clear()
        run()
        return len(read)

    assert reads(30) - reads(20) == 10 * most
