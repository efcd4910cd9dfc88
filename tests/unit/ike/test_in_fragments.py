"""Messages that do not fit: SKF both ways, when both sides know RFC 7383, and never else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pair import GCM, Pair, established, mirrored, pair, peer

from xdpsec.ike.v2 import sealing
from xdpsec.numbers import ExchangeType, Ke, PayloadType
from xdpsec.wire.message import parse_envelope
from xdpsec.wire.payloads import Notify

HYBRID = replace(GCM, extra=((Ke.ML_KEM_1024,),))


def next_payloads(both: Pair) -> list[int]:
    return [data[16] for _, data, _ in both.wire.log]


@pytest.mark.parametrize("size", [576, 1280])
def test_no_datagram_is_larger_than_the_limit(size: int) -> None:
    both = established(peer(ike_offers=(HYBRID,), fragment=size))
    both.agree()
    assert next_payloads(both).count(PayloadType.SKF) >= 4
    assert max(len(data) for _, data, _ in both.wire.log) <= size - 28 - 4
    numbers = [
        (envelope.number, envelope.total)
        for _, data, _ in both.wire.log
        if data[16] == PayloadType.SKF and (envelope := parse_envelope(data))
    ]
    assert all(1 <= number <= total for number, total in numbers)


@pytest.mark.parametrize("off", ["a", "b"])
def test_not_when_one_side_does_not_know_it(off: str) -> None:
    ours = peer(ike_offers=(HYBRID,), fragment=0 if off == "a" else 1280)
    both = established(ours, mirrored(ours, fragment=0 if off == "b" else 1280))
    assert PayloadType.SKF not in next_payloads(both)


def in_fragments(both: Pair) -> list[bytes]:
    """A request of side a's that needs three, sealed by hand."""
    sa = both.a.sa
    sa.fragments = True
    head = sealing.header(sa, ExchangeType.INFORMATIONAL, sa.outbox.next_id, response=False)
    datagrams, _ = sealing.seal(sa, head, (Notify(40_000, b"x" * 1200),), both.a.random, 576)
    assert len(datagrams) == 3
    return list(datagrams)


def heard(both: Pair, data: bytes) -> int:
    """How many datagrams side b answers with."""
    sent = len(both.wire.log)
    both.b.machine.receive(data, both.b.sa.path, both.now)
    both.settle()
    return len(both.wire.log) - sent


def test_fragment_nobody_agreed_on_is_ignored() -> None:
    """It is not even opened."""
    both = established(peer(fragment=0))
    assert [heard(both, data) for data in in_fragments(both)] == [0, 0, 0]
    assert both.b.sa.reassembly is None


def test_only_the_first_fragment_of_a_repetition_is_answered() -> None:
    """RFC 7383 sec. 2.6.1: or each repeated fragment would bring the whole reply."""
    both = established()
    datagrams = in_fragments(both)
    assert [heard(both, data) for data in reversed(datagrams)] == [0, 0, 1]
    assert [heard(both, data) for data in datagrams] == [1, 0, 0]


def test_fragments_in_any_order_and_twice() -> None:
    both = pair(peer(ike_offers=(HYBRID,), fragment=576))
    both.wire.fate = lambda number, sender, data: (0.3 - 0.01 * (number % 7), 0.2)
    both.connect()
    both.run(10.0)
    assert both.up()
    both.agree()
    assert both.a.sa.reassembly is None
    assert both.b.sa.reassembly is None


def test_lost_fragment_makes_the_whole_message_come_again() -> None:
    both = pair(peer(ike_offers=(HYBRID,), fragment=576))
    both.wire.fate = lambda number, sender, data: () if number == 3 else (0.01,)
    both.connect()
    both.run(5.0)
    assert both.up()
    both.agree()
