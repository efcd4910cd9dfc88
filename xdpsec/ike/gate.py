"""The one door for IKE messages: a known SPI leads to its machine, a stranger's first message passes limits first.

Looks at headers only. Nothing is kept of a message from an address that is not proved once conversations come in fast
or many hang half open: it gets a cookie, which is smaller than itself, or nothing. RFC 7296 sec. 2.4, 2.5, 2.6, 2.21.4.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from ipaddress import ip_network

from xdpsec.errors import LocalError, PeerError
from xdpsec.ike.alarms import Alarms
from xdpsec.ike.cookies import COOKIE, Cookies, find
from xdpsec.ike.events import Event, Fault, IkeDown, Note, Path
from xdpsec.ike.leases import Leases
from xdpsec.ike.parked import Parked
from xdpsec.ike.settings import Host, PeerSettings
from xdpsec.ike.talker import Datagram, Machines, Talker, Wanted
from xdpsec.ike.throttle import Bucket, Once
from xdpsec.numbers import IKE_VERSION, ExchangeType, NotifyType
from xdpsec.wire.header import LENGTH as HEADER
from xdpsec.wire.header import NO_SPI, Header, parse_header
from xdpsec.wire.message import build_clear
from xdpsec.wire.payloads import Notify

MAJOR = IKE_VERSION >> 4
QUIET = 10.0  # seconds between two log lines for one reason
HINTS = 20.0  # answers a second to messages that belong to nobody
COOKIE_ANSWER = HEADER + 8 + COOKIE  # bytes, with the generic and the notify header


class Opening:
    """A half-open machine: its place in the counts. `source`: a cookie came back from there, "" = none did."""

    __slots__ = ("key", "source")

    def __init__(self, key: tuple[bytes, str, int], source: str) -> None:
        self.key, self.source = key, source


class Gate:
    """All machines. `counts` are for metrics: what became of messages that led to no machine, and cookies."""

    def __init__(self, host: Host, make: Machines) -> None:
        self.host, self.make = host, make
        self.machines: dict[int, Talker] = {}
        self.by_spi: dict[bytes, Talker] = {}
        self.openings: dict[int, Opening] = {}  # by machine number
        self.first_messages: dict[tuple[bytes, str, int], Talker] = {}  # SPIi and source of each opening
        self.per_source: dict[str, int] = {}  # openings of proved sources
        self.counts: dict[str, int] = dict.fromkeys(
            (
                *("cookie sent", "cookie returned", "malformed", "version", "unknown spi", "half open", "per source"),
                *("too large", "fragments dropped"),
            ),
            0,
        )
        self.leases = Leases()
        self.parked = Parked(host.limits.parked, self._unparked)
        #: Established, by peer and identity; b"" = all of the peer's. `_filed`: where each of them stands.
        self._known: dict[tuple[str, bytes], dict[int, Talker]] = {}
        self._filed: dict[int, tuple[tuple[str, bytes], ...]] = {}
        self._heirs: dict[int, int] = {}  # machines that are to replace another, until they stand
        self._concerned: dict[int, Talker] = {}  # machines that another one may have spoken to
        self._cookies = Cookies(host.random)
        self._fresh = Bucket(host.limits.cookie_rate, host.limits.cookie_rate)
        self._hints = Bucket(HINTS, HINTS)
        self._lines = Once(QUIET)
        self.alarms = Alarms()
        self._touched: dict[int, Talker] = {}
        self._answers: list[Datagram] = []
        self._events: deque[Event] = deque()
        self._next = 1
        self._now = 0.0

    # --- the five verbs --

    def receive(self, data: bytes, path: Path, now: float) -> None:
        """One datagram without its non-ESP marker. What is refused is counted, perhaps answered."""
        self._now = now
        try:
            header = parse_header(data)
        except PeerError as error:
            return self._refuse("malformed", "a datagram holds no IKE message", path, now, text=str(error))
        if header.major != MAJOR:
            return self._other_version(header, path, now)
        spi = header.responder_spi if header.initiator else header.initiator_spi
        machine = self.by_spi.get(spi)
        if machine is None and _is_first(header):
            machine = self._stranger(header, data, path, now)
        elif machine is None:
            return self._lost(header, path, now)
        if machine is not None:
            self._let(machine, lambda machine: machine.receive(data, path, now))
        return None

    def messages_to_send(self, now: float) -> list[Datagram]:
        out, self._answers = self._answers, []
        touched, self._touched = self._touched, {}
        for number, machine in touched.items():
            out += machine.messages_to_send(now)
            if machine.done and number in self.machines:
                self._remove(number)
        return out

    def get_timer(self) -> float | None:
        return self.alarms.first()

    def handle_timer(self, now: float) -> None:
        """Each machine whose time has come gets its turn, once."""
        self._now = now
        for number in self.alarms.ring(now):
            machine = self.machines.get(number)
            if machine is not None:
                self._let(machine, lambda machine: machine.handle_timer(now))
                if machine.reauthenticate:
                    self.reauthenticate(number, now)

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    # --- wishes --

    def connect(self, peer: str, now: float, wanted: Sequence[tuple[str, int | None]] = ()) -> int:
        """Begin a conversation that opens these children (name, and the worker index of RFC 9611 or None); the number
        of its machine. LocalError for a peer's name that the book does not have."""
        self._now = now
        settings = self.host.book.by_name(peer)
        if settings is None:
            raise LocalError(f"no peer is called {peer}; see the configuration for those that there are")
        children = {child.name: child for child in settings.children} if wanted else {}
        chosen = tuple((children[name], resource) for name, resource in wanted)
        return self._begin(settings, chosen)

    def reauthenticate(self, ike: int, now: float) -> None:
        """Begin anew with the same peer and children; the old machine goes when the new one stands (RFC 7296 sec.
        2.8.3). Nothing for a machine that is gone, does not stand, or is being replaced already: what begins anew from
        one that goes would open no child, and take the place of the one that has them."""
        self._now = now
        old = self.machines.get(ike)
        if old is None or not old.stands or old.peer is None:
            return
        old.reauthenticate = False
        if ike not in self._heirs.values():
            self._heirs[self._begin(old.peer, old.children)] = ike

    def _begin(self, peer: PeerSettings, wanted: Wanted) -> int:
        number = self._number()
        try:
            self._add(self.make.initiator(number, self.host, self, peer, self._now, wanted))
        except Exception as error:
            if number not in self.machines:
                self._events.append(IkeDown(number, peer.name, True, False, "fault", "an error of ours"))
            self.fault(number, error, self._now)
        return number

    def answer(self, ike: int, ticket: int, result: object, now: float) -> None:
        """The answer to an event with a ticket; one that comes after its machine went is dropped."""
        self._now = now
        self.wish(ike, lambda machine: machine.answer(ticket, result, now))

    def wish(self, ike: int, action: Callable[[Talker], object]) -> bool:
        """Let a machine do something and follow up on it; False when there is no such machine any more."""
        machine = self.machines.get(ike)
        if machine is None:
            return False
        self._let(machine, action)
        return True

    def awaits(self, ike: int, ticket: int) -> bool:
        """Does anybody wait for that answer still?"""
        machine = self.machines.get(ike)
        return machine is not None and machine.awaits(ticket)

    @property
    def loaded(self) -> bool:
        """Many conversations hang half open: strangers must return a cookie first."""
        return len(self.openings) >= self.host.limits.cookie_threshold

    # --- strangers --

    def _stranger(self, header: Header, data: bytes, path: Path, now: float) -> Talker | None:
        """The machine for an IKE_SA_INIT request: that of the same request before, a new one, or none."""
        key = (header.initiator_spi, path.remote, path.remote_port)
        known = self.first_messages.get(key)
        if known is not None:
            return known
        limits = self.host.limits
        if len(data) > limits.first_message:
            self._refuse("too large", "a first message that is larger than any needs to be", path, now, size=len(data))
            return None
        fast = not self._fresh.take(now)
        proved = False
        if fast or self.loaded:
            nonce, cookie = find(data)
            if not cookie or not self._cookies.proves(cookie, nonce, path.remote, header.initiator_spi, now):
                self._ask_cookie(header, nonce, len(data), path, now)
                return None
            proved = True
            self.counts["cookie returned"] += 1
        if len(self.openings) >= limits.half_open:
            self._refuse("half open", "too many conversations are half open", path, now)
            return None
        source = _source(path.remote) if proved else ""
        if proved and self.per_source.get(source, 0) >= limits.half_open_per_source:
            self._refuse("per source", "too many half-open conversations from one address", path, now)
            return None
        machine = self.make.responder(self._number(), self.host, self, path, now)
        self.openings[machine.number] = Opening(key, source)
        self.first_messages[key] = machine
        if proved:
            self.per_source[source] = self.per_source.get(source, 0) + 1
        return self._add(machine)

    def _ask_cookie(self, header: Header, nonce: bytes, size: int, path: Path, now: float) -> None:
        """The whole answer under load, from nothing that is kept; smaller than the request, or there is none."""
        if not nonce or size <= COOKIE_ANSWER:
            return self._refuse("malformed", "an IKE_SA_INIT request without what it needs", path, now)
        self.counts["cookie sent"] += 1
        self._note("cookies are asked for: many conversations begin or hang half open", path, now)
        cookie = self._cookies.make(nonce, path.remote, header.initiator_spi, now)
        return self._reply(header, Notify(NotifyType.COOKIE, cookie), path)

    def _other_version(self, header: Header, path: Path, now: float) -> None:
        """RFC 7296 sec. 2.5: a higher major version is told ours; IKEv1 would not understand the answer."""
        self._refuse("version", "a message of another IKE version", path, now, major=header.major)
        if header.major > MAJOR and not header.response and self._hints.take(now):
            self._reply(header, Notify(NotifyType.INVALID_MAJOR_VERSION), path)

    def _lost(self, header: Header, path: Path, now: float) -> None:
        """RFC 7296 sec. 2.21.4: a hint, in the clear, that this end does not know the SA."""
        self._refuse("unknown spi", "a message for an IKE SA that is not here", path, now)
        if not header.response and header.exchange != ExchangeType.IKE_SA_INIT and self._hints.take(now):
            self._reply(header, Notify(NotifyType.INVALID_IKE_SPI), path)

    def _reply(self, header: Header, notify: Notify, path: Path) -> None:
        answer = Header(
            *(header.initiator_spi, header.responder_spi, 0, IKE_VERSION, header.exchange),
            initiator=not header.initiator,
            response=True,
            message_id=header.message_id,
        )
        self._answers.append((build_clear(answer, (notify,)), path))

    def _refuse(self, reason: str, event: str, path: Path, now: float, **fields: str | int) -> None:
        self.counts[reason] += 1
        self._note(event, path, now, **fields)

    def _note(self, event: str, path: Path, now: float, **fields: str | int) -> None:
        """A log line for what a stranger caused, if there was none for the same reason just now."""
        left_out = self._lines.left_out(event, now)
        if left_out is not None:
            more = (("left_out", left_out),) if left_out else ()
            self._events.append(
                Note(0, "warning", event, (("from", path.remote), *fields.items(), *more), stranger=True)
            )

    def _unparked(self) -> None:
        self.counts["fragments dropped"] += 1
        if self._lines.left_out("fragments", self._now) is not None:
            text = "half-open conversations hold too many fragments: those that wait longest are dropped"
            self._events.append(Note(0, "warning", text, stranger=True))

    # --- our own errors --

    def _let(self, machine: Talker, action: Callable[[Talker], object]) -> None:
        """The one boundary for what nobody foresaw: it ends the machine in which it happened, and no other."""
        try:
            action(machine)
            self._settle(machine)
        except Exception as error:
            self.fault(machine.number, error, self._now)

    def fault(self, ike: int, error: Exception, now: float) -> None:
        """The machine fails closed: its children are retired, IkeDown is said, Fault tells what it was. Its host calls
        this too, when one of the machine's events was too much for it."""
        machine = self.machines.get(ike)
        name = machine.peer.name if machine is not None and machine.peer is not None else ""
        stranger = machine is None or not machine.established
        if machine is not None:
            machine.wreck(now)
            while (event := machine.next_event()) is not None:
                self._events.append(event)
            self._answers += machine.messages_to_send(now)
            self._concerned.pop(ike, None)
            self._remove(ike)
        for spi in [spi for spi, one in self.by_spi.items() if one.number == ike]:
            del self.by_spi[spi]
        self._events.append(Fault(ike, name, error, stranger))

    # --- the books --

    def _number(self) -> int:
        self._next += 1
        return self._next - 1

    def _add(self, machine: Talker) -> Talker:
        self.machines[machine.number] = machine
        self._settle(machine)
        return machine

    def _settle(self, machine: Talker) -> None:
        """After anything happened in a machine, and to those that it spoke to."""
        self._follow_up(machine)
        while self._concerned:
            self._follow_up(self._concerned.popitem()[1])

    def _follow_up(self, machine: Talker) -> None:
        """Its events, messages, place in the books, timer; perhaps its end."""
        number = machine.number
        if number not in self.machines:
            return
        while (event := machine.next_event()) is not None:
            self._events.append(event)
        self._touched[number] = machine
        if number in self.openings and not machine.half_open:
            self._opened(number)
        if machine.established and number in self._heirs:
            self._succeed(machine, self._heirs.pop(number))
        if machine.established and machine.peer is not None and number not in self._filed:
            self._filed[number] = tuple({(machine.peer.name, identity) for identity in (b"", machine.remote_id)})
            for key in self._filed[number]:
                self._known.setdefault(key, {})[number] = machine
        self.alarms.set(number, machine.get_timer())
        if machine.done:
            self._remove(number)

    def _succeed(self, heir: Talker, ike: int) -> None:
        """Machines of one identity see to that themselves, where the newer one replaces any that stands."""
        old = self.machines.get(ike)
        if old is not None and heir.peer is not None and heir.peer.uniqueness != "replace":
            old.give_way(self._now, self.host.limits.outlived_seconds)
            self._concerned[ike] = old

    def _opened(self, number: int) -> None:
        """No longer half open, whatever became of it."""
        opening = self.openings.pop(number)
        del self.first_messages[opening.key]
        if opening.source:
            self.per_source[opening.source] -= 1
            if not self.per_source[opening.source]:
                del self.per_source[opening.source]

    def _remove(self, number: int) -> None:
        """The machine is over. Its last messages still go out."""
        if number in self.openings:
            self._opened(number)
        del self.machines[number]
        self._heirs.pop(number, None)
        self.alarms.set(number, None)
        self.parked.keep(number, None)
        self.leases.release(number)
        for key in self._filed.pop(number, ()):
            del self._known[key][number]
            if not self._known[key]:
                del self._known[key]

    # --- what machines ask of us --

    def claim(self, machine: Talker) -> bytes:
        """A fresh SPI of 8 bytes, not zero; messages for it come to this machine from now on."""
        spi = NO_SPI
        while spi == NO_SPI or spi in self.by_spi:
            spi = self.host.random(len(NO_SPI))
        self.by_spi[spi] = machine
        return spi

    def release(self, spi: bytes) -> None:
        self.by_spi.pop(spi, None)

    def established(self, peer: str, identity: bytes = b"") -> tuple[Talker, ...]:
        """Established machines with this peer (kind and data of its identity, empty = any). What they are told is
        followed up."""
        found = self._known.get((peer, identity), {})
        self._concerned.update(found)
        return tuple(found.values())


def _source(address: str) -> str:
    """Who is counted as one: of IPv6 a subnet, since whoever has an address there has all of them."""
    return str(ip_network((address, 64), strict=False)) if ":" in address else address


def _is_first(header: Header) -> bool:
    return (
        header.exchange == ExchangeType.IKE_SA_INIT
        and header.initiator
        and not header.response
        and header.message_id == 0
        and header.responder_spi == NO_SPI
    )
