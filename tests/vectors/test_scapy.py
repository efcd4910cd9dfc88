"""Against scapy, suite by suite: what it seals we accept, what we seal it opens, over 2^32 with ESN, in UDP and not,
at every amount of padding and at the MTU. No expectation comes from the core."""

from __future__ import annotations

import itertools

import pytest
from memory_lab import (
    ENGINES,
    FAR,
    HOST,
    HOST_MAC,
    INSIDE,
    MTU,
    OUR,
    OUR_MAC,
    OUTSIDE,
    PEER,
    PEER_MAC,
    SUITES,
    Suite,
    lab,
)
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import ESP
from scapy.layers.l2 import Ether
from scapy_oracle import Peer, clear, forwarded, inner

EDGE = 1 << 32
HEADERS = 28  # IPv4 and UDP of the inner packet
WAYS = [
    (suite, esn, encap, engine)
    for suite, esn, encap in itertools.product(SUITES, (False, True), (False, True))
    for engine in suite.engines
]


def way_id(way: tuple[Suite, bool, bool, str]) -> str:
    suite, esn, encap, engine = way
    return f"{suite.name}-{'esn' if esn else 'seq'}-{'udp' if encap else 'ip'}-{engine}"


def sizes(suite: Suite, encap: bool) -> list[int]:
    """Payload sizes: none, every padding, and the largest that fits the MTU once sealed."""
    room = MTU - 20 - (8 if encap else 0)
    largest = max(n for n in range(MTU) if suite.sealed_len(n + HEADERS) <= room)
    return [*range(20), 100, 511, 1000, largest - 1, largest]


def first_number(esn: bool) -> int:
    return EDGE - 5 if esn else 1


@pytest.mark.parametrize("way", WAYS, ids=way_id)
def test_what_scapy_seals_is_accepted(way: tuple[Suite, bool, bool, str]) -> None:
    suite, esn, encap, engine = way
    peer = Peer(suite, esn, encap)
    with lab() as gateway:
        gateway.install(suite, False, esn=esn, encap=encap, engine=engine, number=first_number(esn) - 1)
        for number, size in enumerate(sizes(suite, encap), first_number(esn)):
            packet = inner(size)
            assert gateway.verdict(OUTSIDE, peer.seal(packet, number)) == "DECRYPTED", f"{size} bytes, number {number}"
            frame = Ether(gateway.take(INSIDE))
            assert (frame.src, frame.dst) == (OUR_MAC, HOST_MAC)
            assert bytes(frame.payload) == forwarded(packet)


@pytest.mark.parametrize("way", WAYS, ids=way_id)
def test_what_we_seal_scapy_opens(way: tuple[Suite, bool, bool, str]) -> None:
    suite, esn, encap, engine = way
    peer = Peer(suite, esn, encap)
    with lab() as gateway:
        gateway.install(suite, True, esn=esn, encap=encap, engine=engine, number=first_number(esn))
        for number, size in enumerate(sizes(suite, encap), first_number(esn)):
            packet = inner(size, HOST, FAR)
            assert gateway.verdict(INSIDE, clear(packet)) == "ENCRYPTED", f"{size} bytes"
            sent = gateway.take(OUTSIDE)
            frame = Ether(sent)
            outer = frame[IP]
            assert (frame.src, frame.dst, outer.src, outer.dst) == (OUR_MAC, PEER_MAC, OUR, PEER)
            checksum, outer.chksum = outer.chksum, None
            assert IP(bytes(outer)).chksum == checksum
            assert len(sent) == 14 + outer.len == 14 + 20 + 8 * encap + suite.sealed_len(len(packet))
            assert (UDP in frame) == encap
            assert not encap or (frame[UDP].sport, frame[UDP].dport, frame[UDP].chksum) == (4500, 4500, 0)
            assert peer.open(sent, number) == forwarded(packet)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_the_high_half_of_the_number_is_authenticated(suite: Suite) -> None:
    """One cycle off must not open: scapy seals under number + 2^32, whose low half is the same."""
    with lab() as gateway:
        gateway.install(suite, False, esn=True, number=100)
        assert gateway.verdict(OUTSIDE, Peer(suite, True, False).seal(inner(40), EDGE + 101)) == "DROP_ICV"
        assert gateway.verdict(OUTSIDE, Peer(suite, False, False).seal(inner(40), 101)) == "DROP_ICV"
        assert gateway.verdict(OUTSIDE, Peer(suite, True, False).seal(inner(40), 101)) == "DECRYPTED"


