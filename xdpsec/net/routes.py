"""Interfaces, routes and neighbours by rtnetlink: a snapshot of what is, and a bell that rings when it changed.

pyroute2 asks and parses. It runs an event loop of its own, so that it lives in a thread of its own (which stays in the
network namespace it was made in). Watching needs no privilege; keep_neighbour does. Knows no SA.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import select
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink import rtnl
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError
from pyroute2.netlink.rtnl import ndmsg

from xdpsec.channel.messages import NextHop, Route
from xdpsec.errors import LocalError
from xdpsec.net.values import Link
from xdpsec.workers.native import check, lib

T = TypeVar("T")
Msg = Any  # a pyroute2 netlink message: mapping of header fields, get_attr for attributes

NTF_EXT_MANAGED = 1 << 0  # NDA_FLAGS_EXT, <linux/neighbour.h>: in the kernel's own numbering of the attribute
MAIN_TABLE = 254
DUMP_TRIES = 20
UNICAST = 1  # RTN_UNICAST
CLONED = 0x200  # RTM_F_CLONED: a cache entry of the kernel, no route
USABLE = ndmsg.NUD_REACHABLE | ndmsg.NUD_STALE | ndmsg.NUD_DELAY | ndmsg.NUD_PROBE | ndmsg.NUD_PERMANENT
PATHS = (
    rtnl.RTMGRP_LINK
    | rtnl.RTMGRP_IPV4_IFADDR
    | rtnl.RTMGRP_IPV6_IFADDR
    | rtnl.RTMGRP_IPV4_ROUTE
    | rtnl.RTMGRP_IPV6_ROUTE
)


class _Kernel:
    """One rtnetlink socket in its own thread; `ask` waits for the answer. The thread's loop is asyncio's own: uvloop,
    where it is the default, knows no netlink."""

    def __init__(self) -> None:
        self._loop = asyncio.SelectorEventLoop()
        self._thread = ThreadPoolExecutor(1, "rtnetlink")
        self._route: IPRoute = self._thread.submit(IPRoute, use_event_loop=self._loop).result()

    def ask(self, work: Callable[[Any], T]) -> T:
        """`work` may be repeated: a dump is interrupted by each change that falls into it."""
        for _ in range(DUMP_TRIES - 1):
            with contextlib.suppress(NetlinkDumpInterrupted):
                return self._thread.submit(work, self._route).result()
        return self._thread.submit(work, self._route).result()

    def close(self) -> None:
        self._thread.submit(self._route.close).result()
        self._thread.shutdown()
        self._loop.close()


class Links:
    """What the supervisor needs of interfaces and neighbours. Errors: LookupError, LocalError."""

    def __init__(self) -> None:
        self._kernel = _Kernel()

    def find(self, interface: str) -> Link:
        """LookupError when there is no such interface in this namespace."""
        return self._kernel.ask(lambda route: _find(route, interface))

    def keep_neighbour(self, ifindex: int, addr: str) -> None:
        """Let the kernel resolve it and keep it fresh: NTF_EXT_MANAGED (kernel 5.16), else NTF_USE once."""
        row = {"dst": addr, "ifindex": ifindex, "state": ndmsg.NUD_NONE}
        try:
            try:
                self._kernel.ask(lambda route: route.neigh("replace", **row, flags_ext=NTF_EXT_MANAGED))
            except NetlinkError as error:
                if error.code not in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise
                self._kernel.ask(lambda route: route.neigh("replace", **row, flags=ndmsg.NTF_USE))
        except NetlinkError as error:
            raise LocalError(f"neighbour {addr} on interface {ifindex} cannot be kept: {error}") from error

    def close(self) -> None:
        self._kernel.close()


class Watcher:
    """Routes, neighbours and addresses of `ports` (ifindex -> port index). Give `fileno` to add_reader and call `drain`
    when it is readable; what the other calls return is never older than the last drain."""

    def __init__(self, ports: Mapping[int, int]) -> None:
        self._ports = dict(ports)
        # bells before the first snapshot: no change falls between
        self._paths, self._neighbours = _bell(PATHS), _bell(rtnl.RTMGRP_NEIGH)
        self._poll = select.epoll()
        for bell in (self._paths, self._neighbours):
            self._poll.register(bell, select.EPOLLIN)
        self._kernel = _Kernel()

    def fileno(self) -> int:
        """Readable when something changed."""
        return self._poll.fileno()

    def drain(self) -> bool:
        """Forget what rang; True when routes or own addresses may differ, neighbours may always."""
        _rang(self._neighbours)
        return _rang(self._paths)

    def routes(self) -> tuple[Route, ...]:
        """The main table as far as it leads to a port; of equal prefixes the one with the lowest metric."""
        rows = self._kernel.ask(lambda route: [row for family in _FAMILIES for row in _routes(route, family)])
        best: dict[str, tuple[int, Route]] = {}
        for metric, prefix, via, ifindex in rows:
            if ifindex in self._ports and (prefix not in best or metric < best[prefix][0]):
                best[prefix] = metric, Route(prefix, via, self._ports[ifindex])
        return tuple(best[prefix][1] for prefix in sorted(best))

    def next_hops(self) -> tuple[NextHop, ...]:
        """Every neighbour of the ports with a link-layer address that the kernel would use."""
        rows = self._kernel.ask(lambda route: list(route.get_neighbours()))
        found = []
        for row in rows:
            address, mac = row.get_attr("NDA_DST"), row.get_attr("NDA_LLADDR")
            if row["ifindex"] in self._ports and mac and address and row["state"] & USABLE:
                found.append(NextHop(self._ports[row["ifindex"]], address, bytes.fromhex(mac.replace(":", ""))))
        return tuple(sorted(found, key=lambda hop: (hop.port, hop.addr)))

    def addresses(self) -> tuple[str, ...]:
        """The gateway's own addresses, on any interface, loopback's aside."""
        rows = self._kernel.ask(lambda route: list(route.get_addr()))
        return tuple(sorted({text for text in map(_address, rows) if not ipaddress.ip_address(text).is_loopback}))

    def outer(self, ports: Collection[int]) -> tuple[str, ...]:
        """Those of them that others can reach at these ports (their indices)."""
        there = {ifindex for ifindex, port in self._ports.items() if port in ports}
        rows = self._kernel.ask(lambda route: [row for row in route.get_addr() if row["index"] in there])
        return tuple(sorted({text for text in map(_address, rows) if not ipaddress.ip_address(text).is_link_local}))

    def close(self) -> None:
        self._poll.close()
        self._paths.close()
        self._neighbours.close()
        self._kernel.close()


# --- bells -------------------------------------------------------------------------------------------------------


def _bell(groups: int) -> socket.socket:
    bell = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
    bell.bind((0, groups))
    return bell


def _rang(bell: socket.socket) -> bool:
    """Empties it unread: a snapshot says what is, and says it also after an overflow (ENOBUFS)."""
    rang = False
    while True:
        try:
            bell.recv(65536)
        except BlockingIOError:
            return rang
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
        rang = True


# --- messages ----------------------------------------------------------------------------------------------------

_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_EVERYTHING = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}


def _address(row: Msg) -> str:
    """Of a point-to-point link IFA_ADDRESS is the other end."""
    return str(row.get_attr("IFA_LOCAL") or row.get_attr("IFA_ADDRESS"))


def _find(route: Any, interface: str) -> Link:
    found = route.link_lookup(ifname=interface)
    if not found:
        raise LookupError(f"there is no interface {interface}")
    link = next(iter(route.get_links(found[0])))
    own = [_address(row) for row in route.get_addr(index=found[0])]
    return Link(
        ifindex=found[0],
        mac=bytes.fromhex((link.get_attr("IFLA_ADDRESS") or "").replace(":", "")),
        mtu=link.get_attr("IFLA_MTU"),
        queues=min(check(lib.xs_xsk_queues(interface.encode()), f"queues of {interface}"), lib.XS_MAX_QUEUES),
        addr4=_first(own, 4),
        addr6=_first(own, 6),
    )


def _first(addresses: Iterable[str], version: int) -> str:
    """Global before link-local."""
    values = [value for value in map(ipaddress.ip_address, addresses) if value.version == version]
    return str(min(values, key=lambda value: value.is_link_local)) if values else ""


def _routes(route: Any, family: int) -> list[tuple[int, str, str, int]]:
    """(metric, prefix, via, ifindex) of each usable route; of several paths the first."""
    rows = []
    for row in route.get_routes(family=family, table=MAIN_TABLE):
        if row["type"] != UNICAST or row["flags"] & CLONED or row.get_attr("RTA_TABLE") != MAIN_TABLE:
            continue
        prefix = f"{row.get_attr('RTA_DST') or _EVERYTHING[socket.AddressFamily(family)]}/{row['dst_len']}"
        path = (row.get_attr("RTA_MULTIPATH") or [row])[0]
        ifindex = row.get_attr("RTA_OIF") or path.get("oif")
        if ifindex is not None:
            rows.append((row.get_attr("RTA_PRIORITY") or 0, prefix, _via(path), ifindex))
    return rows


def _via(path: Msg) -> str:
    """The gateway, of either family; empty when connected."""
    other = path.get_attr("RTA_VIA")
    return str(path.get_attr("RTA_GATEWAY") or (other["addr"] if other else "") or "")
