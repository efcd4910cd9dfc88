"""What an interface can do for us, without touching it: XDP features by the kernel's family netdev, its kind, what is
attached, and the other end of a veth. For doctor; the gateway itself tries and sees.

Sources: Documentation/netlink/specs/netdev.yaml (kernel 6.3), <linux/ethtool.h>.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import socket
import struct
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, genlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket

from xdpsec.workers.native import check, lib

BASIC, REDIRECT, ZERO_COPY = 1 << 0, 1 << 1, 1 << 3  # enum netdev_xdp_act
_DEV_GET = 1  # NETDEV_CMD_DEV_GET
_SIOCETHTOOL, _ETHTOOL_GTXCSUM = 0x8946, 0x16
_IFREQ = struct.Struct("16sP16x")
_ATTACHED = {1: "native", 2: "generic", 3: "offloaded", 4: "several"}  # IFLA_XDP_ATTACHED


class _Device(genlmsg):  # type: ignore[misc]
    """NETDEV_A_DEV_* attributes, as far as we ask."""

    prefix = "NETDEV_A_DEV_"
    nla_map = (
        ("NETDEV_A_DEV_UNSPEC", "none"),
        ("NETDEV_A_DEV_IFINDEX", "uint32"),
        ("NETDEV_A_DEV_PAD", "none"),
        ("NETDEV_A_DEV_XDP_FEATURES", "uint64"),
    )


@dataclass(frozen=True, slots=True)
class Survey:
    """`kind` as rtnetlink says it ("veth", empty for hardware); `native` and `zero_copy` None where the kernel does not
    tell (older than 6.3); `attached` how an XDP program is attached now, empty = none. Of a veth: `peer` is the other
    end's name here, empty = in another namespace, and `peer_fills` whether that end computes checksums itself."""

    interface: str
    kind: str
    mtu: int
    up: bool
    queues: int
    native: bool | None
    zero_copy: bool | None
    attached: str
    peer: str = ""
    peer_fills: bool = False


def survey(interface: str) -> Survey:
    """LookupError when there is no such interface."""
    with IPRoute() as route:
        found = route.link_lookup(ifname=interface)
        if not found:
            raise LookupError(f"there is no interface {interface}")
        link = next(iter(route.get_links(found[0])))
        kind = _kind(link)
        peer = _peer_name(route, link) if kind == "veth" else ""
    features = _features().get(found[0])
    return Survey(
        interface=interface,
        kind=kind,
        mtu=link.get_attr("IFLA_MTU"),
        up=link["state"] == "up",
        queues=min(check(lib.xs_xsk_queues(interface.encode()), f"queues of {interface}"), lib.XS_MAX_QUEUES),
        native=None if features is None else features & (BASIC | REDIRECT) == BASIC | REDIRECT,
        zero_copy=None if features is None else bool(features & ZERO_COPY),
        attached=_attached(link),
        peer=peer,
        peer_fills=bool(peer) and not _leaves_checksums(peer),
    )


def _kind(link: Any) -> str:
    info = link.get_attr("IFLA_LINKINFO")
    return str((info.get_attr("IFLA_INFO_KIND") if info else "") or "")


def _attached(link: Any) -> str:
    xdp = link.get_attr("IFLA_XDP")
    mode = xdp.get_attr("IFLA_XDP_ATTACHED") if xdp else 0
    number = mode if isinstance(mode, int) else _mode_number(mode)
    return _ATTACHED.get(number, "")


def _mode_number(mode: Any) -> int:
    names = {"xdp": 1, "xdpgeneric": 2, "xdpoffload": 3, "xdpmulti": 4}  # pyroute2's words
    return names.get(str(mode), 0)


def _peer_name(route: Any, link: Any) -> str:
    """A veth names its other end by index, and by namespace unless it is ours."""
    if link.get_attr("IFLA_LINK_NETNSID") is not None:
        return ""
    index = link.get_attr("IFLA_LINK")
    if not index:
        return ""
    with contextlib.suppress(NetlinkError):
        return str(next(iter(route.get_links(index))).get_attr("IFLA_IFNAME"))
    return ""


def _leaves_checksums(interface: str) -> bool:
    """Whether the interface leaves transmit checksums to hardware (ethtool's tx)."""
    value = array.array("I", [_ETHTOOL_GTXCSUM, 0])
    address, _ = value.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        fcntl.ioctl(sock, _SIOCETHTOOL, _IFREQ.pack(interface.encode(), address))
    return bool(value[1])


def _features() -> dict[int, int]:
    """ifindex -> enum netdev_xdp_act; empty where the kernel has no family netdev."""
    found: dict[int, int] = {}
    asker = GenericNetlinkSocket()
    try:
        asker.bind("netdev", _Device)
        question = _Device()
        question["cmd"], question["version"] = _DEV_GET, 1
        for row in asker.nlm_request(question, msg_type=asker.prid, msg_flags=NLM_F_REQUEST | NLM_F_DUMP):
            features = row.get_attr("NETDEV_A_DEV_XDP_FEATURES")
            if features is not None:
                found[row.get_attr("NETDEV_A_DEV_IFINDEX")] = features
    except (NetlinkError, KeyError, OSError):
        return {}
    finally:
        asker.close()
    return found
