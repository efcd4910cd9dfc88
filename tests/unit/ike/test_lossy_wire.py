"""The same talk over a wire that loses, repeats, reorders and delays: it ends as over a good one, or not at all.

Each datagram's fate comes from a seed. Retransmission is by RFC 7296 sec. 2.1: the same bytes, answered by the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from pair import GCM, Pair, downs, established, pair, peer

from xdpsec.ike.events import Counted
from xdpsec.ike.settings import PeerSettings
from xdpsec.ike.v2.sa import State
from xdpsec.numbers import ExchangeType, Ke

Fate = Callable[[int, str, bytes], Iterable[float]]
HYBRID = peer(ike_offers=(replace(GCM, extra=((Ke.ML_KEM_768,),)),))


def bad(seed: int, loss: float) -> Fate:
    """Some are lost, some come twice, all at their own time: later ones overtake earlier ones."""
    chance = random.Random(seed)

    def fate(number: int, sender: str, data: bytes) -> Iterable[float]:
        copies = 0 if chance.random() < loss else chance.choice((1, 1, 1, 2, 3))
        return [chance.choice((0.01, 0.05, 0.3, 1.5)) * chance.random() for _ in range(copies)]

    return fate


@pytest.mark.parametrize("settings", [peer(), HYBRID], ids=["plain", "hybrid in fragments"])
@pytest.mark.parametrize("seed", range(40))
def test_comes_up_over_a_bad_wire(seed: int, settings: PeerSettings) -> None:
    both = pair(settings, half_open_seconds=165.0)
    both.wire.fate = bad(seed, 0.35)
    both.connect()
    both.run(160.0)
    assert both.up(), both.a.why() + both.b.why()
    both.agree()
    assert len(both.a.installed) == 1
    assert not both.a.freed
    assert not both.b.freed


@pytest.mark.parametrize("lost", range(4))
def test_any_one_message_lost(lost: int) -> None:
    both = pair()
    both.wire.fate = lambda number, sender, data: () if number == lost else (0.01,)
    both.connect()
    both.run(3.0)
    assert both.up()
    both.agree()
    assert [event.name for event in both.a.told(Counted) if event.name == "ike_retransmitted"] == ["ike_retransmitted"]
    messages = [data for who, data, _ in both.wire.log if who == "a"]
    assert len(messages) == 3
    assert len(set(messages)) == 2  # the same bytes again


def test_repeated_request_gets_the_same_reply_bytes_and_no_second_child() -> None:
    both = established()
    request = [data for who, data, path in both.wire.log if who == "a"][1]
    reply = [data for who, data, path in both.wire.log if who == "b"][1]
    sent = len(both.wire.log)
    path = both.wire.log[1][2]
    for _ in range(3):
        both.b.machine.receive(request, path, both.now)
        both.settle()
    assert [data for _, data, _ in both.wire.log[sent:]] == [reply] * 3
    assert len(both.b.installed) == 1


def test_altered_repetition_gets_nothing() -> None:
    """Whoever has seen a request cannot make us answer variants of it."""
    both = established()
    request = bytearray([data for who, data, _ in both.wire.log if who == "a"][1])
    request[-1] ^= 1
    sent = len(both.wire.log)
    both.b.machine.receive(bytes(request), both.wire.log[1][2], both.now)
    both.settle()
    assert len(both.wire.log) == sent


@pytest.mark.parametrize("at", [20, 28, 40, -1])
def test_altered_message_changes_nothing(at: int) -> None:
    """A bad checksum never kills an SA: what was altered on the way is as good as lost."""
    both = pair()

    def fate(number: int, sender: str, data: bytes) -> Iterable[float]:
        if number in (2, 3):
            altered = bytearray(data)
            altered[at] ^= 0x40
            both.flying.append((both.now, -number, sender, bytes(altered), both.wire.log[number][2]))
        return (0.01,)

    both.wire.fate = fate
    both.connect()
    both.run(5.0)
    assert both.up()
    both.agree()


def test_old_messages_do_nothing_to_an_established_sa() -> None:
    both = established()
    for _ in range(2):
        for sender, data, path in tuple(both.wire.log):
            both.land("b" if sender == "a" else "a", data, path)
            both.settle()
    both.run(1.0)
    assert both.a.sa.state == both.b.sa.state == State.ESTABLISHED
    both.agree()
    assert not downs(both.a) + downs(both.b)


def test_reply_to_a_delete_is_repeated_after_the_end() -> None:
    """The machine lingers without a secret, and then is gone."""
    both = established()
    lose = [True]

    def fate(number: int, sender: str, data: bytes) -> Iterable[float]:
        if sender == "b" and lose.pop() if lose else False:
            return ()
        return (0.01,)

    both.wire.fate = fate
    both.a.machine.close(both.now)
    both.settle()
    both.run(3.0)
    assert downs(both.a) == [("closed", 0)]
    assert downs(both.b) == [("deleted", 0)]
    assert both.b.machine.sas
    both.run(60.0)
    assert both.a.machine.done
    assert both.b.machine.done
    assert not both.a.spis
    assert not both.b.spis


def quiet_deletes(both: Pair) -> None:
    both.wire.fate = lambda number, sender, data: ()


def test_delete_that_nobody_answers_ends_by_time() -> None:
    both = established()
    quiet_deletes(both)
    both.a.machine.close(both.now)
    both.settle()
    assert not both.a.installed  # children go at once
    both.run(170.0)
    assert downs(both.a) == [("closed", 0)]
    assert both.a.machine.done
    assert ExchangeType.INFORMATIONAL in {data[18] for _, data, _ in both.wire.log}
