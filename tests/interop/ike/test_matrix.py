"""Every row of matrix.tsv between the side under test and a daemon that people run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from interop.ike.arena import Arena
from interop.ike.cases import PEERS, Case
from interop.ike.plays import PLAYS
from interop.results import Results


@pytest.fixture(scope="module")
def arena(request: pytest.FixtureRequest, left_kind: str, chosen: list[Case]) -> Iterator[Arena]:
    """Both daemons, for all cases of one peer."""
    with Arena.open(left_kind, request.param, [case for case in chosen if case.peer == request.param]) as made:
        yield made


def test_row(arena: Arena, results: Results, case: Case) -> None:
    with results.row(PEERS[case.peer], arena.right.version, case.role, case.name) as row, arena.case(case) as stage:
        row.detail = PLAYS[case.scenario](stage)
