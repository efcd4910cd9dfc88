"""When thousands of machines want to be called: the next one in no time, a change in the time of a heap."""

from __future__ import annotations

import heapq

SLACK = 64  # entries beyond use that a small heap may have


class Alarms:
    """One moment for each number. Of a number's entries in the heap the one that is in `due` is good; others are passed
    over when they come up."""

    __slots__ = ("_heap", "due")

    def __init__(self) -> None:
        self.due: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []

    def set(self, number: int, moment: float | None) -> None:
        """None = not at all."""
        if moment is None:
            self.due.pop(number, None)
        elif self.due.get(number) != moment:
            self.due[number] = moment
            heapq.heappush(self._heap, (moment, number))
            if len(self._heap) > 4 * len(self.due) + SLACK:
                self._heap = [(at, one) for one, at in self.due.items()]
                heapq.heapify(self._heap)

    def first(self) -> float | None:
        """The next moment."""
        heap = self._heap
        while heap and self.due.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def ring(self, now: float) -> list[int]:
        """Those whose moment has come, in order; each must be set anew."""
        ringing = []
        while (moment := self.first()) is not None and moment <= now:
            number = heapq.heappop(self._heap)[1]
            del self.due[number]
            ringing.append(number)
        return ringing

    def __len__(self) -> int:
        """Entries that are held, good or not."""
        return len(self._heap)
