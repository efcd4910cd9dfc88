"""A loop whose clock the test does not wait for: as soon as nothing is left to do, it is the time of the next timer.

What a timer brings therefore comes in order and at its very second, on a busy machine too. While a thread of the loop
works the clock stands. Other processes must have no part in such a test: nobody waits for them.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Selector(selectors.DefaultSelector):
    """Waits for nothing but threads, and for what no timer would end."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.threads = 0.0, 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or self.threads:
            return super().select(None if timeout is None or timeout > 0 else 0)
        ready = super().select(0)
        if not ready:
            self.now += max(0.0, timeout)
        return ready


class HurriedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now

    def run_in_executor(self, *given: Any) -> Any:  # type: ignore[override]
        self._clock.threads += 1
        work = super().run_in_executor(*given)
        work.add_done_callback(lambda _: self._over())
        return work

    def _over(self) -> None:
        self._clock.threads -= 1

    async def shutdown_default_executor(self, *given: Any) -> None:
        """Its limit, where there is one, is no time of the test's."""
        self._clock.threads += 1
        await super().shutdown_default_executor(*given)


def hurry(test: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Its result. What would wait without end is ended by the limit that every test has."""
    with asyncio.Runner(loop_factory=HurriedLoop) as runner:
        return runner.run(test())
