"""The demo's steps on a terminal: what is being done, then that it is done and how long it took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console


class Steps:
    """Prints to `console`; on a terminal the step that runs has a spinner."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[list[str]]:
        """One step. Words that its block appends to the list stand behind it."""
        began = time.monotonic()
        words: list[str] = []
        with self._console.status(text):
            yield words
        notes = f": {', '.join(words)}" if words else ""
        line = f"[green]done[/green] {text}{notes} [dim]({time.monotonic() - began:.1f} s)[/dim]"
        self._console.print(line, highlight=False, soft_wrap=True)

    @property
    def seconds(self) -> float:
        """Since the first step."""
        return time.monotonic() - self._started
