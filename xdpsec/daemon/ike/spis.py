"""Inbound SPIs of negotiated SAs: random, placed at the worker that is wanted, not used again soon (dataplane.md 2).

Knows the door's table of buckets; the hash is handed in, so is chance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from xdpsec.numbers import SPI_MIN
from xdpsec.policy.placement import BucketOf, owner_of

#: SPIs that lie behind us: so many new ones come before one of them may.
REST = 1 << 16


class Spis:
    """`table`: the worker of each bucket; `given`: SPIs that are not ours to choose (manual keys)."""

    def __init__(
        self, table: Sequence[int], bucket_of: BucketOf, given: Iterable[int], random: Callable[[int], bytes]
    ) -> None:
        self._table, self._bucket_of, self._random = tuple(table), bucket_of, random
        self._used = set(given)
        self._resting: deque[int] = deque()

    def new(self, worker: int) -> int:
        """An SPI whose packets are steered to `worker`."""
        while True:
            words = self._random(64)
            for at in range(0, 64, 4):
                spi = int.from_bytes(words[at : at + 4])
                if spi >= SPI_MIN and spi not in self._used and self.owner(spi) == worker:
                    self._used.add(spi)
                    return spi

    def owner(self, spi: int) -> int:
        return owner_of(spi, self._table, self._bucket_of)

    def free(self, spi: int) -> None:
        """Nobody sends on it any more, or soon nobody will."""
        self._resting.append(spi)
        if len(self._resting) > REST:
            self._used.discard(self._resting.popleft())
