"""What machines say about themselves, in the log and in numbers."""

from __future__ import annotations

from structlog.testing import capture_logs

from xdpsec.daemon.ike.journal import FAULT, Journal
from xdpsec.ike.events import Fault


def test_an_error_of_ours_is_a_line_with_its_traceback_and_a_number() -> None:
    journal, error = Journal(), RuntimeError("nobody foresaw this")
    with capture_logs() as lines:
        journal.fault(Fault(1, "branch", error, stranger=False), 0.0)
        journal.fault(Fault(2, "branch", error, stranger=False), 0.1)
    assert (
        lines
        == [
            {
                "event": FAULT,
                "log_level": "error",
                "peer": "branch",
                "why": "RuntimeError: nobody foresaw this",
                "exc_info": error,
            }
        ]
        * 2
    )
    assert journal.counted["ike_faults", ""] == 2


def test_strangers_cannot_fill_the_log_with_it() -> None:
    journal = Journal()
    with capture_logs() as lines:
        for number in range(100):
            journal.fault(Fault(number, "", RuntimeError("x"), stranger=True), number / 10)
        journal.fault(Fault(100, "", RuntimeError("x"), stranger=True), 20.0)
    assert len(lines) == 2
    assert lines[1]["left_out"] == 99
    assert journal.counted["ike_faults", ""] == 101
