"""Two machines agree on an IKE SA and a child: each algorithm, each key exchange, each extension, over a good wire.

What was agreed is read from what both hosts were told to install, never from the machines' own words alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pair import GCM, Pair, child, downs, established, mirrored, pair, peer, rows, ups

from xdpsec.ike import selectors
from xdpsec.ike.events import ChildFailed
from xdpsec.ike.settings import Algorithm, EspOffer, IkeOffer, Ppk
from xdpsec.ike.v2 import authenticate, children, extensions, ike_auth
from xdpsec.ike.v2.machine import Machine
from xdpsec.ike.v2.sa import State
from xdpsec.numbers import Encr, Integ, Ke, NotifyType, Prf, Protocol
from xdpsec.wire.payloads import TsInitiator, TsResponder

AES = (128, 192, 256)
AEADS = (Encr.AES_GCM_8, Encr.AES_GCM_12, Encr.AES_GCM_16, Encr.AES_CCM_8, Encr.AES_CCM_12, Encr.AES_CCM_16)
PRFS = (Prf.HMAC_SHA1, Prf.AES128_XCBC, Prf.HMAC_SHA2_256, Prf.HMAC_SHA2_384, Prf.HMAC_SHA2_512, Prf.AES128_CMAC)
INTEGS = (
    *(Integ.HMAC_SHA1_96, Integ.AES_XCBC_96, Integ.AES_CMAC_96),
    *(Integ.HMAC_SHA2_256_128, Integ.HMAC_SHA2_384_192, Integ.HMAC_SHA2_512_256),
)
CURVES = (
    *(Ke.ECP_256, Ke.ECP_384, Ke.ECP_521, Ke.BRAINPOOL_256, Ke.BRAINPOOL_384, Ke.BRAINPOOL_512),
    *(Ke.X25519, Ke.X448, Ke.MODP_1536, Ke.MODP_2048),
)


def ike(encr: int, bits: int, prf: int = Prf.HMAC_SHA2_256, integ: int = 0, ke: int = Ke.X25519) -> IkeOffer:
    return IkeOffer((Algorithm(encr, bits),), (prf,), (integ,) if integ else (), (ke,))


IKE_SUITES = (
    *(ike(encr, bits) for encr in AEADS for bits in AES),
    ike(Encr.CHACHA20_POLY1305, 0),
    *(ike(encr, bits, integ=Integ.HMAC_SHA2_256_128) for encr in (Encr.AES_CBC, Encr.AES_CTR) for bits in AES),
    ike(Encr.TRIPLE_DES, 0, integ=Integ.HMAC_SHA1_96),
    *(ike(Encr.AES_CBC, 128, integ=integ) for integ in INTEGS),
    *(ike(Encr.AES_GCM_16, 256, prf) for prf in PRFS),
    *(ike(Encr.AES_GCM_16, 256, ke=group) for group in CURVES),
)


@pytest.mark.parametrize("offer", IKE_SUITES, ids=str)
def test_ike_suite(offer: IkeOffer) -> None:
    both = established(peer(ike_offers=(offer,)))
    both.agree()
    suite = both.b.sa.suite
    assert suite is not None
    assert (suite.encr, suite.bits) == (offer.encr[0].id, offer.encr[0].bits)
    assert (suite.prf, suite.integ) == (offer.prf[0], offer.integ[0] if offer.integ else 0)
    assert both.a.sa.ke == both.b.sa.ke == offer.ke[0]


ESP_SUITES = (
    *((Algorithm(encr, bits), 0) for encr in (*AEADS, Encr.NULL_AES_GMAC) for bits in AES),
    *((Algorithm(encr, 128), 0) for encr in (Encr.AES_GCM_16_IIV, Encr.AES_CCM_8_IIV)),
    (Algorithm(Encr.CHACHA20_POLY1305), 0),
    (Algorithm(Encr.CHACHA20_POLY1305_IIV), 0),
    *((Algorithm(encr, bits), Integ.HMAC_SHA2_256_128) for encr in (Encr.AES_CBC, Encr.AES_CTR) for bits in AES),
    *((Algorithm(Encr.AES_CBC, 128), integ) for integ in INTEGS),
    (Algorithm(Encr.NULL), Integ.HMAC_SHA2_256_128),
)


@pytest.mark.parametrize(("encr", "integ"), ESP_SUITES, ids=str)
def test_esp_suite(encr: Algorithm, integ: int) -> None:
    offer = EspOffer(Protocol.ESP, (encr,), (integ,) if integ else (), esn=(True,))
    both = established(peer(children=(child(offers=(offer,)),)))
    both.agree()
    (one,) = both.a.installed.values()
    assert (one.suite.encr, one.suite.bits, one.suite.integ) == (encr.id, encr.bits, integ)
    assert one.esn
    assert len(one.keys_in.key) == one.suite.key_len
    assert len(one.keys_in.auth) == one.suite.auth_len
    assert one.keys_in != one.keys_out


# --- hybrids ------------------------------------------------------------------------------------------------

HYBRIDS: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((Ke.ML_KEM_768,),),
    ((Ke.ML_KEM_1024,),),
    ((Ke.ML_KEM_768, Ke.NONE),),
    ((Ke.ECP_256,), (Ke.ML_KEM_768,), (Ke.ML_KEM_1024,)),
    ((Ke.X448,), (Ke.NONE,), (Ke.ML_KEM_768,)),
)


@pytest.mark.parametrize("extra", HYBRIDS, ids=str)
def test_additional_key_exchanges(extra: tuple[tuple[int, ...], ...]) -> None:
    """RFC 9370: each is an IKE_INTERMEDIATE exchange, and both sides hold the same keys after all of them."""
    offer = replace(GCM, extra=extra)
    both = established(peer(ike_offers=(offer,), pq="required"))
    both.agree()
    groups = tuple(one[0] for one in extra if one[0])
    assert both.a.sa.extra_ke == both.b.sa.extra_ke == groups
    assert ups(both.a)[0].hybrid
    assert ups(both.b)[0].hybrid
    assert exchanges(both, "a") == [34, *[43] * len(groups), 35]


def exchanges(both: Pair, sender: str) -> list[int]:
    """Types of the exchanges that a side began, in order; fragments count once."""
    sent = [(data[20:24], data[18]) for who, data, _ in both.wire.log if who == sender and not data[19] & 0x20]
    return [exchange for _, exchange in dict.fromkeys(sent)]


def test_classic_peer_gets_a_classic_sa() -> None:
    """prefer: the offer without ML-KEM stands behind the one with it."""
    hybrid = replace(GCM, extra=((Ke.ML_KEM_768,),))
    ours = peer(ike_offers=(hybrid, GCM))
    both = established(ours, mirrored(ours, ike_offers=(GCM,)))
    assert not ups(both.a)[0].hybrid
    assert exchanges(both, "a") == [34, 35]


@pytest.mark.parametrize("strict", ["a", "b"])
def test_required_post_quantum_refuses_a_classic_peer(strict: str) -> None:
    hybrid = replace(GCM, extra=((Ke.ML_KEM_768,),))
    ours = peer(ike_offers=(hybrid, GCM), pq="required" if strict == "a" else "prefer")
    theirs = mirrored(ours, ike_offers=(GCM,), pq="required" if strict == "b" else "prefer")
    both = pair(ours, theirs, give_up=20.0)
    both.connect()
    both.run(60.0)
    assert not ups(both.a)
    assert not ups(both.b)
    assert downs(both.a)[0][0] == "timeout"


def test_additional_exchange_that_was_agreed_cannot_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a peer would have an SA that both sides call hybrid, and is not."""
    hybrid = replace(GCM, extra=((Ke.ML_KEM_768,),))
    both = pair(peer(ike_offers=(hybrid,)))
    monkeypatch.setattr(extensions, "proceed", lambda m, sa: m.ask(sa, ike_auth.Authenticate(), first=True))
    both.connect()
    both.run(5.0)
    assert exchanges(both, "a")[:2] == [34, 35]
    assert downs(both.b) == [("refused", NotifyType.INVALID_SYNTAX)]
    assert not both.b.installed
    assert not ups(both.a)


