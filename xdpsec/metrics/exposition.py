"""Families as the text that Prometheus reads (its text format, version 0.0.4), a little at a time: the same bytes as
prometheus_client.generate_latest makes of them, in pieces between which others may do something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from prometheus_client import generate_latest
from prometheus_client.utils import floatToGoString

from xdpsec.metrics.families import SLICE, Family, Steps

_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class _One:
    """A registry of one family."""

    def __init__(self, family: Family) -> None:
        self._family = family

    def collect(self) -> list[Family]:
        return [self._family]


def pieces(steps: Steps) -> Iterator[bytes]:
    """At most SLICE rows each; empty ones where nothing is written yet."""
    for family in steps:
        if family is None:
            yield b""
        elif len(family.samples) <= SLICE:
            yield generate_latest(_One(family))
        else:
            samples, family.samples = family.samples[::-1], []
            yield generate_latest(_One(family))
            while samples:  # let go of as they are written
                yield "".join(_line(samples.pop()) for _ in range(min(SLICE, len(samples)))).encode()


def _number(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


def _line(sample: Family) -> str:
    labels = ",".join(f'{name}="{str(text).translate(_ESCAPED)}"' for name, text in sorted(sample.labels.items()))
    return f"{sample.name}{{{labels}}} {_number(sample.value)}\n"


class Scrapes:
    """What a thread that serves Prometheus asks: made on the loop, one piece in each of its turns, one scrape at a
    time."""

    def __init__(self, steps: Callable[[], Steps]) -> None:
        self._steps, self._loop, self._one = steps, asyncio.get_running_loop(), asyncio.Lock()

    async def make(self) -> bytes:
        async with self._one:
            made: list[bytes] = []
            for piece in pieces(self._steps()):
                made.append(piece)
                await asyncio.sleep(0)
            return b"".join(made)

    def ask(self, seconds: float) -> bytes:
        """From another thread. TimeoutError, RuntimeError when the loop has ended."""
        asked = asyncio.run_coroutine_threadsafe(self.make(), self._loop)
        try:
            return asked.result(seconds)
        except TimeoutError:
            asked.cancel()
            raise
