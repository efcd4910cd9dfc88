"""IKE_SA_INIT among strangers: cookies, other groups, false errors, sizes, versions. Nobody is authenticated yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pair import GCM, A, B, Pair, Side, downs, mirrored, pair, peer, ups

from xdpsec.ike import proposals
from xdpsec.ike.events import IkeDown, Note, Path
from xdpsec.ike.settings import IkeOffer, Limits, RemoteAuth
from xdpsec.ike.v2.machine import Machine
from xdpsec.ike.v2.sa import State
from xdpsec.numbers import IKE_VERSION, ExchangeType, Ke, NotifyType, Prf, TransformType
from xdpsec.wire.header import NO_SPI, Header
from xdpsec.wire.message import build_clear, find, find_notify, parse_clear
from xdpsec.wire.payloads import KeyExchange, Nonce, Notify, Payload, SecurityAssociation, Transform

INIT = ExchangeType.IKE_SA_INIT
WIDE = IkeOffer(GCM.encr, GCM.prf, (), (Ke.X25519, Ke.ECP_256, Ke.ECP_384))


def quiet() -> Pair:
    """Side a has begun; what it sends goes nowhere."""
    both = pair(peer(ike_offers=(WIDE,)))
    both.wire.fate = lambda number, sender, data: ()
    both.connect()
    return both


def say(both: Pair, payloads: Iterable[Payload], spi_r: bytes = NO_SPI) -> None:
    """Somebody answers a's IKE_SA_INIT."""
    head = Header(both.a.sa.spi_i, spi_r, 0, IKE_VERSION, INIT, False, True, 0)
    both.a.machine.receive(build_clear(head, tuple(payloads)), Path(A, 500, B, 500), both.now)
    both.settle()


def last(both: Pair) -> tuple[Payload, ...]:
    return parse_clear(both.wire.log[-1][1]).payloads


def invalid_ke(group: int) -> Notify:
    return Notify(NotifyType.INVALID_KE_PAYLOAD, group.to_bytes(2, "big"))


# --- asked to come again ------------------------------------------------------------------------------------


def test_cookie_comes_back_first_and_all_else_stays() -> None:
    both = quiet()
    before = last(both)
    say(both, [Notify(NotifyType.COOKIE, b"c" * 20)])
    assert last(both) == (Notify(NotifyType.COOKIE, b"c" * 20), *before)
    assert len(both.wire.log) == 2


def test_another_group_with_the_whole_offer_and_the_cookie() -> None:
    """RFC 7296 sec. 1.2, 2.6.1: the refusal is unauthenticated, so nothing else may change; the cookie stays."""
    both = quiet()
    before = last(both)
    say(both, [Notify(NotifyType.COOKIE, b"c" * 20)])
    say(both, [invalid_ke(Ke.ECP_384)])
    after = last(both)
    sent = find(after, KeyExchange)
    assert sent is not None
    assert sent.group == Ke.ECP_384
    assert find_notify(after, NotifyType.COOKIE) == Notify(NotifyType.COOKIE, b"c" * 20)
    for kind in (SecurityAssociation, Nonce):
        assert find(after, kind) == find(before, kind)
    say(both, [Notify(NotifyType.COOKIE, b"d" * 20)])
    assert find_notify(last(both), NotifyType.COOKIE) == Notify(NotifyType.COOKIE, b"d" * 20)
    assert find(last(both), KeyExchange) == sent


def test_rounds_are_bounded_together() -> None:
    both = quiet()
    for number in range(20):
        say(both, [Notify(NotifyType.COOKIE, bytes((number,)) * 8)])
        say(both, [invalid_ke((Ke.ECP_256, Ke.ECP_384)[number % 2])])
    assert len(both.wire.log) == 1 + Limits().cookie_rounds
    assert both.a.sa.state == State.FRESH


