"""What both sides want at once, as a table: RFC 7296 sec. 2.25.1 (children), 2.25.2 (IKE SAs), 2.8.1, 2.8.2 (nonces).

A row gives both wishes, the notifies or deletes that each side answers the other's request with, and what is left. The
requests cross on the wire; or that of a is lost, so that all of b's comes first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from pair import Pair, Side, downs, established

from xdpsec.ike.events import ChildFailed
from xdpsec.ike.v2 import dispatch, removal
from xdpsec.ike.v2.create_child import MakeChild
from xdpsec.ike.v2.flow import Ask, Steps
from xdpsec.ike.v2.machine import Machine
from xdpsec.ike.v2.sa import IkeSa
from xdpsec.numbers import ExchangeType, NotifyType, Protocol
from xdpsec.wire.message import find
from xdpsec.wire.payloads import Delete, Nonce, Notify, Payload, SecurityAssociation

BUSY, LOST, DELETE, NOTHING, YES = "TEMPORARY_FAILURE", "CHILD_SA_NOT_FOUND", "delete", "nothing", "as usual"


@dataclass
class Talk:
    """What was asked and answered, by side: the first of each that is about an SA."""

    asked: dict[str, list[Ask]] = field(default_factory=lambda: {"a": [], "b": []})
    answered: dict[str, list[tuple[Payload, ...]]] = field(default_factory=lambda: {"a": [], "b": []})

    def first_answer(self, side: str) -> str:
        payloads = self.answered[side][0]
        errors = [NotifyType(one.kind).name for one in payloads if isinstance(one, Notify) and one.is_error]
        if errors:
            return errors[0]
        if find(payloads, SecurityAssociation):
            return YES
        return DELETE if find(payloads, Delete) else NOTHING

    def nonces(self, side: str) -> tuple[bytes, bytes]:
        """Of the exchange that this side began."""
        other = "b" if side == "a" else "a"
        mine, theirs = find(self.asked[side][0].payloads, Nonce), find(self.answered[other][0], Nonce)
        assert mine
        assert theirs
        return mine.data, theirs.data


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Talk:
    """Listens where payloads are not sealed yet."""
    heard = Talk()
    answer, request = dispatch.answer, dispatch._request

    def listen_answer(m: Machine, sa: IkeSa, head: object, payloads: tuple[Payload, ...], path: object) -> None:
        assert isinstance(m.host, Side)
        heard.answered[m.host.name].append(payloads)
        answer(m, sa, head, payloads, path)  # type: ignore[arg-type]

    def listen_request(m: Machine, sa: IkeSa, ask: Ask) -> tuple[bytes, ...]:
        assert isinstance(m.host, Side)
        heard.asked[m.host.name].append(ask)
        return request(m, sa, ask)

    monkeypatch.setattr(dispatch, "answer", listen_answer)
    monkeypatch.setattr(dispatch, "_request", listen_request)
    return heard


def only(side: Side) -> int:
    (spi,) = side.machine.sa.children
    return spi


WISHES: dict[str, Callable[[Side, float], object]] = {
    "rekey child": lambda side, now: side.machine.rekey_child(only(side), now),
    "close child": lambda side, now: side.machine.close_child(only(side), now),
    "open child": lambda side, now: side.machine.open_child("net", now),
    "rekey ike": lambda side, now: side.machine.rekey_ike(now),
    "close ike": lambda side, now: side.machine.close(now),
}


def standing() -> Pair:
    """So long up that the answers of IKE_AUTH are known to have come."""
    both = established()
    both.run(10.0)
    return both


def collide(both: Pair, talk: Talk, a: str, b: str, lost: bool = False) -> None:
    """Both wish at the same moment; `lost`: the first transmission of a's request never arrives."""
    talk.asked["a"].clear()
    talk.asked["b"].clear()
    talk.answered["a"].clear()
    talk.answered["b"].clear()
    start = len(both.wire.log)
    losing = [lost]

    def fate(number: int, sender: str, data: bytes) -> tuple[float, ...]:
        if losing[0] and sender == "a" and number >= start:
            losing[0] = False
            return ()
        return (0.01,)

    both.wire.fate = fate
    WISHES[a](both.a, both.now)
    WISHES[b](both.b, both.now)
    both.settle()
    both.run(100.0)


