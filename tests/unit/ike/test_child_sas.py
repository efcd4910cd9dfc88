"""What rides along with children: narrowing, modes, one child per worker, inner addresses, extensions we refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pair import Pair, Side, child, established, mirrored, only_child, pair, peer

from xdpsec.ike import selectors
from xdpsec.ike.events import AddressLeased, ChildFailed, InstallInbound
from xdpsec.ike.identities import parse_rule
from xdpsec.ike.settings import Identity, PeerSettings, Pool
from xdpsec.ike.v2 import children
from xdpsec.numbers import IdType, NotifyType
from xdpsec.wire.payloads import Notify, Payload, TsInitiator


def texts(side: Side, which: str) -> list[str]:
    """Selectors of the newest child."""
    found = side.told(InstallInbound)[-1].child
    return [selectors.text(one) for one in (found.local if which == "local" else found.remote)]


def rekey(both: Pair, side: Side) -> None:
    both.run(10.0)
    side.machine.rekey_child(only_child(side), both.now)
    both.settle()
    both.run(5.0)
    both.agree()


# --- narrowing --------------------------------------------------------------------------------------------------


def test_the_smaller_wish_of_both_sides_is_installed_and_kept_over_rekeys() -> None:
    ours = peer(children=(child(local="10.1.0.0/16", remote="10.0.0.0/8"),))
    theirs = mirrored(peer(children=(child(local="10.0.0.0/8", remote="10.2.0.0/16", protocol=6),)))
    both = established(ours, theirs)
    for side in (both.a, both.b):
        rekey(both, side)
        for one, first in ((both.a, "local"), (both.b, "remote")):
            assert texts(one, first) == ["10.1.0.0/16[6/any]"]
            assert texts(one, "remote" if first == "local" else "local") == ["10.2.0.0/16[6/any]"]


def test_nothing_in_common_is_ts_unacceptable_and_the_ike_sa_stays() -> None:
    both = established(peer(children=(child(remote="10.9.0.0/16"),)), mirrored(peer()))
    assert [event.notify for event in both.a.told(ChildFailed)] == [NotifyType.TS_UNACCEPTABLE]
    assert both.up()
    assert both.a.lost() == both.b.lost() == set()


@pytest.mark.parametrize(("differ", "taken"), [(1, 1), (16, 16), (17, 0), (255, 0)])
def test_an_answer_of_many_pieces(differ: int, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7296 sec. 2.9 lets a responder cut our wish in pieces, 255 in one payload. One that comes again says nothing;
    of more than a worker takes there is no child, and the peer is told."""
    real = children.answer

    def pieces(deal: Any, chosen: Any) -> tuple[Payload, ...]:
        hosts = [selectors.selector(f"10.1.0.{number % differ}/32") for number in range(255)]
        return tuple(TsInitiator(tuple(hosts)) if type(one) is TsInitiator else one for one in real(deal, chosen))

    monkeypatch.setattr(children, "answer", pieces)
    both = established()
    assert [len(one.local) for one in both.a.installed.values()] == [taken] * bool(taken)
    assert len(both.b.installed) == bool(taken)
    assert [event.notify for event in both.a.told(ChildFailed)] == [NotifyType.TS_UNACCEPTABLE] * (not taken)
    assert both.up()


def test_several_children_come_up_one_after_the_other() -> None:
    three = tuple(child(f"net{n}", f"10.{n}.0.0/16", "10.9.0.0/16", index=n) for n in range(3))
    both = established(peer(children=three))
    assert [one.name for one in both.b.installed.values()] == ["net0", "net1", "net2"]
    both.agree()
    assert len(both.a.sending) == 3


# --- modes and extensions ---------------------------------------------------------------------------------------


def test_transport_mode_where_both_want_it() -> None:
    host = child(local="192.0.2.1/32", remote="192.0.2.2/32", mode="transport")
    both = established(peer(children=(host,)))
    assert both.a.told(InstallInbound)[-1].child.mode == "transport"
    rekey(both, both.b)
    assert both.b.told(InstallInbound)[-1].child.mode == "transport"


@pytest.mark.parametrize(("ours", "theirs"), [("transport", "tunnel"), ("tunnel", "transport")])
def test_another_mode_than_ours_is_refused(ours: str, theirs: str) -> None:
    both = established(peer(children=(child(mode=ours),)), mirrored(peer(children=(child(mode=theirs),))))
    assert both.up()
    both.run(30.0)
    assert not both.a.installed
    assert not both.b.installed
    assert both.a.told(ChildFailed)


