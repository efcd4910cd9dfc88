"""The worker in reserve: there or not, the gateway goes on."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from xdpsec.daemon.standby import Standby


def start(worker: int, channel: int) -> Any:
    return SimpleNamespace(descriptors=lambda: [channel], to_json=lambda: f'{{"worker": {worker}}}')


@pytest.mark.parametrize(("program", "lines"), [
    (["/nonexistent/worker"], ["no worker in reserve: one that dies is replaced more slowly"]),
    ([sys.executable, "-c", "input()"], []),
])  # fmt: skip
def test_a_reserve_that_cannot_start_is_missed_by_nobody(program: Sequence[str], lines: list[str]) -> None:
    """Neither by who wants one later, nor by the worker whose service was the occasion. No descriptor stays."""

    async def within() -> None:
        before = len(os.listdir("/proc/self/fd"))
        standby = Standby(program, start, 2)
        standby.prepare()
        taken = standby.take(1)
        assert (taken is None) is bool(lines)
        if taken:
            async with asyncio.timeout(60):
                await taken[0].exited
            taken[1].close()
        standby.close()
        assert len(os.listdir("/proc/self/fd")) == before

    with capture_logs() as said:
        asyncio.run(within())
    assert [line["event"] for line in said] == lines
