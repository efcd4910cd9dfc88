"""A gate that strangers and a peer with the right keys throw rubbish at for long holds no more than before."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import pytest
from attacker import Attacker
from pair import B, mirrored, peer

from xdpsec.numbers import ExchangeType as X
from xdpsec.numbers import NotifyType
from xdpsec.numbers import PayloadType as P
from xdpsec.wire.header import Header
from xdpsec.wire.message import build_clear, encode_payloads
from xdpsec.wire.payloads import Delete, Notify, Unknown

FIRST = Attacker().begin()
WARM, ROUNDS = 300, 1500
#: Bytes for all the rounds together: a dict that was resized. One pointer for each round would be more.
SLACK = 8_000


def head(exchange: int, number: int, message_id: int = 0, version: int = 0x20) -> Header:
    return Header(number.to_bytes(8, "big"), b"UNKNOWN!", 0, version, exchange, True, False, message_id)


def garbage(bad: Attacker, number: int) -> None:
    bad.send(bad.a.random(number % 200))


def other_versions(bad: Attacker, number: int) -> None:
    bad.send(build_clear(head(X.IKE_SA_INIT, number + 1, version=(0x10, 0x30)[number % 2]), ()))


def unknown_spis(bad: Attacker, number: int) -> None:
    bad.send(build_clear(head(X.INFORMATIONAL, number + 1), (Notify(7),)))


def first_messages(bad: Attacker, number: int) -> None:
    """From ever new addresses with ever new SPIs; more than may hang half open."""
    where = replace(bad.path, remote=f"10.{number >> 8}.{number & 255}.9")
    bad.send((number + 1).to_bytes(8, "big") + FIRST[8:], where)


def forged(bad: Attacker, number: int) -> None:
    """The right SPIs and message id; a bad checksum kills nothing (whole, and as fragments that never complete)."""
    kind, start = ((P.SK, b""), (P.SKF, b"\0\1\0\7"))[number % 2]
    body = Unknown(int(kind), False, start + bad.a.random(64))
    header = Header(bad.sa.spi_i, bad.sa.spi_r, 0, 0x20, X.INFORMATIONAL, True, False, bad.next_id)
    bad.send(build_clear(header, (body,)))


def repeats(bad: Attacker, number: int) -> None:
    """The same request over and over, answered each time."""
    if number == 0:
        bad.held = [bad.sealed(X.INFORMATIONAL, 0, b"")]
    bad.send(bad.held[0])
    assert bad.opened() == ()


def talk(bad: Attacker, number: int) -> None:
    """Requests that mean nothing, each answered."""
    strange = Delete(3, (number.to_bytes(4, "big"),))
    assert bad.ask(X.INFORMATIONAL, (strange, Notify(50000), Unknown(99, False, b"x"))) == ()
    assert bad.ask(X.IKE_FOLLOWUP_KE, (Notify(16441, b"nothing"),)) not in ((), None)


def moves(bad: Attacker, number: int) -> None:
    """It moves and moves (RFC 4555), and never answers what we ask it then."""
    where = replace(bad.path, remote=f"198.51.100.{number % 2 + 1}")
    list_of_two = [Notify(NotifyType.ADDITIONAL_IP4_ADDRESS, bytes((203, 0, 113, one))) for one in (1, 2)]
    bad.send(
        bad.sealed(X.INFORMATIONAL, *encode_payloads((Notify(NotifyType.UPDATE_SA_ADDRESSES), *list_of_two))), where
    )
    bad.next_id += 1


KINDS = (garbage, other_versions, unknown_spis, first_messages, forged, repeats, talk, moves)


@pytest.mark.parametrize("kind", KINDS)
def test_growth(kind: Callable[[Attacker, int], None]) -> None:
    anybody = mirrored(peer(), remote="")
    bad = Attacker(peer(), anybody, cookie_threshold=5, half_open=20).established()
    bad.b.outer = (B, "192.0.2.3")

    def rounds(first: int, count: int) -> int:
        for number in range(first, first + count):
            bad.now += 0.01
            kind(bad, number)
            bad.answers.clear()
            bad.b.events.clear()
        bad.wait(45.0)  # longer than a conversation may hang half open
        bad.answers.clear()
        bad.b.events.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = rounds(0, WARM)
        after = rounds(WARM, ROUNDS)
    finally:
        tracemalloc.stop()
    assert bad.machine.established
    assert len(bad.machine.sa.tasks) <= 2
    assert len(bad.gate.machines) == 1
    assert after - before < SLACK
