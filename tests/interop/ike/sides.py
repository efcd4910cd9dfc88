"""What a test asks of either side, whoever plays it, and the values in which it answers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from netns.rig.patience import HANG_SECONDS

from interop.ike.cases import Case

#: A handshake takes some tens of milliseconds; the cores are shared, and a guest kernel is slow.
UP_SECONDS = HANG_SECONDS
STEP = 0.02


@dataclass(frozen=True, slots=True)
class Child:
    """A child SA: words of algorithms.tsv, `packets` in and out as the side counts them. `ident` changes at a rekey."""

    ident: str
    words: frozenset[str]
    protocol: str
    mode: str
    encapsulated: bool
    packets: tuple[int, int]
    local: tuple[str, ...]
    remote: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sa:
    """An IKE SA with its children; `ident` changes at a rekey. `remote` is the peer's address and port, `local` our
    address, empty of a side that does not tell."""

    ident: str
    words: frozenset[str]
    children: tuple[Child, ...]
    remote: str
    local: str = ""


@dataclass(frozen=True, slots=True)
class Pings:
    """What was sent and what was answered."""

    sent: int
    received: int


class Side(Protocol):
    """One daemon. Every call is bounded in time, and raises when it fails."""

    version: str
    #: Whether it lists by which key exchange a child was rekeyed.
    tells_exchange: bool

    @property
    def host_namespace(self) -> str:
        """Where its hosts' addresses are; a guest has none."""

    def load(self, case: Case, left: bool) -> None:
        """Configure the case, as its left or its right side."""

    def unload(self, case: Case) -> None:
        """Take it away, with its SAs, without waiting for the other side."""

    def up(self, case: Case) -> None:
        """Begin; returns when the child is up."""

    def sas(self, case: Case) -> list[Sa]:
        """What is established."""

    def rekey_child(self, case: Case) -> None: ...

    def rekey_ike(self, case: Case) -> None: ...

    def reauthenticate(self, case: Case) -> None:
        """Prove itself anew, with an IKE SA that takes the old one's place."""

    def why(self, case: Case) -> str | None:
        """Why there is no SA; None of one that does not tell."""

    def down(self, case: Case) -> None:
        """Delete, and tell the other side."""

    def ping(self, source: str, destination: str, count: int, interval: float = 0.05) -> Pings:
        """From a host of this side."""

    def counted(self) -> dict[str, int]:
        """What it counts of packets and what became of them, by name: for the detail of a red row. Empty of one that
        does not tell."""

    def name_servers(self) -> list[str]:
        """Those that the other side named when it leased an address, as the log has them."""

    def take(self, leased: str) -> None:
        """Let a host have the address that the other side leased."""

    def kill(self) -> None:
        """End it as a power cut does."""

    def start(self) -> None:
        """Start it again."""

    def move(self, case: Case) -> str:
        """Change its outer address, and return the new one."""


def only(side: Side, case: Case) -> Sa:
    """The one SA with one child that there must be."""
    found = side.sas(case)
    assert len(found) == 1, f"{len(found)} IKE SAs: {found}"
    assert len(found[0].children) == 1, f"{len(found[0].children)} children: {found[0].children}"
    return found[0]


def until(true: Callable[[], bool], what: str | Callable[[], str], seconds: float = UP_SECONDS) -> None:
    """Wait for something that nobody tells; `what` may be said at the end alone."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() >= end:
            raise AssertionError(f"not within {seconds:.0f} s: {what if isinstance(what, str) else what()}")
        time.sleep(STEP)


def settled(side: Side, case: Case, changed: Callable[[Sa], bool] = lambda sa: True, seconds: float = UP_SECONDS) -> Sa:
    """Once there is one SA with one child again, and `changed` says that it is the new one."""
    found: list[Sa] = []

    def one() -> bool:
        found[:] = side.sas(case)
        return len(found) == 1 and len(found[0].children) == 1 and changed(found[0])

    until(one, lambda: f"one SA with one child, there are {found}", seconds)
    return found[0]


def ping_words(source: str, destination: str, count: int, interval: float, patience: int = 20) -> Sequence[str]:
    # ping waits for the last answer alone, at most `patience` seconds
    return ["ping", "-n", "-q", f"-c{count}", f"-i{interval}", f"-W{patience}", "-I", source, destination]


def read_ping(text: str) -> Pings:
    found = re.search(r"(\d+) packets transmitted, (\d+) received", text)
    assert found, text
    return Pings(int(found[1]), int(found[2]))
