"""What the interop tests share: the result table, its end in a file and on the screen, and the choice of rows.

`--whole` plays every row of ike/matrix.tsv, else those alone that say `core`; a row that was to be played and was not
is red. `--left strongswan` proves the rows themselves, without a gateway of ours.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.ike import alone
from interop.ike.arena import LEFTS
from interop.ike.cases import PEERS, Case, matrix
from interop.results import Results

RESULTS = pytest.StashKey[Results]()
ALONE = "test_ours_only.py"
CHOSEN = pytest.StashKey[list[Case]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole", action="store_true", help="every row of the IKE matrix, not the core alone")
    parser.addoption("--left", default="ours", choices=list(LEFTS), help="who plays the left side")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = Results()
    config.stash[CHOSEN] = [case for case in matrix() if case.core or config.getoption("--whole")]


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> Results:
    return pytestconfig.stash[RESULTS]


@pytest.fixture(scope="session")
def chosen(pytestconfig: pytest.Config) -> list[Case]:
    return pytestconfig.stash[CHOSEN]


@pytest.fixture(scope="session")
def left_kind(pytestconfig: pytest.Config) -> str:
    return str(pytestconfig.getoption("--left"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Rows of the matrix, each with the daemon that plays it."""
    if {"arena", "case"} <= set(metafunc.fixturenames):
        cases = metafunc.config.stash[CHOSEN]
        rows = [(case.peer, case) for case in cases]
        metafunc.parametrize("arena,case", rows, ids=[case.title for case in cases], indirect=["arena"], scope="module")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What has a stage of its own in `make test` is told in the whole table alone."""
    return True if collection_path.name == ALONE and not config.getoption("--whole") else None


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With --whole, nothing may be left out, whatever was selected or fell over."""
    if session.config.getoption("--whole") and not session.config.getoption("collectonly"):
        wanted = [(PEERS[case.peer], case.role, case.name) for case in session.config.stash[CHOSEN]]
        wanted += [(alone.PEER, alone.ROLE, proof.case) for proof in alone.proofs()]
        if session.config.stash[RESULTS].complete(wanted) and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash[RESULTS]
    if found.rows:
        found.write()
        terminalreporter.section("interop")
        for line in found.lines():
            terminalreporter.write_line(line)
