"""Two machines, a wire between them that loses, repeats, reorders and delays, and one clock that a hand moves.

Each side has a host that keeps what it was told (events, installed children) and answers questions as it is bidden.
Used by every test of the talk between two machines; knows no gate and no socket.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from xdpsec.ike.events import (
    Event,
    Fault,
    FetchWanted,
    FreshWanted,
    IkeDown,
    IkeUp,
    InstallInbound,
    KeyLog,
    NegotiatedChild,
    Note,
    Path,
    PathChanged,
    RetireChild,
    UseOutbound,
    WorkWanted,
)
from xdpsec.ike.leases import Leases
from xdpsec.ike.parked import Parked
from xdpsec.ike.settings import (
    Algorithm,
    ChildSettings,
    EspOffer,
    Identity,
    IkeOffer,
    Lifetime,
    Limits,
    LocalAuth,
    PeerSettings,
    RemoteAuth,
)
from xdpsec.ike.v2.machine import Machine
from xdpsec.ike.v2.sa import IkeSa, State
from xdpsec.numbers import Encr, Esn, IdType, Ke, Prf, Protocol

A, B = "192.0.2.1", "192.0.2.2"
PSK = b"correct horse battery staple"
GCM = IkeOffer((Algorithm(Encr.AES_GCM_16, 256),), (Prf.HMAC_SHA2_256,), (), (Ke.X25519,))
ESP_GCM = EspOffer(Protocol.ESP, (Algorithm(Encr.AES_GCM_16, 256),), ke=(Ke.X25519,), esn=(bool(Esn.YES), bool(Esn.NO)))
LIFE = Lifetime(14_400.0, 15_840.0)
Found = TypeVar("Found")


@dataclass(frozen=True)
class Exactly:
    """The identity rule that has no pattern."""

    identity: Identity

    def matches(self, identity: Identity) -> bool:
        return identity == self.identity


def fqdn(name: str) -> Identity:
    return Identity(IdType.FQDN, name.encode())


def child(name: str = "net", local: str = "10.1.0.0/16", remote: str = "10.2.0.0/16", **more: Any) -> ChildSettings:
    return ChildSettings(name, more.pop("index", 0), (local,), (remote,), more.pop("offers", (ESP_GCM,)), LIFE, **more)


def peer(name: str = "b", local: str = "a", **more: Any) -> PeerSettings:
    """What one side, called `local`, knows of the other; the first of two mirrored ones unless told otherwise."""
    values: dict[str, Any] = {
        "name": name,
        "remote": B,
        "local": A,
        "local_id": fqdn(local),
        "remote_id": Exactly(fqdn(name)),
        "named": fqdn(name),
        "local_auth": LocalAuth(psk=PSK),
        "remote_auth": RemoteAuth(psk=PSK),
        "ike_offers": (GCM,),
        "children": (child(),),
        "lifetime": LIFE,
    }
    return PeerSettings(**values | more)


def mirrored(settings: PeerSettings, **more: Any) -> PeerSettings:
    """The other side's settings for the same connection."""
    assert isinstance(settings.remote_id, Exactly)
    values: dict[str, Any] = {
        "name": settings.local_id.data.decode(),
        "remote": settings.local,
        "local": settings.remote,
        "local_id": settings.remote_id.identity,
        "remote_id": Exactly(settings.local_id),
        "named": settings.local_id if settings.named is not None else None,
        "children": tuple(
            replace(
                one,
                local=one.remote,
                remote=one.local,
                local_ports=one.remote_ports,
                remote_ports=one.local_ports,
            )
            for one in settings.children
        ),
    }
    return replace(settings, **values | more)


def _nothing() -> None:
    """To be called."""


