"""An error of ours that nobody foresaw, in any place: the one talk in which it happened ends, with its children; all
others go on, and the host is told what it was.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest
from pair import GCM, child, mirrored, peer
from test_gates import House, Street, agree, connect, machines

from xdpsec.ike.events import Fault, IkeDown, IkeRekeyed, RetireChild
from xdpsec.ike.v2 import children, create_child, dispatch, ike_auth, ike_sa_init, informational, lifetimes, table
from xdpsec.ike.v2.machine import Machine
from xdpsec.ike.v2.sa import IkeSa, Role, State


class Blunder(RuntimeError):
    """What nobody foresaw."""


def town() -> Street:
    """Two connections between a and b: one stays well, in the other things go wrong."""
    ours = tuple(
        peer(name, f"c{name}", children=(child("net", f"10.{at}.0.0/16", index=at),), ike_offers=(replace(GCM),))
        for at, name in enumerate(("well", "ill"))
    )
    theirs = tuple(mirrored(one) for one in ours)
    return Street(House("a", ours, foreseen=True), House("b", theirs, foreseen=True))


def break_(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, after: int = 0) -> None:
    """From now on that function of ours fails in talks with the peer that is called ill, on side b."""
    sound, calls = getattr(where, name), iter(range(after))

    def broken(*given: Any, **more: Any) -> Any:
        machine = next((one for one in given if isinstance(one, Machine)), None)
        ours = machine is not None and isinstance(machine.host, House) and machine.host.name == "b"
        shake = machine.sa.handshake if machine is not None and machine.sas else None
        known = machine.peer if machine is not None else None
        number = machine.number if machine is not None else 0
        named = known.name == "cill" if known else bool(shake) and number == 2
        if ours and named and next(calls, None) is None:
            raise Blunder(name)
        return sound(*given, **more)

    monkeypatch.setattr(where, name, broken)


def well(way: Street) -> None:
    """The other talk is as it was, and can still do everything."""
    assert any(one.peer == "cwell" for one in way.b.installed.values())
    (number,) = [number for number in machines(way.a) if way.a.gate.machines[number].peer.name == "well"]  # type: ignore[union-attr]
    before = len(way.b.events)
    way.a.gate.wish(number, lambda machine: machine.rekey_ike(way.now))  # type: ignore[attr-defined]
    way.settle()
    way.run(2.0)
    assert any(isinstance(one, IkeRekeyed) for one in way.b.events[before:])


def clean(way: Street) -> None:
    """Of the ill one nothing is left at b, and what it was is known."""
    b = way.b
    assert [one.error.args for one in b.told(Fault)] != []
    assert all(isinstance(one.error, Blunder) for one in b.told(Fault))
    assert {one.peer for one in b.installed.values()} == {"cwell"}
    left = [one for one in b.gate.machines.values() if one.peer is None or one.peer.name != "cwell"]
    assert left == []
    assert {one.number for one in b.gate.by_spi.values()} <= set(b.gate.machines)
    assert not b.gate.openings
    assert not b.gate.first_messages
    assert [one.ike for one in b.told(IkeDown) if one.reason == "fault"] == [one.ike for one in b.told(Fault)]


#: In the handshake: where, and how often it goes well before.
EARLY = (
    (ike_sa_init, "_choose", 0),
    (ike_auth, "_find_peer", 0),
    (ike_auth, "established", 0),
    (children, "adopt", 0),
    (dispatch, "_sealed", 0),
)


@pytest.mark.parametrize(("where", "name", "after"), EARLY, ids=[name for _, name, _ in EARLY])
def test_in_a_handshake(where: Any, name: str, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    way = town()
    connect(way, "well")
    way.run(5.0)
    if name == "_choose":
        monkeypatch.setattr(ike_sa_init, "_choose", _raise)
    else:
        break_(monkeypatch, where, name, after)
    connect(way, "ill")
    way.run(3.0)
    monkeypatch.undo()
    clean(way)
    well(way)


def _raise(*given: Any) -> Any:
    raise Blunder("_choose")


#: Once it stands: where it happens, and what brings it about at side a or b.
LATE: tuple[tuple[Any, str, str], ...] = (
    (informational, "answer", "close"),
    (create_child, "answer", "rekey"),
    (children, "choose", "rekey"),
    (children, "adopt", "rekey"),
    (lifetimes, "tick", "time"),
    (dispatch, "answer", "rekey"),
)


@pytest.mark.parametrize(("where", "name", "cause"), LATE, ids=[name for _, name, _ in LATE])
def test_once_it_stands(where: Any, name: str, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    way = town()
    connect(way, "well")
    number = connect(way, "ill")
    way.run(5.0)
    agree(way)
    (spi,) = [spi for spi, one in way.a.installed.items() if one.peer == "ill"]
    if where in (informational, create_child):  # the table has them by value
        monkeypatch.setattr(table, "TABLE", _table(way.b))
    else:
        break_(monkeypatch, where, name)
    if cause == "rekey":
        way.a.gate.wish(number, lambda machine: machine.rekey_child(spi, way.now))  # type: ignore[attr-defined]
    elif cause == "close":
        way.a.gate.wish(number, lambda machine: machine.close_child(spi, way.now))  # type: ignore[attr-defined]
    else:
        way.b.gate.alarms.set(2, way.now)
    way.settle()
    way.run(3.0)
    monkeypatch.undo()
    clean(way)
    assert [one for one in way.a.told(IkeDown) if one.reason == "deleted"]  # b took leave, though it broke
    assert {one.peer for one in way.a.installed.values()} == {"well"}
    well(way)


def _table(house: House) -> Any:
    def broken(m: Machine, sa: IkeSa, received: Any) -> Generator[Any, Any, Any]:
        if m.host is house and m.settings.name == "cill":
            raise Blunder("handler")
        return (yield from sound[m.sa.state, Role.ASKED, received.header.exchange].handler(m, sa, received))

    sound = table.TABLE
    asked = State.ESTABLISHED, Role.ASKED
    return {key: replace(row, handler=broken) if key[:2] == asked else row for key, row in sound.items()}


def test_the_end_may_fail_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever of it is broken: children are retired, and the host hears of the end."""
    way = town()
    connect(way, "well")
    connect(way, "ill")
    way.run(5.0)
    for where, name in ((Machine, "lose"), (dispatch, "_sealed"), (lifetimes, "tick")):
        break_(monkeypatch, where, name)
    way.b.gate.alarms.set(2, way.now)
    way.run(1.0)
    monkeypatch.undo()
    clean(way)
    assert [one.reason for one in way.b.told(RetireChild)] == ["down"]
    well(way)


def test_a_call_that_cannot_even_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller gets a number and hears of its end: it will call again."""
    way = town()
    connect(way, "well")
    way.run(5.0)
    monkeypatch.setattr(ike_sa_init.Begin, "build", _raise)
    number = connect(way, "ill")
    monkeypatch.undo()
    assert [(one.ike, one.peer, one.reason) for one in way.a.told(IkeDown)] == [(number, "ill", "fault")]
    assert isinstance(way.a.told(Fault)[0].error, Blunder)
    assert len(way.a.gate.machines) == len(way.a.gate.by_spi) == 1
    connect(way, "ill")
    way.run(5.0)
    agree(way)
    assert len(way.a.installed) == 2


def test_what_the_host_cannot_do_ends_the_talk_that_wanted_it() -> None:
    way = town()
    connect(way, "well")
    connect(way, "ill")
    way.run(5.0)
    way.b.gate.fault(2, Blunder("of the host"), way.now)
    way.settle()
    way.run(1.0)
    clean(way)
    well(way)
