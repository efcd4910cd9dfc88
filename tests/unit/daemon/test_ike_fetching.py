"""What machines want fetched: once for all who ask at a time, and what is our own fault is not laid to the URL."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from xdpsec.crypto.revocation import RETRY
from xdpsec.daemon.ike import fetching
from xdpsec.daemon.ike.fetching import SOON
from xdpsec.errors import LocalError
from xdpsec.net.fetch import Busy

URL = "http://pki.example.org/root.crl"


class Known:
    """Of Revocation what is used here: what it was told, and for how long a URL rests that failed."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bytes | None, float]] = []

    def take(self, url: str, body: bytes | None, wall: float, rest: float = RETRY) -> bool:
        self.told.append((url, body, rest))
        return body == b"good" and [one[0] for one in self.told].count(url) == 1  # asked for once


class Server:
    """In the place of Fetcher: each URL has its answer, when `go` is set."""

    def __init__(self, answer: bytes | LocalError) -> None:
        self.answer, self.go, self.gets = answer, asyncio.Event(), 0

    async def get(self, url: str) -> bytes:
        self.gets += 1
        await self.go.wait()
        if isinstance(self.answer, LocalError):
            raise self.answer
        return self.answer


def fetched(answer: bytes | LocalError, *wishes: Sequence[str]) -> tuple[Known, list[int]]:
    """All of these at once; who was told that it is over."""

    async def within() -> tuple[Known, list[int]]:
        known, over = Known(), list[int]()
        desk, server = fetching.Fetching(known, ()), Server(answer)  # type: ignore[arg-type]
        desk._fetcher = server  # type: ignore[assignment]
        for number, urls in enumerate(wishes):
            desk.fetch(tuple(urls), lambda number=number: over.append(number))  # type: ignore[misc]
        await asyncio.sleep(0)
        server.go.set()
        async with asyncio.timeout(30):
            while len(over) < len(wishes):
                await asyncio.sleep(0)
        desk.close()
        return known, over

    return asyncio.run(within())


def test_many_who_want_one_list_make_no_noise() -> None:
    with capture_logs() as lines:
        known, over = fetched(b"good", (URL,), (URL,), (URL, "http://other.example/"))
    assert sorted(over) == [0, 1, 2]
    assert [url for url, _, _ in known.told] == [URL, "http://other.example/"]
    assert lines == []


@pytest.mark.parametrize(("answer", "rests"), [
    (Busy("too many fetches are waiting; try later"), SOON),
    (LocalError("it cannot be fetched"), RETRY),
])  # fmt: skip
def test_our_own_crowd_puts_no_url_to_rest_for_long(answer: LocalError, rests: float) -> None:
    with capture_logs() as lines:
        known, over = fetched(answer, (URL,))
    assert over == [0]
    assert known.told == [(URL, None, rests)]
    assert [line["why"] for line in lines] == [str(answer)]
