"""Message ids, one request out at a time, the last reply kept: what makes a lossy wire look like question and answer.

Knows ids, times and finished datagrams; reads none of them. Both halves start at 0 and count up for the life of an
IKE SA (RFC 7296 sec. 2.1 to 2.3). We never ask for a window above 1, so a peer has one request under way with us.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from xdpsec.errors import LocalError
from xdpsec.ike.settings import Limits

Datagrams = tuple[bytes, ...]
#: RFC 7296 sec. 2.2: ids never wrap; with so few left the IKE SA must be rekeyed, and before the last it ends.
LAST_ID = 0xFFFFFFFF
REKEY_ID = 0xFFFF0000


class Arrival(Enum):
    """What a request's id says."""

    NEW = "new"
    WORKING = "working"  # seen, its reply is not ready: be quiet
    REPEAT = "repeat"  # answered: send the reply again
    OLD = "old"
    AHEAD = "ahead"  # beyond the window


class Inbox:
    """The peer's requests. A reply is kept until the next request shows that it arrived."""

    __slots__ = ("expected", "reply", "working")

    def __init__(self, expected: int = 0) -> None:
        self.expected = expected
        self.reply: Datagrams = ()
        self.working = False

    def judge(self, message_id: int) -> Arrival:
        """Changes nothing: the message is not authenticated yet."""
        if message_id == self.expected:
            return Arrival.WORKING if self.working else Arrival.NEW
        if message_id == self.expected - 1:
            return Arrival.REPEAT
        return Arrival.OLD if message_id < self.expected else Arrival.AHEAD

    def begin(self) -> None:
        """The expected request is authentic and its reply takes a while."""
        self.working = True

    def answered(self, reply: Datagrams) -> None:
        """The expected request has its reply."""
        self.expected, self.reply, self.working = self.expected + 1, reply, False


@dataclass(frozen=True, slots=True)
class Flight:
    """A request under way. Sent `tries` times, for the first time at `since`; `due` is when to do something next."""

    message_id: int
    datagrams: Datagrams
    since: float
    due: float
    wait: float
    tries: int


class Outbox:
    """Our requests: one under way, sent again until it is answered or given up."""

    __slots__ = ("flight", "limits", "next_id")

    def __init__(self, limits: Limits, next_id: int = 0) -> None:
        self.limits = limits
        self.next_id = next_id
        self.flight: Flight | None = None

    @property
    def free(self) -> bool:
        return self.flight is None

    @property
    def worn(self) -> bool:
        """So few ids are left that the IKE SA must be rekeyed."""
        return self.next_id >= REKEY_ID

    def send(self, datagrams: Datagrams, now: float) -> None:
        """The request with id `next_id` leaves now; LocalError when another is under way or the ids are used up."""
        if self.flight is not None or self.next_id >= LAST_ID:
            raise LocalError("an IKE request while another one is under way, or with no message id left")
        wait = self.limits.retry_first
        self.flight = Flight(self.next_id, datagrams, now, now + wait, wait, 1)
        self.next_id += 1

    def matches(self, message_id: int) -> bool:
        """A response with this id answers what is under way. Changes nothing: it is not authenticated yet."""
        return self.flight is not None and self.flight.message_id == message_id

    def answered(self) -> None:
        self.flight = None

    def rewrite(self, datagrams: Datagrams, now: float) -> None:
        """The same id, another text: IKE_SA_INIT again with a cookie or another group (RFC 7296 sec. 2.6, 1.2)."""
        assert self.flight is not None
        self.next_id = self.flight.message_id
        self.flight = None
        self.send(datagrams, now)

    def timer(self) -> float | None:
        return self.flight.due if self.flight else None

    def given_up(self, now: float) -> bool:
        """So long unanswered that the peer is taken for dead."""
        return self.flight is not None and now >= self.flight.since + self.limits.give_up

    def again(self, now: float) -> Datagrams:
        """What to send once more now; () when it is not time yet, or too late."""
        flight = self.flight
        if flight is None or now < flight.due or self.given_up(now):
            return ()
        wait = min(flight.wait * self.limits.retry_factor, self.limits.retry_cap)
        due = min(now + wait, flight.since + self.limits.give_up)
        self.flight = replace(flight, due=due, wait=wait, tries=flight.tries + 1)
        return flight.datagrams

    def hurry(self, now: float) -> None:
        """Send again at once and start the backoff anew: the path changed (RFC 4555 sec. 3.5)."""
        if self.flight is not None:
            wait = self.limits.retry_first / self.limits.retry_factor
            self.flight = replace(self.flight, since=now, due=now, wait=wait)
