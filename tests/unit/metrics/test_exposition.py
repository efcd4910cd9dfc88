"""A scrape in pieces: the bytes that the library makes, and in no turn of the loop more than a slice of them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from gateway import VERDICT, FakeSource, sa, slot, verdicts
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from xdpsec.metrics.collector import Collector
from xdpsec.metrics.exposition import Scrapes, pieces
from xdpsec.metrics.families import SLICE, Family, Steps
from xdpsec.metrics.values import Carried, ChildView, Slot, View

SECONDS = 20.0


class Crowd(FakeSource):
    """Thousands of children; `read` counts the slots that were looked at."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count, self.read = count, 0

    def view(self) -> View:
        numbers = range(self.count)
        children = (ChildView(n, f"p{n}", "lan", (), (), 0, up=n % 2 == 0) for n in numbers)
        sas = (sa(n, outbound, 2 * n + outbound) for n in numbers for outbound in (False, True))
        gone = {(0, False): Carried(7, 70, slot().drops)}
        return replace(self.now, children=children, sas=sas, carried=gone)

    def slot(self, number: int) -> Slot:
        self.read += 1
        seen = 158 * 10**9 if number % 3 else 0
        return slot(packets=number, bytes=10**9 * number, last_seen_ns=seen, drops=verdicts(VERDICT, DROP_ICV=number))


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xdpsec.metrics.collector.time.monotonic", lambda: 160.25)


class Families:
    def __init__(self, *families: Family) -> None:
        self._families = families

    def collect(self) -> Iterator[Family]:
        return iter(self._families)


def numbers(count: int) -> Iterator[Family]:
    gauge = GaugeMetricFamily("some", "a \\ help", labels=["name", "also"])
    counter = CounterMetricFamily("other", "in\ntwo lines", labels=["name"])
    for number in range(count):
        gauge.add_metric([f'a "quoted" \\ text\n{number}', "x"], (-1) ** number * 1.5**number)
        counter.add_metric([str(number)], float("inf") if number == 1 else 10**number)
    yield from (gauge, counter)


@pytest.mark.parametrize("count", [0, 1, SLICE, SLICE + 1, 3 * SLICE])
def test_pieces_are_what_the_library_writes(count: int) -> None:
    assert b"".join(pieces(numbers(count))) == generate_latest(Families(*numbers(count)))


def test_a_crowd_s_scrape_is_what_the_library_writes() -> None:
    whole = generate_latest(Collector(Crowd(3 * SLICE)))
    assert b"".join(pieces(Collector(Crowd(3 * SLICE)).steps())) == whole
    assert whole.count(b"xdpsec_child_packets_total{") == 6 * SLICE


def test_no_piece_has_more_than_a_slice_and_none_reads_more() -> None:
    crowd = Crowd(10 * SLICE)
    read, rows = [0], []
    for piece in pieces(Collector(crowd).steps()):
        read.append(crowd.read)
        rows.append(piece.count(b"xdpsec_child_"))
    assert read[-1] == 20 * SLICE
    assert max(later - earlier for earlier, later in itertools.pairwise(read)) <= SLICE
    assert max(rows) <= SLICE + 4  # a family's first piece has its help and type


def test_the_loop_turns_between_pieces_and_threads_get_the_whole() -> None:
    async def test() -> None:
        crowd, read = Crowd(10 * SLICE), [0]
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def turn() -> None:
            read.append(crowd.read)
            if not ended.is_set():
                loop.call_soon(turn)

        scrapes = Scrapes(Collector(crowd).steps)
        turn()
        both = await asyncio.gather(*(asyncio.to_thread(scrapes.ask, SECONDS) for _ in range(2)))
        ended.set()
        assert both[0] == both[1] == generate_latest(Collector(Crowd(10 * SLICE)))
        assert max(later - earlier for earlier, later in itertools.pairwise(read)) <= SLICE

    asyncio.run(test())


def test_a_scrape_that_takes_too_long_is_given_up_and_the_next_one_served() -> None:
    async def test() -> None:
        endless = True

        def steps() -> Steps:
            while endless:
                yield None
            yield from numbers(1)

        scrapes = Scrapes(steps)
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(scrapes.ask, 0.0)
        endless = False
        assert b"some" in await asyncio.to_thread(scrapes.ask, SECONDS)

    asyncio.run(test())
