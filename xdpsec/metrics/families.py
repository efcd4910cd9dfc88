"""Families of Prometheus and their samples, made a few rows at a time: with thousands of peers a scrape has a hundred
thousand rows, and whoever makes them has other things to do in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

Family = Any  # prometheus_client's families share no typed base
#: A family that is done, or None: a good moment for others.
Steps = Iterator[Family | None]
Labelled = Iterable[tuple[Sequence[object], float]]

#: Rows, or SAs read, between two such moments: about a millisecond.
SLICE = 100


def counter(name: str, text: str, labels: Sequence[str] = ()) -> Family:
    return CounterMetricFamily(f"xdpsec_{name}", text, labels=labels)


def gauge(name: str, text: str, labels: Sequence[str] = ()) -> Family:
    return GaugeMetricFamily(f"xdpsec_{name}", text, labels=labels)


def add(family: Family, rows: Labelled) -> None:
    """A few."""
    for labels, value in rows:
        family.add_metric([str(label) for label in labels], value)


def filled(family: Family, rows: Labelled) -> Steps:
    """The family with as many rows as there are."""
    for row in sliced(rows):
        if row is None:
            yield None
        else:
            add(family, (row,))
    yield family


def sliced(rows: Iterable[Any]) -> Iterator[Any]:
    """The rows, and None after each SLICE of them."""
    for number, row in enumerate(rows, 1):
        yield row
        if number % SLICE == 0:
            yield None
