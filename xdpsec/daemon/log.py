"""The log of our own processes: key=value lines on stderr, an event named by what happened. Never a key.

Stderr is journald's or the terminal's; nobody else is told.
"""

from __future__ import annotations

import logging
import sys

import structlog


def configure(process: str) -> None:
    """`process` is supervisor or control; it stands in every line."""
    structlog.configure(
        processors=[
            lambda _, __, event: {"process": process, **event},
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "process", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),  # one write a line: processes share stderr
        cache_logger_on_first_use=True,
    )