@pytest.mark.parametrize(
    "notify",
    [
        Notify(NotifyType.USE_AGGFRAG, bytes(1)),
        Notify(NotifyType.IPCOMP_SUPPORTED, b"\x12\x34\x02"),
        Notify(NotifyType.ESP_TFC_PADDING_NOT_SUPPORTED),
        Notify(NotifyType.NON_FIRST_FRAGMENTS_ALSO),
        Notify(59_999, b"?"),
    ],
    ids=lambda notify: str(notify.kind),
)
def test_what_we_do_not_do_is_left_out_of_the_answer(monkeypatch: pytest.MonkeyPatch, notify: Notify) -> None:
    """RFC 9347 sec. 5.1, RFC 7296 sec. 2.22: an extension that the answer does not confirm is off."""
    offer, agreed = children.offer, children.agreed
    heard: list[Any] = []

    def with_more(*args: Any, **more: Any) -> Any:
        offered, payloads = offer(*args, **more)
        return offered, (notify, *payloads)

    def listen(offered: Any, payloads: Any) -> Any:
        heard.extend(one.kind for one in payloads if isinstance(one, Notify))
        return agreed(offered, payloads)

    monkeypatch.setattr(children, "offer", with_more)
    monkeypatch.setattr(children, "agreed", listen)
    both = established()
    both.agree()
    assert len(both.a.installed) == 1
    assert notify.kind not in heard


# --- one child per worker (RFC 9611) ----------------------------------------------------------------------------


def workers(both: Pair, count: int) -> None:
    for number in range(count):
        both.a.machine.open_child("net", both.now, number)
    both.settle()
    both.run(5.0)


def resources(side: Side) -> list[int]:
    return sorted(one.resource for one in side.installed.values() if one.resource is not None)


def test_each_worker_has_a_child_of_its_own_on_both_sides() -> None:
    both = established(peer(children=(child(workers=3),)))
    workers(both, 3)
    assert resources(both.a) == resources(both.b) == [0, 1, 2]
    assert len(both.a.installed) == 4  # and one for whoever has none (sec. 4)
    for side in (both.a, both.b):
        for spi in sorted(side.machine.sa.children):
            both.run(10.0)
            side.machine.rekey_child(spi, both.now)
            both.settle()
            both.run(5.0)
    assert resources(both.a) == resources(both.b) == [0, 1, 2]
    assert len(both.a.installed) == 4


def test_more_workers_than_the_peer_has_are_refused() -> None:
    ours, theirs = (peer(children=(child(workers=count),)) for count in (4, 2))
    both = established(ours, mirrored(theirs))
    workers(both, 4)
    assert resources(both.a) == resources(both.b) == [0, 1]
    failed = both.a.told(ChildFailed)
    assert [event.resource for event in failed] == [2, 3]
    assert {event.notify for event in failed} == {NotifyType.TS_MAX_QUEUE}
    assert both.a.lost() == both.b.lost() == set()


def test_a_peer_that_knows_no_workers_makes_them_all_the_same() -> None:
    ours, theirs = peer(children=(child(workers=2),)), peer(children=(child(workers=1),))
    both = established(ours, mirrored(theirs))
    workers(both, 2)
    assert resources(both.a) == [0, 1]
    assert resources(both.b) == []
    assert len(both.b.installed) == 3


# --- inner addresses --------------------------------------------------------------------------------------------

POOL = Pool(("10.77.0.0/29", "fd77::/120"), ("10.1.0.53",), ("corp.example",))


def warrior(**more: Any) -> tuple[PeerSettings, PeerSettings]:
    """a asks b for an address; its child has no prefixes of its own."""
    mine = peer(children=(replace(child(remote="10.1.0.0/16"), local=()),), ask_addresses=(4,))
    gateway = mirrored(mine, pool=POOL, ask_addresses=())
    return replace(mine, **more), gateway


def test_a_road_warrior_gets_an_address_servers_and_domains() -> None:
    both = established(*warrior())
    both.agree()
    assert both.a.told(AddressLeased) == [AddressLeased(0, ("10.77.0.1",), ("10.1.0.53",), ("corp.example",))]
    assert texts(both.a, "local") == ["10.77.0.1/32"]
    assert texts(both.b, "remote") == ["10.77.0.1/32"]
    assert both.b.leases.held == 1
    rekey(both, both.b)
    assert texts(both.b, "remote") == ["10.77.0.1/32"]
    both.a.machine.open_child("net", both.now)
    both.settle()
    both.run(5.0)
    assert texts(both.a, "local") == ["10.77.0.1/32"]


