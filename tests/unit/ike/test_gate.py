"""The gate: who gets to which machine, what a stranger costs, cookies, limits and timers. Machines are puppets here."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace
from typing import Any

import pytest

from xdpsec.errors import LocalError
from xdpsec.ike.cookies import ROTATE, Cookies, find
from xdpsec.ike.events import Event, IkeDown, Note, Path
from xdpsec.ike.gate import Gate
from xdpsec.ike.settings import Host, Limits, PeerSettings
from xdpsec.ike.talker import Datagram, Wanted
from xdpsec.numbers import ExchangeType, NotifyType
from xdpsec.wire.header import NO_SPI, Header
from xdpsec.wire.message import Message, build_clear, parse_clear
from xdpsec.wire.payloads import KeyExchange, Nonce, Notify, Payload

LIMITS = Limits(half_open=12, half_open_per_source=3, cookie_threshold=4, cookie_rate=50.0)
NONCE = Nonce(b"n" * 32)


class Book:
    def by_name(self, name: str) -> PeerSettings | None:
        return None if name == "nobody" else object()  # type: ignore[return-value]


class World:
    """A host: what the gate needs of one."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits, self.book, self.keylog = limits, Book(), False
        self.random = random.Random(1).randbytes


class Puppet:
    """A machine that does as it is told."""

    def __init__(self, number: int, gate: Gate, half_open: bool) -> None:
        self.number, self.gate, self.half_open = number, gate, half_open
        self.peer: PeerSettings | None = None
        self.remote_id, self.established, self.done, self.reauthenticate = b"", False, False, False
        self.children: Wanted = ()
        self.stands = False
        self.gave_way: list[float] = []
        self.spi = gate.claim(self)
        self.got: list[bytes] = []
        self.due: float | None = None
        self.rung: list[float] = []
        self.answers: list[tuple[int, object]] = []
        self.asked: set[int] = set()
        self.events: deque[Event] = deque()
        self.out: list[Datagram] = []
        self.again: float | None = None

    def receive(self, data: bytes, path: Path, now: float) -> None:
        self.got.append(data)
        self.out.append((b"reply", path))

    def messages_to_send(self, now: float) -> list[Datagram]:
        out, self.out = self.out, []
        return out

    def get_timer(self) -> float | None:
        return self.due

    def handle_timer(self, now: float) -> None:
        self.rung.append(now)
        self.due = self.again

    def next_event(self) -> Event | None:
        return self.events.popleft() if self.events else None

    def answer(self, ticket: int, result: object, now: float) -> None:
        self.answers.append((ticket, result))

    def awaits(self, ticket: int) -> bool:
        return ticket in self.asked

    def give_way(self, now: float, wait: float) -> None:
        self.gave_way.append(now)

    def wreck(self, now: float) -> None:
        self.die()

    def die(self) -> None:
        self.half_open, self.due, self.done = False, None, True
        self.gate.release(self.spi)
        self.events.append(IkeDown(self.number, "", False, False, "timeout", "gone"))


