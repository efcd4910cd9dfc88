"""Two Linux kernels with each other: shows that the harness, its keys and its lines are right before we are measured by
them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest

from interop.cases import NATT, A, B, Case, Side, table, xfrm
from interop.results import Results
from interop.uml import Guest
from xdpsec.demo.lab import Lab

CASES = table()
ECHO_PORT = 7
#: Enough for a window to open and close, little enough for a guest without offloads.
TCP_BYTES = 200_000


def prepare(guest: Guest, here: Side, there: Side, cases: Sequence[Case]) -> None:
    """Addresses, SAs, policies, and who answers."""
    lines = [f"addr add {here.outer}/24 dev vec0", f"route add {there.all} via {there.outer}"]
    for case in cases:
        lines += [f"addr add {here.address(case)}/32 dev lo", *xfrm(case, here, there)]
    guest.ip(*lines)
    guest.encapsulate(NATT)
    guest.serve("0.0.0.0", ECHO_PORT)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Guest, Guest]]:
    with Lab() as lab:
        left, right = lab.namespace("left"), lab.namespace("right")
        lab.cable((left, "eth0"), (right, "eth0"))
        guests = Guest(lab, left, "eth0"), Guest(lab, right, "eth0")
        prepare(guests[0], A, B, CASES)
        prepare(guests[1], B, A, CASES)
        yield guests


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_two_kernels(pair: tuple[Guest, Guest], results: Results, case: Case) -> None:
    left, right = pair
    with results.row("Linux", left.release, "-", case.name) as row:
        for guest, here, there in ((left, A, B), (right, B, A)):
            guest.run("ping", "-n", "-c4", "-i0.05", "-W20", "-I", here.address(case), there.address(case))
            guest.ask(there.address(case), ECHO_PORT, here.address(case), TCP_BYTES)
        high, low = sent(left, case, B)
        assert high == (1 if case.first > 1 else 0)
        row.detail = f"last sent: {(high << 32) + low:#x}"


def sent(guest: Guest, case: Case, receiver: Side) -> tuple[int, int]:
    """The last number that the guest used towards `receiver`: high and low half."""
    identity = ("src", B.outer if receiver is A else A.outer, "dst", receiver.outer, "proto", "esp")
    text = guest.run("ip", "-s", "xfrm", "state", "get", *identity, "spi", hex(case.spi(receiver)))
    found = re.search(r"oseq-hi (0x[0-9a-f]+), oseq (0x[0-9a-f]+)", text) or re.search(r"()oseq (0x[0-9a-f]+)", text)
    assert found, text
    return int(found[1] or "0", 16), int(found[2], 16)
