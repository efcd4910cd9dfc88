"""What machines say about themselves, in the log and in numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from crew import run
from ike_rig import config, desk
from structlog.testing import capture_logs

from xdpsec.daemon.ike.children import Pair
from xdpsec.daemon.ike.journal import FAULT, Journal
from xdpsec.ike.events import Fault, Note
from xdpsec.numbers import Ke


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


PAIR = Pair(
    ike=7, peer="branch", child=config().children[0], resource=None, owner=0, spi_in=0x1001, spi_out=0x2001,
    replaces=0, ours=True, suite="aes256gcm16", ke=(), up=True, came=True,
)  # fmt: skip


def test_a_child_is_told_when_it_comes_when_it_is_replaced_and_when_it_ends() -> None:
    """A replaced pair is named by its successor, and ends without a line; so does one that never came up."""
    journal = Journal()
    new = replace(PAIR, spi_in=0x1002, spi_out=0x2002, replaces=0x1001, ke=(Ke.X25519, Ke.ML_KEM_768), ours=False)
    with capture_logs() as lines:
        journal.child(PAIR, 0.0)
        journal.child(new, 1.0)
        journal.child(replace(PAIR, up=False, ended="rekeyed"), 2.0)
        journal.child(replace(new, up=False, ended="deleted"), 3.0)
        journal.child(replace(PAIR, up=False, came=False, ended="failed"), 4.0)
    who = {"log_level": "info", "peer": "branch", "child": "branch/lan"}
    first = {"spi_in": "0x00001001", "spi_out": "0x00002001"}
    second = {"spi_in": "0x00001002", "spi_out": "0x00002002"}
    assert lines == [
        {**who, **first, "event": "child SA up", "suite": "aes256gcm16", "pfs": "none", "initiator": True},
        {**who, **second, "event": "child SA rekeyed", "replaces": "0x00001001", "suite": "aes256gcm16"}
        | {"pfs": "x25519-mlkem768", "initiator": False},
        {**who, **second, "event": "child SA ended", "reason": "deleted"},
    ]


def test_a_rekey_a_second_is_told_and_a_storm_is_counted() -> None:
    journal, replaced = Journal(), replace(PAIR, replaces=0x1000)
    other = replace(replaced, child=config().children[1])
    with capture_logs() as lines:
        for second in range(30):
            journal.child(replaced, float(second))
        assert len(lines) == 30
        for step in range(1000):
            journal.child(replaced, 40 + step / 100)
        journal.child(other, 49.0)  # is not hidden by it
        journal.child(replaced, 60.0)
    assert len(lines) == 30 + 10 + 1 + 1
    assert (lines[-2]["child"], lines[-1]["left_out"]) == ("branch/lab", 990)


def test_a_peer_with_keys_cannot_fill_the_log_either() -> None:
    """64 errors fit into one message of its, and a stranger on the way can answer for it, each time otherwise."""
    journal = Journal()

    def note(peer: str, kind: int, now: float) -> None:
        fields = (("peer", peer), ("notify", kind))
        journal.note(Note(1, "warning", "the peer reports an error", fields), now)

    with capture_logs() as lines:
        for step in range(1000):
            note("branch", step, step / 200)
        note("other", 7, 5.0)  # is not hidden by it
        note("branch", 7, 20.0)
    assert len(lines) == 10 + 1 + 1
    assert (lines[-2]["peer"], lines[-1]["left_out"]) == ("other", 990)


def test_children_tell_why_they_go(tmp_path: Path) -> None:
    """What the machine gave as its reason, and of one that an error of ours left behind that it failed."""

    async def test() -> None:
        async with desk(tmp_path) as d:
            made = [await d.install(ticket) for ticket in (1, 2)]
            pairs = [d.children.pairs[one.spi_in] for one in made]
            d.children.first_use(pairs[0].slot_in)
            d.children.first_use(pairs[1].slot_in)
            d.retire(made[0], "deleted")
            d.children.forsake(7)
            assert [(pair.came, pair.up, pair.ended) for pair in pairs] == [
                (True, False, "deleted"),
                (True, False, "failed"),
            ]

    run(test)
