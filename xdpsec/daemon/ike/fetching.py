"""Revocation lists and OCSP answers that a machine wants: fetched off the loop's turn, given to where Trust looks.

A fetch that fails is a log line; what it means for the peer is Trust's to say.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import structlog

from xdpsec.crypto.revocation import RETRY, Revocation
from xdpsec.errors import LocalError
from xdpsec.net.fetch import Busy, Fetcher, forbidden_in

#: A URL that was not tried, since too much waits, may be tried again in so many seconds.
SOON = 5.0

log = structlog.get_logger()


class Fetching:
    """`protected`: prefixes that no URL may lead into."""

    def __init__(self, known: Revocation, protected: Iterable[str]) -> None:
        self._known = known
        self._fetcher = Fetcher(forbidden_in(protected))
        self._tasks: set[asyncio.Task[None]] = set()
        self._urls: dict[str, asyncio.Task[None]] = {}  # under way

    def fetch(self, urls: tuple[str, ...], done: Callable[[], None]) -> None:
        """All of them at once; `done` when each was had or given up."""
        task = asyncio.create_task(self._all(urls, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _all(self, urls: tuple[str, ...], done: Callable[[], None]) -> None:
        await asyncio.gather(*map(self._once, urls))
        done()

    def _once(self, url: str) -> asyncio.Task[None]:
        """Whoever asks for the same meanwhile waits for the same, and its result is taken once."""
        task = self._urls.get(url)
        if task is None:
            task = self._urls[url] = asyncio.create_task(self._one(url))
            task.add_done_callback(lambda _: self._urls.pop(url))
        return task

    async def _one(self, url: str) -> None:
        body, rest = None, RETRY
        try:
            body = await self._fetcher.get(url)
        except LocalError as error:
            rest = SOON if isinstance(error, Busy) else RETRY
            log.warning("revocation is not known", why=str(error))
        if not self._known.take(url, body, time.time(), rest) and body is not None:
            log.warning("revocation is not known", why=f"{url[:128]} gives no answer that we can use")
