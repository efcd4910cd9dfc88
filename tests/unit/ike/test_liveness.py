"""Is the peer there? Asked when nothing proves it, not where its packets open, and given up in the end (sec. 2.4)."""

from __future__ import annotations

import pytest
from pair import Pair, downs, established, peer

from xdpsec.ike.events import Counted, FreshWanted, RetireChild
from xdpsec.ike.v2.sa import State

INFORMATIONAL = 37


def probes(both: Pair) -> int:
    return len([1 for event in both.a.told(Counted) if event.name == "ike_probed"])


def test_quiet_peers_ask_each_other() -> None:
    both = established(peer(dpd=30.0))
    both.run(100.0)
    assert both.up()
    assert probes(both) >= 1
    sizes = {len(data) for _, data, _ in both.wire.log[4:]}
    assert {data[18] for _, data, _ in both.wire.log[4:]} == {INFORMATIONAL}
    assert max(sizes) < 70  # nothing in it


def test_peer_whose_packets_open_is_not_asked() -> None:
    both = established(peer(dpd=30.0))
    both.a.fresh = both.b.fresh = 1.0
    both.run(300.0)
    assert both.a.told(FreshWanted)
    assert len(both.wire.log) == 4


def test_packets_of_long_ago_prove_nothing() -> None:
    both = established(peer(dpd=30.0))
    both.a.fresh = both.b.fresh = 31.0
    both.run(40.0)
    assert len(both.wire.log) > 4


def test_zero_asks_never() -> None:
    both = established(peer(dpd=0.0))
    both.run(3000.0)
    assert len(both.wire.log) == 4


@pytest.mark.parametrize("dpd", [10.0, 120.0])
def test_dead_peer_is_given_up(dpd: float) -> None:
    both = established(peer(dpd=dpd))
    both.wire.fate = lambda number, sender, data: ()
    began = both.now
    both.run(dpd + 160.0)
    assert both.a.sa.state == State.ESTABLISHED
    both.run(12.0)
    assert downs(both.a) == downs(both.b) == [("timeout", 0)]
    assert [event.reason for event in both.a.told(RetireChild)] == ["down"]
    assert both.a.machine.done
    assert began + dpd + 165.0 <= both.now
    assert [event.name for event in both.a.told(Counted)].count("dpd_failed") == 1


def test_host_that_does_not_say_is_no_proof() -> None:
    """No answer about fresh packets: not taken for life for ever."""
    both = established(peer(dpd=10.0))
    both.a.fresh = None
    both.run(30.0)
    assert probes(both) >= 1
