"""The door's two tries: which policies a local or a remote prefix takes part in, and which workers serve a remote one.

A longest-prefix match finds one entry only, so each entry carries the union of all that cover it (struct
xs_prefix_value of bpf/shared.h).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xdpsec.config.values import Child

POLICY_BITS = 64  # children further apart than this share a bit: more is dropped than need be, nothing is let through

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Prefix:
    """`policies`: bit (child index modulo 64) per child. `workers`: those with outbound SAs of those children."""

    policies: int
    workers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tables:
    """Prefix in canonical text -> what the trie says of it."""

    local: Mapping[str, Prefix]
    remote: Mapping[str, Prefix]


def tables(children: Iterable[Child], owners: Mapping[int, int], workers: int) -> Tables:
    """Both tries. `owners`: child index -> worker; a child with SAs for each (RFC 9611) is served by all `workers`."""
    everybody = frozenset(range(workers))
    kept = tuple(children)
    rows = [(child.index, everybody if _spread(child) else frozenset((owners[child.index],)), child) for child in kept]
    return Tables(
        local=_cover([(text, index, served) for index, served, child in rows for text in child.local]),
        remote=_cover([(text, index, served) for index, served, child in rows for text in child.remote]),
    )


def _spread(child: Child) -> bool:
    return child.negotiated is not None and child.negotiated.per_worker


def _cover(rows: list[tuple[str, int, frozenset[int]]]) -> dict[str, Prefix]:
    """Prefixes nest or are apart: in order of address and length, the last that still holds one is its parent."""
    said: dict[str, tuple[int, frozenset[int]]] = {}
    for text, index, served in rows:
        bits, workers = said.get(text, (0, frozenset()))
        said[text] = bits | 1 << index % POLICY_BITS, workers | served
    own = {ipaddress.ip_network(text): both for text, both in said.items()}  # thousands of children may share one
    whole: dict[str, Prefix] = {}
    stack: list[tuple[Network, int, frozenset[int]]] = []
    for net in sorted(own, key=lambda one: (one.version, one.network_address.packed, one.prefixlen)):
        while stack and (stack[-1][0].version != net.version or not stack[-1][0].overlaps(net)):
            stack.pop()
        bits, workers = own[net]
        if stack:
            bits, workers = bits | stack[-1][1], workers | stack[-1][2]
        stack.append((net, bits, workers))
        whole[str(net)] = Prefix(bits, tuple(sorted(workers)))
    return whole
