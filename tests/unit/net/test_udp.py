"""IKE's datagrams over real sockets in a namespace: where they came from, from where they are answered, the marker."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from shell import sh

from xdpsec.errors import LocalError
from xdpsec.net.udp import BURST, KEEPALIVE, RECEIVE_BUFFER, SO_RCVBUFFORCE, Udp, Way, open_socket

SECONDS = 60.0
#: Of the loop, each of which reads a burst of what waits.
TURNS = 50
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
#: Two of ours, so that an answer can come from the wrong one; the peer's.
OURS = {4: ("10.7.0.1", "10.7.0.2"), 6: ("fd07::1", "fd07::2")}
PEER = {4: "10.7.0.9", 6: "fd07::9"}


@pytest.fixture
def addresses(namespace: None) -> None:
    for version, length in ((4, 24), (6, 64)):
        for address in (*OURS[version], PEER[version]):
            sh(f"ip address add {address}/{length} dev lo" + (" nodad" if version == 6 else ""))


class Desk:
    """Udp in a loop that runs until all that was sent is received."""

    def __init__(self, udp: Udp) -> None:
        self.udp = udp
        self.heard: list[tuple[bytes, Way]] = []
        self.bursts = 0

    def hear(self) -> list[tuple[bytes, Way]]:
        """What was sent before."""

        async def within() -> None:
            self.udp.start(lambda data, way: self.heard.append((data, way)), self._done)
            for _ in range(TURNS):  # all was there before: one more than wanted is read, too
                await asyncio.sleep(0)
            self.udp.close()

        asyncio.run(within())
        return self.heard

    def _done(self) -> None:
        self.bursts += 1


@pytest.fixture
def desk(addresses: None) -> Desk:
    opened = [open_socket(family, port) for family in FAMILIES.values() for port in (500, 4500)]
    udp = Udp([one.detach() for one in opened])
    return Desk(udp)


def peer(version: int, port: int = 0) -> socket.socket:
    made = socket.socket(FAMILIES[version], socket.SOCK_DGRAM)
    made.bind((PEER[version], port))
    made.settimeout(SECONDS)
    return made


@pytest.mark.parametrize("version", [4, 6])
def test_who_asked_whom(desk: Desk, version: int) -> None:
    with peer(version) as far:
        for ours in OURS[version]:
            far.sendto(b"hello", (ours, 500))
        port = far.getsockname()[1]
        heard = desk.hear()
    assert heard == [(b"hello", Way(ours, 500, PEER[version], port)) for ours in OURS[version]]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("port", [500, 4500])
def test_an_answer_leaves_from_the_address_that_was_asked(desk: Desk, version: int, port: int) -> None:
    with peer(version) as far:
        for ours in OURS[version]:
            desk.udp.send(b"answer", Way(ours, port, PEER[version], far.getsockname()[1]))
            data, source = far.recvfrom(100)
            assert (data, source[:2]) == ((bytes(4) if port == 4500 else b"") + b"answer", (ours, port))


@pytest.mark.parametrize("version", [4, 6])
def test_the_marker_on_4500(desk: Desk, version: int) -> None:
    """RFC 3948 sec. 2: four zero bytes are IKE, one byte 0xff is a keepalive, anything else is ESP."""
    with peer(version) as far:
        for data in (bytes(4) + b"ike", KEEPALIVE, b"\0\0\0", b"\x12\x34\x56\x78esp", b"", bytes(4)):
            far.sendto(data, (OURS[version][0], 4500))
        heard = desk.hear()
    assert [data for data, _ in heard] == [b"ike", b""]
    assert desk.udp.counts == {"keepalive": 1, "esp": 3}


def test_a_keepalive_goes_without_marker(desk: Desk) -> None:
    with peer(4) as far:
        desk.udp.send(KEEPALIVE, Way(OURS[4][0], 4500, PEER[4], far.getsockname()[1]))
        assert far.recv(100) == KEEPALIVE


def test_a_burst_is_drained_and_others_have_their_turn(desk: Desk) -> None:
    with peer(4) as far:
        for number in range(3 * BURST):
            far.sendto(number.to_bytes(4), (OURS[4][0], 500))
        heard = desk.hear()
    assert [int.from_bytes(data) for data, _ in heard] == list(range(3 * BURST))
    assert 3 <= desk.bursts <= 5


def test_what_cannot_be_sent_is_lost(desk: Desk) -> None:
    desk.udp.send(b"x", Way("10.99.0.1", 500, PEER[4], 500))  # no address of ours
    desk.udp.send(b"x", Way(OURS[4][0], 600, PEER[4], 500))  # no socket of ours
    assert desk.udp.counts == {"unsent": 1, "no_socket": 1}


def test_the_port_is_taken(addresses: None) -> None:
    with open_socket(socket.AF_INET, 500), pytest.raises(LocalError, match="UDP port 500 is in use"):
        open_socket(socket.AF_INET, 500)


def test_the_receive_buffer(addresses: None) -> None:
    with open_socket(socket.AF_INET, 500) as opened:
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * RECEIVE_BUFFER  # socket(7): it doubles
        assert SO_RCVBUFFORCE == 33
        assert not os.get_blocking(opened.fileno())
