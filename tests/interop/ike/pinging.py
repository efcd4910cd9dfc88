"""A ping that runs while something else happens, and knows afterwards which packets were not answered."""

from __future__ import annotations

import re
import signal
import time
from types import TracebackType
from typing import Self

from interop.ike.sides import UP_SECONDS, Side, until
from xdpsec.demo.lab import Lab


class Pinging:
    """From a host of `side`; numbers are read after the block."""

    def __init__(self, lab: Lab, side: Side, source: str, destination: str, interval: float) -> None:
        self._log = lab.directory / f"ping-{source}-{time.monotonic_ns()}"
        words = ["ping", "-n", "-i", str(interval), "-I", source, destination]
        self._lab = lab
        self._process = lab.start(side.host_namespace, words, self._log)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:  # what was not answered shows by one that was, behind it
                last = self.sent()
                until(lambda: self.sent() > last, f"an answer after number {last}")
        finally:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(UP_SECONDS)

    def _answered(self) -> list[int]:
        return [int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", self._log.read_text())]

    def sent(self) -> int:
        """Up to the last that was answered; those after it were on their way."""
        return max(self._answered(), default=0)

    def lost(self) -> list[int]:
        found = set(self._answered())
        assert found, "not one ping was answered"
        return [number for number in range(1, max(found) + 1) if number not in found]