class Stage:
    """A gate with its puppets."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.puppets: list[Puppet] = []
        self.gate = Gate(World(limits), self)  # type: ignore[arg-type]

    def responder(self, number: int, host: Host, registry: Gate, path: Path, now: float) -> Puppet:
        self.puppets.append(Puppet(number, registry, True))
        return self.puppets[-1]

    def initiator(
        self, number: int, host: Host, registry: Gate, peer: PeerSettings, now: float, wanted: Wanted
    ) -> Puppet:
        self.puppets.append(Puppet(number, registry, False))
        return self.puppets[-1]

    def sent(self, now: float = 0.0) -> list[Message]:
        """What the gate itself answered."""
        return [parse_clear(data) for data, _ in self.gate.messages_to_send(now) if data != b"reply"]

    def notes(self) -> list[Note]:
        found = []
        while (event := self.gate.next_event()) is not None:
            if isinstance(event, Note):
                found.append(event)
        return found

    def settle(self, puppet: Puppet) -> None:
        self.gate.wish(puppet.number, lambda _: None)


def path(source: int = 1, port: int = 500) -> Path:
    return Path("10.0.0.1", 500, f"10.9.{source >> 8}.{source & 255}", port)


def header(spi: int, **rest: object) -> Header:
    first = Header(spi.to_bytes(8, "little"), NO_SPI, 0, 0x20, ExchangeType.IKE_SA_INIT, True, False, 0)
    return replace(first, **rest)  # type: ignore[arg-type]


def first(spi: int, *payloads: Payload) -> bytes:
    return build_clear(header(spi), (*payloads, KeyExchange(31, b"k" * 32), NONCE))


def filled(openings: int = LIMITS.cookie_threshold) -> Stage:
    stage = Stage()
    for number in range(openings):
        stage.gate.receive(first(1000 + number), path(1000 + number), 0.0)
    assert len(stage.puppets) == openings
    stage.sent()
    return stage


def cookie_for(stage: Stage, spi: int, source: int, now: float = 0.0) -> Notify:
    stage.gate.receive(first(spi), path(source), now)
    (answer,) = stage.sent(now)
    (notify,) = answer.payloads
    assert isinstance(notify, Notify)
    assert notify.kind == NotifyType.COOKIE
    return notify


# --- who gets where ---------------------------------------------------------------------------------------------


def test_a_first_message_makes_a_machine_and_its_repetition_finds_it() -> None:
    stage = Stage()
    for _ in range(3):
        stage.gate.receive(first(7), path(), 0.0)
    (puppet,) = stage.puppets
    assert puppet.got == [first(7)] * 3
    assert [one for one, _ in stage.gate.messages_to_send(0.0)] == [b"reply"] * 3
    stage.gate.receive(first(7), path(2), 0.0)  # the same SPI from elsewhere is somebody else
    assert len(stage.puppets) == 2


def test_known_spis_lead_to_their_machine_from_any_address() -> None:
    stage = Stage()
    stage.gate.receive(first(7), path(), 0.0)
    number = stage.gate.connect("somebody", 0.0)
    answering, calling = stage.puppets
    assert number == calling.number
    informational = {"exchange": ExchangeType.INFORMATIONAL, "message_id": 5}
    to_responder = build_clear(header(7, responder_spi=answering.spi, **informational), ())
    stage.gate.receive(to_responder, path(99), 0.0)
    assert answering.got[-1] == to_responder
    to_initiator = Header(calling.spi, b"r" * 8, 0, 0x20, ExchangeType.IKE_SA_INIT, False, True, 0)
    stage.gate.receive(build_clear(to_initiator, ()), path(99), 0.0)
    assert len(calling.got) == 1
    # the flag says whose SPI is which: the same two the other way round are nobody's
    stage.gate.receive(build_clear(replace(to_initiator, initiator=True), ()), path(99), 0.0)
    assert len(calling.got) == 1
    assert stage.gate.counts["unknown spi"] == 1


def test_spis_come_and_go_with_a_rekey() -> None:
    stage = Stage()
    stage.gate.receive(first(7), path(), 0.0)
    (puppet,) = stage.puppets
    new = stage.gate.claim(puppet)
    assert len(new) == 8
    assert set(stage.gate.by_spi) == {puppet.spi, new}
    stage.gate.release(puppet.spi)
    assert set(stage.gate.by_spi) == {new}
    stage.gate.receive(build_clear(header(7, responder_spi=new, exchange=ExchangeType.INFORMATIONAL), ()), path(), 0.0)
    assert len(puppet.got) == 2


def test_machines_of_one_peer_find_each_other_and_what_they_say_is_followed_up() -> None:
    stage = Stage()
    for _ in range(3):
        stage.gate.connect("somebody", 0.0)
    peers = [type("Peer", (), {"name": name})() for name in ("one", "one", "two")]
    for puppet, peer, identity in zip(stage.puppets, peers, (b"\2a", b"\2b", b"\2a"), strict=True):
        puppet.peer, puppet.remote_id, puppet.established = peer, identity, True
        stage.settle(puppet)
    one, two, three = stage.puppets
    assert stage.gate.established("one") == (one, two)
    assert stage.gate.established("one", b"\2b") == (two,)
    assert stage.gate.established("nobody") == ()
    one.die()
    stage.settle(three)  # one was spoken to in its turn
    assert one.number not in stage.gate.machines
    assert stage.gate.established("one") == (two,)
    assert stage.gate.established("two") == (three,)


@pytest.mark.parametrize(
    ("data", "reason", "answer"),
    [
        (b"", "malformed", None),
        (b"\xff", "malformed", None),
        (first(7)[:-1], "malformed", None),
        (first(7) + b"x", "malformed", None),
        (build_clear(header(0), ()), "malformed", None),
        (build_clear(header(7, version=0x10), ()), "version", None),
        (build_clear(header(7, version=0x30), ()), "version", NotifyType.INVALID_MAJOR_VERSION),
        (build_clear(header(7, version=0x30, response=True), ()), "version", None),
        (build_clear(header(7, responder_spi=b"x" * 8), ()), "unknown spi", None),
        (build_clear(header(7, message_id=1), ()), "unknown spi", None),
        (build_clear(header(7, response=True), ()), "unknown spi", None),
        (
            build_clear(header(7, responder_spi=b"x" * 8, exchange=ExchangeType.INFORMATIONAL), ()),
            *("unknown spi", NotifyType.INVALID_IKE_SPI),
        ),
    ],
)
def test_what_belongs_to_nobody_makes_nothing(data: bytes, reason: str, answer: int | None) -> None:
    stage = Stage()
    stage.gate.receive(data, path(), 0.0)
    assert stage.puppets == []
    assert {name: count for name, count in stage.gate.counts.items() if count} == {reason: 1}
    sent = stage.gate.messages_to_send(0.0)
    assert len(sent) == (answer is not None)
    for one, _ in sent:
        message = parse_clear(one)
        assert [each.kind for each in message.payloads if isinstance(each, Notify)] == [answer]
        assert (message.header.initiator, message.header.response) == (False, True)
        assert message.header.initiator_spi == header(7).initiator_spi
        assert len(one) <= 2 * len(data)
    assert len(stage.notes()) == 1


def test_hints_and_log_lines_are_few() -> None:
    stage = Stage()
    lost = build_clear(header(7, responder_spi=b"x" * 8, exchange=ExchangeType.INFORMATIONAL), ())
    for _ in range(1000):
        stage.gate.receive(lost, path(), 0.0)
    assert len(stage.sent()) == 20
    assert len(stage.notes()) == 1
    stage.gate.receive(lost, path(), 10.0)
    assert stage.notes()[0].fields == (("from", "10.9.0.1"), ("left_out", 999))
    assert len(stage.sent(10.0)) == 1


# --- under load -------------------------------------------------------------------------------------------------


def sizes(gate: Gate) -> list[int]:
    held = [
        gate.machines,
        gate.by_spi,
        gate.openings,
        gate.first_messages,
        gate.per_source,
        gate._known,
        gate.alarms.due,
    ]
    return [len(one) for one in held]  # type: ignore[arg-type]


def test_beyond_the_threshold_a_first_message_leaves_nothing_and_gets_a_smaller_cookie() -> None:
    stage = filled()
    before = sizes(stage.gate)
    for number in range(5000):
        request = first(5000 + number)
        stage.gate.receive(request, path(5000 + number), 1.0)
        (datagram, to), *more = stage.gate.messages_to_send(1.0)
        assert not more
        assert to == path(5000 + number)
        assert len(datagram) < len(request)
        (notify,) = parse_clear(datagram).payloads
        assert isinstance(notify, Notify)
        assert notify.kind == NotifyType.COOKIE
    assert sizes(stage.gate) == before
    assert stage.gate.counts["cookie sent"] == 5000
    assert len(stage.notes()) == 1


def test_a_returned_cookie_opens_the_gate() -> None:
    stage = filled()
    cookie = cookie_for(stage, 7, 1)
    stage.gate.receive(first(7, cookie), path(1), 0.5)
    assert stage.puppets[-1].got == [first(7, cookie)]
    assert stage.gate.counts["cookie returned"] == 1


@pytest.mark.parametrize("wrong", ["address", "spi", "nonce", "bytes", "age", "number"])
def test_a_cookie_proves_one_address_spi_and_nonce_for_a_while(wrong: str) -> None:
    stage = filled()
    cookie = cookie_for(stage, 7, 1)
    if wrong in ("bytes", "number"):
        at = 0 if wrong == "number" else 5
        cookie = Notify(cookie.kind, cookie.data[:at] + bytes((cookie.data[at] ^ 1,)) + cookie.data[at + 1 :])
    nonce = Nonce(b"m" * 32) if wrong == "nonce" else NONCE
    request = build_clear(header(8 if wrong == "spi" else 7), (cookie, KeyExchange(31, b"k" * 32), nonce))
    stage.gate.receive(request, path(2 if wrong == "address" else 1), 2 * ROTATE if wrong == "age" else 0.5)
    assert len(stage.puppets) == LIMITS.cookie_threshold
    assert stage.gate.counts["cookie returned"] == 0
    assert stage.gate.counts["cookie sent"] == 2  # a new one


def test_a_cookie_survives_one_change_of_the_secret() -> None:
    cookies = Cookies(random.Random(2).randbytes)
    one = cookies.make(b"n" * 16, "10.0.0.9", b"12345678", 0.0)
    two = cookies.make(b"n" * 16, "10.0.0.9", b"12345678", ROTATE)
    assert one != two
    for at, good in ((ROTATE, (one, two)), (ROTATE * 2 - 1, (one, two)), (ROTATE * 2, (two,)), (ROTATE * 9, ())):
        proved = [each for each in (one, two) if cookies.proves(each, b"n" * 16, "10.0.0.9", b"12345678", at)]
        assert proved == list(good)


def test_a_first_message_too_small_or_without_a_nonce_gets_no_cookie() -> None:
    stage = filled()
    small = build_clear(header(7), (Nonce(b"n" * 16),))
    for request in (small, build_clear(header(7), (KeyExchange(31, b"k" * 99),)), build_clear(header(7), ())):
        stage.gate.receive(request, path(), 0.0)
        assert stage.sent() == []
    assert stage.gate.counts["malformed"] == 3


def test_too_many_first_messages_a_second_ask_for_cookies_too() -> None:
    stage = Stage()
    for number in range(60):
        stage.gate.receive(first(number + 1), path(number), 0.0)
        if number < len(stage.puppets):
            stage.puppets[-1].half_open = False
            stage.settle(stage.puppets[-1])
    assert len(stage.puppets) == 50
    assert len(stage.sent()) == 10
    stage.gate.receive(first(100), path(100), 1.0)
    assert len(stage.puppets) == 51


def test_the_limit_per_source_counts_proved_sources_only() -> None:
    """A spoofer who fills the table in a victim's name does not lock the victim out."""
    stage = Stage()
    for number in range(LIMITS.cookie_threshold):
        stage.gate.receive(first(1000 + number), path(1), 0.0)  # in the name of 1
    for number in range(5):
        cookie = cookie_for(stage, 7 + number, 1)
        stage.gate.receive(first(7 + number, cookie), path(1), 0.0)
    assert len(stage.puppets) == LIMITS.cookie_threshold + LIMITS.half_open_per_source
    assert stage.gate.counts["per source"] == 2
    cookie = cookie_for(stage, 99, 2)
    stage.gate.receive(first(99, cookie), path(2), 0.0)
    assert len(stage.puppets) == LIMITS.cookie_threshold + LIMITS.half_open_per_source + 1
    stage.puppets[LIMITS.cookie_threshold].half_open = False  # authenticated: its place is free again
    stage.settle(stage.puppets[LIMITS.cookie_threshold])
    cookie = cookie_for(stage, 77, 1)
    stage.gate.receive(first(77, cookie), path(1), 0.0)
    assert stage.puppets[-1].got


