"""Routes, neighbours and addresses against the live kernel in a namespace; `ip` is the oracle."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop
from shell import sh

from xdpsec.channel.messages import NextHop, Route
from xdpsec.errors import LocalError
from xdpsec.net.routes import Links, Watcher

PEER_MAC = "02:00:00:00:00:99"
SECONDS = 60
NOBODY = 65534


@dataclass
class Rig:
    watcher: Watcher
    links: Links

    def until(self, done: Callable[[], bool]) -> bool:
        """Waits for bells; True if any told of paths."""
        paths = False
        while not done():
            ready, _, _ = select.select([self.watcher], [], [], SECONDS)
            assert ready, "nothing rang"
            paths |= self.watcher.drain()
        return paths


@pytest.fixture
def rig(veths: tuple[str, str]) -> Iterator[Rig]:
    sh("ip addr add 10.9.0.1/24 dev out0")
    sh("ip addr add 10.1.0.1/16 dev in0")
    watcher = Watcher({socket.if_nametoindex(name): port for port, name in enumerate(veths)})
    links = Links()
    watcher.drain()
    yield Rig(watcher, links)
    watcher.close()
    links.close()


def test_snapshot(rig: Rig) -> None:
    sh("ip route add 10.2.0.0/16 via 10.9.0.2")
    sh("ip route add default via 10.9.0.3 metric 50")
    sh("ip route add default via 10.1.0.3 metric 20")
    sh("ip route add 10.5.0.0/16 nexthop via 10.9.0.4 nexthop via 10.1.0.4")
    sh("ip route add blackhole 10.6.0.0/16")
    sh("ip link add other type veth peer name other1")
    for end in ("other", "other1"):
        Path(f"/proc/sys/net/ipv6/conf/{end}/disable_ipv6").write_text("1")
    sh("ip link set other up")
    sh("ip link set other1 up")
    sh("ip route add 10.7.0.0/16 dev other")
    assert rig.watcher.routes() == (
        Route("0.0.0.0/0", "10.1.0.3", 1),
        Route("10.1.0.0/16", "", 1),
        Route("10.2.0.0/16", "10.9.0.2", 0),
        Route("10.5.0.0/16", "10.9.0.4", 0),
        Route("10.9.0.0/24", "", 0),
    )
    assert rig.watcher.addresses() == ("10.1.0.1", "10.9.0.1")
    assert rig.watcher.outer({0}) == ("10.9.0.1",)


def test_snapshot6(rig: Rig) -> None:
    Path("/proc/sys/net/ipv6/conf/out0/disable_ipv6").write_text("0")
    sh("ip addr add fd09::1/64 dev out0 nodad")
    sh("ip route add fd02::/64 via fd09::2")
    sh("ip route add 10.4.0.0/16 via inet6 fd09::2 dev out0")
    routes = set(rig.watcher.routes())
    assert {Route("fd09::/64", "", 0), Route("fd02::/64", "fd09::2", 0), Route("10.4.0.0/16", "fd09::2", 0)} <= routes
    assert "fd09::1" in rig.watcher.addresses()
    assert rig.watcher.outer({0}) == ("10.9.0.1", "fd09::1")  # no link-local one
    assert rig.links.find("out0").addr6 == "fd09::1"


def test_bell_rings_for_routes_and_addresses(rig: Rig) -> None:
    sh("ip route add 10.2.0.0/16 via 10.9.0.2")
    assert rig.until(lambda: Route("10.2.0.0/16", "10.9.0.2", 0) in rig.watcher.routes()) or rig.watcher.drain()
    sh("ip addr add 10.9.0.7/24 dev out0")
    assert rig.until(lambda: "10.9.0.7" in rig.watcher.addresses()) or rig.watcher.drain()
    sh("ip link set out0 down")
    assert rig.until(lambda: all(route.port == 1 for route in rig.watcher.routes())) or rig.watcher.drain()


def test_neighbours_come_and_go(rig: Rig) -> None:
    hop = NextHop(0, "10.9.0.2", bytes.fromhex(PEER_MAC.replace(":", "")))
    sh(f"ip neigh add 10.9.0.2 lladdr {PEER_MAC} dev out0")
    rig.until(lambda: rig.watcher.next_hops() == (hop,))
    sh("ip neigh del 10.9.0.2 dev out0")
    rig.until(lambda: rig.watcher.next_hops() == ())


def test_kernel_resolves_and_manages(rig: Rig) -> None:
    """A live neighbour behind out1, in its own namespace: asked for, it gets resolved."""
    name = f"xs-{os.getpid()}-hop"
    sh(f"ip netns add {name}")
    try:
        sh(f"ip link set out1 netns {name}")
        sh(f"ip -n {name} link set out1 address {PEER_MAC}")
        sh(f"ip -n {name} link set out1 up")
        sh(f"ip -n {name} addr add 10.9.0.2/24 dev out1")
        rig.links.keep_neighbour(socket.if_nametoindex("out0"), "10.9.0.2")
        hop = NextHop(0, "10.9.0.2", bytes.fromhex(PEER_MAC.replace(":", "")))
        rig.until(lambda: hop in rig.watcher.next_hops())
        rig.links.keep_neighbour(socket.if_nametoindex("out0"), "10.9.0.2")
        assert hop in rig.watcher.next_hops(), "asked again, it stays resolved"
        [row] = json.loads(sh("ip -j neigh show dev out0"))
        assert "managed" in row
    finally:
        sh(f"ip netns del {name}")


def test_links(rig: Rig) -> None:
    [truth] = json.loads(sh("ip -j link show out0"))
    link = rig.links.find("out0")
    assert (link.ifindex, link.mac.hex(":"), link.mtu) == (truth["ifindex"], truth["address"], truth["mtu"])
    assert (link.queues, link.addr4, link.addr6) == (2, "10.9.0.1", "")
    with pytest.raises(LookupError, match="no interface nowhere"):
        rig.links.find("nowhere")
    with pytest.raises(LocalError, match=r"10\.9\.0\.2"):
        rig.links.keep_neighbour(999999, "10.9.0.2")


def test_watching_needs_no_privilege(rig: Rig) -> None:
    """A child as nobody opens its own watcher and sees what we see."""
    truth = rig.watcher.routes(), rig.watcher.addresses()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            watcher = Watcher({socket.if_nametoindex(name): port for port, name in enumerate(("out0", "in0"))})
            status = int((watcher.routes(), watcher.addresses()) != truth)
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("policy", [asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy])
def test_inside_a_running_loop(rig: Rig, policy: type[asyncio.AbstractEventLoopPolicy]) -> None:
    """As control uses it: the loop's reader, snapshots from within the loop."""

    async def watch() -> tuple[Route, ...]:
        Watcher({}).close()
        rang = asyncio.Event()
        asyncio.get_running_loop().add_reader(rig.watcher.fileno(), rang.set)
        sh("ip route add 10.2.0.0/16 via 10.9.0.2")
        await asyncio.wait_for(rang.wait(), SECONDS)
        asyncio.get_running_loop().remove_reader(rig.watcher.fileno())
        assert rig.watcher.drain()
        return rig.watcher.routes()

    asyncio.set_event_loop_policy(policy())
    try:
        assert Route("10.2.0.0/16", "10.9.0.2", 0) in asyncio.run(watch())
    finally:
        asyncio.set_event_loop_policy(None)
