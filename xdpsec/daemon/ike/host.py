"""ike.settings.Host of a running gateway: chance, the wall clock, SPIs, the book of peers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from xdpsec.ike.settings import Limits, PeerBook


class RunningHost:
    """`new_spi(child, resource)` and `free_spi` are children.py's."""

    def __init__(
        self, book: PeerBook, new_spi: Callable[[int, int | None], int], free_spi: Callable[[int], None], keylog: bool
    ) -> None:
        self.book: PeerBook = book
        self.limits = Limits()
        self.keylog = keylog
        self.new_spi, self.free_spi = new_spi, free_spi

    def random(self, count: int) -> bytes:
        return os.urandom(count)

    def wall(self) -> float:
        return time.time()
