"""Lines that are kept for who asks later, numbered from 1; the oldest give way. Knows not what they say."""

from __future__ import annotations

import asyncio
from collections import deque

#: What an operator looks back on: a day of a quiet gateway, minutes of a busy one.
KEPT = 2000
#: Of one answer; the rest comes with the next question.
MOST = 256


class Lines:
    def __init__(self, kept: int = KEPT) -> None:
        self._rows: deque[str] = deque(maxlen=kept)
        self._last = 0
        self._waiting: list[asyncio.Future[None]] = []

    def add(self, row: str) -> None:
        """From the event loop's thread alone."""
        self._rows.append(row)
        self._last += 1
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    def beyond(self, after: int) -> tuple[int, tuple[str, ...]]:
        """The number of the last row given, and the rows behind number `after` that are still kept. A number from
        before a restart, beyond the last, begins anew."""
        after = after if 0 <= after <= self._last else 0
        first = self._last - len(self._rows)
        rows = tuple(self._rows)[max(0, after - first) :][:MOST]
        begun = max(after, first)
        return begun + len(rows), rows

    def more(self, after: int) -> asyncio.Future[None]:
        """Done once there is a row beyond number `after`. Cancel it to wait no longer."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._rows and self._last != after:
            waiting.set_result(None)
        else:
            self._waiting.append(waiting)
            waiting.add_done_callback(self._forget)
        return waiting

    def _forget(self, one: asyncio.Future[None]) -> None:
        if one in self._waiting:
            self._waiting.remove(one)
