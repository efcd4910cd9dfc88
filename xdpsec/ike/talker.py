"""A machine and its maker as the gate sees them: what it asks of either. No machine is named here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from xdpsec.ike.events import Event, Path
from xdpsec.ike.settings import ChildSettings, Host, PeerSettings

if TYPE_CHECKING:
    from xdpsec.ike.gate import Gate

Datagram = tuple[bytes, Path]
Wanted = tuple[tuple[ChildSettings, int | None], ...]  # children and the worker index of each


class Talker(Protocol):
    """A machine as the gate sees it: the five verbs, and what to file it under."""

    number: int
    peer: PeerSettings | None
    remote_id: bytes
    established: bool
    reauthenticate: bool

    @property
    def half_open(self) -> bool:
        """A stranger began it and is not authenticated yet."""
        ...

    @property
    def stands(self) -> bool:
        """The peer is authenticated, the IKE SA serves, and no other machine has taken over."""
        ...

    @property
    def done(self) -> bool:
        """Nothing is left of it to say or to repeat."""
        ...

    @property
    def children(self) -> Wanted:
        """What a machine that takes over must open."""
        ...

    def wreck(self, now: float) -> None: ...

    def give_way(self, now: float, wait: float) -> None: ...

    def receive(self, data: bytes, path: Path, now: float) -> None: ...

    def messages_to_send(self, now: float) -> list[Datagram]: ...

    def get_timer(self) -> float | None: ...

    def handle_timer(self, now: float) -> None: ...

    def next_event(self) -> Event | None: ...

    def answer(self, ticket: int, result: object, now: float) -> None: ...

    def awaits(self, ticket: int) -> bool: ...


class Machines(Protocol):
    """Who makes them. `registry` is what machines may ask of the gate: claim, release, established, leases."""

    def responder(self, number: int, host: Host, registry: Gate, path: Path, now: float) -> Talker: ...

    def initiator(
        self, number: int, host: Host, registry: Gate, peer: PeerSettings, now: float, wanted: Wanted
    ) -> Talker: ...
