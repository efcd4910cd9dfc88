"""A bell that rings when somebody touches what keeps the gateway closed: the fence's nft table, or a link.

It says that, not what: whoever hears it looks. The kernel's multicast groups of nf_tables and of rtnetlink; listening
changes nothing. What others do to tables of their own does not ring.
"""

from __future__ import annotations

import errno
import select
import socket
import struct

from xdpsec.net.fence import TABLE

NETLINK_NETFILTER = 12  # <linux/netlink.h>
NFNLGRP_NFTABLES = 7  # <linux/netfilter/nfnetlink.h>
RTMGRP_LINK = 1  # <linux/rtnetlink.h>
NFPROTO_INET = 1
HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
FAMILY = struct.Struct("=BxH")  # struct nfgenmsg: family, version, resource id
ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type
NFTA_TABLE = 1  # the table's name, in messages of every kind that have one: table, chain, rule, set, elements
BUFFER = 1 << 16


class Alarm:
    """Of the network namespace it was made in. Give `fileno` to add_reader and call `drain` when it is readable."""

    def __init__(self) -> None:
        self._tables = _listen(NETLINK_NETFILTER, 1 << (NFNLGRP_NFTABLES - 1))
        self._links = _listen(socket.NETLINK_ROUTE, RTMGRP_LINK)
        self._poll = select.epoll()
        for bell in (self._tables, self._links):
            self._poll.register(bell, select.EPOLLIN)

    def fileno(self) -> int:
        return self._poll.fileno()

    def drain(self) -> tuple[bool, bool]:
        """Forget what rang: was the fence's table touched (our own transactions too), and a link?"""
        messages, lost = _read(self._tables)
        links, missed = _read(self._links)
        return lost or any(map(names_fence, messages)), missed or bool(links)

    def close(self) -> None:
        for end in (self._poll, self._tables, self._links):
            end.close()


def names_fence(data: bytes) -> bool:
    """Does a datagram of nf_tables speak of the fence's table? Cut or strange ones do not."""
    family, name = TABLE.split()
    assert family == "inet"
    at = 0
    while at + HEADER.size + FAMILY.size <= len(data):
        size = HEADER.unpack_from(data, at)[0]
        body = data[at + HEADER.size : at + size]
        if size < HEADER.size + FAMILY.size:
            return False
        if FAMILY.unpack_from(body)[0] == NFPROTO_INET and _attribute(body[FAMILY.size :]) == name.encode():
            return True
        at += (size + 3) & ~3
    return False


def _attribute(body: bytes) -> bytes:
    """The text of NFTA_TABLE, empty without one."""
    at = 0
    while at + ATTRIBUTE.size <= len(body):
        size, kind = ATTRIBUTE.unpack_from(body, at)
        if size < ATTRIBUTE.size:
            break
        if kind == NFTA_TABLE:
            return body[at + ATTRIBUTE.size : at + size].rstrip(b"\0")
        at += (size + 3) & ~3
    return b""


def _listen(protocol: int, groups: int) -> socket.socket:
    bell = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
    bell.bind((0, groups))
    return bell


def _read(bell: socket.socket) -> tuple[list[bytes], bool]:
    """What waits, and whether some was lost to an overflow."""
    messages, lost = [], False
    while True:
        try:
            messages.append(bell.recv(BUFFER))
        except BlockingIOError:
            return messages, lost
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            lost = True