# --- PPK ----------------------------------------------------------------------------------------------------

P1, P2 = Ppk(b"\x02one", b"1" * 32), Ppk(b"\x02two", b"2" * 32)
#: initiator's PPKs, is one required; the same of the responder; used, or None = no connection (RFC 8784 sec. 3)
PPKS: tuple[tuple[tuple[Ppk, ...], bool, tuple[Ppk, ...], bool, bool | None], ...] = (
    ((P1,), False, (P1,), False, True),
    ((P1,), True, (P1,), True, True),
    ((P1,), False, (P2, P1), True, True),
    ((P1,), False, (), False, False),
    ((), False, (P1,), False, False),
    ((P1,), False, (P2,), False, False),
    ((P1,), True, (), False, None),
    ((), False, (P1,), True, None),
    ((P1,), True, (P2,), False, None),
    ((P1,), False, (P2,), True, None),
)


@pytest.mark.parametrize(("ours", "we_must", "theirs", "they_must", "used"), PPKS)
def test_ppk(ours: tuple[Ppk, ...], we_must: bool, theirs: tuple[Ppk, ...], they_must: bool, used: bool | None) -> None:
    settings = peer(ppks=ours, ppk_required=we_must)
    both = pair(settings, mirrored(settings, ppks=theirs, ppk_required=they_must))
    both.connect()
    both.run(5.0)
    if used is None:
        assert not both.a.installed
        assert not both.b.installed
        assert "authentication" in [reason for side in (both.a, both.b) for reason, _ in downs(side)]
    else:
        assert both.up()
        both.agree()
        assert ups(both.a)[0].ppk == ups(both.b)[0].ppk == used


