"""Two gates with real machines behind them: cookies with wrong guesses, a flood, reauthentication, many peers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from pair import ESP_GCM, GCM, Side, child, mirrored, peer

from xdpsec.errors import PeerError
from xdpsec.ike import proposals
from xdpsec.ike.events import IkeDown, IkeRekeyed, IkeUp, InstallInbound, Path, RetireChild
from xdpsec.ike.gate import Gate
from xdpsec.ike.settings import Limits, PeerSettings
from xdpsec.ike.v2 import children
from xdpsec.ike.v2.make import Machines
from xdpsec.numbers import ExchangeType, Ke, NotifyType
from xdpsec.wire.header import NO_SPI, Header
from xdpsec.wire.message import build_clear
from xdpsec.wire.payloads import KeyExchange, Nonce, SecurityAssociation


class House(Side):
    """A host whose machines stand behind a gate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gate = Gate(self, Machines())

    def drain(self, now: float) -> None:
        while (event := self.gate.next_event()) is not None:
            self.events.append(event)
            machine: Any = self.gate.machines.get(getattr(event, "ike", 0), _Gone())
            self._heed(machine, event, now)

    def _answer(self, machine: Any, ticket: int, result: object, now: float) -> None:
        if not isinstance(machine, _Gone):
            self.gate.answer(machine.number, ticket, result, now)


class _Gone:
    """The machine of an event that came after its end."""


@dataclass
class Street:
    """Houses a and b, time, and what flies between them; `lost` says which datagrams do not arrive."""

    a: House
    b: House
    now: float = 100.0
    flying: list[tuple[float, int, bytes, Path]] = field(default_factory=list)
    sent: int = 0
    lost: Callable[[bytes, Path], bool] = lambda data, path: False
    strays: list[tuple[bytes, Path]] = field(default_factory=list)  # to addresses where nobody lives

    def settle(self) -> None:
        for house in (self.a, self.b):
            house.drain(self.now)
            for data, path in house.gate.messages_to_send(self.now):
                self.sent += 1
                if not self.lost(data, path):
                    self.flying.append((self.now + 0.01, self.sent, data, path))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            timers = [moment for house in (self.a, self.b) if (moment := house.gate.get_timer()) is not None]
            due = min([*timers, *(one[0] for one in self.flying)], default=end + 1)
            if due > end:
                break
            self.now = max(self.now, due)
            for one in [one for one in self.flying if one[0] <= self.now]:
                self.flying.remove(one)
                self.land(one[2], one[3])
            for house in (self.a, self.b):
                house.gate.handle_timer(self.now)
            self.settle()
        self.now = end

    def land(self, data: bytes, path: Path) -> None:
        house = {"192.0.2.1": self.a, "192.0.2.2": self.b}.get(path.remote)
        if house is None:
            self.strays.append((data, path))
        else:
            house.gate.receive(data, Path(path.remote, path.remote_port, path.local, path.local_port), self.now)


def street(ours: PeerSettings | None = None, theirs: PeerSettings | None = None, **limits: Any) -> Street:
    mine = ours or peer()
    bounds = Limits(**limits)
    return Street(House("a", (mine,), Limits()), House("b", (theirs or mirrored(mine),), bounds))


def connect(way: Street, name: str = "b") -> int:
    number = way.a.gate.connect(name, way.now, [("net", None)])
    way.settle()
    return number


def agree(way: Street) -> None:
    assert len(way.a.installed) == len(way.b.installed)
    others = {one.spi_out: one for one in way.b.installed.values()}
    for one in way.a.installed.values():
        assert one.keys_in == others[one.spi_in].keys_out
        assert one.keys_out == others[one.spi_in].keys_in


def test_two_gates_bring_an_ike_sa_up_and_forget_it_when_it_is_closed() -> None:
    way = street()
    number = connect(way)
    way.run(5.0)
    agree(way)
    assert len(way.a.installed) == 1
    assert way.b.gate.openings == {}
    way.a.gate.wish(number, lambda machine: machine.close(way.now))  # type: ignore[attr-defined]
    way.settle()
    way.run(100.0)
    for house in (way.a, way.b):
        assert house.gate.machines == {}
        assert house.gate.by_spi == {}
        assert house.gate.get_timer() is None
        assert house.installed == {}


