"""What the daemon asks of the room net: the shapes of its privileged and its watching ends, and nothing more.

The supervisor holds a Door, Sockets, a Fence and Links; control holds the Door's maps and a Watcher. Tests stand in
with their own. Errors a person can act on are xdpsec.errors.LocalError or OSError with one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from xdpsec.channel.messages import NextHop, Route
from xdpsec.net.values import Link as Link
from xdpsec.net.values import PortSockets as PortSockets


class Links(Protocol):
    """Interfaces and neighbours by rtnetlink."""

    def find(self, interface: str) -> Link:
        """LookupError when there is no such interface."""

    def keep_neighbour(self, ifindex: int, addr: str) -> None:
        """Let the kernel resolve it and keep it fresh (NTF_EXT_MANAGED, else NTF_USE)."""


class Sockets(Protocol):
    """AF_XDP sockets that share one UMEM: the first port opened registers it."""

    def open_port(self, link: Link, workers: int, bind: str) -> PortSockets: ...


class Door(Protocol):
    """The XDP program on its ports. Closing it detaches everything; so does our death."""

    def attach(self, port: int, link: Link, outside: bool, mode: str) -> str:
        """Known to the maps first, then attached; "native" or "generic"."""

    def detach(self, port: int, link: Link) -> None: ...

    def maps(self) -> Mapping[str, int]:
        """Descriptors of buckets, addresses, local_prefixes, remote_prefixes and verdicts, for control."""

    def serve(self, port: int, queue: int, worker: int, socket: int) -> None:
        """Redirect to the socket from now on."""

    def clear(self, worker: int, ports: Sequence[tuple[int, int]]) -> None:
        """Take the worker's sockets on every (port, queue) out of the XSKMAP."""

    def close(self) -> None: ...


class Fence(Protocol):
    """The nft table that keeps protected prefixes closed whatever dies."""

    def protect(self, pairs: Sequence[tuple[str, str]], spare: Sequence[str]) -> None: ...

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

    def close(self) -> None: ...