def test_the_limit_in_total_holds_for_everybody() -> None:
    stage = filled()
    for number in range(20):
        cookie = cookie_for(stage, 7 + number, 7 + number)
        stage.gate.receive(first(7 + number, cookie), path(7 + number), 0.0)
    assert len(stage.gate.openings) == LIMITS.half_open
    assert stage.gate.counts["half open"] == 20 - (LIMITS.half_open - LIMITS.cookie_threshold)
    for puppet in stage.puppets:
        puppet.die()
        stage.settle(puppet)
    assert sizes(stage.gate) == [0] * 7
    stage.gate.receive(first(7), path(), 1.0)
    assert len(stage.gate.machines) == 1


def test_reading_a_strangers_payloads_never_fails() -> None:
    whole = first(7, Notify(NotifyType.COOKIE, b"c" * 30))
    assert find(whole) == (NONCE.data, b"c" * 30)
    draw = random.Random(3)
    for length in range(28, len(whole)):
        find(whole[:length])
    for _ in range(3000):
        broken = bytearray(whole)
        for _ in range(draw.randrange(1, 9)):
            broken[draw.randrange(len(broken))] = draw.randrange(256)
        find(bytes(broken))
    endless = bytearray(28) + bytes((40, 0, 0, 4)) * 20000
    endless[16] = 40
    assert find(bytes(endless)) == (b"", b"")