def test_a_cookie_and_a_wrong_guess_of_the_group_together() -> None:
    """RFC 7296 sec. 2.6.1: the cookie goes along when the group is corrected, and nothing is remembered meanwhile."""
    ours = peer(ike_offers=(replace(GCM, ke=(Ke.X25519, Ke.ECP_256)),))
    theirs = mirrored(peer(ike_offers=(replace(GCM, ke=(Ke.ECP_256,)),)))
    way = street(ours, theirs, cookie_threshold=0)
    connect(way)
    way.run(5.0)
    agree(way)
    assert len(way.a.installed) == 1
    assert way.b.gate.counts["cookie returned"] == 2


def spoofed(count: int, chance: random.Random) -> Iterable[tuple[bytes, Path]]:
    """First messages that any responder would take, from addresses that never answer."""
    offer = SecurityAssociation(proposals.build(peer().ike_offers))
    for _ in range(count):
        head = Header(chance.randbytes(8), NO_SPI, 0, 0x20, ExchangeType.IKE_SA_INIT, True, False, 0)
        data = build_clear(head, (offer, KeyExchange(Ke.X25519, chance.randbytes(32)), Nonce(chance.randbytes(32))))
        address = f"203.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(256)}"
        yield data, Path("192.0.2.2", 500, address, 500)


def test_under_a_flood_honest_peers_connect_and_established_ones_rekey() -> None:
    """20,000 spoofed first messages in a second, of which nothing stays but as many machines as the threshold has."""
    way = street(theirs=mirrored(peer(), remote=""), cookie_threshold=50, half_open=200)
    first = connect(way)
    way.run(5.0)
    for number, (data, path) in enumerate(spoofed(20_000, random.Random(4))):
        way.b.gate.receive(data, path, way.now)
        if number % 400 == 0:
            way.run(0.02)
        if number == 6000:
            way.a.gate.wish(first, lambda machine: machine.rekey_ike(way.now))  # type: ignore[attr-defined]
            way.settle()
        if number == 8000:
            connect(way)
    way.run(3.0)
    assert len(way.b.gate.openings) <= 50
    assert len(way.b.gate.machines) <= 53
    assert len(way.a.told(IkeUp)) == 2
    assert way.b.gate.counts["cookie sent"] > 19_000
    assert sum(len(data) > 100 for data, _ in way.strays) <= 50  # all else are cookies
    way.run(60.0)
    assert way.b.gate.openings == {}
    agree(way)
    assert way.a.installed


OVER = "replaced", "another IKE SA with the peer has taken over"


def test_reauthentication_makes_before_it_breaks() -> None:
    """RFC 7296 sec. 2.8.3: a new IKE SA with the same child stands before the old one goes, again and again."""
    settings = peer(reauthentication=600.0, lifetime=replace(peer().lifetime, jitter=0.0))
    way = street(settings)
    connect(way)
    way.run(5.0)
    for _ in range(200):
        way.run(30.0)
        assert way.a.installed
        assert way.b.installed
        assert way.a.sending
        assert way.b.sending
    way.run(20.0)
    agree(way)
    assert len(way.a.told(IkeUp)) == 11
    assert [(down.reason, down.text) for down in way.a.told(IkeDown)] == [OVER] * 10
    assert [down.reason for down in way.b.told(IkeDown)] == ["deleted"] * 10  # who began anew deletes
    assert len(way.a.gate.machines) <= 2
    starts = {one.child.spi_in: at for at, one in enumerate(way.a.events) if isinstance(one, InstallInbound)}
    ends = {one.spi_in: at for at, one in enumerate(way.a.events) if isinstance(one, RetireChild)}
    spis = sorted(starts, key=lambda spi: starts[spi])
    for old, new in pairwise(spis):
        assert starts[new] < ends.get(old, len(way.a.events))


@pytest.mark.parametrize("ours", ["replace", "keep", "off"])
def test_who_authenticates_anew_lets_the_old_one_go_whatever_the_peer_does(ours: str) -> None:
    """RFC 7296 sec. 2.8.3: who began anew deletes. "keep" refuses what the peer begins, not what we do."""
    settings = peer(reauthentication=600.0, uniqueness=ours, lifetime=replace(peer().lifetime, jitter=0.0))
    way = street(settings, mirrored(settings, uniqueness="off"))
    connect(way)
    for _ in range(4):
        way.run(600.0)
        assert len(machines(way.a)) <= 2
    way.run(60.0)
    agree(way)
    assert len(machines(way.a)) == len(machines(way.b)) == 1


def test_reauthentication_with_a_peer_that_is_away_goes_on_trying() -> None:
    settings = peer(reauthentication=600.0, dpd=0.0, lifetime=replace(peer().lifetime, jitter=0.0))
    way = street(settings)
    connect(way)
    way.run(590.0)
    dead = [True]
    way.lost = lambda data, path: dead[0]
    way.run(400.0)
    assert way.a.installed
    dead[0] = False
    way.run(400.0)
    assert len(way.a.told(IkeUp)) == 2
    agree(way)