@dataclass
class Side:
    """One end: host, book and registry of its machine in one. `acks` is what an InstallInbound is answered with: "" or
    a sentence, None = nothing. `works` False: questions of work wait until answer() is called by hand. Answers come
    after `lag` seconds; of installs a share, `flaky`, fails."""

    name: str
    peers: tuple[PeerSettings, ...]
    limits: Limits = field(default_factory=Limits)
    keylog: bool = False
    seed: int = 1
    acks: str | None = ""
    works: bool = True
    lag: float = 0.0
    flaky: float = 0.0
    fresh: float | None = None
    machines: list[Machine] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    installed: dict[int, NegotiatedChild] = field(default_factory=dict)
    sending: dict[int, int] = field(default_factory=dict)  # child index -> SPI in use
    freed: list[int] = field(default_factory=list)
    spis: dict[bytes, Machine] = field(default_factory=dict)
    firsts: dict[bytes, Machine] = field(default_factory=dict)  # by the initiator's SPI of its first message
    leases: Leases = field(default_factory=Leases)
    parked: Parked = field(default_factory=lambda: Parked(32 << 20, _nothing))
    foreseen: bool = False  # errors of ours are what the test is about
    late: list[tuple[float, Machine, int, object]] = field(default_factory=list)  # answers on their way
    clock: float = 1_700_000_000.0
    outer: tuple[str, ...] = ()  # addresses, the one in use among them

    def __post_init__(self) -> None:
        self._chance = random.Random(f"{self.name}{self.seed}")
        self._spi = 0x100000 if self.name == "a" else 0x200000
        self._first = self._spi + 1
        self.named: set[int] = set()
        self.ikes: dict[int, int] = {}  # the machine of each child
        self.book = self

    # --- Host ---

    def random(self, count: int) -> bytes:
        return self._chance.randbytes(count)

    def wall(self) -> float:
        return self.clock

    def addresses(self, peer: str) -> tuple[str, ...]:
        return self.outer

    def new_spi(self, child: int, resource: int | None) -> int:
        self._spi += 1
        return self._spi

    def free_spi(self, spi: int) -> None:
        assert spi not in self.freed
        assert spi not in self.named
        self.freed.append(spi)

    def lost(self) -> set[int]:
        """SPIs that were given out and neither freed nor named to a worker, since the last restart."""
        return set(range(self._first, self._spi + 1)) - set(self.freed) - self.named

    def restart(self) -> None:
        """The process is gone, and with it every SA."""
        self.machines.clear()
        self.late.clear()
        self.installed.clear()
        self.sending.clear()
        self.spis.clear()
        self._first = self._spi + 1

    # --- PeerBook ---

    def by_name(self, name: str) -> PeerSettings | None:
        return next((one for one in self.peers if one.name == name), None)

    def by_address(self, path: Path) -> tuple[PeerSettings, ...]:
        return tuple(one for one in self.peers if one.remote in ("", path.remote))

    def by_identity(
        self, idi: Identity, idr: Identity | None, candidates: tuple[PeerSettings, ...]
    ) -> tuple[PeerSettings, ...]:
        return tuple(one for one in candidates if one.remote_id.matches(idi) and idr in (None, one.local_id))

    # --- Registry ---

    def claim(self, machine: Machine) -> bytes:
        spi = self.random(8)
        self.spis[spi] = machine
        return spi

    def release(self, spi: bytes) -> None:
        del self.spis[spi]

    def established(self, peer: str, identity: bytes = b"") -> tuple[Machine, ...]:
        return tuple(
            one
            for one in self.machines
            if one.established and one.sas and one.settings.name == peer and identity in (b"", one.remote_id)
        )

    # --- the machine's events ---

    @property
    def machine(self) -> Machine:
        return self.machines[-1]

    @property
    def sa(self) -> IkeSa:
        return self.machine.sa

    def drain(self, now: float) -> None:
        """Take every event, do what a host does, answer what is asked."""
        for machine in self.machines:
            while (event := machine.next_event()) is not None:
                self.events.append(event)
                self._heed(machine, event, now)

    def _heed(self, machine: Machine, event: Event, now: float) -> None:
        match event:
            case InstallInbound(ike=ike, ticket=ticket, child=negotiated):
                assert negotiated.spi_in not in self.named
                self.named.add(negotiated.spi_in)
                self.ikes[negotiated.spi_in] = ike
                ack = "no room" if self.acks == "" and self._chance.random() < self.flaky else self.acks
                if ack == "":
                    assert negotiated.spi_in not in self.installed
                    self.installed[negotiated.spi_in] = negotiated
                if ack is not None:
                    self._answer(machine, ticket, ack, now)
            case PathChanged(ike=ike, path=there, encap=encap):
                for spi, one in self.installed.items():  # those too that their machine waits for
                    if self.ikes[spi] == ike:
                        self.installed[spi] = replace(one, path=there, encap=encap)
            case UseOutbound(spi_in=spi_in, spi_out=spi_out, index=index):
                assert self.installed[spi_in].spi_out == spi_out
                self.sending[index] = spi_out
            case RetireChild(spi_in=spi_in, reason=reason):
                gone = self.installed.pop(spi_in, None)
                assert gone is not None or reason == "failed"
                if gone is not None and self.sending.get(gone.index) == gone.spi_out:
                    del self.sending[gone.index]
            case WorkWanted(ticket=ticket, job=job):
                if self.works:
                    self._answer(machine, ticket, outcome(job.run), now)
            case FreshWanted(ticket=ticket):
                self._answer(machine, ticket, self.fresh, now)
            case Fault(error=error):
                if not self.foreseen:
                    raise error
            case FetchWanted(ticket=ticket):
                if self.works:
                    self._answer(machine, ticket, None, now)
            case _:
                pass

    def _answer(self, machine: Machine, ticket: int, result: object, now: float) -> None:
        if self.lag:
            self.late.append((now + self.lag, machine, ticket, result))
        else:
            machine.answer(ticket, result, now)

    def told(self, kind: type[Found]) -> list[Found]:
        return [event for event in self.events if isinstance(event, kind)]

    def why(self) -> str:
        """Every log line, for a test that failed."""
        return "\n".join(f"{note.level}: {note.event} {note.fields}" for note in self.told(Note))


