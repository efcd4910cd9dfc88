"""Grants: on disk before they are said, together when they come together, never when the disk refuses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from crew import run

from xdpsec.channel.messages import SeqGrant
from xdpsec.config.keys import SaKey
from xdpsec.config.suites import SUITES
from xdpsec.daemon import grants
from xdpsec.daemon.grants import Grants
from xdpsec.daemon.ledger import Place
from xdpsec.daemon.seats import Seat
from xdpsec.policy.sa import Sa
from xdpsec.policy.sequence import Grant, Numbers


def seat(slot: int) -> Seat:
    sa = Sa(
        child=slot, label=f"b/c{slot}", outbound=False, spi=0x1000 + slot, suite=SUITES["aes256-sha256"],
        key=SaKey(bytes([slot]) * 32, b"i" * 32), key_file="/k", esn=True, replay_window=64, local="192.0.2.1",
        remote="192.0.2.2", encap=(0, 0), selectors=(), engine="auto",
    )  # fmt: skip
    return Seat(sa, slot, owner=slot % 2)


#: Of the loop: what does not wait for a disk has come by then.
TURNS = 20


class Rig:
    """Two slots; a ledger that a test holds up or lets refuse. `order` is what happened."""

    def __init__(self) -> None:
        self.seats = {slot: seat(slot) for slot in (3, 4)}
        self.order: list[Any] = []
        self.disk, self.writing = threading.Event(), threading.Event()
        self.disk.set()
        self.refuse = 0
        self.top = 600
        places = {one.sa.sa_id: Place(one.slot, Grant(1025, 0, 0.0)) for one in self.seats.values()}
        self.grants = Grants(self.seats, places, self, self, lambda *said: self.order.append(said))  # type: ignore[arg-type]
        self.task = asyncio.create_task(self.grants.run())

    def raise_to(self, ends: Mapping[bytes, int]) -> None:
        assert threading.current_thread() is not threading.main_thread(), "the loop waits for a disk"
        self.writing.set()
        self.disk.wait()
        if self.refuse:
            self.refuse -= 1
            self.order.append("refused")
            raise OSError(28, "No space left on device")
        self.order.append(("disk", len(ends)))

    def numbers(self, slot: int) -> Numbers:
        return Numbers(False, 0, 1025, 0, self.top)

    def packets(self, slot: int) -> int:
        return self.top

    async def begun(self) -> None:
        """The disk was asked."""
        while not self.writing.is_set():
            await asyncio.sleep(0.001)

    async def until(self, count: int) -> None:
        while len(self.order) < count:
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        self.grants.close()
        await self.task


def test_the_disk_hears_first() -> None:
    async def test() -> None:
        rig = Rig()
        rig.disk.clear()
        rig.grants.want(3, 601)
        await rig.begun()
        assert rig.order == []
        assert rig.grants.granted(3) == SeqGrant(3, 1025)
        rig.disk.set()
        await rig.until(2)
        (disk, (worker, grant)) = rig.order
        assert disk == ("disk", 1)
        assert worker == 1
        assert grant == rig.grants.granted(3)
        assert grant.mark >= 601 + 1024
        await rig.close()

    run(test)


def test_a_slot_that_a_neighbour_wrote_raises_no_mark_beyond_what_a_wire_carries() -> None:
    async def test() -> None:
        rig = Rig()
        rig.top = 2**63
        rig.grants.want(3, 601)
        await rig.until(2)
        assert rig.grants.granted(3).mark < 601 + 2**30
        await rig.close()

    run(test)


def test_what_is_asked_for_meanwhile_goes_together() -> None:
    async def test() -> None:
        rig = Rig()
        rig.disk.clear()
        rig.grants.want(3, 601)
        await rig.begun()
        rig.top = 2000
        for slot in (3, 4, 3):
            rig.grants.want(slot, 2001)
        rig.disk.set()
        await rig.until(5)
        assert [what for what in rig.order if what[0] == "disk"] == [("disk", 1), ("disk", 2)]
        await rig.close()

    run(test)


def test_a_disk_that_refuses_grants_nothing_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants, "RETRY_SECONDS", 0.01)

    async def test() -> None:
        rig = Rig()
        rig.refuse = 3
        rig.grants.want(4, 601)
        await rig.until(5)
        assert rig.order[:4] == ["refused", "refused", "refused", ("disk", 1)]
        assert rig.order[4] == (0, rig.grants.granted(4))
        await rig.close()

    run(test)


def test_an_ask_with_enough_left_is_answered_without_the_disk() -> None:
    """Else a worker that was replaced, and asks early, would never ask again."""

    async def test() -> None:
        rig = Rig()
        rig.top = 5
        rig.grants._last[3] = Grant(500_000, 0, 0.0)
        rig.grants.want(3, 601)
        await rig.until(1)
        assert rig.order == [(1, SeqGrant(3, 500_000))]
        await rig.close()

    run(test)


def test_closing_waits_for_the_write_that_is_under_way() -> None:
    async def test() -> None:
        rig = Rig()
        rig.disk.clear()
        rig.grants.want(3, 601)
        await rig.begun()
        rig.grants.close()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert not rig.task.done()
        rig.disk.set()
        await rig.task
        assert rig.order[0] == ("disk", 1)

    run(test)
