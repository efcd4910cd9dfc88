"""What the daemon asks of the room net: the shapes of its privileged and its watching ends, and nothing more.

The supervisor holds a Fence; control holds the Door's maps and a Watcher. Tests stand in with their own. Errors a
person can act on are xdpsec.errors.LocalError or OSError with one sentence.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from xdpsec.channel.messages import NextHop, Route


class Fence(Protocol):
    """The nft table that keeps protected prefixes closed whatever dies."""

    def protect(self, pairs: Sequence[tuple[str, str]], spare: Sequence[str]) -> None: ...

    def mend(self) -> bool:
        """Put back what somebody took; did somebody?"""

    def open(self) -> None: ...


class Maps(Protocol):
    """The door's maps by their descriptors: what control may write without privilege."""

    def set_buckets(self, owners: Sequence[int | None]) -> None:
        """256 owners; None = nobody."""

    def set_addresses(self, addresses: Sequence[str]) -> None: ...

    def set_prefixes(self, local: Mapping[str, int], remote: Mapping[str, tuple[int, Sequence[int]]]) -> None:
        """prefix -> policy bits, and prefix -> (policy bits, workers)."""

    def verdicts(self) -> Sequence[Sequence[int]]:
        """[port][verdict], summed over CPUs."""


class Watcher(Protocol):
    """Routes and neighbours of the ports, followed by rtnetlink."""

    def fileno(self) -> int:
        """Readable when something changed."""

    def drain(self) -> bool:
        """Read what changed; True when routes or own addresses may differ."""

    def routes(self) -> tuple[Route, ...]: ...

    def next_hops(self) -> tuple[NextHop, ...]:
        """Every neighbour of the ports with a link-layer address."""

    def addresses(self) -> tuple[str, ...]:
        """The gateway's own addresses."""

    def outer(self, ports: Collection[int]) -> tuple[str, ...]:
        """Those of them at these ports."""

    def close(self) -> None: ...
