"""What the door may do with a frame, by scapy's reading of it and the RFCs; it shares nothing with bpf/.

It answers one question: which actions are right. Where a frame is cut or lies so that readers may differ, more than one
is; passing what a policy protects never is.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet

DROP, PASS, REDIRECT = 1, 2, 4
ANY = frozenset({DROP, PASS, REDIRECT})
ESP, AH = 50, 51
EXTENSIONS = (IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting, IPv6ExtHdrFragment)
MOST_EXTENSIONS = 4  # a gateway may stop looking for ESP behind more; for cleartext it may not
MOST_TAGS = 2

Prefixes = dict[str, int]


@dataclass(frozen=True)
class Door:
    """How it is set up: the port's own MAC, the gateway's addresses, prefix -> policy bits."""

    mac: str
    outside: bool
    addresses: frozenset[str]
    local: Prefixes
    remote: Prefixes


def policies(prefixes: Prefixes, address: str) -> int:
    """Of the longest prefix that holds the address."""
    value = ipaddress.ip_address(address)
    nets = [(ipaddress.ip_network(text), bits) for text, bits in prefixes.items()]
    held = [(net.prefixlen, bits) for net, bits in nets if net.version == value.version and value in net]
    return max(held)[1] if held else 0


def network_layer(frame: Packet) -> Packet | None:
    """The IP header behind at most two tags; None when there is none that is whole."""
    layer = frame.payload
    for _ in range(MOST_TAGS):
        if isinstance(layer, Dot1Q | Dot1AD):
            layer = layer.payload
    if isinstance(layer, IP):
        whole = layer.version == 4 and (layer.ihl or 0) >= 5 and len(layer.original) >= layer.ihl * 4
        return layer if whole else None
    if isinstance(layer, IPv6):
        return layer if layer.version == 6 and len(layer.original) >= 40 else None
    return None


@dataclass(frozen=True)
class Upper:
    """What IP carries: protocol and header, if a reader can be sure of both."""

    protocol: int
    fragment: bool
    sure: bool
    layer: Packet | None


def upper(ip: Packet) -> Upper:
    if isinstance(ip, IP):
        fragment = bool(ip.frag or ip.flags.MF)
        return Upper(ip.proto, fragment, True, ip.payload)
    layer, protocol, fragment, count = ip.payload, ip.nh, False, 0
    while isinstance(layer, EXTENSIONS):
        fragment = fragment or isinstance(layer, IPv6ExtHdrFragment)
        later = isinstance(layer, IPv6ExtHdrFragment) and layer.offset
        protocol, layer, count = layer.nh, layer.payload, count + 1
        if later:
            break
    sure = count <= MOST_EXTENSIONS and protocol not in (0, 43, 44, 60)
    return Upper(protocol, fragment, sure, layer)


def to_us(up: Upper) -> frozenset[int] | None:
    """ESP, AH and IKE at our own address; None: it is something else."""
    if not up.sure:
        return ANY
    if up.protocol in (ESP, AH):
        need = 4 if up.protocol == ESP else 8
        if up.fragment:
            return frozenset({DROP})
        enough = up.layer is not None and len(up.layer.original) >= need
        return frozenset({REDIRECT}) if enough else frozenset({REDIRECT, DROP})  # behind a length that lies
    if up.protocol != 17 or up.fragment:
        return None
    if not isinstance(up.layer, UDP) or len(up.layer.original) < 8:
        return ANY
    if up.layer.dport == 500:
        return frozenset({PASS})
    if up.layer.dport != 4500:
        return None
    if (up.layer.len or 0) < 12:
        return frozenset({PASS})
    word = up.layer.original[8:12]
    if len(word) < 4:
        return ANY
    return frozenset({PASS}) if word == bytes(4) else frozenset({REDIRECT})


def allowed(door: Door, raw: bytes) -> frozenset[int]:
    if len(raw) < 14:
        return frozenset({DROP})
    frame = Ether(raw)
    ip = network_layer(frame)
    if frame.dst != door.mac:
        return frozenset({PASS, DROP})  # the kernel forwards nothing that is addressed to another station
    if ip is None:
        return frozenset({PASS, DROP})
    if not door.outside:
        remote = policies(door.remote, ip.dst)
        if not remote:
            return frozenset({PASS, DROP})
        met = remote & policies(door.local, ip.src)
        return frozenset({REDIRECT, DROP}) if met else frozenset({DROP})
    ours = to_us(upper(ip)) if ip.dst in door.addresses else None
    protected = policies(door.local, ip.dst) & policies(door.remote, ip.src)
    if ours is not None:
        return ours - {PASS} if protected and not upper(ip).sure else ours
    return frozenset({DROP}) if protected else frozenset({PASS, DROP})
