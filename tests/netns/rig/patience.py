"""Waiting for what no event tells, with an end that only who hangs comes to: a busy machine may take its time."""

from __future__ import annotations

import time
from collections.abc import Callable

#: No promise of anybody's: what has not come by then does not come.
HANG_SECONDS = 90.0
LOOK_SECONDS = 0.1


def until(true: Callable[[], bool], what: str | Callable[[], object], seconds: float = HANG_SECONDS) -> None:
    """Ask again and again; AssertionError says `what` did not come, which may be asked for at the end alone."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() >= end:
            raise AssertionError(f"not within {seconds:.0f} s: {what if isinstance(what, str) else what()}")
        time.sleep(LOOK_SECONDS)
