"""A peer with the right keys and no manners, before a whole gate: what it sends is sealed as it should be, and wrong.

Its handshake is an honest machine's, stopped where the test wants. Everything the gate says, logs and asks is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pair import Side, mirrored, peer

from xdpsec.ike.events import Event, IkeDown, Note, Path
from xdpsec.ike.gate import Gate
from xdpsec.ike.settings import Limits, PeerSettings
from xdpsec.ike.v2.machine import Machine
from xdpsec.ike.v2.make import Machines
from xdpsec.ike.v2.sa import IkeSa
from xdpsec.numbers import ExchangeType
from xdpsec.wire.header import Header
from xdpsec.wire.message import build_sealed, encode_payloads, parse_clear, parse_envelope, parse_payloads
from xdpsec.wire.payloads import Payload


class Voice:
    """The gate as the machine that Side.drain wants to talk with."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self.ike = gate, 0

    def next_event(self) -> Event | None:
        event = self.gate.next_event()
        if event is not None:
            self.ike = event.ike
        return event

    def answer(self, ticket: int, result: object, now: float) -> None:
        self.gate.answer(self.ike, ticket, result, now)


class Attacker:
    """`a` is ours, honest until it has keys; `b` is the host of the gate. `answers` are datagrams of the gate."""

    def __init__(self, settings: PeerSettings | None = None, theirs: PeerSettings | None = None, **limits: Any) -> None:
        ours = settings or peer()
        self.a, self.b = Side("a", (ours,)), Side("b", (theirs or mirrored(ours),), Limits(**limits))
        self.gate = Gate(self.b, Machines())
        self.b.machines = [Voice(self.gate)]  # type: ignore[list-item]
        self.now = 100.0
        self.answers: list[bytes] = []
        self.held: list[bytes] = []  # what a would send next
        self.next_id = 0
        first = self.b.peers[0]
        self.path = Path(first.local or ours.remote, 500, ours.local, 500)

    # --- the honest part ---

    def begin(self) -> bytes:
        """IKE_SA_INIT, not sent yet."""
        settings = self.a.peers[0]
        path = Path(settings.local, settings.local_port, settings.remote, settings.remote_port)
        machine = Machine(0, self.a, self.a, path, self.now)
        self.a.machines.append(machine)
        machine.connect(settings, tuple((one, None) for one in settings.children), self.now)
        return self.take()[0]

    def keyed(self) -> Attacker:
        """Both have keys, and IKE_AUTH lies in `held`."""
        self.send(self.begin())
        while not self.held:
            answers, self.answers = self.answers, []
            for data in answers:
                self.a.machine.receive(data, self.path_back(), self.now)
            self.held = self.take()
            if self.held and self.held[0][18] != ExchangeType.IKE_AUTH:
                for data in self.held:
                    self.send(data)
                self.held = []
        self.next_id = int.from_bytes(self.held[0][20:24], "big")
        return self

    def established(self) -> Attacker:
        """IKE_AUTH has been answered."""
        self.keyed()
        for _ in range(4):
            for data in self.held:
                self.send(data)
            for data in self.answers:
                self.a.machine.receive(data, self.path_back(), self.now)
            self.answers, self.held = [], self.take()
        self.next_id = self.a.sa.outbox.next_id
        assert self.machine.established, self.b.why()
        return self

    def called(self) -> Attacker:
        """The gate has begun, and our answer to its IKE_SA_INIT lies in `held`."""
        peer_name = self.b.peers[0].name
        self.gate.connect(peer_name, self.now, [(one.name, None) for one in self.b.peers[0].children])
        self.settle()
        self.a.machines.append(Machine(0, self.a, self.a, self.path_back(), self.now))
        self.a.machine.receive(self.answers[-1], self.path_back(), self.now)
        self.held = self.take()
        return self

    def trusted(self) -> Attacker:
        """The gate has begun and proved itself, and our proof lies in `held`."""
        self.called()
        while not self.machine.sa.asking or self.held[0][18] != ExchangeType.IKE_AUTH:
            self.answers.clear()
            for data in self.held:
                self.send(data)
            for data in self.answers:
                self.a.machine.receive(data, self.path_back(), self.now)
            self.held = self.take()
        return self

    def take(self) -> list[bytes]:
        """What a sends now."""
        self.a.drain(self.now)
        return [data for data, _ in self.a.machine.messages_to_send(self.now) if data != b"\xff"]

    def path_back(self) -> Path:
        """The same path as a sees it."""
        return Path(self.path.remote, self.path.remote_port, self.path.local, self.path.local_port)

    # --- the rest ---

    @property
    def machine(self) -> Machine:
        """The gate's newest."""
        machine = list(self.gate.machines.values())[-1]
        assert isinstance(machine, Machine)
        return machine

    @property
    def sa(self) -> IkeSa:
        """Ours, whose keys seal."""
        return self.a.sa

    def send(self, data: bytes, path: Path | None = None) -> None:
        """A datagram, as it is."""
        self.gate.receive(data, path or self.path, self.now)
        self.settle()

    def settle(self) -> None:
        self.b.drain(self.now)
        self.answers += [data for data, _ in self.gate.messages_to_send(self.now) if data != b"\xff"]

    def sealed(
        self, exchange: int, first: int, plaintext: bytes, response: bool = False, message_id: int | None = None
    ) -> bytes:
        """The message with that inside."""
        sealer = self.sa.sealer
        assert sealer is not None
        number = self.next_id if message_id is None else message_id
        head = Header(self.sa.spi_i, self.sa.spi_r, 0, 0x20, exchange, self.sa.initiator, response, number)

        def close(aad: bytes, text: bytes) -> bytes:
            return sealer.seal(aad, text, self.a.random)

        return build_sealed(head, first, plaintext, close, sealer.length)

    def ask(self, exchange: int, payloads: Sequence[Payload]) -> tuple[Payload, ...] | None:
        """A request with these payloads and what it was answered, None = not at all."""
        return self.ask_raw(exchange, *encode_payloads(payloads))

    def ask_raw(self, exchange: int, first: int, plaintext: bytes) -> tuple[Payload, ...] | None:
        self.answers.clear()
        self.send(self.sealed(exchange, first, plaintext))
        found = self.opened()
        if found is not None:
            self.next_id += 1
        return found

    def opened(self) -> tuple[Payload, ...] | None:
        """The payloads of the newest answer that is a response to us."""
        for data in reversed(self.answers):
            if data[19] & 0x20:
                if data[18] == ExchangeType.IKE_SA_INIT:
                    return parse_clear(data).payloads
                return self.open(data)
        return None

    def open(self, data: bytes) -> tuple[Payload, ...]:
        envelope = parse_envelope(data)
        assert self.sa.opener is not None
        plaintext = self.sa.opener.open(envelope.aad, envelope.body)
        return parse_payloads(envelope.first, plaintext, envelope.header.exchange)

    def auth(self) -> tuple[Payload, ...]:
        """The payloads of the honest IKE_AUTH that is held."""
        (data,) = self.held
        opener = self.machine.sa.opener
        envelope = parse_envelope(data)
        assert opener is not None
        plaintext = opener.open(envelope.aad, envelope.body)
        return parse_payloads(envelope.first, plaintext, envelope.header.exchange)

    def wait(self, seconds: float) -> None:
        """Nothing comes; the gate's timers ring."""
        end = self.now + seconds
        while (due := self.gate.get_timer()) is not None and due <= end:
            self.now = max(self.now, due)
            self.gate.handle_timer(self.now)
            self.settle()
        self.now = end

    def lines(self) -> list[str]:
        """What a person reads in the log, newest last."""
        return [" ".join((note.event, *(str(value) for _, value in note.fields))) for note in self.b.told(Note)]

    def downs(self) -> list[IkeDown]:
        return self.b.told(IkeDown)
