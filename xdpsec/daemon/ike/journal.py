"""What machines say about themselves, as log lines and as numbers for metrics.

A line that strangers can cause comes once in a while for each of its sentences, of what a peer does or a child's
comings and goings a few; how many were left out stands in the next one. Numbers only grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

import structlog

from xdpsec.daemon.ike import esp
from xdpsec.daemon.ike.children import Pair
from xdpsec.ike.events import Counted, Fault, IkeDown, IkeRekeyed, IkeUp, Note

#: Seconds between two lines of the same sentence that strangers cause.
QUIET_SECONDS = 10.0
#: Lines of one sentence about one peer or child in so long: a rekey a second is told, a storm is not.
MOST_LINES = 10
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
        self._said: dict[str, tuple[float, int, int]] = {}  # since when, lines said and left out since

    def note(self, event: Note, now: float) -> None:
        fields = dict(event.fields)
        about, most = ("", 1) if event.stranger else (str(fields.get("peer", "")), MOST_LINES)
        if self._may_say(event.event, fields, now, about, most):
            getattr(log, event.level)(event.event, **fields)

    def fault(self, event: Fault, now: float) -> None:
        """With its traceback, which is for us."""
        self.counted["ike_faults", ""] += 1
        fields: dict[str, str | int] = {"peer": event.peer, "why": f"{type(event.error).__name__}: {event.error}"}
        if not event.stranger or self._may_say(FAULT, fields, now):
            log.error(FAULT, **fields, exc_info=event.error)

    def _may_say(self, sentence: str, fields: dict[str, str | int], now: float, about: str = "", most: int = 1) -> bool:
        """Not again so soon, or not more than `most` in that time."""
        began, said, left_out = self._said.get(sentence + about, (float("-inf"), 0, 0))
        if now - began >= QUIET_SECONDS:
            if left_out:
                fields["left_out"] = left_out
            began, said, left_out = now, 0, 0
        may = said < most
        self._said[sentence + about] = began, said + may, left_out + (not may)
        return may

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

    def child(self, pair: Pair, now: float) -> None:
        """It came up or went; of one that was replaced its successor has told."""
        if not pair.came or (pair.ended == "rekeyed" and not pair.up):
            return
        fields: dict[str, str | int] = {"peer": pair.peer, "child": pair.child.label}
        fields |= {"spi_in": f"0x{pair.spi_in:08x}", "spi_out": f"0x{pair.spi_out:08x}"}
        if not pair.up:
            sentence = "child SA ended"
            fields["reason"] = pair.ended
        else:
            sentence = "child SA rekeyed" if pair.replaces else "child SA up"
            fields |= {"replaces": f"0x{pair.replaces:08x}"} if pair.replaces else {}
            fields |= {"suite": pair.suite, "pfs": esp.pfs_name(pair.ke), "initiator": pair.ours}
        if self._may_say(sentence, fields, now, pair.child.label, MOST_LINES):
            log.info(sentence, **fields)
