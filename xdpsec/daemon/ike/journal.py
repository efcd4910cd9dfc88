"""What machines say about themselves, as log lines and as numbers for metrics.

A line that strangers can cause comes once in a while for each of its sentences; how many were left out stands in the
next one. Numbers only grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

import structlog

from xdpsec.ike.events import Counted, Fault, IkeDown, IkeRekeyed, IkeUp, Note

#: Seconds between two lines of the same sentence that strangers cause.
QUIET_SECONDS = 10.0
#: Upper bounds of the durations of handshakes, seconds.
BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
FAULT = "an error in xdpsec itself ended an IKE SA; please report it with these lines"

log = structlog.get_logger()


class Journal:
    """`handshakes` by outcome ("established", or the reason of an end before that); `durations` counts of BOUNDS, and
    of more than the last; their sum in `seconds`; `counted` by (name, label)."""

    def __init__(self) -> None:
        self.handshakes: Counter[str] = Counter()
        self.durations = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self.ike_rekeys = 0
        self.counted: Counter[tuple[str, str]] = Counter()
        self._said: dict[str, tuple[float, int]] = {}

    def note(self, event: Note, now: float) -> None:
        fields = dict(event.fields)
        if not event.stranger or self._may_say(event.event, fields, now):
            getattr(log, event.level)(event.event, **fields)

    def fault(self, event: Fault, now: float) -> None:
        """With its traceback, which is for us."""
        self.counted["ike_faults", ""] += 1
        fields: dict[str, str | int] = {"peer": event.peer, "why": f"{type(event.error).__name__}: {event.error}"}
        if not event.stranger or self._may_say(FAULT, fields, now):
            log.error(FAULT, **fields, exc_info=event.error)

    def _may_say(self, sentence: str, fields: dict[str, str | int], now: float) -> bool:
        """Not again so soon."""
        at, left_out = self._said.get(sentence, (float("-inf"), 0))
        if now - at < QUIET_SECONDS:
            self._said[sentence] = at, left_out + 1
            return False
        self._said[sentence] = now, 0
        if left_out:
            fields["left_out"] = left_out
        return True

    def count(self, event: Counted) -> None:
        self.counted[event.name, event.label] += 1

    def up(self, event: IkeUp, local_id: str, remote_id: str) -> None:
        self.handshakes["established"] += 1
        self.durations[bisect_left(BOUNDS, event.seconds)] += 1
        self.seconds += event.seconds
        log.info(
            "IKE SA established",
            peer=event.peer,
            remote=f"{event.path.remote} port {event.path.remote_port}",
            local_id=local_id,
            remote_id=remote_id,
            suite=event.suite,
            hybrid=event.hybrid,
            initiator=event.initiator,
            ms=round(event.seconds * 1000, 1),
        )

    def rekeyed(self, event: IkeRekeyed) -> None:
        self.ike_rekeys += 1
        log.info("IKE SA rekeyed", peer=event.peer, suite=event.suite, hybrid=event.hybrid)

    def down(self, event: IkeDown, now: float) -> None:
        """A talk that nobody proved to be of a peer has only an address."""
        level = "info" if event.reason in ("deleted", "closed", "replaced") else "warning"
        who = {"peer": event.peer} if event.peer else {"remote": event.remote}
        fields: dict[str, str | int] = {**who, "reason": event.reason, "why": event.text}
        if not event.established:
            self.handshakes[event.reason] += 1
        sentence = "IKE SA ended" if event.established else "no IKE SA"
        if event.peer or self._may_say(sentence, fields, now):
            getattr(log, level)(sentence, **fields)
