"""Traffic selectors: ours from the settings, the peer's cut down to them, ranges as prefixes for the workers.

Narrowing by RFC 7296 sec. 2.9: the result is never more than either side asked for, and it holds the packet that the
peer says started all this (its first selectors) where our policy allows that. Sets are tuples of wire's Selector.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from xdpsec.ike.settings import ChildSettings
from xdpsec.numbers import PORT_MAX, TsType
from xdpsec.wire.payloads import Selector

Selectors = tuple[Selector, ...]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

OPAQUE = (PORT_MAX, 0)  # RFC 7296 sec. 3.13.1: only packets whose ports cannot be seen
ANY_PORTS = (0, PORT_MAX)
#: Of a peer's longer list the rest is narrowed away: a cut is a subset too, and the work stays small. A worker takes no
#: more pairs of prefixes than this. Where there are many children to choose from, fewer are compared with each.
MOST = 16
COMPARED = 64  # of all children together


# --- ours -------------------------------------------------------------------------------------------------------


def of_child(child: ChildSettings) -> tuple[Selectors, Selectors]:
    """(local, remote) of a child's settings."""
    return (
        _of_prefixes(child.local, child.protocol, child.local_ports),
        _of_prefixes(child.remote, child.protocol, child.remote_ports),
    )


@lru_cache(maxsize=256)
def _of_prefixes(prefixes: tuple[str, ...], protocol: int, ports: tuple[int, int]) -> Selectors:
    return tuple(selector(text, protocol, ports) for text in prefixes)


def selector(text: str, protocol: int = 0, ports: tuple[int, int] = ANY_PORTS) -> Selector:
    """From a prefix "10.0.0.0/8" in canonical form, an address, or a range "10.0.0.1-10.0.0.9"."""
    if "-" in text:
        first, last = (ipaddress.ip_address(end.strip()).packed for end in text.split("-"))
    else:  # by hand: a network object costs three times as much, on the way of every handshake
        base, _, length = text.partition("/")
        first = ipaddress.ip_address(base).packed
        host = (1 << len(first) * 8 - int(length)) - 1 if length else 0
        last = (int.from_bytes(first, "big") | host).to_bytes(len(first), "big")
    kind = TsType.IPV4_ADDR_RANGE if len(first) == 4 else TsType.IPV6_ADDR_RANGE
    return Selector(kind, protocol, *ports, first, last)


def of_packet(protocol: int, source_port: int, destination_port: int, source: str, destination: str) -> Selectors:
    """The two selectors of the packet that wants an SA, to stand first in TSi and TSr (RFC 7296 sec. 2.9)."""
    return (
        selector(source, protocol, (source_port, source_port)),
        selector(destination, protocol, (destination_port, destination_port)),
    )


# --- one against one --------------------------------------------------------------------------------------------


def overlap(one: Selector, other: Selector) -> Selector | None:
    """What both cover, None when that is nothing."""
    if one.first > other.last or other.first > one.last:  # nearly always so: a peer may ask for thousands of these
        return None
    if one == other:
        return one
    if one.kind != other.kind or (one.protocol and other.protocol and one.protocol != other.protocol):
        return None
    first, last = max(one.first, other.first), min(one.last, other.last)
    ports = _ports((one.first_port, one.last_port), (other.first_port, other.last_port))
    if first > last or ports is None:
        return None
    return Selector(one.kind, one.protocol or other.protocol, *ports, first, last)


def _ports(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int] | None:
    """RFC 4301 sec. 4.4.1.1: ANY covers OPAQUE, no other range does."""
    if OPAQUE in (one, other):
        return OPAQUE if {one, other} <= {OPAQUE, ANY_PORTS} else None
    first, last = max(one[0], other[0]), min(one[1], other[1])
    return (first, last) if first <= last else None


