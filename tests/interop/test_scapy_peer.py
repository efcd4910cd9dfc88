"""scapy as the other gateway, live: builds ESP that the running gateway must accept, opens ESP that it sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import scapy
from netns.rig.patience import HANG_SECONDS, until
from scapy.layers.inet import ICMP, IP

from interop.cases import EDGE, A, B, Case, table
from interop.results import Results
from interop.scapy_peer import ECHO_REPLY, ECHO_REQUEST, ScapyPeer, echo
from interop.station import Station, station

CASES = table()
#: Without ESN the numbers end with 2^32 - 1 (RFC 4303 sec. 3.3.3).
ENDING = Case(len(CASES) + 1, "AES-CBC-256, 32-bit numbers, stops before 2^32", "aes256-sha256", esn=False, first=EDGE)
#: With the six numbers before 2^32, some are on either side of it.
PINGS = 12


@pytest.fixture(scope="module")
def linked() -> Iterator[tuple[Station, ScapyPeer]]:
    with station([*CASES, ENDING]) as ours:
        peer = ScapyPeer(ours)
        try:
            yield ours, peer
        finally:
            peer.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_scapy(linked: tuple[Station, ScapyPeer], results: Results, case: Case) -> None:
    ours, peer = linked
    with results.row("scapy", scapy.VERSION, "gateway", case.name) as row:
        for n in range(PINGS):
            peer.send(peer.seal(case, echo(case, n)))
            _check_reply(peer.next_from(case, case.first + n), echo(case, n))
        _answer_a_ping(ours, peer, case)
        numbers = ours.numbers(case)
        assert numbers["in"]["top"] == case.first + PINGS
        assert numbers["out"]["next_seq"] == case.first + PINGS + 1
        row.detail = f"next out {numbers['out']['next_seq']:#x}, top in {numbers['in']['top']:#x}"


def _check_reply(inner: IP, request: IP) -> None:
    """Host A's answer, one hop on its way (RFC 1812 sec. 5.3.1), with the payload untouched."""
    assert (inner.src, inner.dst, inner.ttl) == (request.dst, request.src, 63)
    assert (inner[ICMP].type, inner[ICMP].seq) == (ECHO_REPLY, request[ICMP].seq)
    assert bytes(inner[ICMP].payload) == bytes(request[ICMP].payload)
    whole = inner.copy()
    del whole.chksum, whole[ICMP].chksum
    assert bytes(IP(bytes(whole))) == bytes(inner), "a checksum inside is wrong"


def _answer_a_ping(ours: Station, peer: ScapyPeer, case: Case) -> None:
    """Host A asks, scapy opens the request and seals the answer."""
    words = ["ping", "-n", "-c1", "-W20", "-I", A.address(case), B.address(case)]
    asking = ours.lab.start(ours.host, words)
    request = peer.next_from(case, case.first + PINGS)
    assert (request.src, request.dst, request[ICMP].type) == (A.address(case), B.address(case), ECHO_REQUEST)
    reply = IP(src=request.dst, dst=request.src, ttl=64) / request[ICMP].copy()
    reply[ICMP].type = ECHO_REPLY
    del reply[ICMP].chksum
    peer.send(peer.seal(case, reply))
    assert asking.wait(HANG_SECONDS) == 0, "ping did not get the answer that scapy sealed"


def test_an_sa_stops_before_its_numbers_wrap(linked: tuple[Station, ScapyPeer], results: Results) -> None:
    """The last number is used, the next packet is a counted drop and not sent, and the SA says why."""
    ours, peer = linked
    with results.row("scapy", scapy.VERSION, "gateway", ENDING.name) as row:
        left = (1 << 32) - EDGE
        for n in range(left):
            peer.send(peer.seal(ENDING, echo(ENDING, n)))
            _check_reply(peer.next_from(ENDING, EDGE + n), echo(ENDING, n))
        words = ["ping", "-n", "-c2", "-i0.1", "-W1", "-I", A.address(ENDING), B.address(ENDING)]
        said = ours.lab.inside(ours.host, *words, check=False)
        assert " 0 received" in said
        spi = ENDING.spi(B).to_bytes(4, "big")
        assert len([frame for frame in peer.tap.frames() if frame.esp[:4] == spi]) == left
        until(lambda: ours.numbers(ENDING)["out"]["drops"] == {"DROP_SEQ_EXHAUSTED": 2}, "two drops")
        out = ours.numbers(ENDING)["out"]
        assert out["error"]
        row.detail = out["error"]
