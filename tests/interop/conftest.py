"""What the interop tests share: the result table, and its end in a file and on the screen."""

from __future__ import annotations

import pytest

from interop.results import Results

RESULTS = pytest.StashKey[Results]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = Results()


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> Results:
    return pytestconfig.stash[RESULTS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash[RESULTS]
    if found.rows:
        found.write()
        terminalreporter.section("interop")
        for line in found.lines():
            terminalreporter.write_line(line)