def test_a_machine_that_must_authenticate_anew_goes_when_its_heir_stands() -> None:
    stage = Stage()
    stage.gate.connect("somebody", 0.0)
    (old,) = stage.puppets
    old.peer = type("Peer", (), {"name": "one", "uniqueness": "off"})()
    stage.gate.reauthenticate(old.number, 1.0)  # it has not even authenticated once
    assert len(stage.puppets) == 1
    old.established, old.due, old.again = True, 5.0, 9.0
    stage.settle(old)
    stage.gate.reauthenticate(old.number, 2.0)  # it goes: another one has taken over, or the peer has deleted it
    assert len(stage.puppets) == 1
    old.stands = True
    old.reauthenticate = True
    stage.gate.handle_timer(5.0)
    assert len(stage.puppets) == 2
    assert not old.reauthenticate
    old.reauthenticate = True
    stage.gate.handle_timer(9.0)  # the first attempt is still under way
    assert len(stage.puppets) == 2
    stage.puppets[1].die()
    stage.settle(stage.puppets[1])
    stage.gate.reauthenticate(old.number, 10.0)
    heir = stage.puppets[2]
    assert old.gave_way == []
    heir.established, heir.peer = True, old.peer
    stage.settle(heir)
    assert old.gave_way == [10.0]


