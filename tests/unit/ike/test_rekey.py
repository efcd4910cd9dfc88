"""CREATE_CHILD_SA over a good wire: new children, rekeys of children and of the IKE SA, deletes, key exchanges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pair import ESP_GCM, GCM, LIFE, Pair, Side, child, downs, established, mirrored, peer

from xdpsec.ike.events import (
    ChildFailed,
    IkeDown,
    IkeRekeyed,
    InstallInbound,
    NegotiatedChild,
    RetireChild,
    UseOutbound,
)
from xdpsec.ike.settings import Lifetime
from xdpsec.ike.window import REKEY_ID
from xdpsec.numbers import Ke, NotifyType


def quiet(both: Pair, seconds: float = 100.0) -> None:
    """Nothing is left over on either side: one IKE SA each, the same children, and nobody went down."""
    both.run(seconds)
    both.agree()
    for side in (both.a, both.b):
        assert both.up()
        assert len(side.machine.sas) == 1
        assert set(side.spis) == {side.sa.spi_local}
        assert not side.sa.tasks
        assert not [event for event in side.told(IkeDown) if event.peer]


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


def story(side: Side, since: int) -> list[str]:
    """What the host was told of children after that event."""
    words = {InstallInbound: "install", UseOutbound: "use", RetireChild: "retire"}
    return [words[type(one)] for one in side.events[since:] if type(one) in words]


def test_nothing_is_used_before_it_is_installed_nor_retired_before_another_is_used() -> None:
    """Who asks sends on the new SA as soon as its own workers have it; who answers when the peer lets go of the old
    one, if no packet has shown earlier that the peer has the new one."""
    both = established()
    since = len(both.a.events), len(both.b.events)
    both.a.machine.rekey_child(only(both.a), both.now)
    both.settle()
    both.run(0.025)
    assert story(both.a, since[0]) == ["install", "use"]
    assert story(both.b, since[1]) == ["install"]
    both.run(5.0)
    assert story(both.a, since[0]) == ["install", "use", "use", "retire"]
    assert story(both.b, since[1]) == ["install", "use", "retire"]
    assert both.b.told(InstallInbound)[-1].child.replaces == both.a.told(InstallInbound)[0].child.spi_out


# --- key exchanges ----------------------------------------------------------------------------------------------


def with_groups(groups: tuple[int, ...], extra: tuple[tuple[int, ...], ...] = (), **more: Any) -> Any:
    esp = replace(ESP_GCM, ke=groups, extra=extra)
    return peer(ike_offers=(replace(GCM, ke=groups, extra=extra),), children=(child(offers=(esp,)),), **more)


def newest(side: Side) -> NegotiatedChild:
    return side.told(InstallInbound)[-1].child


def rekey_all(both: Pair) -> None:
    """Child and IKE SA, from either side."""
    both.run(10.0)
    for side in (both.a, both.b):
        side.machine.rekey_child(only(side), both.now)
        both.settle()
        quiet(both, 10.0)
        side.machine.rekey_ike(both.now)
        both.settle()
        quiet(both, 80.0)


def test_a_first_child_has_no_key_exchange_of_its_own_and_later_ones_have() -> None:
    both = established()
    assert newest(both.a).ke == ()
    rekey_all(both)
    assert newest(both.a).ke == newest(both.b).ke == (Ke.X25519,)


@pytest.mark.parametrize(
    ("ours", "theirs", "ke"),
    [
        ("prefer", "prefer", (Ke.X25519,)),
        ("required", "prefer", (Ke.X25519,)),
        ("prefer", "off", ()),
        ("off", "prefer", ()),
        ("off", "off", ()),
    ],
)
def test_forward_secrecy_as_both_sides_want_it(ours: str, theirs: str, ke: tuple[int, ...]) -> None:
    both = established(peer(pfs=ours), mirrored(peer(pfs=theirs)))
    rekey_all(both)
    assert newest(both.a).ke == newest(both.b).ke == ke


def test_a_peer_without_forward_secrecy_is_refused_where_it_is_required() -> None:
    both = established(peer(pfs="off"), mirrored(peer(pfs="required")))
    old = only(both.a)
    both.a.machine.rekey_child(old, both.now)
    both.settle()
    both.run(5.0)
    assert only(both.a) == old
    assert "key exchange: the peer offers NONE" in both.b.why()


def test_additional_key_exchanges_run_on_every_rekey() -> None:
    """RFC 9370 sec. 2.2.4: IKE_FOLLOWUP_KE once for each."""
    hybrid = with_groups((Ke.X25519,), ((Ke.ML_KEM_768,), (Ke.ML_KEM_1024,)))
    both = established(hybrid)
    rekey_all(both)
    assert newest(both.a).ke == newest(both.b).ke == (Ke.X25519, Ke.ML_KEM_768, Ke.ML_KEM_1024)
    assert [event.hybrid for event in both.a.told(IkeRekeyed)] == [True, True]
    messages = {(sender, data[:16], data[20:24]) for sender, data, _ in both.wire.log if data[18] == 44}
    assert len(messages) == 2 * 2 * 4  # two values each way, for two children and two IKE SAs; fragments left aside


@pytest.mark.parametrize("size", ["small fragments", "whole"])
def test_additional_key_exchanges_survive_a_wire_that_loses(size: str) -> None:
    hybrid = with_groups((Ke.X25519,), ((Ke.ML_KEM_1024,),), fragment=576 if size != "whole" else 0)
    both = established(hybrid)
    both.wire.fate = lambda number, sender, data: () if number % 3 == 0 else (0.01,)
    both.a.machine.rekey_child(only(both.a), both.now)
    both.settle()
    both.run(60.0)
    both.wire.fate = lambda number, sender, data: (0.01,)
    quiet(both)
    assert newest(both.b).ke == (Ke.X25519, Ke.ML_KEM_1024)


def test_a_wrong_guess_of_the_group_costs_a_round() -> None:
    """RFC 7296 sec. 1.3: INVALID_KE_PAYLOAD names the group; no SPI is lost on the way."""
    both = established(with_groups((Ke.X25519, Ke.ECP_256)), mirrored(with_groups((Ke.ECP_256,))))
    rekey_all(both)
    assert newest(both.a).ke == newest(both.b).ke == (Ke.ECP_256,)
    assert both.a.lost() == both.b.lost() == set()


def test_nothing_in_common_leaves_the_old_sas_as_they_are() -> None:
    ours = with_groups((Ke.X25519, Ke.MODP_2048))
    both = established(ours, mirrored(ours))
    theirs = with_groups((Ke.ECP_256,))
    both.b.machine.peer = mirrored(replace(theirs, pfs="required"))
    old, before = only(both.a), both.a.sa
    for wish in (both.a.machine.rekey_ike, lambda now: both.a.machine.open_child("net", now)):
        wish(both.now)
        both.settle()
        quiet(both, 5.0)
        assert (only(both.a), both.a.sa) == (old, before)
    assert [event.notify for event in both.a.told(ChildFailed)] == [NotifyType.NO_PROPOSAL_CHOSEN]
    assert both.a.lost() == both.b.lost() == set()


# --- lifetimes --------------------------------------------------------------------------------------------------


def test_time_rekeys_everything_without_a_break() -> None:
    """Soft limits with jitter: a day of hourly children and four-hourly IKE SAs, and never without one."""
    short = Lifetime(3600.0, 4000.0)
    settings = peer(lifetime=Lifetime(14_400.0, 15_000.0), children=(replace(child(), lifetime=short),))
    both = established(settings)
    for _ in range(24 * 6):
        both.run(600.0)
        assert both.up()
        assert both.a.installed
        assert both.b.installed
    both.run(30.0)
    quiet(both, 70.0)
    rekeyed = [event for event in both.a.told(RetireChild) if event.reason == "rekeyed"]
    assert 24 <= len(rekeyed) <= 40
    assert 6 <= len(both.a.told(IkeRekeyed)) <= 10
    assert both.a.lost() == both.b.lost() == set()


@pytest.mark.parametrize("who", ["a", "b"])
def test_an_ike_sa_whose_message_ids_run_out_is_replaced(who: str) -> None:
    """RFC 7296 sec. 2.2: they never wrap, and the IKE SA is rekeyed or closed before."""
    both = established()
    both.run(60.0)
    asks, answers = both.side(who), both.side("b" if who == "a" else "a")
    old = asks.sa
    old.outbox.next_id = answers.sa.inbox.expected = REKEY_ID - 1
    asks.machine.rekey_child(only(asks), both.now)
    both.settle()
    both.run(5.0)
    assert asks.sa is not old
    assert asks.sa.outbox.next_id == 0
    assert both.up()
    both.agree()


def test_both_sides_draw_their_own_jitter() -> None:
    both = established()
    ends = {side.sa.rekey_at for side in (both.a, both.b)}
    ends |= {one.rekey_at for side in (both.a, both.b) for one in side.sa.children.values()}
    assert len(ends) == 4
    for end in ends:
        assert LIFE.soft_seconds * 0.9 <= end - 100.0 <= LIFE.soft_seconds + 1


def test_the_hard_limit_ends_what_could_not_be_rekeyed() -> None:
    settings = peer(
        children=(replace(child(), lifetime=Lifetime(0.0, 300.0)),), lifetime=Lifetime(0.0, 1000.0), dpd=0.0
    )
    both = established(settings)
    both.run(400.0)
    assert not both.a.installed
    assert not both.b.installed
    assert both.up()
    both.run(1000.0)
    both.agree()
    assert [reason for reason, _ in downs(both.a) + downs(both.b)] in (["expired", "deleted"], ["deleted", "expired"])


def test_a_rekey_that_fails_is_tried_again_until_it_works() -> None:
    both = established()
    both.run(10.0)
    both.b.acks = "no room"
    old = only(both.a)
    both.a.machine.rekey_child(old, both.now)
    both.settle()
    both.run(60.0)
    assert only(both.a) == old
    assert not both.a.told(ChildFailed)
    both.b.acks = ""
    both.run(30.0)
    assert only(both.a) != old
    quiet(both)


def test_a_child_that_our_own_worker_refuses_is_deleted_at_the_peer() -> None:
    both = established()
    both.run(10.0)
    both.a.acks = "no room"
    both.a.machine.open_child("net", both.now)
    both.settle()
    both.run(5.0)
    assert [event.text for event in both.a.told(ChildFailed)] == ["a worker did not take the child SA: no room"]
    quiet(both)
    assert len(both.b.installed) == 1


def test_children_have_a_limit() -> None:
    both = established(children=3)
    for _ in range(5):
        both.a.machine.open_child("net", both.now)
    both.settle()
    quiet(both, 10.0)
    assert len(both.a.installed) == 3
    assert {event.notify for event in both.a.told(ChildFailed)} == {NotifyType.NO_ADDITIONAL_SAS}
    both.a.machine.rekey_child(next(iter(both.a.installed)), both.now)  # a successor is always welcome
    both.settle()
    quiet(both, 10.0)
    assert len(both.a.told(ChildFailed)) == 3
