"""What a machine waits for besides its peer: workers that take a child, slow key work, revocation lists.

Meanwhile the peer's repetitions are ignored, and what comes too late, twice or for a dead SA is nobody's.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from pair import ESP_GCM, GCM, Pair, Side, child, downs, established, only_child, outcome, pair, peer, ups

from xdpsec.ike.events import ChildFailed, IkeRekeyed, InstallInbound, RetireChild, WorkWanted
from xdpsec.ike.v2.sa import State
from xdpsec.numbers import ExchangeType, Ke, NotifyType

SLOW = replace(GCM, ke=(Ke.MODP_3072,))


def asked(side: Side, kind: type[InstallInbound] | type[WorkWanted]) -> list[InstallInbound | WorkWanted]:
    return list(side.told(kind))


# --- workers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ack", ["no room in the table", None], ids=["refused", "silent"])
def test_responder_without_its_worker_refuses_the_child(ack: str | None) -> None:
    """No ack in one second is TEMPORARY_FAILURE; the IKE SA comes up all the same (RFC 7296 sec. 2.25)."""
    both = pair()
    both.b.acks = ack
    both.connect()
    both.run(5.0)
    assert both.up()
    assert [event.notify for event in both.a.told(ChildFailed)] == [NotifyType.TEMPORARY_FAILURE]
    assert not both.a.installed
    assert [event.reason for event in both.b.told(RetireChild)] == ["failed"]
    answered = [both.now for who, _, _ in both.wire.log if who == "b"]
    assert len(answered) == 2


def test_responder_answers_only_after_its_worker() -> None:
    both = pair()
    both.b.acks = None
    both.connect()
    both.run(0.9)
    assert [who for who, _, _ in both.wire.log] == ["a", "b", "a", "a"]  # the last: a repetition, ignored
    (question,) = asked(both.b, InstallInbound)
    assert isinstance(question, InstallInbound)
    both.b.installed[question.child.spi_in] = question.child
    both.b.machine.answer(question.ticket, "", both.now)
    both.settle()
    both.run(1.0)
    assert both.up()
    both.agree()
    assert len(asked(both.b, InstallInbound)) == 1


def test_an_answer_that_comes_while_a_worker_is_asked_does_not_spoil_the_repetition_of_ours() -> None:
    """Both sides rekey the child at once; side b's request waits for a's worker when the answer to a's comes. Then a's
    answer is lost: the same request again must get the same answer again, or b takes a for dead."""
    both = established()
    both.a.lag = 0.1
    lost: list[bytes] = []

    def fate(number: int, sender: str, data: bytes) -> tuple[float, ...]:
        if sender == "a" and data[18] == ExchangeType.CREATE_CHILD_SA and data[19] & 0x20 and not lost:
            lost.append(data)
            return ()
        return (0.01,)

    both.wire.fate = fate
    for side in (both.b, both.a):
        side.machine.rekey_child(only_child(side), both.now)
    both.settle()
    both.run(60.0)
    assert lost
    both.agree()
    assert all(side.sa.outbox.free for side in (both.a, both.b))
    both.run(200.0)
    assert not downs(both.a) + downs(both.b)


def test_initiator_without_its_worker_gives_the_child_back() -> None:
    both = pair()
    both.a.acks = None
    both.connect()
    both.run(5.0)
    assert both.up()
    assert len(both.a.told(ChildFailed)) == 1
    assert not both.a.installed
    assert not both.b.installed


def test_late_second_and_unknown_answers_are_nobodys() -> None:
    both = established()
    before = len(both.wire.log), len(both.a.events)
    for ticket in (1, 1, 77):
        both.a.machine.answer(ticket, "", both.now)
        both.settle()
    assert (len(both.wire.log), len(both.a.events)) == before


# --- slow work ------------------------------------------------------------------------------------------------


def test_slow_groups_go_to_the_helper_process() -> None:
    both = established(peer(ike_offers=(SLOW,)))
    both.agree()
    assert [type(event.job).__name__ for event in both.a.told(WorkWanted)] == ["StartExchange", "FinishExchange"]
    assert [type(event.job).__name__ for event in both.b.told(WorkWanted)] == ["RespondExchange"]


def test_quick_groups_do_not() -> None:
    assert not established().a.told(WorkWanted)


def held(side: str) -> Pair:
    """A handshake in a slow group, in which one side's helper process takes its time."""
    both = pair(peer(ike_offers=(SLOW,)))
    both.side(side).works = False
    both.connect()
    return both


