"""Who takes a barrier off is told once, however often it cannot be put back, and who fights for it makes us no faster:
fence and doors are played by the test."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from crew import run
from shell import sh

from xdpsec.channel.messages import Breach
from xdpsec.daemon import barriers
from xdpsec.daemon.barriers import Barriers
from xdpsec.errors import LocalError
from xdpsec.net.values import Link

TRIES = 5

pytestmark = pytest.mark.usefixtures("namespace")


class Broken:
    """A fence and two doors; the second door, or the fence, is off, and `TRIES` times it cannot be put back."""

    interfaces = ("out0", "in0")

    def __init__(self, barrier: int) -> None:
        self.barrier, self.tries = barrier, 0

    def mend(self) -> bool:
        return self.barrier == barriers.FENCE and self._try()

    def open_doors(self) -> list[int]:
        return [self.barrier] if self.barrier >= 0 and self.tries <= TRIES else []

    def close_door(self, port: int) -> None:
        assert port == self.barrier
        self._try()

    def made_anew(self, port: int) -> None:
        assert port == self.barrier

    def _try(self) -> bool:
        self.tries += 1
        if self.tries <= TRIES:
            raise LocalError("it is taken")
        return True


@pytest.mark.parametrize("barrier", [barriers.FENCE, 1])
def test_a_breach_is_said_once_however_often_it_cannot_be_mended(barrier: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(barriers, "LOOK_SECONDS", 0.001)
    broken: Any = Broken(barrier)
    told: asyncio.Queue[Breach] = asyncio.Queue()

    async def watch() -> None:
        watching = asyncio.create_task(Barriers(broken, broken, told.put_nowait).run())
        assert await told.get() == Breach(barrier, 1, "it is taken")
        assert await told.get() == Breach(barrier, 1, "")
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    run(watch)
    assert broken.tries == TRIES + 1


class Fought:
    """A barrier that is off again as soon as it was put back."""

    interfaces = ("out0", "in0")

    def __init__(self, barrier: int) -> None:
        self.barrier, self.tries = barrier, 0
        self.turns: asyncio.Queue[None] = asyncio.Queue()

    def mend(self) -> bool:
        self.tries += self.barrier == barriers.FENCE
        sh("nft add table inet xdpsec ; delete table inet xdpsec")
        return self.barrier == barriers.FENCE

    def open_doors(self) -> list[int]:
        self.turns.put_nowait(None)
        return [self.barrier] if self.barrier >= 0 else []

    def close_door(self, port: int) -> None:
        assert port == self.barrier
        self.tries += 1


@pytest.mark.parametrize("barrier", [barriers.FENCE, 1])
def test_who_fights_for_a_barrier_gets_a_few_looks_and_no_more(barrier: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(barriers, "LOOK_SECONDS", 3600.0)
    fought: Any = Fought(barrier)

    async def watch() -> None:
        watching = asyncio.create_task(Barriers(fought, fought, lambda _: None).run())
        for number in range(2 * barriers.AT_ONCE):
            await fought.turns.get()
            sh(f"ip link add d{number} type veth")  # rings
        watching.cancel()  # together with a ring
        await asyncio.gather(watching, return_exceptions=True)

    run(watch)
    assert fought.tries == barriers.AT_ONCE


class Gone:
    """The first door is off for good: its interface was deleted, and is made anew in steps."""

    interfaces = ("out0", "in0")
    steps = (None, Link(7, bytes(6), 1500, 1), None, Link(8, bytes(6), 1500, 1), Link(8, bytes(6), 9000, 1))

    def __init__(self) -> None:
        self.looks = 0

    def mend(self) -> bool:
        return False

    def open_doors(self) -> list[int]:
        return [0]

    def close_door(self, port: int) -> None:
        raise LocalError("the interface is gone")

    def made_anew(self, port: int) -> Link | None:
        self.looks += 1
        return self.steps[min(self.looks, len(self.steps)) - 1]


def test_an_interface_made_anew_is_waited_for_until_it_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(barriers, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(barriers, "SETTLED_SECONDS", 0.2)
    gone: Any = Gone()
    ended: list[int] = []

    async def watch() -> None:
        ended.append(await Barriers(gone, gone, lambda _: None).run())

    run(watch)
    assert ended == [0]
    assert gone.looks > len(Gone.steps)
