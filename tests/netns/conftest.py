"""The one option of these tests: how often to mistreat a gateway. Once by default; more want `--timeout 0` too. And
how long a test may take at most."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounds", type=int, default=1, help="how often each mistreatment of a gateway is repeated")


@pytest.fixture(scope="session")
def rounds(pytestconfig: pytest.Config) -> int:
    return int(pytestconfig.getoption("--rounds", 1))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A limit above all that is waited for, so that who waits in vain can say for what."""
    for item in items if config.getoption("timeout") is None else ():
        if item.path.is_relative_to(Path(__file__).parent) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))
