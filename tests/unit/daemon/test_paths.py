"""Routes and next hops as workers hear of them: only what changed, and what we use is kept alive."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Sequence
from ipaddress import ip_address, ip_network

import pytest
from crew import run
from hurry import hurry
from hypothesis import given
from hypothesis import strategies as st
from work import lines_of

from xdpsec.channel.messages import Message, NextHop, Route, RouteReplace, SetNeighbour
from xdpsec.daemon import paths
from xdpsec.daemon.paths import Paths, Table

WAN, LAN = Route("192.0.2.0/24", "", 0), Route("10.1.0.0/16", "", 2)
DEFAULT = Route("0.0.0.0/0", "192.0.2.254", 0)
REMOTE = "198.51.100.7"
MAC, OTHER = b"\x02" * 6, b"\x04" * 6


class Kernel:
    """A Watcher whose tables the test sets."""

    def __init__(self) -> None:
        self.bell = os.eventfd(0, os.EFD_NONBLOCK)
        self.paths = True
        self._routes: tuple[Route, ...] = (WAN, LAN, DEFAULT)
        self.hops: tuple[NextHop, ...] = ()
        self.own: tuple[str, ...] = ("192.0.2.1",)

    def fileno(self) -> int:
        return self.bell

    def ring(self, paths: bool = True) -> None:
        self.paths = paths
        os.eventfd_write(self.bell, 1)

    def drain(self) -> bool:
        try:
            os.eventfd_read(self.bell)
        except BlockingIOError:
            return False
        return self.paths

    def routes(self) -> tuple[Route, ...]:
        return self._routes

    def next_hops(self) -> tuple[NextHop, ...]:
        return self.hops

    def addresses(self) -> tuple[str, ...]:
        return self.own

    def outer(self, ports: Collection[int]) -> tuple[str, ...]:
        return self.own[:1] if 0 in ports else ()

    def close(self) -> None:
        os.close(self.bell)


class Rig:
    def __init__(self, remotes: Sequence[str] = (REMOTE, REMOTE)) -> None:
        self.kernel = Kernel()
        self.told: list[Message] = []
        self.kept: list[SetNeighbour] = []
        self.own: list[Sequence[str]] = []
        self.sizes: list[tuple[str, int]] = []
        self.paths = Paths(
            self.kernel, {0: 1500, 1: 1400}, remotes, self.told.append, self.kept.append, self.own.append,
            lambda *size: self.sizes.append(size),
        )  # fmt: skip

    def news(self) -> list[Message]:
        news, self.told[:] = list(self.told), []
        return news


def test_only_what_changed_is_told() -> None:
    async def test() -> None:
        rig = Rig()
        one, two = NextHop(0, "192.0.2.254", MAC), NextHop(2, "10.1.0.9", MAC)
        rig.kernel.hops = (one, two)
        await rig.paths.look()
        assert rig.news() == [RouteReplace((WAN, LAN, DEFAULT)), one, two]
        assert rig.own == [("192.0.2.1",)]
        rig.kernel.ring()
        await rig.paths.look()
        assert rig.news() == []
        rig.kernel.hops = (NextHop(0, "192.0.2.254", OTHER),)
        rig.kernel.ring(paths=False)
        await rig.paths.look()
        assert rig.news() == [NextHop(2, "10.1.0.9", b""), NextHop(0, "192.0.2.254", OTHER)]
        rig.kernel.own = ("192.0.2.1", "192.0.2.2")
        rig.kernel._routes = (WAN, DEFAULT)
        rig.kernel.ring()
        await rig.paths.look()
        assert rig.news() == [RouteReplace((WAN, DEFAULT))]
        assert rig.own[-1] == ("192.0.2.1", "192.0.2.2")
        rig.kernel.close()

    run(test)


def test_who_is_not_settled_hears_of_the_next_change_though_the_tables_are_as_they_were() -> None:
    async def test() -> None:
        rig, heard, answers = Rig(), 0, [False, True]

        def hear(own: Sequence[str], outer: Sequence[str]) -> bool:
            nonlocal heard
            heard += 1
            return answers.pop(0)

        rig.paths = Paths(
            rig.kernel, {0: 1500}, [REMOTE], rig.told.append, rig.kept.append, rig.own.append, lambda *size: None,
            hear,
        )  # fmt: skip
        await rig.paths.look()
        for _ in range(3):
            rig.kernel.ring()
            await rig.paths.look()
        assert heard == 2
        rig.kernel.close()

    run(test)


def test_next_hops_to_peers_and_routers_are_kept_alive_each_once() -> None:
    async def test() -> None:
        rig = Rig()
        await rig.paths.look()
        assert rig.kept == [SetNeighbour(0, "192.0.2.254")]
        rig.kernel._routes = (WAN, LAN, DEFAULT, Route("198.51.100.0/24", "", 1), Route("10.2.0.0/16", "10.1.0.3", 2))
        rig.kernel.ring()
        await rig.paths.look()
        assert rig.kept[1:] == [SetNeighbour(1, REMOTE), SetNeighbour(2, "10.1.0.3")]
        rig.kernel.close()

    run(test)


def test_an_address_that_a_packet_waits_for_is_asked_for_and_the_number_of_those_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paths, "MAX_KEPT", 3)

    async def test() -> None:
        rig = Rig()
        rig.kernel._routes = ()
        rig.kernel.hops = tuple(NextHop(2, f"10.1.0.{host}", MAC) for host in range(10))  # they all answer
        await rig.paths.look()
        for host in range(10):
            rig.paths.resolve(2, f"10.1.0.{host}")
        assert rig.kept == [SetNeighbour(2, f"10.1.0.{host}") for host in range(3)]
        rig.paths.forget((2, "10.1.0.0"))
        rig.paths.resolve(2, "10.1.0.9")
        assert rig.kept[-1] == SetNeighbour(2, "10.1.0.9")
        rig.kernel.close()

    run(test)


def test_the_path_mtu_is_that_of_the_port_that_leads_to_the_peer() -> None:
    async def test() -> None:
        rig = Rig()
        await rig.paths.look()
        assert (rig.paths.path_mtu(REMOTE), rig.sizes) == (1500, [])
        rig.kernel._routes = (WAN, LAN, Route("198.51.100.0/24", "192.0.2.253", 1))
        rig.kernel.ring()
        await rig.paths.look()
        assert (rig.paths.path_mtu(REMOTE), rig.sizes) == (1400, [(REMOTE, 1400)])
        rig.kernel._routes = (WAN, LAN)
        rig.kernel.ring()
        await rig.paths.look()
        assert rig.paths.path_mtu(REMOTE) == 1400, "without a route the smallest is safe"
        rig.kernel.close()

    run(test)


def test_a_bell_is_followed_at_once_and_a_storm_of_them_costs_few_looks() -> None:
    async def test() -> None:
        rig = Rig()
        await rig.paths.look()
        rig.news()
        looks = 0
        ask = rig.kernel.next_hops

        def counted() -> tuple[NextHop, ...]:
            nonlocal looks
            looks += 1
            return ask()

        rig.kernel.next_hops = counted  # type: ignore[method-assign]
        watching = asyncio.create_task(rig.paths.run())
        await asyncio.sleep(0)
        rig.kernel.hops = (NextHop(0, "192.0.2.254", MAC),)
        for _ in range(200):
            rig.kernel.ring(paths=False)
            await asyncio.sleep(0.001)
        assert rig.news() == [NextHop(0, "192.0.2.254", MAC)]
        assert looks == 4  # one in 0.05 s
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        rig.kernel.close()

    hurry(test)


@given(
    st.lists(st.tuples(st.integers(0, (1 << 32) - 1), st.integers(0, 32)), max_size=12),
    st.integers(0, (1 << 32) - 1),
)
def test_lookup_is_the_longest_prefix(rows: list[tuple[int, int]], target: int) -> None:
    networks = {ip_network((address, bits), strict=False) for address, bits in rows}
    found = Table(tuple(Route(str(network), "", 0) for network in networks)).lookup(str(ip_address(target)))
    holding = [network for network in networks if ip_address(target) in network]
    best = max(holding, key=lambda network: network.prefixlen, default=None)
    assert (found.prefix if found else None) == (str(best) if best else None)
    assert Table((Route("::/0", "", 0),)).lookup("10.0.0.1") is None


def test_a_look_is_work_for_each_peer_and_each_route_but_not_for_each_pair() -> None:
    def lines(count: int) -> int:
        peers = [f"203.0.113.{number}" for number in range(count)]
        rig = Rig(peers)
        rig.kernel._routes = (DEFAULT, *(Route(f"{peer}/32", "192.0.2.254", 0) for peer in peers))
        looked = lines_of(lambda: asyncio.run(rig.paths.look()))
        assert [rig.paths.path_mtu(peer) for peer in peers] == [1500] * count
        rig.kernel.close()
        return looked

    assert lines(200) < 11 * lines(20)


def test_a_scan_of_the_inside_does_not_shut_out_its_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "MAX_KEPT", 4)

    async def test() -> None:
        rig = Rig()
        await rig.paths.look()
        rig.paths.resolve(2, "10.1.0.5")
        rig.kernel.hops = (NextHop(2, "10.1.0.5", MAC),)
        await rig.paths.look()
        for last in range(100):
            rig.paths.resolve(2, f"10.1.9.{last}")
        rig.paths.resolve(2, "10.1.0.77")
        assert rig.kept[-1] == SetNeighbour(2, "10.1.0.77")
        # who answered is kept still: lost by the kernel it is asked for again
        rig.kernel.hops, rig.kept[:] = (), []
        await rig.paths.look()
        assert rig.kept == [SetNeighbour(2, "10.1.0.5")]
        # so is the router to the peer: nobody needs to ask for it once more
        rig.kernel.ring()
        await rig.paths.look()
        assert SetNeighbour(0, "192.0.2.254") not in rig.kept[1:]
        rig.kernel.close()

    run(test)
