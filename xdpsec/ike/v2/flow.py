"""How exchanges are written: steps that can wait, tasks that begin a request, questions to the host.

A handler or builder is a generator, typed Steps[T]. It computes on local variables, waits with `yield question` (the
answer is the value of the yield; PeerError is thrown in when it fails or none comes), and ends in one block marked
"commit" that changes the SA: after the last yield, and only if everything before it was fine. Its `return` is T.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from xdpsec.crypto import exchange, jobs
from xdpsec.crypto.exchange import Private
from xdpsec.errors import PeerError
from xdpsec.ike.events import (
    FetchWanted,
    FreshWanted,
    InstallInbound,
    Job,
    NegotiatedChild,
    Path,
    RetireChild,
    WorkWanted,
)
from xdpsec.numbers import NotifyType
from xdpsec.wire.header import Header
from xdpsec.wire.payloads import Payload

if TYPE_CHECKING:
    from xdpsec.ike.settings import Host, Limits
    from xdpsec.ike.v2.machine import Machine
    from xdpsec.ike.v2.sa import IkeSa

T = TypeVar("T")


# --- questions: what a step may wait for --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Install:
    """Answer: "" or a sentence. Use `install()`, which makes a PeerError of the sentence."""

    child: NegotiatedChild

    def event(self, ike: int, ticket: int) -> InstallInbound:
        return InstallInbound(ike, ticket, self.child)

    def seconds(self, limits: Limits) -> float:
        return limits.ack_seconds


@dataclass(frozen=True, slots=True)
class Work:
    """Answer: what the job returned. Only for what is slow: a hop costs more than a quick one takes."""

    job: Job

    def event(self, ike: int, ticket: int) -> WorkWanted:
        return WorkWanted(ike, ticket, self.job)

    def seconds(self, limits: Limits) -> float:
        return limits.job_seconds


@dataclass(frozen=True, slots=True)
class Fetch:
    """Answer: anything."""

    urls: tuple[str, ...]

    def event(self, ike: int, ticket: int) -> FetchWanted:
        return FetchWanted(ike, ticket, self.urls)

    def seconds(self, limits: Limits) -> float:
        return limits.fetch_seconds


@dataclass(frozen=True, slots=True)
class Fresh:
    """Answer: seconds since a packet opened on one of the SPIs, or None."""

    spis: tuple[int, ...]

    def event(self, ike: int, ticket: int) -> FreshWanted:
        return FreshWanted(ike, ticket, self.spis)

    def seconds(self, limits: Limits) -> float:
        return limits.ack_seconds


Question = Install | Work | Fetch | Fresh
#: A generator that yields questions, is sent their answers, and returns T.
Steps = Generator[Question, Any, T]


# --- asking -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ask:
    """A request: what to send, and `context`, whatever the response's handler wants to find again (private values,
    nonces, SPIs). The machine keeps it as sa.asking until the response came, or the SA is gone."""

    task: Task
    exchange: int
    payloads: tuple[Payload, ...]
    context: Any = None


class Task(Protocol):
    """A wish that becomes a request when the window is free and the SA's state allows it. Give it to Machine.ask()."""

    def ready(self, sa: IkeSa) -> bool:
        """May it begin in this state? A task that is not ready waits, others pass it."""
        ...

    def build(self, m: Machine, sa: IkeSa) -> Steps[Ask | None]:
        """The request; None = there is nothing to ask any more."""
        ...

    def consume(self, m: Machine, sa: IkeSa, received: Received) -> Steps[None]:
        """The response came, authentic but for IKE_SA_INIT; `received.ask` is what build() made."""
        ...

    def refused(self, m: Machine, sa: IkeSa, error: PeerError) -> None:
        """Building, the response or consume() failed, or the IKE SA is gone: tidy up, tell the host."""
        ...


class PeerRefuses(PeerError):
    """The answer itself is a refusal: the peer keeps nothing that it would have to be told to drop."""


def consume(m: Machine, sa: IkeSa, received: Received) -> Steps[None]:
    """The table's handler for responses: the task that asked knows what its answer means."""
    if received.ask is not None:
        yield from received.ask.task.consume(m, sa, received)


# --- answering ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """What a handler gets: opened and parsed. `data` as it was on the wire, whole in IKE_SA_INIT; `first` and
    `plaintext` the sealed payloads as bytes, for IntAuth; `ask` our own request when this is its response."""

    header: Header
    payloads: tuple[Payload, ...]
    data: bytes
    path: Path
    ask: Ask | None = None
    first: int = 0
    plaintext: bytes = b""


#: What handlers of requests return: the payloads of the reply. Handlers of responses return None.
Reply = tuple[Payload, ...]


def install(m: Machine, child: NegotiatedChild) -> Steps[None]:
    """Both directions are at their worker when this is over; PeerError(TEMPORARY_FAILURE) else, and RetireChild."""
    try:
        sentence = yield Install(child)
    except (PeerError, GeneratorExit):
        m.emit(RetireChild(m.number, child.spi_in, child.spi_out, child.index, "failed"))
        raise
    if sentence:
        m.emit(RetireChild(m.number, child.spi_in, child.spi_out, child.index, "failed"))
        raise PeerError(f"a worker did not take the child SA: {sentence}", NotifyType.TEMPORARY_FAILURE)


# --- key exchanges: on the spot, or in the helper process where they are slow ---


def start_exchange(host: Host, group: int) -> Steps[Private]:
    """Our half of a key exchange, as its initiator."""
    if exchange.slow(group):
        private: Private = yield Work(jobs.StartExchange(group))
        return private
    return exchange.start(group, host.random)


def respond_exchange(host: Host, group: int, public: bytes) -> Steps[tuple[bytes, bytes]]:
    """A responder's whole part: (public value, secret)."""
    if exchange.slow(group):
        pair: tuple[bytes, bytes] = yield Work(jobs.RespondExchange(group, public))
        return pair
    return exchange.respond(group, public, host.random)


def finish_exchange(private: Private, public: bytes) -> Steps[bytes]:
    """The secret; `private` has served then, whatever comes of it."""
    if exchange.slow(private.group):
        secret: bytes = yield Work(jobs.FinishExchange(private, public))
        return secret
    return private.finish(public)
