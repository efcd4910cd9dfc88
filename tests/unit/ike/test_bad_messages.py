"""What an authenticated peer may not send, and what a stranger may: answered or ignored, never fatal by accident.

RFC 7296 sec. 2.5, 2.21, 2.25; sealed by the peer's own keys where that is the point.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from pair import GCM, Pair, downs, established, pair, peer

from xdpsec.crypto import exchange
from xdpsec.ike.events import Counted, Path
from xdpsec.ike.v2 import sealing
from xdpsec.ike.v2.sa import State
from xdpsec.numbers import ExchangeType, Ke, NotifyType, Protocol
from xdpsec.wire.header import NO_SPI, Header
from xdpsec.wire.message import build_clear, parse_payloads
from xdpsec.wire.payloads import Delete, KeyExchange, Nonce, Notify, Payload, Unknown

INFORMATIONAL, CREATE = ExchangeType.INFORMATIONAL, ExchangeType.CREATE_CHILD_SA


def send(both: Pair, exchange: int, *payloads: Payload, message_id: int | None = None) -> tuple[Payload, ...] | None:
    """The initiator seals a request of the test's making; what the responder answers, None = nothing."""
    sa = both.a.machines[-1].sas[-1]
    number = sa.outbox.next_id if message_id is None else message_id
    head = sealing.header(sa, exchange, number, response=False)
    datagrams, _ = sealing.seal(sa, head, payloads, both.a.random, 0)
    sent = len(both.wire.log)
    both.b.machine.receive(datagrams[0], both.b.machine.sas[-1].path, both.now)
    both.settle()
    answers = both.wire.log[sent:]
    if not answers:
        return None
    ((_, data, _),) = answers
    opened = sealing.unseal(sa, data)
    assert opened is not None
    return parse_payloads(opened[0], opened[1], exchange)


def test_unknown_payload_is_skipped() -> None:
    both = established()
    assert send(both, INFORMATIONAL, Unknown(200, False, b"what")) == ()
    assert both.b.sa.state == State.ESTABLISHED


def test_unknown_critical_payload_is_named_and_not_fatal() -> None:
    both = established()
    answer = send(both, INFORMATIONAL, Unknown(200, True, b"what"))
    assert answer == (Notify(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, b"\xc8"),)
    assert both.b.sa.state == State.ESTABLISHED
    assert both.b.installed


FATAL: tuple[tuple[int, tuple[Payload, ...]], ...] = (
    (INFORMATIONAL, (Nonce(b"n" * 32),)),
    (CREATE, (Delete(Protocol.IKE),)),
    (240, ()),
    (ExchangeType.IKE_AUTH, ()),
    (ExchangeType.IKE_INTERMEDIATE, ()),
)


@pytest.mark.parametrize(("exchange", "payloads"), FATAL, ids=str)
def test_invalid_syntax_of_an_authentic_peer_ends_the_ike_sa(exchange: int, payloads: tuple[Payload, ...]) -> None:
    """Both sides take it for the end, without a delete (sec. 2.21.3)."""
    both = established()
    assert send(both, exchange, *payloads) == (Notify(NotifyType.INVALID_SYNTAX),)
    assert downs(both.b) == [("refused", NotifyType.INVALID_SYNTAX)]
    assert not both.b.installed


@pytest.mark.parametrize("ahead", [1, 2, 1000, 0x7FFFFFFF])
def test_ids_beyond_the_window_are_ignored(ahead: int) -> None:
    both = established()
    assert send(both, INFORMATIONAL, message_id=both.a.sa.outbox.next_id + ahead) is None
    assert both.b.sa.state == State.ESTABLISHED
    assert send(both, INFORMATIONAL) == ()


def test_child_before_authentication_ends_the_half_open_sa() -> None:
    both = pair()
    both.wire.fate = lambda number, sender, data: (0.01,) if data[18] == 34 else ()
    both.connect()
    both.run(0.1)
    assert both.b.sa.state == State.KEYED
    answer = send(both, CREATE, Nonce(b"n" * 32), message_id=1)
    assert answer == (Notify(NotifyType.INVALID_SYNTAX),)
    assert downs(both.b) == [("refused", NotifyType.INVALID_SYNTAX)]


