"""One machine is our side of the talk with one peer: its IKE SAs (two while one replaces the other) and five verbs.

Here: the one boundary for PeerError, what leaves, timers, and how steps wait (flow.py). What a message means is in the
exchanges' files, what may come when in table.py, message ids in window.py. `m.now` is the time of the verb under way.
RFC 7296 sec. 2.1 to 2.4, 2.21.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from xdpsec.errors import LocalError, PeerError
from xdpsec.ike.events import Counted, Event, IkeDown, Note, Path, PathChanged, RetireChild
from xdpsec.ike.leases import Leases
from xdpsec.ike.parked import Parked
from xdpsec.ike.settings import ChildSettings, Host, PeerSettings
from xdpsec.ike.throttle import Bucket
from xdpsec.ike.v2 import addresses, dispatch, followup, lifetimes, mobike, wishes, wreck
from xdpsec.ike.v2.flow import Ask, Question, Steps, Task
from xdpsec.ike.v2.sa import Child, Handshake, IkeSa, State
from xdpsec.ike.v2.upkeep import next_deadline, tick
from xdpsec.ike.window import Datagrams
from xdpsec.numbers import NotifyType
from xdpsec.wire.header import Header


class Registry(Protocol):
    """What a machine wants of the gate, which knows all machines."""

    def claim(self, machine: Any) -> bytes:
        """A fresh SPI of 8 bytes, not zero; messages for it come to this machine from now on."""
        ...

    def release(self, spi: bytes) -> None: ...

    @property
    def leases(self) -> Leases: ...

    @property
    def parked(self) -> Parked:
        """Fragments of machines that nobody has authenticated to."""
        ...

    def established(self, peer: str, identity: bytes = b"") -> tuple[Any, ...]:
        """Machines of this peer, and of this identity (identities.key) if given, whose IKE SA is authenticated."""
        ...


class Flow:
    """Steps that run, and what the boundary must know when they fail: `head` of the request that waits for a reply
    (None before it is authentic), `task` of the request that is being built or answered."""

    __slots__ = ("deadline", "fatal", "head", "path", "question", "sa", "steps", "task")

    def __init__(
        self, steps: Steps[None] | None, sa: IkeSa | None, path: Path | None, task: Task | None = None
    ) -> None:
        self.steps = steps
        self.sa = sa
        self.path = path
        self.task = task
        self.head: Header | None = None
        self.fatal = False
        self.question: Question | None = None
        self.deadline = 0.0


class Machine:
    """Made by `connect` or by the first IKE_SA_INIT that `receive` gets. The newest IKE SA is the last of `sas`."""

    __slots__ = (
        *(
            "number",
            "host",
            "registry",
            "peer",
            "remote_id",
            "sas",
            "now",
            "initiator",
            "established",
            "since",
            "first_spis",
            "waited",
            "creations",
        ),
        *("wanted", "peer_addresses", "told", "inner", "reauthenticate"),
        *("_datagrams", "_events", "_waiting", "_tickets", "_timer"),
    )

    def __init__(self, number: int, host: Host, registry: Registry, path: Path, now: float) -> None:
        self.number = number
        self.host = host
        self.registry = registry
        self.peer: PeerSettings | None = None
        self.remote_id = b""  # of the peer's identity (identities.key) once it has proved it
        self.first_spis = b""  # of the IKE SA in which it did so: both sides know the talk by them over rekeys
        self.creations: Bucket | None = None  # how often the peer may ask for new SAs, once it has asked
        self.waited = False  # once more, when it was time to leave (lifetimes.py)
        self.initiator = False
        self.established = False
        self.wanted: tuple[tuple[ChildSettings, int | None], ...] = ()  # children to open once that is possible
        self.peer_addresses: tuple[str, ...] = ()  # others that it says it has (RFC 4555)
        self.told: tuple[str, ...] | None = ()  # others that the peer knows we have
        self.inner: tuple[str, ...] = ()  # leased: to us if we began, to the peer else (configuration.py)
        self.reauthenticate = False  # the gate shall begin a new talk that takes over from this one
        self.since = self.now = now
        self._datagrams: list[tuple[bytes, Path]] = []
        self._events: list[Event] = []
        self._waiting: dict[int, Flow] | None = None
        self._tickets = 0
        self._timer: float | None = None
        sa = IkeSa(False, path, host.limits, now)
        sa.handshake = Handshake(now)
        self.sas: tuple[IkeSa, ...] = (sa,)

    @property
    def keyed(self) -> bool:
        """The peer answered the first message."""
        return bool(self.sas) and self.sas[-1].state != State.FRESH

    # --- the five verbs ---

    def receive(self, data: bytes, path: Path, now: float) -> None:
        """One datagram without its non-ESP marker. Never raises for anything in it."""
        self.now = now
        flow = Flow(None, None, path)
        flow.steps = dispatch.take(self, flow, data, path)
        self._run(flow)
        self._turn()

    def messages_to_send(self, now: float) -> list[tuple[bytes, Path]]:
        """Datagrams in order; a single byte 0xff is a NAT keepalive and goes without marker."""
        ready, self._datagrams = self._datagrams, []
        return ready

    def get_timer(self) -> float | None:
        """When to call handle_timer; None = not by time alone."""
        return self._timer

    def handle_timer(self, now: float) -> None:
        self.now = now
        for ticket, flow in tuple((self._waiting or {}).items()):
            if now >= flow.deadline:
                self._resume(ticket, PeerError("no answer in time from our own side", NotifyType.TEMPORARY_FAILURE))
        for sa in self.sas:
            tick(self, sa)
        self._turn()

    def next_event(self) -> Event | None:
        return self._events.pop(0) if self._events else None

    # --- what the host says beside ---

    def answer(self, ticket: int, result: Any, now: float) -> None:
        """The answer to an event with a ticket. One that comes too late, or twice, is nobody's."""
        self.now = now
        self._resume(ticket, result)
        self._turn()

    def awaits(self, ticket: int) -> bool:
        """False once the answer came, came too late, or whoever asked is gone."""
        return not self.done and ticket in (self._waiting or ())

    def connect(self, peer: PeerSettings, wanted: tuple[tuple[ChildSettings, int | None], ...], now: float) -> None:
        """Begin as initiator; only once, and instead of a first `receive`."""
        self.now = now
        wishes.connect(self, peer, wanted)
        self._turn()

    def close(self, now: float, reason: str = "closed", text: str = "closed from here") -> None:
        """Delete every IKE SA; IkeDown comes with the peer's answer, or without it after a while."""
        self.now = now
        wishes.close(self, reason, text)
        self._turn()

    def abandon(self, reason: str, text: str, now: float) -> None:
        """Drop everything at once, without a word to the peer."""
        self.now = now
        for sa in self.sas:
            self.bury(sa, reason, text)
        self._turn()

    def wreck(self, now: float) -> None:
        """We erred: whatever is left of it goes, at once and for good."""
        self.now = now
        wreck.wreck(self)

    def give_way(self, now: float, wait: float) -> None:
        """Another machine has taken over the peer: this one goes in so many seconds."""
        self.now = now
        wishes.outlived(self, wait)
        self._turn()

    def open_child(self, name: str, now: float, resource: int | None = None) -> None:
        """One more child, or one for the worker `resource` (RFC 9611). LocalError for a name that the peer has not."""
        self.now = now
        wishes.open_child(self, name, resource)
        self._turn()

    def rekey_child(self, spi_in: int, now: float) -> bool:
        """Replace a child: its workers have counted to a soft limit, or somebody asks. False: there is nothing to
        replace, or it is being replaced."""
        self.now = now
        begun = wishes.rekey_child(self, spi_in)
        self._turn()
        return begun

    def used(self, spi_in: int, now: float) -> None:
        """A packet opened on this child: the peer has it."""
        self.now = now
        for sa in self.sas:
            if (child := sa.children.get(spi_in)) is not None:
                child.prove_at = 0.0
        self._turn()

    def seen(self, spi_in: int, remote: str, port: int, now: float) -> None:
        """New authentic packets of this child, in UDP, come from there."""
        self.now = now
        for sa in self.sas:
            if spi_in in sa.children and dispatch.follows(self, sa):
                self.follow(sa, replace(sa.path, remote=remote, remote_port=port))
        self._turn()

    def close_child(self, spi_in: int, now: float) -> None:
        self.now = now
        wishes.close_child(self, spi_in)
        self._turn()

    def rekey_ike(self, now: float) -> None:
        self.now = now
        wishes.renew(self, self.sa)
        self._turn()

    def move(self, path: Path, now: float) -> None:
        """Run between other addresses from now on, where MOBIKE was agreed and we began (RFC 4555)."""
        self.now = now
        mobike.move(self, self.sa, path)
        self._turn()

    def readdress(self, now: float, local: str = "") -> None:
        """Our addresses are others: the peer is told. `local`: what we have now, where the one in use is gone."""
        self.now = now
        addresses.changed(self, local)
        self._turn()

    # --- what it is ---

    @property
    def sa(self) -> IkeSa:
        """The IKE SA that new exchanges use."""
        return self.sas[-1]

    @property
    def done(self) -> bool:
        """Nothing is left to say or to repeat: the gate may forget this machine."""
        return not self.sas and not self._events and not self._datagrams

    @property
    def half_open(self) -> bool:
        """A responder that nobody has authenticated to."""
        return not self.initiator and not self.established and bool(self.sas)

    @property
    def stands(self) -> bool:
        """The peer is authenticated, the IKE SA serves, and no other machine has taken over."""
        return bool(self.sas) and self.sa.state == State.ESTABLISHED and not self.sa.leave_at

    @property
    def settings(self) -> PeerSettings:
        """The peer's, once it is known."""
        if self.peer is None:
            raise LocalError("the peer of this IKE SA is not known yet")
        return self.peer

    @property
    def children(self) -> tuple[tuple[ChildSettings, int | None], ...]:
        """What a machine that takes over must open."""
        return tuple(dict.fromkeys((one.settings, one.resource) for one in self.sa.children.values()))

    # --- for exchanges: the world outside ---

    def emit(self, event: Event) -> None:
        self._events.append(event)

    def note(self, level: str, event: str, *fields: tuple[str, str | int], stranger: bool = False) -> None:
        name = self.peer.name if self.peer else ""
        self.emit(Note(self.number, level, event, (("peer", name), *fields) if name else fields, stranger))

    def count(self, name: str, label: str = "") -> None:
        self.emit(Counted(self.number, name, label))

    def send(self, sa: IkeSa, datagrams: Datagrams, path: Path | None = None) -> None:
        where = path or sa.path
        sa.sent = self.now
        self._datagrams += [(data, where) for data in datagrams]

    def ask(self, sa: IkeSa, task: Task, first: bool = False, alone: bool = False) -> None:
        """Begin this exchange when its turn comes; `first` before everything that waits, `alone` in place of what waits
        of its kind."""
        waiting = tuple(other for other in sa.tasks if type(other) is not type(task)) if alone else sa.tasks
        sa.tasks = (task, *waiting) if first else (*waiting, task)

    def follow(self, sa: IkeSa, path: Path) -> None:
        """Authentic messages of the peer come from elsewhere now: answer there, and tell the host."""
        if path != sa.path:
            sa.path = path
            if sa.state != State.KEYED:
                self.emit(PathChanged(self.number, path, sa.encap))

    def enter(self, sa: IkeSa, state: State) -> None:
        """The only function that changes an SA's state."""
        sa.state = state
        if state == State.ESTABLISHED:
            sa.handshake = None
            self.established = True

    def retire(self, sa: IkeSa, child: Child, reason: str) -> None:
        """The child is gone from the SA and from its workers."""
        if sa.children.pop(child.spi_in, None) is None:
            return
        self.emit(RetireChild(self.number, child.spi_in, child.spi_out, child.settings.index, reason))
        for old in sa.children.values():
            if old.successor == child.spi_in:  # it must live on, and try again
                old.successor, old.rival_nonce = 0, b""
                lifetimes.rekey_later(self, old)

    def bury(self, sa: IkeSa, reason: str, text: str, notify: int = 0) -> None:
        """The end of an IKE SA; with the last of them the peer is down. It lingers to repeat its last answer, without a
        secret. `reason` and `text` as of IkeDown."""
        if sa.state == State.DEAD:
            return
        self.enter(sa, State.DEAD)
        if any(other.children is sa.children for other in self.sas if other is not sa and not other.dead):
            sa.children = {}  # shared while both sides rekey the IKE SA at once
        self.lose(sa, "down", PeerError(text, notify))
        sa.forget()
        self.registry.parked.keep(self.number, None)
        sa.expire_at = self.now + (self.host.limits.linger if sa.inbox.reply else 0.0)
        if not sa.aside and all(other.dead or other.aside for other in self.sas):
            name = self.peer.name if self.peer else ""
            where = sa.path.remote
            self.emit(IkeDown(self.number, name, self.initiator, self.established, reason, text, notify, where))

    def lose(self, sa: IkeSa, reason: str, error: PeerError) -> None:
        """Children, steps and tasks of an SA that ends."""
        for child in tuple(sa.children.values()):
            wishes.elsewhere(self, child)
            self.retire(sa, child, reason)
        self._drop_flows(sa)
        followup.forget(self, sa)
        lost = [*([sa.asking.task] if sa.asking else []), *sa.tasks]
        sa.tasks = ()
        if sa.outbox.free:
            sa.asking = None
        for task in lost:
            task.refused(self, sa, error)

    def remove(self, sa: IkeSa) -> None:
        """Forget a buried SA for good."""
        self.sas = tuple(other for other in self.sas if other is not sa)
        if any(sa.spi_local):
            self.registry.release(sa.spi_local)

    # --- steps, and the boundary ---

    def _run(self, flow: Flow, answer: Any = None) -> None:
        """Run until the steps wait or end. The one place where a PeerError ends: it becomes an answer, or a word. What
        is none ends this machine, at the gate."""
        assert flow.steps is not None
        try:
            question = flow.steps.throw(answer) if isinstance(answer, BaseException) else flow.steps.send(answer)
            self._wait(flow, question)
        except StopIteration:
            return
        except PeerError as error:
            dispatch.refuse(self, flow, error)
        except Exception:
            wreck.disown(self, flow.question)
            raise

    def _wait(self, flow: Flow, question: Question) -> None:
        self._tickets += 1
        flow.question = question
        flow.deadline = self.now + question.seconds(self.host.limits)
        if self._waiting is None:
            self._waiting = {}
        self._waiting[self._tickets] = flow
        self.emit(question.event(self.number, self._tickets))

    def _resume(self, ticket: int, result: Any) -> None:
        flow = self._waiting.pop(ticket, None) if self._waiting else None
        if flow is not None:
            self._run(flow, result)

    def _drop_flows(self, sa: IkeSa) -> None:
        """Steps of a dead SA never go on."""
        for ticket, flow in tuple((self._waiting or {}).items()):
            if flow.sa is sa and flow.steps is not None and self._waiting is not None:
                del self._waiting[ticket]
                flow.steps.close()

    def _turn(self) -> None:
        """After every verb: begin what can begin, forget what is over, set the timer."""
        for sa in self.sas:
            self._begin(sa)
            if sa.state == State.DEAD and sa.expire_at <= self.now:
                self.remove(sa)
        if self._waiting is not None and not self._waiting:
            self._waiting = None
        due = [moment for sa in self.sas if (moment := next_deadline(self, sa))]
        due += [flow.deadline for flow in (self._waiting or {}).values()]
        self._timer = min(due) if due else None

    def _begin(self, sa: IkeSa) -> None:
        """The first task that is ready, if no exchange of ours is under way. One that ends without a request makes way
        for the next."""
        while sa.tasks and sa.asking is None and sa.outbox.free and sa.state != State.DEAD:
            task = next((task for task in sa.tasks if task.ready(sa)), None)
            if task is None:
                return
            sa.tasks = tuple(other for other in sa.tasks if other is not task)
            sa.asking = Ask(task, 0, ())
            flow = Flow(dispatch.begin(self, sa, task), sa, sa.path, task)
            self._run(flow)
