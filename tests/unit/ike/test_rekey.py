"""CREATE_CHILD_SA over a good wire: new children, rekeys of children and of the IKE SA, deletes, key exchanges."""

from __future__ import annotations

from pair import Pair, Side, established

from xdpsec.ike.events import IkeDown, IkeRekeyed


def quiet(both: Pair, seconds: float = 100.0) -> None:
    """Nothing is left over on either side: one IKE SA each, the same children, and nobody went down."""
    both.run(seconds)
    both.agree()
    for side in (both.a, both.b):
        assert both.up()
        assert len(side.machine.sas) == 1
        assert set(side.spis) == {side.sa.spi_local}
        assert not side.sa.tasks
        assert not side.told(IkeDown)


def only(side: Side) -> int:
    """Inbound SPI of the one child."""
    (spi,) = side.installed
    return spi


def test_either_side_rekeys_a_child() -> None:
    both = established()
    for side in (both.a, both.b):
        old = only(both.a), only(both.b)
        side.machine.rekey_child(only(side), both.now)
        both.settle()
        quiet(both, 5.0)
        assert only(both.a) != old[0]
        assert only(both.b) != old[1]


def test_either_side_rekeys_the_ike_sa_and_the_children_move() -> None:
    both = established()
    for count, side in enumerate((both.a, both.b), 1):
        before = both.a.sa.spi_local, both.b.sa.spi_local
        side.machine.rekey_ike(both.now)
        both.settle()
        quiet(both)
        assert (both.a.sa.spi_local, both.b.sa.spi_local) != before
        assert both.a.sa.initiator == (side is both.a)
        assert len(both.a.told(IkeRekeyed)) == len(both.b.told(IkeRekeyed)) == count
        side.machine.rekey_child(only(side), both.now)
        both.settle()
        quiet(both, 5.0)