#: Wishes of a and b; how a answers b's request and b answers a's; children and IKE SAs that are left on each side.
CROSSING = [
    ("rekey child", "rekey child", YES, YES, 1, 1),
    ("rekey child", "close child", DELETE, BUSY, 0, 1),
    ("close child", "close child", NOTHING, NOTHING, 0, 1),
    ("open child", "open child", YES, YES, 3, 1),
    ("open child", "rekey child", YES, YES, 2, 1),
    ("open child", "close child", DELETE, YES, 1, 1),
    ("rekey ike", "open child", BUSY, BUSY, 1, 1),
    ("rekey ike", "rekey child", BUSY, BUSY, 1, 1),
    ("rekey ike", "close child", DELETE, BUSY, 0, 1),
    ("rekey ike", "rekey ike", YES, YES, 1, 1),
    ("rekey ike", "close ike", NOTHING, BUSY, 0, 0),
    ("close ike", "close ike", NOTHING, NOTHING, 0, 0),
    ("close ike", "rekey child", BUSY, NOTHING, 0, 0),
    ("close ike", "open child", BUSY, NOTHING, 0, 0),
    ("close ike", "close child", NOTHING, NOTHING, 0, 0),
]


@pytest.mark.parametrize("swapped", [False, True], ids=["", "swapped"])
@pytest.mark.parametrize(("a", "b", "a_says", "b_says", "children", "ikes"), CROSSING)
def test_requests_that_cross(
    talk: Talk, a: str, b: str, a_says: str, b_says: str, children: int, ikes: int, swapped: bool
) -> None:
    if swapped:
        a, b, a_says, b_says = b, a, b_says, a_says
    both = standing()
    collide(both, talk, a, b)
    assert (talk.first_answer("a"), talk.first_answer("b")) == (a_says, b_says)
    left(both, children, ikes)


def left(both: Pair, children: int, ikes: int) -> None:
    both.agree()
    for side in (both.a, both.b):
        assert len(side.installed) == children
        living = [sa for sa in side.machine.sas if not sa.dead]
        assert len(living) == ikes
        assert set(side.spis) == {sa.spi_local for sa in living}
        assert all(sa.rekey_at > both.now and sa.expire_at > sa.rekey_at for sa in living)
        assert side.lost() == set()
        assert len(downs(side)) == 1 - ikes


#: The request of a is lost at first: what b asked is over when it comes. How b answers it then, None = not at all.
LATE = [
    ("rekey child", "rekey child", YES, LOST, 1, 1),
    ("rekey child", "close child", DELETE, LOST, 0, 1),
    ("close child", "close child", NOTHING, NOTHING, 0, 1),
    ("close child", "rekey child", BUSY, DELETE, 0, 1),
    ("rekey ike", "rekey ike", YES, None, 1, 1),
    ("rekey ike", "close ike", NOTHING, None, 0, 0),
    ("rekey ike", "rekey child", BUSY, YES, 1, 1),
    ("rekey child", "rekey ike", BUSY, YES, 1, 1),
    ("close child", "rekey ike", BUSY, DELETE, 0, 1),
    ("close ike", "rekey ike", BUSY, NOTHING, 0, 0),
]


@pytest.mark.parametrize(("a", "b", "a_says", "b_says", "children", "ikes"), LATE)
def test_a_request_that_comes_late(
    talk: Talk, a: str, b: str, a_says: str, b_says: str | None, children: int, ikes: int
) -> None:
    both = standing()
    collide(both, talk, a, b, lost=True)
    assert talk.first_answer("a") == a_says
    if b_says is None:
        assert not any(find(payloads, SecurityAssociation) for payloads in talk.answered["b"])
    else:
        assert talk.first_answer("b") == b_says
    left(both, children, ikes)


def exchange_with_the_lowest_nonce(talk: Talk) -> str:
    return min("ab", key=lambda side: min(talk.nonces(side)))


@pytest.mark.parametrize("seed", range(8))
def test_of_four_nonces_the_lowest_loses_the_child(talk: Talk, seed: int) -> None:
    """RFC 7296 sec. 2.8.1; the loser's child is deleted by the side that made it, the old one by the winner."""
    both = standing()
    both.b._chance.seed(seed)
    collide(both, talk, "rekey child", "rekey child")
    loser = both.side(exchange_with_the_lowest_nonce(talk))
    winner = both.b if loser is both.a else both.a
    made = {name: children_asked_for(talk, name) for name in "ab"}
    assert only(winner) in made[winner.name]
    assert deleted_by(talk, loser.name) == made[loser.name]
    assert len(deleted_by(talk, winner.name)) == 1
    assert deleted_by(talk, winner.name) != made[winner.name]
    assert loser.sending == {0: only(winner)}


def children_asked_for(talk: Talk, side: str) -> set[int]:
    """SPIs that this side proposed in its first request."""
    offer = find(talk.asked[side][0].payloads, SecurityAssociation)
    assert offer
    return {int.from_bytes(one.spi, "big") for one in offer.proposals}


