"""Inner addresses for road warriors: who has which, from which pool. One book for all machines.

An owner keeps its address over reconnects and reauthentication as long as nobody else needs it. Knows no payload.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass, field

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(slots=True)
class _Pool:
    """`fresh` counts the addresses ever given; `left` are those that nobody holds, the longest unused first."""

    network: Network
    fresh: int = 0
    held: dict[bytes, Address] = field(default_factory=dict)
    left: OrderedDict[bytes, Address] = field(default_factory=OrderedDict)

    @property
    def hosts(self) -> tuple[int, int]:
        """Index of the first address to give and how many there are: without network, broadcast, anycast address."""
        size = self.network.num_addresses
        if size <= 2:
            return 0, size
        return (1, size - 2) if self.network.version == 4 else (1, size - 1)

    def take(self, owner: bytes) -> Address | None:
        found = self.held.get(owner) or self.left.pop(owner, None)
        first, count = self.hosts
        if found is None and self.fresh < count:
            found = self.network[first + self.fresh]
            self.fresh += 1
        if found is None and self.left:
            found = self.left.popitem(last=False)[1]
        if found is not None:
            self.held[owner] = found
        return found

    def give_back(self, owner: bytes) -> None:
        address = self.held.pop(owner, None)
        if address is not None:
            self.left[owner] = address


class Leases:
    """`holder` is a machine's number: an owner may have two for a while, when it reauthenticates."""

    def __init__(self) -> None:
        self._pools: dict[str, _Pool] = {}
        self._holders: dict[tuple[str, bytes], set[int]] = {}
        self._of: dict[int, set[tuple[str, bytes]]] = {}

    def take(self, prefixes: tuple[str, ...], version: int, owner: bytes, holder: int) -> str | None:
        """An address of this IP version from the first prefix that has one left; None = all are taken."""
        for prefix in prefixes:
            pool = self._pools.get(prefix) or _Pool(ipaddress.ip_network(prefix))
            if pool.network.version != version:
                continue
            self._pools[prefix] = pool
            address = pool.take(owner)
            if address is not None:
                self._holders.setdefault((prefix, owner), set()).add(holder)
                self._of.setdefault(holder, set()).add((prefix, owner))
                return str(address)
        return None

    def release(self, holder: int) -> None:
        """This machine is gone; what no other holds goes back."""
        for key in self._of.pop(holder, ()):
            self._holders[key].discard(holder)
            if not self._holders[key]:
                del self._holders[key]
                self._pools[key[0]].give_back(key[1])

    @property
    def held(self) -> int:
        return len(self._holders)