@pytest.mark.parametrize(
    "said",
    [
        invalid_ke(Ke.X25519),
        invalid_ke(Ke.MODP_768),
        Notify(NotifyType.INVALID_KE_PAYLOAD, b"\x13"),
        Notify(NotifyType.COOKIE, b""),
        Notify(NotifyType.COOKIE, b"c" * 65),
        Notify(NotifyType.NO_PROPOSAL_CHOSEN),
        Notify(NotifyType.INVALID_SYNTAX),
        Notify(NotifyType.AUTHENTICATION_FAILED),
        KeyExchange(Ke.X25519, bytes(32)),
    ],
    ids=str,
)
def test_what_anybody_can_say_is_a_hint(said: Payload) -> None:
    """It is told to people, and the true answer still counts."""
    both = pair(peer(ike_offers=(WIDE,)))
    both.connect()
    say(both, [said])
    assert len(both.wire.log) == 1
    assert both.a.told(Note)
    both.run(5.0)
    assert both.up()
    both.agree()


def test_only_hints_end_in_a_timeout_that_names_them() -> None:
    both = quiet()
    say(both, [Notify(NotifyType.NO_PROPOSAL_CHOSEN)])
    both.run(170.0)
    assert downs(both.a) == [("timeout", NotifyType.NO_PROPOSAL_CHOSEN)]
    assert "NO_PROPOSAL_CHOSEN" in both.a.told(IkeDown)[0].text


def test_other_group_between_machines() -> None:
    both = pair(peer(ike_offers=(WIDE,)), mirrored(peer(), ike_offers=(replace(WIDE, ke=(Ke.ECP_384,)),)))
    both.connect()
    both.run(5.0)
    assert both.up()
    assert both.a.sa.ke == Ke.ECP_384
    assert downs(both.b) == [("proposal", NotifyType.INVALID_KE_PAYLOAD)]


# --- answers ------------------------------------------------------------------------------------------------


def test_second_answer_is_ignored() -> None:
    """The first good answer wins: what comes later under the same id is nobody's."""
    both = pair()
    both.wire.fate = lambda number, sender, data: (0.01, 0.02, 0.5)
    both.connect()
    both.run(5.0)
    assert both.up()
    both.agree()
    assert len(both.b.machines) == 1


def test_bad_public_value_in_an_answer_is_a_hint() -> None:
    both = pair()
    both.connect()
    group = GCM.ke[0]
    (_, data, _) = both.wire.log[0]
    offer = find(parse_clear(data).payloads, SecurityAssociation)
    assert offer is not None
    say(both, [offer, KeyExchange(group, bytes(32)), Nonce(b"n" * 32)], spi_r=b"x" * 8)
    assert both.a.sa.state == State.FRESH
    both.run(5.0)
    assert both.up()


def respond(side: Side, request: bytes) -> bytes:
    """What a fresh responder answers."""
    path = Path(B, 500, A, 500)
    machine = Machine(0, side, side, path, 1.0)
    machine.receive(request, path, 1.0)
    ((answer, where),) = machine.messages_to_send(1.0)
    assert where == path
    return answer


def test_answer_is_at_most_twice_its_request() -> None:
    """Before authentication; optional parts go first. A bare request and a responder with much to say."""
    both = quiet()
    payloads = find(last(both), SecurityAssociation), find(last(both), KeyExchange), find(last(both), Nonce)
    head = Header(b"s" * 8, NO_SPI, 0, IKE_VERSION, INIT, True, False, 0)
    hashes = Notify(NotifyType.SIGNATURE_HASH_ALGORITHMS, b"\0\2")
    bare = build_clear(head, (*(one for one in payloads if one is not None), hashes))
    side = Side("b", (mirrored(peer(), remote_auth=RemoteAuth(trust=Anchors())),))
    answer = respond(side, bare)
    assert len(bare) < len(answer) <= 2 * len(bare)
    kinds = [type(one) for one in parse_clear(answer).payloads]
    assert kinds[:3] == [SecurityAssociation, KeyExchange, Nonce]