@pytest.mark.parametrize("suite", [suite for suite in SUITES if len(suite.engines) > 1], ids=lambda suite: suite.name)
@pytest.mark.parametrize("esn", [False, True], ids=["seq", "esn"])
def test_engines_agree_byte_for_byte(suite: Suite, esn: bool) -> None:
    """Same key, number and IV key: the same frame from both, and each opens the other's (here: a full burst)."""
    frames: dict[str, list[bytes]] = {}
    packets = [clear(inner(size, HOST, FAR)) for size in range(64)]
    for engine in ENGINES:
        with lab() as gateway:
            gateway.install(suite, True, esn=esn, engine=engine, number=first_number(esn))
            assert gateway.core.sa_engine(1) == engine
            gateway.put(INSIDE, *packets)
            frames[engine] = [gateway.take(OUTSIDE) for _ in packets]
            assert gateway.verdicts() == {"ENCRYPTED": 64}
    assert frames[ENGINES[0]] == frames[ENGINES[1]]
    initial = {frame[42 : 42 + suite.iv_len] for frame in frames[ENGINES[0]]}
    assert len(initial) == (64 if suite.iv_len else 1)  # no IV twice
    for opener, sealer in (ENGINES, ENGINES[::-1]):
        with lab() as gateway:
            gateway.install(suite, False, esn=esn, engine=opener, number=first_number(esn) - 1)
            gateway.core.policy_replace([])
            gateway.put(OUTSIDE, *map(turned, frames[sealer]))
            # opened and well formed: what was sent by a local host is outside the selectors of what may arrive
            assert gateway.verdicts() == {"DROP_SELECTOR": 64}


def turned(frame: bytes) -> bytes:
    """Our own frame as if the peer had sent it."""
    outer = Ether(frame)[IP]
    outer.src, outer.dst, outer.chksum = PEER, OUR, None
    return bytes(Ether(dst=OUR_MAC, src=PEER_MAC) / outer)


def test_a_burst_of_all_suites_at_once() -> None:
    """Frames of every suite's SA mixed in bursts: neighbours in a burst do not disturb each other."""
    with lab() as gateway:
        frames = []
        for i, suite in enumerate(SUITES):
            gateway.install(suite, False, spi=0x2000 + i, esn=i % 2 == 1, index=i, engine=ENGINES[i // 2 % 2])
            wanted = ENGINES[i // 2 % 2]
            assert gateway.core.sa_engine(i) == (wanted if wanted in suite.engines else suite.engines[0])
        for size in range(6):
            for i, suite in enumerate(SUITES):
                frames.append(Peer(suite, i % 2 == 1, False, 0x2000 + i).seal(inner(size), size + 1))
        for first in range(0, len(frames), 64):
            gateway.put(OUTSIDE, *frames[first : first + 64])
        assert gateway.verdicts() == {"DECRYPTED": 6 * len(SUITES)}
        for size in range(6):
            for _ in SUITES:
                assert gateway.take(INSIDE)[14:] == forwarded(inner(size))


def test_esp_of_another_spi_is_nobodys() -> None:
    with lab() as gateway:
        gateway.install(SUITES[0], False)
        frame = Peer(SUITES[0], False, False, spi=0x7777).seal(inner(40), 1)
        assert Ether(frame)[ESP].spi == 0x7777
        assert gateway.verdict(OUTSIDE, frame) == "DROP_NO_SA"
