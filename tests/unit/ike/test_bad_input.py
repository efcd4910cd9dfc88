"""What a stranger, and a peer with the right keys, can send before a whole gate: each row is refused with its notify
and a line that a person understands, and a while later nothing is left of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from attacker import Attacker
from authority import Authority
from pair import PSK, mirrored, peer
from wire_cases import CASES, Case

from xdpsec.crypto.trust import Trust
from xdpsec.ike.settings import RemoteAuth
from xdpsec.ike.v2.sa import State
from xdpsec.numbers import ExchangeType as X
from xdpsec.numbers import NotifyType as N
from xdpsec.numbers import PayloadType as P
from xdpsec.wire.fragments import split
from xdpsec.wire.header import Header, build_header
from xdpsec.wire.message import build_clear, encode_payloads, parse_clear
from xdpsec.wire.payloads import (
    Auth,
    Certificate,
    CertificateRequest,
    Configuration,
    Delete,
    IdInitiator,
    IdResponder,
    KeyExchange,
    Nonce,
    Notify,
    Payload,
    Proposal,
    SecurityAssociation,
    Selector,
    Transform,
    TsInitiator,
    TsResponder,
    Unknown,
)

#: Longer than liveness, every retransmission and all that lingers.
SILENCE = 1000.0
Edit = Callable[[list[Payload]], Iterable[Payload]]


def nothing_left(bad: Attacker) -> None:
    """After a long silence of the peer."""
    bad.wait(SILENCE)
    gate = bad.gate
    assert (gate.machines, gate.by_spi, gate.openings, gate.first_messages) == ({}, {}, {}, {}), bad.lines()
    assert not bad.b.installed
    assert not gate.leases.held
    assert gate.get_timer() is None


def told(bad: Attacker, sentence: str) -> None:
    """The log has it, in lines that fit a terminal or two."""
    assert any(sentence in line for line in bad.lines()), bad.lines()
    assert all(len(line) < 1000 for line in bad.lines())


# --- every payload of the codec, in the state where it belongs ---


def first_message(bad: Attacker, first: int, plaintext: bytes) -> tuple[Payload, ...]:
    """IKE_SA_INIT with these payloads, and what a stranger is told; never more than twice what it sent."""
    head = Header(b"INITIATE", bytes(8), 0, 0x20, X.IKE_SA_INIT, True, False, 0)
    data = build_header(head, first, 28 + len(plaintext)) + plaintext
    bad.send(data)
    assert sum(len(answer) for answer in bad.answers) <= 2 * len(data)
    return bad.opened() or ()


def say(case: Case, plaintext: bytes, first: int | None = None) -> tuple[Attacker, tuple[Payload, ...] | None]:
    """To a gate in the state in which the payload belongs; sealed when that is not IKE_SA_INIT."""
    kind = case.kind if first is None else first
    if case.exchange == X.IKE_SA_INIT:
        bad = Attacker()
        return bad, first_message(bad, kind, plaintext)
    bad = Attacker().keyed() if case.exchange == X.IKE_AUTH else Attacker().established()
    return bad, bad.ask_raw(case.exchange, kind, plaintext)


def generic(body: bytes, following: int = 0, length: int | None = None) -> bytes:
    return bytes((following, 0)) + (len(body) + 4 if length is None else length).to_bytes(2, "big") + body


def truncated(case: Case) -> bytes:
    """At the longest length that is no payload; a payload that may be empty says that there is more than there is."""
    lengths = [length for length in range(len(case.octets)) if length not in case.cuts]
    return generic(case.octets[: lengths[-1]]) if lengths else generic(case.octets, length=len(case.octets) + 5)


def oversized(case: Case) -> bytes:
    return generic(case.octets, length=65535)


def repeated(case: Case) -> bytes:
    return encode_payloads((case.value,) * 65)[1]


def nested(case: Case) -> bytes:
    """The payload, and behind it an encrypted one."""
    return generic(case.octets, following=P.SK) + generic(bytes(64))


@pytest.mark.parametrize("how", [truncated, oversized, repeated, nested])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_payload(case: Case, how: Callable[[Case], bytes]) -> None:
    bad, answer = say(case, how(case))
    assert answer == (Notify(N.INVALID_SYNTAX),)
    told(bad, "encrypted payload" if how is nested else "payload")
    assert [down.notify for down in bad.downs()] == [N.INVALID_SYNTAX]
    nothing_left(bad)


@pytest.mark.parametrize("case", [case for case in CASES if case.exchange == X.IKE_AUTH], ids=lambda case: case.name)
def test_payload_in_the_wrong_exchange(case: Case) -> None:
    bad = Attacker().established()
    assert bad.ask(X.INFORMATIONAL, (case.value,)) in ((Notify(N.INVALID_SYNTAX),), ())
    if case.kind != P.CP:
        told(bad, "does not belong into INFORMATIONAL")
    nothing_left(bad)


@pytest.mark.parametrize("case", [case for case in CASES if case.exchange != X.IKE_SA_INIT], ids=lambda case: case.name)
def test_payload_in_the_clear_does_nothing(case: Case) -> None:
    """Nobody has authenticated it: a line at most, no answer, and what stands goes on standing."""
    bad = Attacker().keyed() if case.exchange == X.IKE_AUTH else Attacker().established()
    head = Header(bad.sa.spi_i, bad.sa.spi_r, 0, 0x20, case.exchange, True, False, bad.next_id)
    before = len(bad.answers)
    bad.send(build_clear(head, (case.value,)))
    assert len(bad.answers) == before
    assert bad.downs() == []
    if case.kind not in (P.NOTIFY, 200):
        told(bad, "must be encrypted")
    if case.exchange != X.IKE_AUTH:
        assert bad.ask(X.INFORMATIONAL, ()) == ()


@pytest.mark.parametrize("state", ["keyed", "established"])
def test_first_message_again_in_the_clear_harms_nothing(state: str) -> None:
    """The SPIs are no secret, and the next message id is easily guessed."""
    bad = getattr(Attacker(), state)()
    for number in (0, bad.next_id):
        for payloads in ((), (Nonce(b"n" * 32),), (Unknown(99, True, b""),)):
            head = Header(bad.sa.spi_i, bad.sa.spi_r, 0, 0x20, X.IKE_SA_INIT, True, False, number)
            bad.send(build_clear(head, payloads))
    assert bad.downs() == []
    if state == "keyed":
        assert bad.ask(X.IKE_AUTH, bad.auth()) is not None
        assert bad.machine.established
    else:
        assert bad.ask(X.INFORMATIONAL, ()) == ()


# --- rows: what is whole, and wrong ---


def without(*kinds: type) -> Edit:
    return lambda payloads: [one for one in payloads if type(one) not in kinds]


def instead(value: Payload) -> Edit:
    """In the place of the payload of its class."""
    return lambda payloads: [value if type(one) is type(value) else one for one in payloads]


def also(*values: Payload) -> Edit:
    return lambda payloads: [*payloads, *values]


def transforms(count: int, protocol: int = 1, spi: bytes = b"") -> SecurityAssociation:
    """That many of a kind that nobody has, in as many proposals as they need."""
    rows = tuple(Transform(4, 1000 + index) for index in range(count))
    parts = (rows[:200], rows[200:])
    return SecurityAssociation(tuple(Proposal(1 + at, protocol, spi, part) for at, part in enumerate(parts) if part))


def proposal(protocol: int, spi: bytes, *rows: Transform) -> SecurityAssociation:
    return SecurityAssociation((Proposal(1, protocol, spi, rows),))


GCM = Transform(1, 20, 256)
FIRST: dict[str, tuple[Edit, Notify, str]] = {
    "no SA": (without(SecurityAssociation), Notify(N.INVALID_SYNTAX), "without SA, KE or nonce"),
    "no KE": (without(KeyExchange), Notify(N.INVALID_SYNTAX), "without SA, KE or nonce"),
    "no nonce": (without(Nonce), Notify(N.INVALID_SYNTAX), "without SA, KE or nonce"),
    "short key": (instead(KeyExchange(31, b"x" * 31)), Notify(N.INVALID_SYNTAX), "31 bytes instead of 32"),
    "long key": (instead(KeyExchange(31, b"x" * 999)), Notify(N.INVALID_SYNTAX), "999 bytes instead of 32"),
    "key of low order": (instead(KeyExchange(31, bytes(32))), Notify(N.INVALID_SYNTAX), "low order"),
    "another group": (instead(KeyExchange(999, b"x")), Notify(N.INVALID_KE_PAYLOAD, b"\0\x1f"), "X25519 it is"),
    "255 transforms": (instead(transforms(255)), Notify(N.NO_PROPOSAL_CHOSEN), "more; we accept X25519"),
    "256 transforms": (instead(transforms(256)), Notify(N.INVALID_SYNTAX), "255 transforms"),
    "nothing for IKE": (instead(proposal(3, b"abcd", GCM)), Notify(N.NO_PROPOSAL_CHOSEN), "nothing for this protocol"),
    "no transform": (instead(proposal(1, b"")), Notify(N.NO_PROPOSAL_CHOSEN), "the peer offers NONE"),
    "critical": (also(Unknown(99, True, b"")), Notify(N.UNSUPPORTED_CRITICAL_PAYLOAD, b"c"), "unknown type 99"),
    "65 payloads": (also(*[Notify(50000)] * 65), Notify(N.INVALID_SYNTAX), "64 payloads"),
    "17 requests": (also(*[CertificateRequest(4, b"")] * 17), Notify(N.INVALID_SYNTAX), "more than 16 times"),
}


@pytest.mark.parametrize("name", FIRST)
def test_first_message(name: str) -> None:
    edit, notify, sentence = FIRST[name]
    bad = Attacker()
    honest = bad.begin()
    payloads = edit(list(parse_clear(honest).payloads))
    assert first_message(bad, *encode_payloads(tuple(payloads))) == (notify,)
    told(bad, sentence)
    told(bad, bad.path.remote)
    # what was refused stands in nobody's way
    assert bad.gate.openings == {}
    bad.send(honest)
    assert bad.machine.half_open
    nothing_left(bad)


FAILED = Notify(N.AUTHENTICATION_FAILED)
PROOF: dict[str, tuple[Edit, Notify, str]] = {
    "no AUTH": (without(Auth), FAILED, "forgot IDi or AUTH"),
    "no IDi": (without(IdInitiator), FAILED, "forgot IDi or AUTH"),
    "wrong secret": (instead(Auth(2, b"x" * 32)), FAILED, "the shared secrets differ"),
    "short proof": (instead(Auth(2, b"x")), FAILED, "the shared secrets differ"),
    "unknown method": (instead(Auth(77, b"x" * 32)), FAILED, "may not authenticate by method 77"),
    "a signature": (instead(Auth(14, b"\x05abcdex")), FAILED, "may not authenticate by method 14"),
    "somebody else": (instead(IdInitiator(2, b"mallory")), FAILED, "no peer mallory"),
    "a strange kind of name": (instead(IdInitiator(200, b"?")), FAILED, "no peer type 200 0x3f"),
    "an endless name": (instead(IdInitiator(2, b"m" * 60000)), FAILED, "no peer mmm"),
    "an address of three bytes": (instead(IdInitiator(1, b"abc")), FAILED, "no peer type 1 0x616263"),
    "a name that breaks lines": (instead(IdInitiator(2, b"a\nb")), FAILED, "no peer 0x610a62"),
    "another name for us": (instead(IdResponder(2, b"nobody")), FAILED, "calls us nobody"),
    "17 certificates": (also(*[Certificate(4, b"x")] * 17), Notify(N.INVALID_SYNTAX), "more than 16 times"),
    "a key exchange": (also(KeyExchange(31, b"x" * 32)), Notify(N.INVALID_SYNTAX), "KE payload does not belong"),
    "critical": (also(Unknown(99, True, b"")), Notify(N.UNSUPPORTED_CRITICAL_PAYLOAD, b"c"), "unknown type 99"),
}


@pytest.mark.parametrize("name", PROOF)
def test_proof(name: str) -> None:
    edit, notify, sentence = PROOF[name]
    bad = Attacker().keyed()
    assert bad.ask(X.IKE_AUTH, tuple(edit(list(bad.auth())))) == (notify,)
    told(bad, sentence)
    assert not bad.machine.established
    assert not bad.b.installed
    nothing_left(bad)


CHILD: dict[str, tuple[Edit, int, str]] = {
    "no selectors": (without(TsInitiator), N.INVALID_SYNTAX, "needs an SA payload and traffic selectors"),
    "others' selectors": (
        instead(TsInitiator((Selector(7, 0, 0, 65535, b"\1\1\1\1", b"\1\1\1\1"),))),
        N.TS_UNACCEPTABLE,
        "traffic selectors",
    ),
    "strange selectors": (
        instead(TsInitiator((Selector(9, 0, 0, 0, b"\1" * 9, b""),))),
        N.TS_UNACCEPTABLE,
        "selectors",
    ),
    "255 transforms": (instead(transforms(255, 3, b"\0\0\x50\1")), N.NO_PROPOSAL_CHOSEN, "no proposal for child net"),
    "no SPI": (instead(proposal(3, bytes(4), GCM, Transform(5, 0))), N.INVALID_SYNTAX, "SPI 0 is reserved"),
    "a reserved SPI": (instead(proposal(3, b"\0\0\0\xff", GCM, Transform(5, 0))), N.INVALID_SYNTAX, "255 is reserved"),
}


@pytest.mark.parametrize("name", CHILD)
def test_first_child(name: str) -> None:
    """The IKE SA stands without it (RFC 7296 sec. 1.2)."""
    edit, notify, sentence = CHILD[name]
    bad = Attacker().keyed()
    answer = bad.ask(X.IKE_AUTH, tuple(edit(list(bad.auth())))) or ()
    assert [one.kind for one in answer if type(one) is Notify and one.is_error] == [notify]
    assert any(type(one) is Auth for one in answer)
    told(bad, sentence)
    assert bad.machine.established
    assert not bad.b.installed
    nothing_left(bad)


KE, NONCE = KeyExchange(31, bytes(range(9, 41))), Nonce(b"n" * 32)
ESP = proposal(3, b"\0\0\x50\1", GCM, Transform(4, 31), Transform(5, 0))
TS = (
    TsInitiator((Selector(7, 0, 0, 65535, b"\x0a\1\0\0", b"\x0a\1\xff\xff"),)),
    TsResponder((Selector(7, 0, 0, 65535, b"\x0a\2\0\0", b"\x0a\2\xff\xff"),)),
)


def new_ike(spi: bytes) -> SecurityAssociation:
    return proposal(1, spi, GCM, Transform(2, 5), Transform(4, 31))


SYNTAX = Notify(N.INVALID_SYNTAX)
WRONG_GROUP = Notify(N.INVALID_KE_PAYLOAD, b"\0\x1f")
#: Exchange, payloads, answer, words of the log, does the IKE SA survive?
LATER: dict[str, tuple[int, tuple[Payload, ...], Notify, str, bool]] = {
    "no nonce": (X.CREATE_CHILD_SA, (ESP, KE, *TS), SYNTAX, "without a nonce", False),
    "no selectors": (X.CREATE_CHILD_SA, (ESP, NONCE, KE), SYNTAX, "traffic selectors", False),
    "key of low order": (
        *(X.CREATE_CHILD_SA, (ESP, NONCE, KeyExchange(31, bytes(32)), *TS)),
        *(SYNTAX, "low order", False),
    ),
    "no key": (X.CREATE_CHILD_SA, (ESP, NONCE, *TS), WRONG_GROUP, "the peer sends NONE", True),
    "another group": (
        *(X.CREATE_CHILD_SA, (ESP, NONCE, KeyExchange(19, bytes(64)), *TS)),
        *(WRONG_GROUP, "the peer sends ECP_256", True),
    ),
    "an IKE SA without SPI": (X.CREATE_CHILD_SA, (new_ike(b""), NONCE, KE), SYNTAX, "without an SPI", False),
    "an IKE SA with SPI zero": (X.CREATE_CHILD_SA, (new_ike(bytes(8)), NONCE, KE), SYNTAX, "without an SPI", False),
    "an IKE SA without keys": (X.CREATE_CHILD_SA, (new_ike(b"NEWIKESA"), NONCE), SYNTAX, "or key exchange", False),
    "keys for nothing": (X.IKE_FOLLOWUP_KE, (KE,), Notify(N.STATE_NOT_FOUND), "nothing here waits for", True),
    "authentication again": (X.IKE_AUTH, (), SYNTAX, "IKE_AUTH does not belong into state ESTABLISHED", False),
    "an exchange of nobody's": (240, (), SYNTAX, "240 does not belong", False),
    "two configurations": (X.INFORMATIONAL, (Configuration(1), Configuration(1)), SYNTAX, "more than 1 times", False),
    "nine deletes": (X.INFORMATIONAL, (Delete(3, (b"\0\0\x10\1",)),) * 9, SYNTAX, "more than 8 times", False),
    "critical": (
        *(X.INFORMATIONAL, (Unknown(99, True, b""),)),
        *(Notify(N.UNSUPPORTED_CRITICAL_PAYLOAD, b"c"), "unknown type 99", True),
    ),
}


@pytest.mark.parametrize("name", LATER)
def test_later(name: str) -> None:
    exchange, payloads, notify, sentence, survives = LATER[name]
    bad = Attacker().established()
    assert bad.ask(exchange, payloads) == (notify,)
    told(bad, sentence)
    assert (bad.downs() == []) is survives
    assert (len(bad.b.installed) == 1) is survives
    if survives:
        assert bad.ask(X.INFORMATIONAL, ()) == ()
    nothing_left(bad)


def test_deletes_of_what_is_not_there() -> None:
    """A peer may be late (RFC 7296 sec. 1.4.1): an empty answer, however many they are."""
    bad = Attacker().established()
    strange = Delete(3, tuple((0x10000 + index).to_bytes(4, "big") for index in range(256)))
    assert bad.ask(X.INFORMATIONAL, (strange,) * 8) == ()
    assert len(bad.b.installed) == 1


# --- what adds up ---


def pieces(bad: Attacker, largest: int, *sizes: int) -> list[bytes]:
    """One message with payloads of these many bytes, in fragments that are sealed as they should be."""
    sealer = bad.sa.sealer
    assert sealer is not None
    head = Header(bad.sa.spi_i, bad.sa.spi_r, 0, 0x20, X.IKE_AUTH, True, False, bad.next_id)
    first, text = encode_payloads([Unknown(99, False, bytes(size)) for size in sizes])
    return split(head, first, text, lambda aad, part: sealer.seal(aad, part, bad.a.random), sealer.length, largest)


def test_fragments_that_never_complete() -> None:
    """Each of them twice, then all but the last of ever more: one message's worth is held, and only for as long as a
    conversation may hang half open."""
    bad = Attacker().keyed()
    for largest in (16000, 4000, 1200, 600):
        for data in pieces(bad, largest, 60000)[:-1] * 2:
            bad.send(data)
            held = bad.machine.sa.reassembly
            assert held is not None
            assert held.size <= 65536
    assert bad.machine.half_open
    assert bad.opened() is None
    nothing_left(bad)


def test_fragments_that_are_too_much_together() -> None:
    bad = Attacker().keyed()
    for data in pieces(bad, 16000, 60000, 60000):
        bad.send(data)
    told(bad, "fragments of a message of more than 65536 bytes")
    held = bad.machine.sa.reassembly
    assert held is None or held.size <= 65536
    assert bad.machine.half_open
    nothing_left(bad)


def test_children_without_end() -> None:
    bad = Attacker(children=8).established()
    for number in range(20):
        esp = proposal(3, (0x6000 + number).to_bytes(4, "big"), GCM, Transform(4, 31), Transform(5, 0))
        answer = bad.ask(X.CREATE_CHILD_SA, (esp, NONCE, KE, *TS)) or ()
        kinds = [one.kind for one in answer if type(one) is Notify]
        assert kinds == ([] if number < 7 else [N.NO_ADDITIONAL_SAS])
    assert len(bad.b.installed) == 8
    nothing_left(bad)


def test_new_sas_faster_than_anybody_needs_them() -> None:
    """Beyond some at once and some a second a peer is asked to wait, which costs nothing; what it has goes on."""
    bad = Attacker(children=8, creations=10.0, creations_at_once=20.0).established()
    made = 0
    for number in range(200):
        esp = proposal(3, (0x6000 + number).to_bytes(4, "big"), GCM, Transform(4, 31), Transform(5, 0))
        answer = bad.ask(X.CREATE_CHILD_SA, (esp, NONCE, KE, *TS)) or ()
        if N.TEMPORARY_FAILURE not in [one.kind for one in answer if type(one) is Notify]:
            made += 1
        bad.now += 0.01
    assert 20 <= made <= 41
    assert bad.ask(X.INFORMATIONAL, ()) == ()
    bad.now += 10.0
    answer = bad.ask(X.CREATE_CHILD_SA, (esp, NONCE, KE, *TS)) or ()
    assert N.TEMPORARY_FAILURE not in [one.kind for one in answer if type(one) is Notify]
    nothing_left(bad)


@pytest.mark.parametrize("deletes", [False, True])
def test_rekeys_of_the_ike_sa_without_end(deletes: bool) -> None:
    """A peer that never deletes the IKE SA that it has replaced is asked to wait, and goes on with what it has; one
    that does may go on and on. What is dead waits to repeat its answer, but not all of it."""
    bad = Attacker().established()
    honest = bad.a.machine
    for _ in range(30):
        honest.rekey_ike(bad.now)
        exchange(bad, bad.take())
        farewell = bad.take()
        if deletes:
            exchange(bad, farewell)
        for old in honest.sas[:-1]:
            honest.bury(old, "rekeyed", "as if it were deleted")
            honest.remove(old)
        bad.now += 0.1
    assert len(bad.machine.sas) == (10 if deletes else 9)
    assert any("deletes none of those before" in line for line in bad.lines()) is not deletes
    assert bad.downs() == []
    assert len(bad.b.installed) == 1
    nothing_left(bad)


def exchange(bad: Attacker, requests: list[bytes]) -> None:
    """To the gate, and its answers to the honest machine."""
    for data in requests:
        bad.send(data)
    for data in bad.answers:
        bad.a.machine.receive(data, bad.path_back(), bad.now)
    bad.answers.clear()


@pytest.mark.parametrize(
    "certificates",
    [
        [Certificate(4, b"\x30\x82\xff\xff" + bytes(3600))] * 16,
        [Certificate(4, b"\x30\x80" * 25000)],
        [Certificate(4, b"\x30\x84\xff\xff\xff\xff")],
        [Certificate(12, bytes(20) + b"http://127.0.0.1/x")],
        [Certificate(7, b"\x30\x00")] * 16,
    ],
    ids=["many", "deep", "endless", "a URL", "lists"],
)
def test_certificate_bombs(certificates: list[Certificate], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = Authority(tmp_path_factory.mktemp("root"), "/CN=root")
    ours = peer()
    either = RemoteAuth(psk=PSK, trust=Trust([root.certificate]))
    bad = Attacker(ours, mirrored(ours, remote_auth=either)).keyed()
    honest = [one for one in bad.auth() if type(one) is not Auth]
    signature = Auth(14, b"\x0c\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02" + bytes(64))
    assert bad.ask(X.IKE_AUTH, (*honest, *certificates, signature)) == (FAILED,)
    assert [down.reason for down in bad.downs()] == ["authentication"]
    told(bad, "certificate")
    nothing_left(bad)


# --- found by fuzzing ---


def test_refused_stranger_leaves_with_its_answer() -> None:
    """An address that no peer has: the machine that says so is gone once its answer is."""
    bad = Attacker()
    first = bad.begin()
    for number in range(50):
        bad.path = replace(bad.path, remote=f"198.51.100.{number}")
        bad.send(first)
    assert bad.gate.machines == {}
    assert bad.opened() is not None
    nothing_left(bad)


def test_nonsense_in_answer_to_our_delete_ends_it_too() -> None:
    bad = Attacker().established()
    machine = bad.machine
    bad.gate.wish(machine.number, lambda _: machine.close(bad.now))
    bad.settle()
    assert machine.sa.state == State.CLOSING
    bad.send(bad.sealed(X.INFORMATIONAL, P.SA, b"\0\0\0\4", response=True, message_id=0))
    assert [down.reason for down in bad.downs()] == ["closed"]
    nothing_left(bad)
