"""How much strangers can make us hold together: fragments that wait, first messages that are kept, hashes they name."""

from __future__ import annotations

import tracemalloc

from attacker import Attacker
from pair import mirrored, peer

from xdpsec.ike.parked import Parked
from xdpsec.ike.v2.extensions import Both
from xdpsec.numbers import ExchangeType as X
from xdpsec.numbers import NotifyType as N
from xdpsec.wire.fragments import split
from xdpsec.wire.header import Header
from xdpsec.wire.message import build_clear, encode_payloads, parse_clear
from xdpsec.wire.payloads import Notify, Unknown


class Heap:
    """Of a machine."""

    def __init__(self, cost: int) -> None:
        self.cost = cost

    def drop(self) -> None:
        self.cost = 0


def test_the_oldest_goes_first() -> None:
    gone: list[int] = []
    parked = Parked(100, lambda: gone.append(1))
    heaps = [Heap(40) for _ in range(3)]
    for number, heap in enumerate(heaps):
        parked.keep(number, heap)
    assert [heap.cost for heap in heaps] == [0, 40, 40]
    assert (parked.total, len(parked), len(gone)) == (80, 2, 1)
    heaps[1].cost = 60
    parked.keep(1, heaps[1])
    assert parked.total == 100
    parked.keep(1, None)
    parked.keep(1, None)
    parked.keep(7, Heap(0))
    assert (parked.total, len(parked)) == (40, 1)
    parked.keep(8, Heap(101))  # more than all of it: nothing is left
    assert (parked.total, len(parked)) == (0, 0)


def again(bad: Attacker) -> Attacker:
    """One more conversation, with keys and without a proof."""
    bad.held, bad.next_id = [], 0
    bad.answers.clear()
    return bad.keyed()


def parts(bad: Attacker, size: int, largest: int) -> list[bytes]:
    sealer = bad.sa.sealer
    assert sealer is not None
    head = Header(bad.sa.spi_i, bad.sa.spi_r, 0, 0x20, X.IKE_AUTH, True, False, bad.next_id)
    first, text = encode_payloads([Unknown(99, False, bytes(size))])
    return split(head, first, text, lambda aad, part: sealer.seal(aad, part, bad.a.random), sealer.length, largest)


def test_fragments_of_thousands_are_bounded_together() -> None:
    """Each conversation parks as much as it may; together they hold no more than the budget, and an honest peer whose
    message comes in fragments connects all the same."""
    bad = Attacker(parked=200_000)
    machines = []
    for number in range(30):
        again(bad)
        machines.append(bad.machine)
        for data in parts(bad, 60_000, (16_000, 600)[number % 2])[:-1]:
            bad.send(data)
            assert bad.gate.parked.total <= 200_000
    held = [one.sa.reassembly.cost for one in machines if one.sas and one.sa.reassembly is not None]
    assert sum(held) <= 200_000
    assert bad.gate.counts["fragments dropped"] >= 26
    assert sum("too many fragments" in line for line in bad.lines()) == 1
    again(bad)
    certain = list(bad.auth())
    first, text = encode_payloads([*certain, Unknown(99, False, bytes(3000))])
    sealer = bad.sa.sealer
    assert sealer is not None
    head = Header(bad.sa.spi_i, bad.sa.spi_r, 0, 0x20, X.IKE_AUTH, True, False, bad.next_id)
    for data in split(head, first, text, lambda aad, part: sealer.seal(aad, part, bad.a.random), sealer.length, 1200):
        bad.send(data)
    assert bad.machine.established, bad.b.why()
    bad.wait(60.0)
    assert (bad.gate.parked.total, len(bad.gate.parked)) == (0, 0)


def test_a_first_message_is_kept_and_must_be_small() -> None:
    bad = Attacker()
    message = parse_clear(bad.begin())
    bad.send(build_clear(message.header, (*message.payloads, Unknown(99, False, bytes(9000)))))
    assert not bad.gate.machines
    assert bad.gate.counts["too large"] == 1
    assert bad.answers == []
    bad.send(build_clear(message.header, (*message.payloads, Unknown(99, False, bytes(7000)))))
    assert len(bad.gate.machines) == 1


def test_hashes_that_nobody_knows_cost_nothing() -> None:
    """Two bytes on the wire were some hundred in memory."""
    data = b"".join(number.to_bytes(2, "big") for number in range(30_000))
    tracemalloc.start()
    try:
        both = Both.of((Notify(N.SIGNATURE_HASH_ALGORITHMS, data),))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert {1, 2, 3, 4, 5} <= both.hashes
    assert peak < 10_000


def test_who_has_an_address_of_ipv6_has_a_subnet_of_them() -> None:
    """Each of them proved by a cookie, they count as one source."""
    ours = peer(remote="2001:db8::2", local="2001:db8:1::1")
    bad = Attacker(ours, mirrored(ours, remote=""), cookie_threshold=0, half_open_per_source=3)
    opened = 0
    for number in range(8):
        where = type(bad.path)("2001:db8::2", 500, f"2001:db8:{7 if number < 6 else number + 10}::{number + 1:x}", 500)
        message = parse_clear(bad.begin())
        bad.answers.clear()
        bad.send(build_clear(message.header, message.payloads), where)
        (cookie,) = parse_clear(bad.answers[0]).payloads
        bad.send(build_clear(message.header, (cookie, *message.payloads)), where)
        opened = len(bad.gate.openings)
    assert opened == 3 + 2
    assert bad.gate.counts["per source"] == 3
    bad.wait(60.0)
    assert bad.gate.per_source == {}
