"""A bell that rings when somebody touches what keeps the gateway closed: the fence's nft table, or a link.

It says that, not what: whoever hears it looks. The kernel's multicast groups of nf_tables and of rtnetlink; listening
changes nothing. What others do to tables of their own does not ring.
"""

from __future__ import annotations

import errno
import select
import socket
import struct

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.marshal import Marshal
from pyroute2.netlink.nfnetlink import nfgen_msg

from xdpsec.net.fence import TABLE

NETLINK_NETFILTER = 12  # <linux/netlink.h>
NFNLGRP_NFTABLES = 7  # <linux/netfilter/nfnetlink.h>
RTMGRP_LINK = 1  # <linux/rtnetlink.h>
NFPROTO_INET = 1
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


class _Change(nfgen_msg):  # type: ignore[misc]  # pyroute2 has no types
    """Of tables, chains, rules, sets, elements: each has its table's name as the first attribute."""

    nla_map = (("NFTA_UNSPEC", "none"), ("NFTA_TABLE", "asciiz"))


class _Changes(Marshal):  # type: ignore[misc]
    default_message_class = _Change


def names_fence(data: bytes) -> bool:
    """Does a datagram of nf_tables speak of the fence's table? One that cannot be read may."""
    family, name = TABLE.split()
    assert family == "inet"
    try:
        changes = list(_Changes().parse(data))
        return any(one["nfgen_family"] == NFPROTO_INET and one.get_attr("NFTA_TABLE") == name for one in changes)
    except (struct.error, NetlinkError, LookupError, ValueError):
        return True


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
