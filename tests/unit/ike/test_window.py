"""The window by RFC 7296 sec. 2.1 to 2.3: what an id says, when a request is sent again, when it is given up."""

from __future__ import annotations

import pytest

from xdpsec.errors import LocalError
from xdpsec.ike.settings import Limits
from xdpsec.ike.window import LAST_ID, REKEY_ID, Arrival, Inbox, Outbox

REQUEST = (b"request",)


def sent(now: float = 0.0) -> Outbox:
    outbox = Outbox(Limits())
    outbox.send(REQUEST, now)
    return outbox


def test_ids_say_new_working_repeat_old_ahead() -> None:
    inbox = Inbox()
    assert [inbox.judge(number) for number in (0, 1, LAST_ID)] == [Arrival.NEW, Arrival.AHEAD, Arrival.AHEAD]
    inbox.begin()
    assert inbox.judge(0) is Arrival.WORKING
    inbox.answered((b"reply",))
    assert [inbox.judge(number) for number in (0, 1, 2)] == [Arrival.REPEAT, Arrival.NEW, Arrival.AHEAD]
    assert inbox.reply == (b"reply",)
    inbox.answered((b"second",))
    assert [inbox.judge(number) for number in (0, 1, 2)] == [Arrival.OLD, Arrival.REPEAT, Arrival.NEW]
    assert inbox.reply == (b"second",)


def test_judging_changes_nothing() -> None:
    inbox = Inbox(5)
    before = (inbox.expected, inbox.reply, inbox.working)
    for number in range(10):
        inbox.judge(number)
    assert (inbox.expected, inbox.reply, inbox.working) == before


def test_a_request_is_sent_again_with_growing_pauses_and_given_up() -> None:
    """First after 0.5 s, then 1.8 times as long each time, at most 30 s, dead after 165 s."""
    outbox = sent(100.0)
    times, now = [], 100.0
    while not outbox.given_up(now):
        due = outbox.timer()
        assert due is not None
        assert due > now
        assert outbox.again(due - 0.01) == ()
        now = due
        if outbox.again(now):
            times.append(now - 100.0)
    pauses = [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]
    assert pauses == pytest.approx([0.5, 0.9, 1.62, 2.916, 5.2488, 9.44784, 17.006112, 30.0, 30.0, 30.0, 30.0])
    assert now == pytest.approx(265.0)
    assert outbox.again(now) == ()


def test_one_request_at_a_time() -> None:
    outbox = sent()
    assert not outbox.free
    with pytest.raises(LocalError):
        outbox.send(REQUEST, 0.0)
    assert outbox.matches(0)
    assert not outbox.matches(1)
    outbox.answered()
    assert outbox.free
    assert outbox.timer() is None
    assert not outbox.matches(0)
    assert outbox.again(10.0) == ()
    outbox.send(REQUEST, 0.0)
    assert outbox.matches(1)


def test_another_text_under_the_same_id() -> None:
    outbox = sent()
    outbox.rewrite((b"with cookie",), 3.0)
    assert outbox.matches(0)
    assert outbox.next_id == 1
    assert outbox.timer() == 3.5
    assert outbox.again(3.5) == (b"with cookie",)


def test_a_new_path_sends_at_once_and_begins_the_pauses_anew() -> None:
    outbox = sent()
    while (due := outbox.timer()) is not None and due < 60:
        outbox.again(due)
    outbox.hurry(60.0)
    assert outbox.again(60.0) == REQUEST
    assert outbox.timer() == pytest.approx(60.5)
    assert not outbox.given_up(200.0)


def test_ids_end_before_they_wrap() -> None:
    outbox = Outbox(Limits(), REKEY_ID - 1)
    assert not outbox.worn
    outbox.send(REQUEST, 0.0)
    assert outbox.worn
    outbox = Outbox(Limits(), LAST_ID)
    with pytest.raises(LocalError):
        outbox.send(REQUEST, 0.0)