def outcome(run: Callable[[], object]) -> object:
    try:
        return run()
    except Exception as error:
        return error


@dataclass
class Wire:
    """What happens to a datagram: a function from its number, direction and bytes to the delays of its copies in
    seconds; () = lost. `log` keeps everything that was sent."""

    fate: Callable[[int, str, bytes], Iterable[float]] = lambda number, sender, data: (0.01,)
    log: list[tuple[str, bytes, Path]] = field(default_factory=list)


@dataclass
class Pair:
    """Sides a and b, time, and datagrams on their way."""

    a: Side
    b: Side
    wire: Wire = field(default_factory=Wire)
    now: float = 100.0
    flying: list[tuple[float, int, str, bytes, Path]] = field(default_factory=list)
    translate: Callable[[str, Path], Path] = lambda sender, path: path

    def connect(self, children: Iterable[str] | None = None) -> None:
        """Side a begins with its first peer and all its children, or those named."""
        settings = self.a.peers[0]
        path = Path(settings.local, settings.local_port, settings.remote, settings.remote_port)
        machine = Machine(len(self.a.machines), self.a, self.a, path, self.now)
        self.a.machines.append(machine)
        wanted = tuple((one, None) for one in settings.children if children is None or one.name in children)
        machine.connect(settings, wanted, self.now)
        self.settle()

    def side(self, name: str) -> Side:
        return self.a if name == "a" else self.b

    def settle(self) -> None:
        """Take what both have to say and put it on the wire."""
        for side in (self.a, self.b):
            side.drain(self.now)
            for machine in tuple(side.machines):
                for data, path in machine.messages_to_send(self.now):
                    self._fly(side.name, data, path)

    def _fly(self, sender: str, data: bytes, path: Path) -> None:
        number = len(self.wire.log)
        self.wire.log.append((sender, data, path))
        there = self.translate(sender, path)
        for delay in self.wire.fate(number, sender, data):
            self.flying.append((self.now + delay, number, sender, data, there))

    def step(self) -> bool:
        """Move the clock to the next thing that happens, and let it happen. False = nothing ever will."""
        late = [(side, one) for side in (self.a, self.b) for one in side.late]
        if late:
            side, first = min(late, key=lambda pair: pair[1][0])
            if first[0] <= (self._next() or first[0]):
                side.late.remove(first)
                self.now = max(self.now, first[0])
                first[1].answer(first[2], first[3], self.now)
                self.settle()
                return True
        timers = [(moment, one) for side in (self.a, self.b) for one in side.machines if (moment := one.get_timer())]
        landing = min(self.flying, default=None, key=lambda one: one[:2])
        due = min((moment for moment, _ in timers), default=None)
        if landing is None and due is None:
            return False
        if landing is not None and (due is None or landing[0] <= due):
            self.flying.remove(landing)
            self.now = max(self.now, landing[0])
            self.land("b" if landing[2] == "a" else "a", landing[3], landing[4])
        else:
            assert due is not None
            self.now = max(self.now, due)
            for moment, machine in timers:
                if moment <= self.now:
                    machine.handle_timer(self.now)
        self.settle()
        return True

    def land(self, name: str, data: bytes, sent: Path) -> None:
        """A datagram that was sent along `sent` comes to side `name`."""
        side = self.side(name)
        path = Path(sent.remote, sent.remote_port, sent.local, sent.local_port)
        if data == b"\xff":
            return
        initiator = bool(data[19] & 0x08) if len(data) > 19 else False
        machine = side.spis.get(data[8:16] if initiator else data[:8])
        if machine is None and initiator and data[8:16] == bytes(8):
            machine = side.firsts.get(data[:8])
            if machine is None or machine.done:
                machine = Machine(len(side.machines), side, side, path, self.now)
                side.machines.append(machine)
                side.firsts[data[:8]] = machine
        if machine is not None:
            machine.receive(data, path, self.now)

    def run(self, seconds: float) -> None:
        """Everything that happens in that time."""
        end = self.now + seconds
        while (moment := self._next()) is not None and moment <= end:
            self.step()
        self.now = end

    def _next(self) -> float | None:
        moments = [one.get_timer() for side in (self.a, self.b) for one in side.machines]
        moments += [one[0] for side in (self.a, self.b) for one in side.late]
        return min((*(moment for moment in moments if moment), *(one[0] for one in self.flying)), default=None)

    # --- what tests ask ---

    def up(self) -> bool:
        return all(side.machines and side.sa.state == State.ESTABLISHED for side in (self.a, self.b))

    def agree(self) -> None:
        """Both sides have the same children, mirrored, with the same keys and suites, and send on them."""
        assert len(self.a.installed) == len(self.b.installed), self.a.why() + self.b.why()
        others = {one.spi_out: one for one in self.b.installed.values()}
        for one in self.a.installed.values():
            other = others[one.spi_in]
            assert one.spi_out == other.spi_in
            assert (one.keys_in, one.keys_out) == (other.keys_out, other.keys_in)
            assert (one.suite, one.esn, one.ke, one.mode) == (other.suite, other.esn, other.ke, other.mode)
            assert (one.local, one.remote) == (other.remote, other.local)
            assert one.encap == other.encap
        for side in (self.a, self.b):
            assert set(side.sending) == {one.index for one in side.installed.values()}
            assert set(side.sending.items()) <= {(one.index, one.spi_out) for one in side.installed.values()}


def pair(settings: PeerSettings | None = None, theirs: PeerSettings | None = None, **limits: Any) -> Pair:
    """Two sides that know each other; `theirs` is b's view where it is not the mirror of a's."""
    ours = settings or peer()
    bounds = Limits(**limits)
    return Pair(Side("a", (ours,), bounds), Side("b", (theirs or mirrored(ours),), bounds))


def established(settings: PeerSettings | None = None, theirs: PeerSettings | None = None, **limits: Any) -> Pair:
    """The same after IKE_AUTH."""
    both = pair(settings, theirs, **limits)
    both.connect()
    both.run(5.0)
    assert both.up(), both.a.why() + both.b.why()
    return both


def downs(side: Side) -> list[tuple[str, int]]:
    return [(event.reason, event.notify) for event in side.told(IkeDown)]


def ups(side: Side) -> list[IkeUp]:
    return side.told(IkeUp)


def rows(side: Side) -> list[str]:
    return [event.row for event in side.told(KeyLog)]


def only_child(side: Side) -> int:
    """Inbound SPI of the one child that the newest machine has."""
    (spi,) = side.machine.sa.children
    return spi
