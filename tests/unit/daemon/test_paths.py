"""Next hops that packets ask for: bounded, and never shut by hosts that do not exist."""

from __future__ import annotations

import asyncio

import pytest

from xdpsec.channel.messages import Message, NextHop, Route, SetNeighbour
from xdpsec.daemon import paths

PEER = "10.9.0.2"


class Kernel:
    """A Watcher with a route to the peer, and the neighbours that the test gives it."""

    def __init__(self) -> None:
        self.neighbours: tuple[NextHop, ...] = ()

    def fileno(self) -> int:
        return -1

    def drain(self) -> bool:
        return False

    def routes(self) -> tuple[Route, ...]:
        return (Route("10.9.0.0/24", "", 0), Route("10.2.0.0/16", "", 1))

    def next_hops(self) -> tuple[NextHop, ...]:
        return self.neighbours

    def addresses(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        return None


def test_a_scan_of_the_inside_does_not_shut_out_its_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "MAX_KEPT", 4)
    kernel, told, kept = Kernel(), list[Message](), list[SetNeighbour]()
    gateway = paths.Paths(
        kernel, {0: 1500}, [PEER], told.append, kept.append, lambda addresses: None, lambda remote, mtu: None
    )
    asyncio.run(gateway.look())
    gateway.resolve(1, "10.2.0.5")
    kernel.neighbours = (NextHop(1, "10.2.0.5", b"\2\0\0\0\0\5"),)
    asyncio.run(gateway.look())
    for last in range(100):
        gateway.resolve(1, f"10.2.9.{last}")
    gateway.resolve(1, "10.2.0.77")
    assert kept[-1] == SetNeighbour(1, "10.2.0.77")
    # who answered, and the way to the peer, are kept still: lost by the kernel they are asked for again
    kept.clear()
    kernel.neighbours = ()
    asyncio.run(gateway.look())
    assert kept == [SetNeighbour(1, "10.2.0.5")]
    gateway.resolve(1, "10.2.0.77")
    assert SetNeighbour(0, PEER) not in kept