def work(both: Pair, side: Side) -> None:
    (question,) = side.told(WorkWanted)[-1:]
    side.machine.answer(question.ticket, outcome(question.job.run), both.now)
    both.settle()


def test_responder_ignores_repetitions_while_the_helper_works() -> None:
    both = held("b")
    both.run(4.0)
    assert len(both.b.told(WorkWanted)) == 1
    assert len(both.b.machines) == 1
    work(both, both.b)
    both.run(5.0)
    assert both.up()
    both.agree()


def test_initiator_ignores_second_answers_while_the_helper_works() -> None:
    both = held("a")
    work(both, both.a)
    both.run(3.0)
    assert len(both.a.told(WorkWanted)) == 2
    assert both.a.sa.state == State.FRESH
    work(both, both.a)
    both.run(5.0)
    assert both.up()
    both.agree()


def test_helper_that_never_answers() -> None:
    both = held("b")
    both.run(30.0)
    assert ("refused", NotifyType.TEMPORARY_FAILURE) in downs(both.b)
    assert not ups(both.a)


def test_who_waits_for_a_job_says_so_as_long_as_it_does() -> None:
    """What nobody waits for need not be done: the step was given up, or had its answer."""
    both = held("b")
    both.run(0.1)
    (question,), machine = both.b.told(WorkWanted), both.b.machine
    assert machine.awaits(question.ticket)
    assert not machine.awaits(question.ticket + 1)
    both.run(30.0)
    assert not machine.awaits(question.ticket)
    again = held("b")
    again.run(0.1)
    (question,), machine = again.b.told(WorkWanted), again.b.machine
    assert machine.awaits(question.ticket)
    work(again, again.b)
    assert not machine.awaits(question.ticket)


@pytest.mark.parametrize("later", [0.015, 1.0])
@pytest.mark.parametrize("wish", ["rekey", "open"])
def test_a_wish_whose_ike_sa_is_replaced_while_the_helper_works_is_not_lost(wish: str, later: float) -> None:
    """The peer rekeys the IKE SA (RFC 7296 sec. 2.8): its children move, and what was wanted of them still is. The old
    one is only waiting for its delete when the helper is done, or gone."""
    slow = replace(ESP_GCM, ke=(Ke.MODP_3072,))
    nets = child(offers=(slow,)), child("lab", "10.3.0.0/16", "10.4.0.0/16", index=1, offers=(slow,))
    both = pair(peer(children=nets))
    both.connect(["net"])
    both.run(60.0)
    (old,) = both.a.installed
    both.a.works = False
    if wish == "rekey":
        both.a.machine.rekey_child(old, both.now)
    else:
        both.a.machine.open_child("lab", both.now)
    both.b.machine.rekey_ike(both.now)
    both.settle()
    both.run(later)
    assert len(both.a.told(IkeRekeyed)) == 1
    both.a.works = True
    work(both, both.a)
    both.run(60.0)
    both.agree()
    if wish == "rekey":
        assert old not in both.a.installed
        assert len(both.a.installed) == 1
    else:
        assert [failed.name for failed in both.a.told(ChildFailed)] == ["lab"]  # its host asks again


def test_dead_sa_takes_its_steps_along() -> None:
    """A half-open SA ends while its work is out; the answer comes after that."""
    both = held("b")
    both.run(0.1)
    machine = both.b.machine
    machine.abandon("closed", "the test says so", both.now)
    both.settle()
    assert not machine.awaits(both.b.told(WorkWanted)[-1].ticket)
    work(both, both.b)
    assert machine.done
    assert not both.b.spis


def test_close_while_the_worker_is_asked() -> None:
    """What the worker then says is too late: the child is retired, whoever had installed it."""
    both = pair()
    both.b.acks = None
    both.connect()
    both.run(0.2)
    (question,) = asked(both.b, InstallInbound)
    assert isinstance(question, InstallInbound)
    both.b.installed[question.child.spi_in] = question.child
    both.b.machine.close(both.now)
    both.settle()
    both.b.machine.answer(question.ticket, "", both.now)
    both.settle()
    assert not both.b.installed
    both.run(200.0)
    assert both.b.machine.done