class Anchors:
    """A trust with fifty authorities."""

    authorities = b"a" * 1000
    asks_ocsp = True
    announced = ()

    def verify(self, *_: object) -> object:
        raise AssertionError

    def check(self, *_: object) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("spoiled", "notify"),
    [
        ((KeyExchange(Ke.X25519, b"k" * 32), Nonce(b"n" * 32)), NotifyType.INVALID_SYNTAX),
        ((SecurityAssociation(()), KeyExchange(Ke.X25519, b"k" * 32), Nonce(b"n" * 32)), NotifyType.INVALID_SYNTAX),
    ],
)
def test_incomplete_request_is_refused_in_the_clear(spoiled: tuple[Payload, ...], notify: int) -> None:
    head = Header(b"s" * 8, NO_SPI, 0, IKE_VERSION, INIT, True, False, 0)
    answer = parse_clear(respond(pair().b, build_clear(head, spoiled)))
    assert answer.payloads == (Notify(notify),)
    assert answer.header.responder_spi == NO_SPI


def test_nobody_at_this_address() -> None:
    both = pair(theirs=mirrored(peer(), remote="192.0.2.99"))
    both.connect()
    both.run(1.0)
    assert downs(both.b)[0] == ("proposal", NotifyType.NO_PROPOSAL_CHOSEN)
    assert both.b.machine.done
    assert ups(both.b) == []


def test_no_common_algorithm_says_where_they_part() -> None:
    both = pair(theirs=mirrored(peer(), ike_offers=(replace(GCM, prf=(Prf.HMAC_SHA2_512,)),)))
    both.connect()
    both.run(1.0)
    note = both.b.told(Note)[0]
    assert "PRF: the peer offers HMAC_SHA2_256; we accept HMAC_SHA2_512" in str(note.fields)
    assert note.stranger


# --- half open ----------------------------------------------------------------------------------------------


def test_half_open_responder_ends_by_time() -> None:
    both = pair()
    both.wire.fate = lambda number, sender, data: (0.01,) if data[18] == INIT else ()
    both.connect()
    both.run(1.0)
    assert both.b.sa.state == State.KEYED
    assert both.b.machine.half_open
    both.run(60.0)
    assert downs(both.b) == [("timeout", 0)]
    assert both.b.machine.done
    assert not both.b.spis


def test_initiator_gives_up_after_165_seconds() -> None:
    """0.5 s, x 1.8, never more than 30 s apart."""
    both = quiet()
    begun = both.now
    times = [begun]
    while not downs(both.a):
        sent = len(both.wire.log)
        both.step()
        times += [both.now] * (len(both.wire.log) - sent)
    gaps = [round(later - earlier, 3) for earlier, later in pairwise(times)]
    assert gaps == [0.5, 0.9, 1.62, 2.916, 5.249, 9.448, 17.006, 30.0, 30.0, 30.0, 30.0]
    assert both.now == begun + 165.0
    assert downs(both.a) == [("timeout", 0)]
    assert both.a.machine.done


def test_thousands_of_peers_with_one_offer_cost_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger may send what none of them takes, again and again."""
    looked: list[object] = []
    true = proposals.choose

    def choose(*words: Any) -> Any:
        looked.append(words)
        return true(*words)

    theirs = mirrored(peer(), ike_offers=(replace(GCM, prf=(Prf.HMAC_SHA2_512,)),))
    both = Pair(Side("a", (peer(),)), Side("b", tuple(replace(theirs, name=str(number)) for number in range(2000))))
    monkeypatch.setattr(proposals, "choose", choose)
    both.connect()
    both.run(0.1)
    assert downs(both.b) == [("proposal", NotifyType.NO_PROPOSAL_CHOSEN)]
    assert len(looked) == 1


def test_group_that_was_accepted_must_be_the_one_in_the_answer() -> None:
    """Whoever answers cannot make us believe in another key exchange than the one that was run."""
    both = quiet()
    offer = find(last(both), SecurityAssociation)
    assert offer is not None
    kept = [one for one in offer.proposals[0].transforms if one.type != TransformType.KE]
    lie = replace(offer.proposals[0], transforms=(*kept, Transform(TransformType.KE, Ke.ECP_256)))
    true = X25519PrivateKey.generate().public_key().public_bytes_raw()
    say(both, [SecurityAssociation((lie,)), KeyExchange(Ke.X25519, true), Nonce(b"n" * 32)], spi_r=b"r" * 8)
    assert both.a.sa.state == State.FRESH