def test_both_families() -> None:
    mine, gateway = warrior(ask_addresses=(4, 6))
    mine = replace(mine, children=(replace(mine.children[0], remote=("10.1.0.0/16", "fd01::/16")),))
    gateway = replace(gateway, children=(replace(gateway.children[0], local=("10.1.0.0/16", "fd01::/16")),))
    both = established(mine, gateway)
    assert both.a.told(AddressLeased)[0].addresses == ("10.77.0.1", "fd77::1")
    assert texts(both.b, "remote") == ["10.77.0.1/32", "fd77::1/128"]


def test_who_must_ask_and_does_not_gets_no_child() -> None:
    mine, gateway = warrior(ask_addresses=(), children=(child(local="10.5.0.0/16", remote="10.1.0.0/16"),))
    both = established(mine, gateway)
    assert [event.notify for event in both.a.told(ChildFailed)] == [NotifyType.FAILED_CP_REQUIRED]
    assert not both.b.installed


def test_an_empty_pool_gives_no_address_and_the_ike_sa_stays() -> None:
    mine, gateway = warrior()
    gateway = replace(gateway, pool=replace(POOL, prefixes=("fd77::/120",)))
    both = established(mine, gateway)
    assert both.up()
    assert [event.notify for event in both.a.told(ChildFailed)] == [NotifyType.INTERNAL_ADDRESS_FAILURE]
    assert both.a.lost() == both.b.lost() == set()


def test_a_peer_that_gives_no_address_leaves_us_without_the_child() -> None:
    mine, gateway = warrior()
    gateway = replace(gateway, pool=None, children=(replace(gateway.children[0], remote=("0.0.0.0/0",)),))
    both = established(mine, gateway)
    both.run(20.0)
    assert [event.notify for event in both.a.told(ChildFailed)] == [NotifyType.FAILED_CP_REQUIRED]
    assert not both.a.installed
    assert not both.b.installed  # it made one, and was told that we have it not


@pytest.mark.parametrize(("uniqueness", "second"), [("replace", "10.77.0.1"), ("off", "10.77.0.2")])
def test_an_identity_keeps_its_address_unless_it_may_come_twice(uniqueness: str, second: str) -> None:
    mine, gateway = warrior()
    both = pair(mine, replace(gateway, uniqueness=uniqueness))
    for _ in range(2):
        both.connect()
        both.run(5.0)
    assert [event.addresses for event in both.a.told(AddressLeased)] == [("10.77.0.1",), (second,)]


@pytest.mark.parametrize("prefixes", [("10.77.0.0/29",), ("0.0.0.0/0",), ("10.77.0.0/30", "10.60.0.0/16")])
def test_nobody_takes_the_addresses_of_other_guests(prefixes: tuple[str, ...]) -> None:
    """The child's `remote` names the pool, as one does: a guest that asks for all of it gets its own address."""
    mine, gateway = warrior()
    mine = replace(mine, children=(replace(mine.children[0], local=("10.77.0.0/24", "10.60.0.0/16")),))
    gateway = replace(gateway, children=(replace(gateway.children[0], remote=prefixes),))
    both = established(mine, gateway)
    assert texts(both.b, "remote") == ["10.77.0.1/32", *(["10.60.0.0/16"] if len(prefixes) > 1 else [])]
    both.agree()


@pytest.mark.parametrize("kind", [IdType.FQDN, IdType.RFC822_ADDR])
def test_another_spelling_is_no_other_guest(kind: IdType) -> None:
    """One peer that writes its name in ever new ways gets neither ever new addresses nor IKE SAs side by side."""
    mine, gateway = warrior()
    rule = parse_rule("*.road.example" if kind == IdType.FQDN else "*@road.example")
    both = pair(mine, replace(gateway, remote_id=rule))
    for name in ("road.example", "Road.example", "rOad.example", "ROAD.EXAMPLE"):
        text = f"x.{name}" if kind == IdType.FQDN else f"x@{name}"
        both.a.peers = (replace(both.a.peers[0], local_id=Identity(kind, text.encode())),)
        both.connect()
        both.run(60.0)
    assert [event.addresses for event in both.a.told(AddressLeased)] == [("10.77.0.1",)] * 4
    assert both.b.leases.held == 1
    assert len(both.b.installed) == 1


def test_a_child_of_a_road_warrior_never_goes_beyond_its_address() -> None:
    """The peer offers everything: it is narrowed to what it was given."""
    mine, gateway = warrior()
    mine = replace(mine, children=(replace(mine.children[0], local=("0.0.0.0/0",)),))
    both = established(mine, gateway)
    assert texts(both.b, "remote") == ["10.77.0.1/32"]
    assert texts(both.a, "local") == ["10.77.0.1/32"]
