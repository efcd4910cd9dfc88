"""Work that would hold the interpreter too long, as values that the helper process can run.

A job is picklable, says whether it is worth the trip (`slow`: over 2 ms; a hop costs a tenth of one); `run` does it.
What it raises, PeerError included, is raised again where the answer is awaited.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdpsec.crypto import exchange
from xdpsec.crypto.exchange import Private
from xdpsec.errors import LocalError


def _none(count: int) -> bytes:
    """Slow groups draw from pyca; a job is handed no randomness."""
    raise LocalError(f"a job may not ask for {count} random bytes; run this exchange at once")


@dataclass(frozen=True, slots=True)
class StartExchange:
    """Make our half. Gives a Private that has travelled."""

    group: int

    @property
    def slow(self) -> bool:
        return exchange.slow(self.group)

    def run(self) -> Private:
        return exchange.start(self.group, _none)


@dataclass(frozen=True, slots=True)
class RespondExchange:
    """A responder's whole part. Gives (public value, secret)."""

    group: int
    peer_public: bytes

    @property
    def slow(self) -> bool:
        return exchange.slow(self.group)

    def run(self) -> tuple[bytes, bytes]:
        return exchange.respond(self.group, self.peer_public, _none)


@dataclass(frozen=True, slots=True)
class FinishExchange:
    """An initiator's second part; the caller drops its own `private` once the job is made. Gives the secret."""

    private: Private = field(repr=False)
    peer_public: bytes

    @property
    def slow(self) -> bool:
        return exchange.slow(self.private.group)

    def run(self) -> bytes:
        return self.private.finish(self.peer_public)