def test_we_prove_nothing_to_a_peer_without_the_ppk_that_is_required() -> None:
    settings = peer(ppks=(P1,), ppk_required=True)
    both = pair(settings, mirrored(settings, ppks=(), ppk_required=False))
    both.connect()
    both.run(5.0)
    assert 35 not in exchanges(both, "a")


def test_peer_that_drops_the_required_ppk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows the shared secret, and answers as if no postquantum key had been named."""
    settings = peer(ppks=(P1,), ppk_required=True)
    both = pair(settings)
    true = authenticate.judge

    def judge(m: Machine, *words: Any) -> Any:
        return true(m, *words) if m.host is both.a else iter(())

    monkeypatch.setattr(ike_auth, "_choose_ppk", lambda *_: (None, b""))
    monkeypatch.setattr(authenticate, "judge", judge)
    both.connect()
    both.run(5.0)
    assert both.b.installed or ups(both.b)
    assert downs(both.a) == [("authentication", NotifyType.AUTHENTICATION_FAILED)]
    assert not both.a.installed


def test_wrong_ppk_secret_is_an_authentication_failure() -> None:
    settings = peer(ppks=(P1,))
    both = pair(settings, mirrored(settings, ppks=(replace(P1, secret=b"x" * 32),)))
    both.connect()
    both.run(5.0)
    assert downs(both.a) == downs(both.b) == [("authentication", NotifyType.AUTHENTICATION_FAILED)]


# --- children -----------------------------------------------------------------------------------------------


def test_transport_mode() -> None:
    both = established(peer(children=(child(mode="transport"),)))
    assert [one.mode for one in both.b.installed.values()] == ["transport"]
    both.agree()


def test_ah() -> None:
    offer = EspOffer(Protocol.AH, (), (Integ.HMAC_SHA2_256_128,))
    both = pair(peer(children=(child(offers=(offer,)),)))
    both.connect()
    both.run(5.0)
    assert both.up(), both.a.why() + both.b.why()


def test_narrowing() -> None:
    ours = peer(children=(child(remote="10.0.0.0/8"),))
    theirs = mirrored(ours, children=(child(local="10.2.0.0/16", remote="10.0.0.0/8"),))
    both = established(ours, theirs)
    both.agree()
    (one,) = both.a.installed.values()
    assert [(row.first, row.last) for row in one.remote] == [(b"\x0a\x02\0\0", b"\x0a\x02\xff\xff")]


UNFIT: tuple[tuple[dict[str, Any], dict[str, Any], int], ...] = (
    ({}, {"offers": (EspOffer(3, (Algorithm(Encr.AES_CBC, 128),), (12,)),)}, NotifyType.NO_PROPOSAL_CHOSEN),
    ({}, {"remote": "10.9.0.0/16"}, NotifyType.TS_UNACCEPTABLE),
    ({}, {"mode": "transport"}, NotifyType.NO_PROPOSAL_CHOSEN),
    ({"mode": "transport"}, {}, NotifyType.NO_PROPOSAL_CHOSEN),
)


@pytest.mark.parametrize(("ours", "theirs", "notify"), UNFIT)
def test_refused_child_leaves_the_ike_sa_up(ours: dict[str, Any], theirs: dict[str, Any], notify: int) -> None:
    settings = peer(children=(child(**ours),))
    other = mirrored(settings, children=(child(**{"local": "10.2.0.0/16", "remote": "10.1.0.0/16"} | theirs),))
    both = established(settings, other)
    assert not both.a.installed
    assert not both.b.installed
    assert failures(both) == [notify]
    assert both.a.freed


@pytest.mark.parametrize("which", [TsInitiator, TsResponder])
def test_answer_with_more_traffic_than_was_offered_is_refused(monkeypatch: pytest.MonkeyPatch, which: Any) -> None:
    """And the peer, which has that child already, is told to delete it."""
    true = children.answer

    def wider(*words: Any) -> Any:
        more = (selectors.selector("10.0.0.0/8"),)
        return tuple(which(more) if one.__class__.__name__ == which.__name__ else one for one in true(*words))

    monkeypatch.setattr(children, "answer", wider)
    both = established()
    assert failures(both) == [NotifyType.TS_UNACCEPTABLE]
    assert not both.a.installed
    assert not both.b.installed


def failures(both: Pair) -> list[int]:
    return [event.notify for event in both.a.told(ChildFailed)]


def test_childless() -> None:
    """RFC 6023: no child asked for, none made; and a responder that forbids it says so."""
    both = pair()
    both.connect(children=())
    both.run(5.0)
    assert both.up()
    assert not both.a.installed
    ours = peer()
    strict = pair(ours, mirrored(ours, childless="never"))
    strict.connect(children=())
    strict.run(5.0)
    assert not ups(strict.a)
    assert not ups(strict.b)
    assert downs(strict.b) == [("refused", NotifyType.INVALID_SYNTAX)]


def test_key_log_has_a_row_for_each_generation_of_keys() -> None:
    hybrid = replace(GCM, extra=((Ke.ML_KEM_768,),))
    both = pair(peer(ike_offers=(hybrid,)))
    both.a.keylog = True
    both.connect()
    both.run(5.0)
    assert len(rows(both.a)) == 2
    assert not rows(both.b)
    spi_i, spi_r, sk_ei, _, encr, sk_ai, _, integ = rows(both.a)[1].split(",")
    assert (bytes.fromhex(spi_i), bytes.fromhex(spi_r)) == (both.a.sa.spi_i, both.a.sa.spi_r)
    assert (encr, integ, sk_ai) == ('"AES-GCM-256 with 16 octet ICV [RFC5282]"', '"NONE [RFC4306]"', "")
    assert len(sk_ei) == 2 * 36


def test_secrets_are_gone_after_the_handshake_and_after_the_end() -> None:
    both = established(peer(ppks=(P1,)))
    assert both.a.sa.handshake is None
    assert both.a.sa.asking is None
    sa = both.a.sa
    both.a.machine.close(both.now)
    both.settle()
    both.run(5.0)
    assert sa.state == State.DEAD
    assert (sa.sk_d, sa.sealer, sa.opener, sa.nonce) == (b"", None, None, b"")
