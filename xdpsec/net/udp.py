"""Datagrams of IKE: UDP 500 and 4500, IPv4 and IPv6, answered from the address that was asked (RFC 7296 sec. 2.11).

`open_socket` needs privilege, the rest does not. On 4500 four zero bytes go before IKE (RFC 3948 sec. 2.2) and are not
shown to anybody here; ESP that reaches these sockets was not ours to take and is dropped. Memory is the twin for tests.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from xdpsec.errors import LocalError
from xdpsec.numbers import IKE_PORT, NAT_PORT

#: What a burst of handshakes needs while a slow one is computed (20,000 a second for some hundred milliseconds).
RECEIVE_BUFFER = 8 << 20
#: Datagrams taken from one socket before others have their turn.
BURST = 64
MAX_SIZE = 65535
MARKER = bytes(4)
KEEPALIVE = b"\xff"  # RFC 3948 sec. 2.3: one byte, and no marker

_PKTINFO4 = struct.Struct("=I4s4s")  # struct in_pktinfo: interface, our address for answers, destination in the header
_PKTINFO6 = struct.Struct("=16sI")  # struct in6_pktinfo
_ROOM = socket.CMSG_SPACE(_PKTINFO6.size)
IP_PKTINFO, IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 8, 10, 0
IPV6_RECVPKTINFO, IPV6_PKTINFO, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT = 49, 50, 23, 0
SO_RCVBUFFORCE = 33

PORTS = (IKE_PORT, NAT_PORT)
ANY = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}


class Way(NamedTuple):
    """Between which addresses (canonical text) and ports a datagram ran, seen from here."""

    local: str
    local_port: int
    remote: str
    remote_port: int


class Ends(Protocol):
    """Way, or what looks like it."""

    @property
    def local(self) -> str: ...

    @property
    def local_port(self) -> int: ...

    @property
    def remote(self) -> str: ...

    @property
    def remote_port(self) -> int: ...


Receive = Callable[[bytes, Way], None]


class Datagrams(Protocol):
    """An edge of the daemon: what IKE is sent and received through. `counts`: what was not given to anybody, by
    reason."""

    counts: Counter[str]

    def start(self, receive: Receive, done: Callable[[], None]) -> None:
        """From now on `receive` gets each datagram and `done` is called after each burst of them."""
        ...

    def send(self, data: bytes, way: Ends) -> None:
        """Never blocks and never fails: what the kernel refuses is lost, as on the wire."""
        ...

    def close(self) -> None: ...


# --- privileged ---------------------------------------------------------------------------------------------------


def open_socket(family: int, port: int) -> socket.socket:
    """Bound to every address of the family. LocalError when somebody else has the port, OSError where the family is
    missing."""
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
            opened.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT)
        else:
            opened.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            # a certificate does not fit one packet: better fragments than nothing, where the peer cannot do RFC 7383
            opened.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        opened.bind((ANY[socket.AddressFamily(family)], port))
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            fix = "stop the other IKE daemon (strongswan, libreswan, openiked)"
            raise LocalError(f"UDP port {port} is in use by another program; {fix}") from None
        if error.errno == errno.EACCES:
            raise LocalError(f"UDP port {port} may not be opened; give the gateway CAP_NET_BIND_SERVICE") from None
        raise
    return opened


# --- the sockets of a gateway -------------------------------------------------------------------------------------


class Udp:
    """Datagrams over the sockets behind `descriptors`, which are ours from here on."""

    def __init__(self, descriptors: Iterable[int]) -> None:
        self._sockets: dict[tuple[int, int], socket.socket] = {}
        for descriptor in descriptors:
            opened = socket.socket(fileno=descriptor)
            self._sockets[opened.family, opened.getsockname()[1]] = opened
        self.counts: Counter[str] = Counter()
        self._started = False

    def start(self, receive: Receive, done: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        for (family, port), opened in self._sockets.items():
            loop.add_reader(opened.fileno(), self._drain, opened, family, port, receive, done)
        self._started = True

    def close(self) -> None:
        for opened in self._sockets.values():
            if self._started:
                asyncio.get_running_loop().remove_reader(opened.fileno())
            opened.close()
        self._sockets.clear()

    def _drain(self, opened: socket.socket, family: int, port: int, receive: Receive, done: Callable[[], None]) -> None:
        take = self._take4 if family == socket.AF_INET else self._take6
        for _ in range(BURST):
            try:
                data, ancillary, _flags, source = opened.recvmsg(MAX_SIZE, _ROOM)
            except BlockingIOError:
                break
            except OSError:  # an ICMP error about something sent; the next call reads on
                self.counts["error"] += 1
                continue
            local = take(ancillary)
            if not local:
                self.counts["malformed"] += 1
                continue
            if port == NAT_PORT:
                if data[:4] != MARKER:
                    self.counts["keepalive" if data == KEEPALIVE else "esp"] += 1
                    continue
                data = data[4:]
            receive(data, Way(local, port, source[0].partition("%")[0], source[1]))
        done()

    @staticmethod
    def _take4(ancillary: list[tuple[int, int, bytes]]) -> str:
        for level, kind, body in ancillary:
            if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
                return socket.inet_ntoa(_PKTINFO4.unpack_from(body)[2])
        return ""

    @staticmethod
    def _take6(ancillary: list[tuple[int, int, bytes]]) -> str:
        for level, kind, body in ancillary:
            if level == socket.IPPROTO_IPV6 and kind == IPV6_PKTINFO:
                return socket.inet_ntop(socket.AF_INET6, _PKTINFO6.unpack_from(body)[0])
        return ""

    def send(self, data: bytes, way: Ends) -> None:
        family = socket.AF_INET6 if ":" in way.remote else socket.AF_INET
        opened = self._sockets.get((family, way.local_port))
        if opened is None:
            self.counts["no_socket"] += 1
            return
        parts = [data] if way.local_port != NAT_PORT or data == KEEPALIVE else [MARKER, data]
        try:
            opened.sendmsg(parts, _from(family, way.local), 0, (way.remote, way.remote_port))
        except OSError:  # no route, no buffer, an address that is ours no more: lost, and sent again in time
            self.counts["unsent"] += 1


def _from(family: int, local: str) -> list[tuple[int, int, bytes]]:
    """The address to send from; "" leaves it to the kernel."""
    if not local:
        return []
    if family == socket.AF_INET:
        return [(socket.IPPROTO_IP, IP_PKTINFO, _PKTINFO4.pack(0, socket.inet_aton(local), bytes(4)))]
    return [(socket.IPPROTO_IPV6, IPV6_PKTINFO, _PKTINFO6.pack(socket.inet_pton(socket.AF_INET6, local), 0))]


# --- the twin -----------------------------------------------------------------------------------------------------


class Memory:
    """Datagrams for tests: what was sent lies in `sent`, and `deliver` is the network."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.sent: deque[tuple[bytes, Way]] = deque()
        self._receive: Receive | None = None
        self._done: Callable[[], None] | None = None

    def start(self, receive: Receive, done: Callable[[], None]) -> None:
        self._receive, self._done = receive, done

    def send(self, data: bytes, way: Ends) -> None:
        self.sent.append((data, Way(way.local, way.local_port, way.remote, way.remote_port)))

    def deliver(self, *datagrams: tuple[bytes, Way]) -> None:
        """One burst."""
        assert self._receive is not None
        assert self._done is not None
        for data, way in datagrams:
            self._receive(data, way)
        self._done()

    def close(self) -> None:
        self._receive = self._done = None