def covers(outer: Selector, inner: Selector) -> bool:
    """Every packet of `inner` is one of `outer`."""
    if outer.kind != inner.kind or outer.protocol not in (0, inner.protocol):
        return False
    if outer.first > inner.first or inner.last > outer.last:
        return False
    mine, theirs = (outer.first_port, outer.last_port), (inner.first_port, inner.last_port)
    if OPAQUE in (mine, theirs):
        return mine in (theirs, ANY_PORTS)
    return mine[0] <= theirs[0] and theirs[1] <= mine[1]


# --- one set against another ------------------------------------------------------------------------------------


def narrow(theirs: Sequence[Selector], ours: Sequence[Selector], most: int = MOST) -> Selectors:
    """What both sets cover of the peer's first `most`, in its order; at most MOST, without those that another one
    covers."""
    found: list[Selector] = []
    for offered in theirs[:most]:
        for allowed in ours:
            both = overlap(offered, allowed)
            if both is not None and not any(covers(known, both) for known in found):
                found = [known for known in found if not covers(both, known)] + [both]
                if len(found) == MOST:
                    return tuple(found)
    return tuple(found)


def within(answer: Sequence[Selector], offered: Sequence[Selector]) -> bool:
    """The responder's answer is a subset of what we offered, and not empty."""
    return bool(answer) and all(any(covers(outer, one) for outer in offered) for one in answer)


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A child of ours that fits, with the selectors that both sides now have. `whole`: nothing was cut away."""

    child: ChildSettings
    local: Selectors
    remote: Selectors
    whole: bool


def choose_child(
    children: Sequence[ChildSettings],
    tsi: Sequence[Selector],
    tsr: Sequence[Selector],
    ours: Mapping[str, tuple[Selectors, Selectors]] | None = None,
) -> Narrowed | None:
    """The child for a peer's TSi and TSr (remote and local, since the peer initiates), None = TS_UNACCEPTABLE. First
    one that covers the packet standing first in both, then one that needs no cut, then the file's order. `ours` has
    (local, remote) by child name where they are not those of the settings, as with a leased address."""
    best: tuple[tuple[bool, bool], ChildSettings] | None = None
    most = max(2, min(MOST, COMPARED // max(1, len(children))))
    for child in children:
        local, remote = _ours(child, ours)
        here, there = narrow(tsr, local, most), narrow(tsi, remote, most)
        if not here or not there:
            continue
        packet = within(tsi[:1], there) and within(tsr[:1], here)
        rank = packet, within(tsi[:most], there) and within(tsr[:most], here)
        if best is None or rank > best[0]:
            best = rank, child
        if all(rank):
            break
    if best is None:
        return None
    local, remote = _ours(best[1], ours)
    here, there = narrow(tsr, local), narrow(tsi, remote)
    return Narrowed(best[1], here, there, within(tsi[:MOST], there) and within(tsr[:MOST], here))


def _ours(child: ChildSettings, ours: Mapping[str, tuple[Selectors, Selectors]] | None) -> tuple[Selectors, Selectors]:
    return (ours or {}).get(child.name) or of_child(child)


# --- for the host and for people --------------------------------------------------------------------------------


def prefixes(one: Selector) -> list[Network]:
    """A range as the fewest prefixes that make it up."""
    first, last = ipaddress.ip_address(one.first), ipaddress.ip_address(one.last)
    return list(ipaddress.summarize_address_range(first, last))


def text(one: Selector) -> str:
    """10.0.0.0/8, 10.0.0.1-10.0.0.9; protocol and ports in brackets where they are not any."""
    networks = prefixes(one)
    first, last = ipaddress.ip_address(one.first), ipaddress.ip_address(one.last)
    where = str(networks[0]) if len(networks) == 1 else f"{first}-{last}"
    ports = (one.first_port, one.last_port)
    if not one.protocol and ports == ANY_PORTS:
        return where
    what = {ANY_PORTS: "any", OPAQUE: "opaque"}.get(ports) or (
        str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}"
    )
    return f"{where}[{one.protocol or 'any'}/{what}]"