def deleted_by(talk: Talk, side: str) -> set[int]:
    deletes = [find(ask.payloads, Delete) for ask in talk.asked[side]]
    return {int.from_bytes(spi, "big") for one in deletes if one and one.protocol == Protocol.ESP for spi in one.spis}


@pytest.mark.parametrize("seed", range(8))
def test_of_four_nonces_the_lowest_loses_the_ike_sa(talk: Talk, seed: int) -> None:
    """RFC 7296 sec. 2.8.2; the children are with the winner, and go on working there."""
    both = standing()
    both.b._chance.seed(seed)
    collide(both, talk, "rekey ike", "rekey ike")
    loser = exchange_with_the_lowest_nonce(talk)
    assert both.a.sa.initiator == (loser == "b")
    left(both, 1, 1)
    both.a.machine.rekey_child(only(both.a), both.now)
    both.settle()
    both.run(100.0)
    left(both, 1, 1)


def test_a_child_that_the_peer_does_not_know_is_made_anew(talk: Talk) -> None:
    """RFC 7296 sec. 2.25: CHILD_SA_NOT_FOUND names the SA; who asked lets go of it."""
    both = standing()
    lost = both.b.machine.sa.children[only(both.b)]
    both.b.machine.retire(both.b.sa, lost, "failed")
    both.settle()
    old = only(both.a)
    both.a.machine.rekey_child(old, both.now)
    both.settle()
    both.run(5.0)
    (notify,) = talk.answered["b"][-2]
    assert notify == Notify(NotifyType.CHILD_SA_NOT_FOUND, b"", Protocol.ESP, old.to_bytes(4, "big"))
    left(both, 1, 1)
    assert only(both.a) != old


def test_a_child_that_was_refused_for_now_is_rekeyed_later(talk: Talk) -> None:
    """After TEMPORARY_FAILURE the rekey is tried again, and the host hears of no failure."""
    both = standing()
    old = only(both.b)
    collide(both, talk, "rekey ike", "rekey child")
    assert talk.first_answer("a") == BUSY
    assert only(both.b) != old
    assert not both.b.told(ChildFailed)
    asked = [ask.exchange for ask in talk.asked["b"]]
    assert asked.count(ExchangeType.CREATE_CHILD_SA) == 2


@pytest.mark.parametrize("proof", ["time", "packet", "request"])
def test_a_child_that_the_peer_may_not_have_yet_is_left_alone(proof: str) -> None:
    """The answer that made it may be lost: its rekey waits for a packet, for another request, or for a while in which
    the peer does not repeat itself."""
    both = established()
    old = only(both.b)
    both.b.machine.rekey_child(old, both.now)
    both.settle()
    assert not both.flying
    if proof == "packet":
        both.b.machine.used(old, both.now)
    elif proof == "request":
        both.a.machine.open_child("net", both.now)
    both.settle()
    both.run(0.5 if proof != "time" else 6.0)
    assert old not in both.b.installed
    both.agree()


# --- peers that do not play by the rules ------------------------------------------------------------------------


def never_tidy(self: removal.Tidy, m: Machine, sa: IkeSa) -> Steps[Ask | None]:
    """Forgets to delete what it has replaced."""
    yield from ()
    return None


@pytest.mark.parametrize("which", ["the same", "the newest"])
def test_a_peer_that_rekeys_children_without_end_fills_nothing(monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    both = established(children=4)
    both.run(10.0)
    monkeypatch.setattr(removal.Tidy, "build", never_tidy)
    monkeypatch.setattr(MakeChild, "_wanted", lambda self, sa: True)
    settings, first = both.b.peers[0].children[0], both.b.sa.children[only(both.b)]
    for _ in range(30):
        newest = tuple(both.b.sa.children.values())[-1]
        both.b.machine.ask(both.b.sa, MakeChild(settings, None, first if which == "the same" else newest))
        both.b.machine.handle_timer(both.now)
        both.settle()
        both.run(1.0)
    assert len(both.a.installed) == (2 if which == "the same" else 8)
    assert both.up()


def test_a_successor_that_the_peer_takes_back_leaves_the_old_child_in_use_and_rekeyed_later() -> None:
    both = established()
    both.run(10.0)
    old = only(both.a)
    both.a.acks = "no room"
    both.a.machine.rekey_child(old, both.now)
    both.settle()
    both.run(2.0)
    assert only(both.a) == old
    assert both.b.sending == {0: old}
    assert both.b.sa.children[only(both.b)].successor == 0
    both.a.acks = ""
    both.run(30.0)
    assert only(both.a) != old
    both.agree()