def test_additional_key_exchange_is_the_one_that_was_agreed() -> None:
    """A value that would do, under the number of another method."""
    both = pair(peer(ike_offers=(replace(GCM, extra=((Ke.ML_KEM_768,),)),)))
    both.wire.fate = lambda number, sender, data: (0.01,) if data[18] == 34 else ()
    both.connect()
    both.run(0.1)
    value = exchange.start(Ke.ML_KEM_768, both.a.random).public
    answer = send(both, ExchangeType.IKE_INTERMEDIATE, KeyExchange(Ke.ML_KEM_1024, value), message_id=1)
    assert answer == (Notify(NotifyType.INVALID_SYNTAX),)
    assert downs(both.b) == [("refused", NotifyType.INVALID_SYNTAX)]


def clear(both: Pair, *, flags: dict[str, bool], exchange: int = INFORMATIONAL, payloads: tuple[Payload, ...]) -> bytes:
    head = Header(both.b.sa.spi_i, both.b.sa.spi_r, 0, 0x20, exchange, message_id=2, **flags)
    return build_clear(head, payloads)


@pytest.mark.parametrize("kind", [NotifyType.INVALID_IKE_SPI, NotifyType.AUTHENTICATION_FAILED, NotifyType.INVALID_SPI])
@pytest.mark.parametrize("response", [True, False])
def test_errors_in_the_clear_change_nothing(kind: int, response: bool) -> None:
    """A stranger sends them as easily as the peer (sec. 2.21.4)."""
    both = established()
    data = clear(both, flags={"initiator": True, "response": response}, payloads=(Notify(kind),))
    sent = len(both.wire.log)
    both.b.machine.receive(data, both.b.sa.path, both.now)
    both.settle()
    assert len(both.wire.log) == sent
    assert both.b.sa.state == State.ESTABLISHED
    both.run(1.0)
    both.agree()


def test_delete_in_the_clear_changes_nothing() -> None:
    both = established()
    head = Header(both.b.sa.spi_i, both.b.sa.spi_r, 0, 0x20, INFORMATIONAL, True, False, 2)
    data = bytearray(build_clear(head, (Unknown(42, False, b"\1\0\0\0"),)))
    both.b.machine.receive(bytes(data), both.b.sa.path, both.now)
    both.settle()
    assert both.b.installed


@pytest.mark.parametrize("version", [0x10, 0x30, 0xF0])
def test_other_major_version(version: int) -> None:
    both = established()
    head = Header(both.b.sa.spi_i, both.b.sa.spi_r, 0, version, INFORMATIONAL, True, False, 2)
    sent = len(both.wire.log)
    both.b.machine.receive(build_clear(head, ()), both.b.sa.path, both.now)
    both.settle()
    assert len(both.wire.log) == sent
    assert both.b.sa.state == State.ESTABLISHED


def test_minor_version_is_ignored() -> None:
    """sec. 2.5: a higher minor version is no reason to refuse."""
    both = pair()
    both.connect()
    ((_, data, path),) = both.wire.log
    both.flying.clear()
    both.land("b", data[:17] + b"\x2f" + data[18:], path)
    both.settle()
    assert both.b.sa.state == State.KEYED


def test_message_for_nobody_is_silence() -> None:
    """The gate says more, and limits its rate; a machine never does."""
    both = established()
    head = Header(b"x" * 8, b"y" * 8, 0, 0x20, INFORMATIONAL, True, False, 0)
    sent = len(both.wire.log)
    both.b.machine.receive(build_clear(head, ()), both.b.sa.path, both.now)
    both.settle()
    assert len(both.wire.log) == sent
    assert both.b.told(Counted)[-1].label == "unknown SPI"


def test_reflected_message_is_ignored() -> None:
    """Our own message sent back to us has the flag of the wrong side."""
    both = established()
    ours = [(data, path) for who, data, path in both.wire.log if who == "b"]
    for data, path in ours:
        both.b.machine.receive(data, Path(path.local, path.local_port, path.remote, path.remote_port), both.now)
        both.settle()
        assert both.b.told(Counted)[-1].label == "unknown SPI"
    assert both.b.sa.state == State.ESTABLISHED
    both.agree()


@pytest.mark.parametrize("size", [0, 1, 4, 27, 28, 33])
def test_short_datagrams(size: int) -> None:
    both = established()
    request = [data for who, data, _ in both.wire.log if who == "a"][1]
    both.b.machine.receive(request[:size], both.b.sa.path, both.now)
    assert both.b.sa.state == State.ESTABLISHED


def test_no_machine_without_an_initiators_spi() -> None:
    both = pair(peer())
    both.connect()
    ((_, data, path),) = both.wire.log
    both.flying.clear()
    both.land("b", NO_SPI + data[8:], path)
    both.settle()
    assert not both.b.spis