def test_a_peer_that_makes_no_more_sas_is_met_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_ADDITIONAL_SAS in answer to a rekey: the only way to fresh keys is a new IKE SA (RFC 7296 sec. 1.3)."""
    way = street()
    number = connect(way)
    way.run(10.0)
    (old,) = way.a.installed
    choose = children.choose

    def no_more(m: Any, sa: Any, payloads: Any, ike_auth: bool, *rest: Any, **more: Any) -> Any:
        if not ike_auth:
            raise PeerError("as a minimal implementation says", NotifyType.NO_ADDITIONAL_SAS)
        return choose(m, sa, payloads, ike_auth, *rest, **more)

    monkeypatch.setattr(children, "choose", no_more)
    way.a.gate.wish(number, lambda machine: machine.rekey_child(old, way.now))  # type: ignore[attr-defined]
    way.settle()
    way.run(60.0)
    assert old not in way.a.installed
    assert len(way.a.told(IkeUp)) == 2
    agree(way)


def test_many_peers_at_once() -> None:
    """A gateway with 60 peers of one address each and one child, each through the gate of b; nothing is mixed up."""
    esp = replace(ESP_GCM, ke=(Ke.X25519,))
    names = [f"p{number}" for number in range(60)]
    ours = tuple(
        peer(name, f"c{name}", children=(child("net", f"10.{n}.0.0/16", offers=(esp,), index=n),))
        for n, name in enumerate(names)
    )
    way = Street(House("a", ours), House("b", tuple(mirrored(one) for one in ours)))
    for name in names:
        connect(way, name)
    way.run(10.0)
    agree(way)
    assert len(way.a.installed) == 60
    assert {one.peer for one in way.b.installed.values()} == {f"c{name}" for name in names}


def machines(house: House) -> list[int]:
    return [number for number, one in house.gate.machines.items() if one.established and not one.done]


def test_both_sides_authenticate_anew_at_once() -> None:
    """Two new IKE SAs for one: both sides pick the same, and neither the old one nor the loser stays."""
    for pause in (0.0, 0.01, 0.02, 0.3):
        way = street()
        connect(way)
        way.run(20.0)
        way.a.gate.reauthenticate(1, way.now)
        way.settle()
        way.run(pause)
        way.b.gate.reauthenticate(1, way.now)
        way.settle()
        for _ in range(40):
            way.run(2.0)
            assert way.a.installed
            assert way.b.installed
        agree(way)
        assert len(way.a.installed) == 1
        assert len(machines(way.a)) == len(machines(way.b)) == 1


def test_an_ike_sa_that_was_taken_over_does_not_live_on_through_a_rekey() -> None:
    way = street()
    connect(way)
    way.run(20.0)
    way.a.gate.reauthenticate(1, way.now)
    way.settle()
    way.run(1.0)
    way.b.gate.wish(1, lambda machine: machine.rekey_ike(way.now))  # type: ignore[attr-defined]
    way.settle()
    way.run(60.0)
    agree(way)
    assert len(way.a.installed) == 1
    assert 1 not in machines(way.a)


def test_who_was_taken_over_stays_if_the_other_goes_first() -> None:
    way = street()
    connect(way)
    way.run(20.0)
    way.a.gate.reauthenticate(1, way.now)
    way.settle()
    way.run(1.0)
    way.a.gate.wish(2, lambda machine: machine.close(way.now))  # type: ignore[attr-defined]
    way.settle()
    way.run(60.0)
    agree(way)
    assert len(way.a.installed) == 1
    assert machines(way.a) == machines(way.b) == [1]


def test_a_request_that_overtakes_the_answer_of_ike_auth_waits_for_it() -> None:
    way = street()
    late = [True]

    def lost(data: bytes, path: Path) -> bool:
        """The first answer of IKE_AUTH."""
        if late[0] and data[18] == ExchangeType.IKE_AUTH and data[19] & 0x20:
            late[0] = False
            return True
        return False

    way.lost = lost
    connect(way)
    way.run(0.04)
    way.b.gate.wish(1, lambda machine: machine.rekey_ike(way.now))  # type: ignore[attr-defined]
    way.settle()
    way.run(10.0)
    agree(way)
    assert len(way.a.installed) == 1
    assert not way.a.told(IkeDown)
    assert way.a.told(IkeRekeyed)
