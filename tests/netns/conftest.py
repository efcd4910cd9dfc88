"""The one option of these tests: how often to mistreat a gateway. Once by default; more want `--timeout 0` too."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounds", type=int, default=1, help="how often each mistreatment of a gateway is repeated")


@pytest.fixture(scope="session")
def rounds(pytestconfig: pytest.Config) -> int:
    return int(pytestconfig.getoption("--rounds", 1))
