"""Work counted in lines of Python that run, not in time: the same on every machine. What C does within a line is not
seen.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def lines_of(run: Callable[[], object]) -> int:
    """Lines that run, each time that they do; every turn of a comprehension is one."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return count
