"""ike.settings.Host of a running gateway: chance, the wall clock, SPIs, the book of peers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from xdpsec.ike.settings import Limits, PeerBook


class RunningHost:
    """`new_spi(child, resource)` and `free_spi` are children.py's; `fixed`: the address of ours that the configuration
    binds each peer's tunnels to, "" = none; `outer`: all that tunnels may have."""

    def __init__(
        self,
        book: PeerBook,
        new_spi: Callable[[int, int | None], int],
        free_spi: Callable[[int], None],
        fixed: Mapping[str, str],
    ) -> None:
        self.book: PeerBook = book
        self.limits = Limits()
        self.keylog = False
        self.outer: tuple[str, ...] = ()
        self._fixed = fixed
        self.new_spi, self.free_spi = new_spi, free_spi

    def random(self, count: int) -> bytes:
        return os.urandom(count)

    def addresses(self, peer: str) -> tuple[str, ...]:
        """A peer that is bound to one address hears of no other."""
        return () if self._fixed.get(peer) else self.outer

    def wall(self) -> float:
        return time.time()