def test_what_an_identity_costs_does_not_grow_with_the_guests_beside_it() -> None:
    """One peer with `remote_id = "*"` may stand for ten thousand, and each that comes or goes asks for its own."""
    looked = [0]

    class Guest(Puppet):
        def __getattribute__(self, name: str) -> Any:
            looked[0] += name == "remote_id"
            return super().__getattribute__(name)

    stage = Stage()
    for number in range(100):
        stage.gate.connect("somebody", 0.0)
        guest = stage.puppets[-1]
        guest.peer = type("Peer", (), {"name": "road", "uniqueness": "replace"})()
        guest.remote_id, guest.established = b"guest %d" % (number % 50), True
        guest.__class__ = Guest
        stage.settle(guest)
    looked[0] = 0
    assert stage.gate.established("road", b"guest 7") == (stage.puppets[7], stage.puppets[57])
    assert looked[0] <= 2
    assert stage.gate.established("road") == tuple(stage.puppets)
    assert stage.gate.established("road", b"guest 50") == stage.gate.established("home") == ()
    for guest in stage.puppets[7::50]:
        guest.die()
        stage.settle(guest)
    assert stage.gate.established("road", b"guest 7") == ()
    assert len(stage.gate.established("road")) == 98


# --- timers, events, ends ---------------------------------------------------------------------------------------


def test_timers_ring_in_order_and_only_when_due() -> None:
    stage = Stage()
    for number in range(3):
        stage.gate.receive(first(7 + number), path(), 0.0)
    one, two, three = stage.puppets
    one.due, two.due, three.due = 5.0, 3.0, None
    for puppet in stage.puppets:
        stage.settle(puppet)
    assert stage.gate.get_timer() == 3.0
    two.due = 6.0  # put off
    stage.settle(two)
    assert stage.gate.get_timer() == 5.0
    one.again = 5.5
    stage.gate.handle_timer(5.2)
    assert (one.rung, two.rung) == ([5.2], [])
    stage.gate.handle_timer(6.0)
    assert (one.rung, two.rung, three.rung) == ([5.2, 6.0], [6.0], [])
    stage.gate.handle_timer(9.0)
    assert one.rung == [5.2, 6.0, 9.0]
    one.again = two.again = None
    stage.gate.handle_timer(10.0)
    assert stage.gate.get_timer() is None


def test_many_timers_that_move_do_not_grow_the_heap() -> None:
    stage = Stage()
    stage.gate.receive(first(7), path(), 0.0)
    (puppet,) = stage.puppets
    for step in range(10_000):
        puppet.due = 100.0 + step
        stage.settle(puppet)
    assert len(stage.gate.alarms) < 100
    assert stage.gate.get_timer() == 10_099.0


def test_the_last_messages_and_events_of_a_dead_machine_still_leave() -> None:
    stage = Stage()
    stage.gate.receive(first(7), path(), 0.0)
    (puppet,) = stage.puppets
    stage.gate.messages_to_send(0.0)
    puppet.out.append((b"reply", path()))
    puppet.die()
    stage.settle(puppet)
    assert stage.gate.messages_to_send(0.0) == [(b"reply", path())]
    assert isinstance(stage.gate.next_event(), IkeDown)
    stage.gate.answer(puppet.number, 1, "too late", 0.0)
    assert puppet.answers == []


def test_answers_reach_their_machine() -> None:
    stage = Stage()
    number = stage.gate.connect("somebody", 0.0)
    stage.gate.answer(number, 3, "result", 0.0)
    assert stage.puppets[0].answers == [(3, "result")]
    with pytest.raises(LocalError):
        stage.gate.connect("nobody", 0.0)


def test_answers_are_awaited_by_the_machine_that_asked_while_it_is_there() -> None:
    stage = Stage()
    stage.gate.receive(first(7), path(), 0.0)
    (puppet,) = stage.puppets
    puppet.asked.add(3)
    assert stage.gate.awaits(puppet.number, 3)
    assert not stage.gate.awaits(puppet.number, 4)
    assert not stage.gate.awaits(puppet.number + 1, 3)
    stage.gate.wish(puppet.number, lambda machine: puppet.die())
    assert not stage.gate.awaits(puppet.number, 3)
