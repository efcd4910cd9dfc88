"""An end from outside, by Ctrl-C or kill, is orderly: KeyboardInterrupt, and no second one while what was made is
removed. The runner's, and by it a plugin of pytest."""

from __future__ import annotations

import signal
from types import FrameType

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def pytest_configure() -> None:
    """From now on. Whom nohup or a shell's background made deaf to one stays so."""
    for number in ENDINGS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    for each in ENDINGS:
        signal.signal(each, _again)  # not SIG_IGN, which what is started for the removal would inherit
    raise KeyboardInterrupt


def _again(number: int, frame: FrameType | None) -> None:
    """It ends already."""
