"""A Linux kernel as the other gateway, with manual keys by `ip xfrm`: pings and TCP from either side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from netns.rig.patience import until
from netns.rig.tap import Frame, Tap

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
        guest.run("ping", "-n", "-c4", "-i0.05", "-W20", "-I", B.address(case), A.address(case))
        ours.ask(case, TCP_BYTES)
        guest.ask(A.address(case), ECHO_PORT, B.address(case), TCP_BYTES)
        _only_esp(tap, case)
        numbers = _agreed(ours, guest, tap, case)
        row.detail = f"next out {numbers['out']['next_seq']:#x}, top in {numbers['in']['top']:#x}"


def _sealed(tap: Tap, case: Case) -> list[Frame]:
    spi = case.spi(B).to_bytes(4, "big")
    return [frame for frame in tap.frames() if frame.esp[:4] == spi]


def _only_esp(tap: Tap, case: Case) -> None:
    """What we sent was ESP with this SPI, in UDP where the case says so, and nothing in the clear."""
    frames = _sealed(tap, case)
    assert len(frames) > TCP_BYTES // 1500
    assert {frame.ip[9] for frame in frames} == {17 if case.udp else 50}
    assert not [frame for frame in tap.frames() if frame.ip and frame.addresses[1] == B.address(case)]


def _agreed(ours: Station, guest: Guest, tap: Tap, case: Case) -> dict[str, Any]:
    """Both ends and the cable agree on the numbers, once the last acknowledgements are through."""

    def ends() -> tuple[tuple[int, int], tuple[int, int]]:
        """(top in, next out) as we say, and as peer and cable do."""
        numbers, (high, low) = ours.numbers(case), sent(guest, case, A)
        theirs = (high << 32) + low, case.first + len(_sealed(tap, case))
        return (numbers["in"]["top"], numbers["out"]["next_seq"]), theirs

    # delayed acknowledgements: nobody tells when the last was sent
    until(lambda: len(set(ends())) == 1, lambda: f"we say, and peer and cable do: {ends()}")
    numbers = ours.numbers(case)
    assert (numbers["out"]["next_seq"] > 1 << 32) == (case.first > 1)
    return numbers
