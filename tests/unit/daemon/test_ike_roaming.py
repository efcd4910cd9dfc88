"""Own addresses come and go: who moves, who begins anew, who stays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from ike_rig import PATH, config

from xdpsec.daemon.ike.roaming import Roaming
from xdpsec.ike.events import IkeUp, Path
from xdpsec.ike.identities import parse_identity

OLD, NEW = PATH.local, "198.51.100.2"


@dataclass
class Sa:
    mobike: bool


@dataclass
class Machine:
    initiator: bool
    sa: Sa
    told: list[tuple[Any, ...]] = field(default_factory=list)

    def move(self, path: Path, now: float) -> None:
        self.told.append(("move", path))

    def readdress(self, now: float, local: str = "") -> None:
        self.told.append(("readdress", local))

    def abandon(self, reason: str, text: str, now: float) -> None:
        self.told.append(("abandon", reason))


def up(ike: int = 7) -> dict[int, IkeUp]:
    who = parse_identity("x")
    return {ike: IkeUp(ike, "branch", PATH, who, who, True, "", False, False, 0.1)}


def look(machine: Machine, route: str, addresses: list[str], more: str = "") -> list[tuple[Any, ...]]:
    def wish(ike: int, act: Callable[[Any, float], None]) -> bool:
        act(machine, 1.0)
        return True

    roaming = Roaming(config(more), lambda remote: route, wish, lambda seconds, call: call())
    roaming.look(up(), addresses, ())
    return machine.told


MOVED = ("move", dataclasses.replace(PATH, local=NEW))


@pytest.mark.parametrize(
    ("initiator", "mobike", "route", "addresses", "told"),
    [
        (True, True, OLD, [OLD, NEW], []),  # nothing changed for this peer
        (True, True, NEW, [NEW], [MOVED]),
        (True, True, NEW, [OLD, NEW], [MOVED]),  # the better way is another one
        (True, True, "", [], []),  # no way at all: perhaps in a moment
        (True, False, NEW, [NEW], [("abandon", "timeout")]),
        (True, False, NEW, [OLD, NEW], []),
        (False, True, NEW, [NEW], [("readdress", NEW)]),  # RFC 4555 sec. 2.2, 3.6: only who began moves
        (False, True, NEW, [OLD, NEW], []),
    ],
)
def test_who_moves(
    initiator: bool, mobike: bool, route: str, addresses: list[str], told: list[tuple[Any, ...]]
) -> None:
    assert look(Machine(initiator, Sa(mobike)), route, addresses) == told


@pytest.mark.parametrize(
    ("route", "addresses", "settled"),
    [(OLD, [OLD], True), (NEW, [NEW], True), ("", [OLD], True), ("", [NEW], False), (OLD, [NEW], False)],
)
def test_an_address_that_went_is_looked_for_again(route: str, addresses: list[str], settled: bool) -> None:
    """Between two changes of the kernel's tables there may be no way, or still the old one."""
    roaming = Roaming(config(), lambda remote: route, lambda ike, act: True, lambda seconds, call: None)
    assert roaming.look(up(), addresses, ()) == settled


def test_whoever_is_connected_hears_of_other_addresses_once() -> None:
    told: list[int] = []
    waits: list[float] = []

    def wish(ike: int, act: Callable[[Any, float], None]) -> bool:
        told.append(ike)
        return True

    def later(seconds: float, call: Callable[[], None]) -> None:
        waits.append(len(told))
        call()

    roaming = Roaming(config(), lambda remote: OLD, wish, later)
    roaming.look({}, [OLD], [OLD])
    everybody = {ike: event for ike in range(100) for event in up(ike).values()}
    roaming.look(everybody, [OLD], [OLD])
    assert told == []
    roaming.look(everybody, [OLD, NEW], [OLD, NEW])
    assert told == list(range(100))
    assert waits == [32, 64, 96]  # not all in one turn
    roaming.look(everybody, [OLD, NEW], [OLD, NEW])
    assert len(told) == 100


def test_peers_at_one_address_have_each_their_own_way() -> None:
    """Two behind one NAT: the address that one is bound to is not the other's."""
    peers = [SimpleNamespace(name="bound", local="192.0.2.99"), SimpleNamespace(name="free", local="")]
    who, moved = parse_identity("x"), {}

    def wish(ike: int, act: Callable[[Any, float], None]) -> bool:
        act(machine := Machine(True, Sa(True)), 1.0)
        moved[ike] = machine.told
        return True

    roaming = Roaming(SimpleNamespace(peers=peers), lambda remote: OLD, wish, lambda seconds, call: None)  # type: ignore[arg-type]
    ends = {1: ("bound", "192.0.2.99"), 2: ("free", OLD)}
    both = {
        ike: IkeUp(ike, name, dataclasses.replace(PATH, local=local), who, who, True, "", False, False, 0.1)
        for ike, (name, local) in ends.items()
    }
    assert roaming.look(both, ["192.0.2.99", OLD], ())
    assert moved == {}
