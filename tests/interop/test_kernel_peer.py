"""A Linux kernel as the other gateway, with manual keys by `ip xfrm`: pings and TCP from either side."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from netns.rig.tap import Tap

from interop.cases import A, B, Case, table
from interop.results import Results
from interop.station import ECHO_PORT, Station, station
from interop.test_kernel_pair import TCP_BYTES, prepare, sent
from interop.uml import Guest

CASES = table()


@pytest.fixture(scope="module")
def linked() -> Iterator[tuple[Station, Guest, Tap]]:
    """Our gateway, the kernel behind the cable, and a tap on the cable."""
    with station(CASES) as ours:
        guest = Guest(ours.lab, ours.peer, "eth0")
        prepare(guest, B, A, CASES)
        with Tap(ours.peer, "eth0") as tap:
            yield ours, guest, tap


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_kernel(linked: tuple[Station, Guest, Tap], results: Results, case: Case) -> None:
    ours, guest, tap = linked
    with results.row("Linux", guest.release, "gateway", case.name) as row:
        ours.ping(case)
        guest.run("ping", "-n", "-c4", "-i0.05", "-W2", "-I", B.address(case), A.address(case))
        ours.ask(case, TCP_BYTES)
        guest.ask(A.address(case), ECHO_PORT, B.address(case), TCP_BYTES)
        _crossed(ours, guest, tap, case)
        numbers = ours.numbers(case)
        row.detail = f"next out {numbers['out']['next_seq']:#x}, top in {numbers['in']['top']:#x}"


def _crossed(ours: Station, guest: Guest, tap: Tap, case: Case) -> None:
    """What we sent was ESP with this SPI, in UDP where the case says so; both ends agree on the numbers."""
    spi = case.spi(B).to_bytes(4, "big")
    frames = [frame for frame in tap.frames() if frame.esp[:4] == spi]
    assert len(frames) > TCP_BYTES // 1500
    assert {frame.ip[9] for frame in frames} == {17 if case.udp else 50}
    assert not [frame for frame in tap.frames() if frame.ip and frame.addresses[1] == B.address(case)]
    numbers = ours.numbers(case)
    high, low = sent(guest, case, A)
    assert numbers["in"]["top"] == (high << 32) + low
    assert numbers["out"]["next_seq"] == case.first + len(frames)
    assert (numbers["out"]["next_seq"] > 1 << 32) == (case.first > 1)
