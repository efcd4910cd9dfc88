"""What a peer with the right keys, and a stranger without, can do wrong, before a whole gate: each is refused with its
notify and a line that a person understands, and leaves nothing behind. Rows, where one act says it all.
"""

from __future__ import annotations

from dataclasses import replace

from attacker import Attacker

from xdpsec.ike.v2.machine import Machine
from xdpsec.numbers import ExchangeType as X
from xdpsec.numbers import PayloadType as P

#: Longer than liveness, every retransmission and all that lingers.
SILENCE = 1000.0


def nothing_left(bad: Attacker) -> None:
    """After a long silence of the peer."""
    bad.wait(SILENCE)
    gate = bad.gate
    assert (gate.machines, gate.by_spi, gate.openings, gate.first_messages) == ({}, {}, {}, {}), bad.lines()
    assert not bad.b.installed
    assert gate.get_timer() is None


# --- found by fuzzing ---


def test_refused_stranger_leaves_with_its_answer() -> None:
    """An address that no peer has: the machine that says so is gone once its answer is."""
    bad = Attacker()
    first = bad.begin()
    for number in range(50):
        bad.path = replace(bad.path, remote=f"198.51.100.{number}")
        bad.send(first)
    assert bad.gate.machines == {}
    assert bad.opened() is not None
    nothing_left(bad)


def test_nonsense_in_answer_to_our_delete_ends_it_too() -> None:
    bad = Attacker().established()
    machine = bad.machine
    assert isinstance(machine, Machine)
    bad.gate.wish(machine.number, lambda _: machine.close(bad.now))
    bad.settle()
    bad.send(bad.sealed(X.INFORMATIONAL, P.SA, b"\0\0\0\4", response=True, message_id=0))
    assert [down.reason for down in bad.downs()] == ["closed"]
    nothing_left(bad)
