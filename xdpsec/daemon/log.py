"""The log of our own processes: key=value lines on stderr, an event named by what happened. Never a key.

Stderr is journald's or the terminal's; nobody else is told.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog

#: Who else gets each line, as a JSON object; called in the thread that logs.
Sink = Callable[[str], None]


def configure(process: str, sink: Sink | None = None) -> None:
    """`process` is supervisor or control; it stands in every line."""

    def share(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if sink is not None:
            sink(json.dumps(event, default=str))
        return event

    structlog.configure(
        processors=[
            lambda _, __, event: {"process": process, **event},
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            share,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "process", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),  # one write a line: processes share stderr
        cache_logger_on_first_use=True,
    )
