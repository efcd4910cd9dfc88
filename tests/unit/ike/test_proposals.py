"""Proposals as rows: what of a peer's offers is taken, where a refusal lies, which answers to ours are none."""

from __future__ import annotations

import pytest

from xdpsec.errors import PeerError
from xdpsec.ike import proposals
from xdpsec.ike.proposals import Chosen, Offers, Refused, build, check_answer, choose
from xdpsec.ike.settings import Algorithm, EspOffer, IkeOffer
from xdpsec.numbers import Encr, Esn, Integ, Ke, NotifyType, Prf, Protocol, TransformType
from xdpsec.wire.payloads import Proposal, Transform

T = TransformType
GCM256, GCM128 = Algorithm(Encr.AES_GCM_16, 256), Algorithm(Encr.AES_GCM_16, 128)
CBC256, CHACHA = Algorithm(Encr.AES_CBC, 256), Algorithm(Encr.CHACHA20_POLY1305)

AEAD = IkeOffer((GCM256, CHACHA), (Prf.HMAC_SHA2_384,), (), (Ke.X25519, Ke.ECP_256))
HYBRID = IkeOffer((GCM256,), (Prf.HMAC_SHA2_384,), (), (Ke.X25519,), ((Ke.ML_KEM_768,),))
CBC = IkeOffer((CBC256,), (Prf.HMAC_SHA2_256,), (Integ.HMAC_SHA2_256_128,), (Ke.MODP_2048,))
ESP = EspOffer(Protocol.ESP, (GCM256,), esn=(True, False))
PFS = EspOffer(Protocol.ESP, (GCM256,), ke=(Ke.X25519, Ke.ECP_256), esn=(False,))
AH = EspOffer(Protocol.AH, (), (Integ.HMAC_SHA2_256_128,), esn=(False,))

ENCR_GCM256, ENCR_GCM128 = Transform(T.ENCR, Encr.AES_GCM_16, 256), Transform(T.ENCR, Encr.AES_GCM_16, 128)
ENCR_CBC = Transform(T.ENCR, Encr.AES_CBC, 256)
PRF384, PRF256 = Transform(T.PRF, Prf.HMAC_SHA2_384), Transform(T.PRF, Prf.HMAC_SHA2_256)
INTEG, NO_INTEG = Transform(T.INTEG, Integ.HMAC_SHA2_256_128), Transform(T.INTEG, Integ.NONE)
X25519, ECP, MODP = Transform(T.KE, Ke.X25519), Transform(T.KE, Ke.ECP_256), Transform(T.KE, Ke.MODP_2048)
KEM, NO_KEM = Transform(T.ADDKE1, Ke.ML_KEM_768), Transform(T.ADDKE1, Ke.NONE)
NO_KE = Transform(T.KE, Ke.NONE)
ESN, NO_ESN = Transform(T.ESN, Esn.YES), Transform(T.ESN, Esn.NO)


def ike(*transforms: Transform, number: int = 1) -> Proposal:
    return Proposal(number, Protocol.IKE, b"", transforms)


def esp(*transforms: Transform, number: int = 1, protocol: int = Protocol.ESP) -> Proposal:
    return Proposal(number, protocol, b"\0\0\1\1", transforms)


#: Our offers, the peer's proposals, group of its KE payload, the number and transforms of the answer.
TAKEN: list[tuple[Offers, list[Proposal], int, int, set[Transform]]] = [
    ((AEAD,), [ike(ENCR_GCM256, PRF384, X25519)], 31, 1, {ENCR_GCM256, PRF384, X25519}),
    # our order decides, but the group whose KE is here already wins
    ((AEAD,), [ike(ENCR_GCM256, PRF384, ECP, X25519)], 19, 1, {ENCR_GCM256, PRF384, ECP}),
    ((AEAD,), [ike(ENCR_GCM256, PRF384, ECP, X25519)], 14, 1, {ENCR_GCM256, PRF384, X25519}),
    # our first offer before the peer's first proposal
    (
        (AEAD, CBC),
        [ike(ENCR_CBC, PRF256, INTEG, MODP), ike(ENCR_GCM256, PRF384, X25519, number=2)],
        *(14, 2, {ENCR_GCM256, PRF384, X25519}),
    ),
    ((AEAD, CBC), [ike(ENCR_CBC, PRF256, INTEG, MODP)], 14, 1, {ENCR_CBC, PRF256, INTEG, MODP}),
    # key lengths are not mixed up
    ((AEAD,), [ike(ENCR_GCM128, ENCR_GCM256, PRF384, X25519)], 31, 1, {ENCR_GCM256, PRF384, X25519}),
    # RFC 5282 sec. 8: no integrity, or NONE
    ((AEAD,), [ike(ENCR_GCM256, PRF384, NO_INTEG, X25519)], 31, 1, {ENCR_GCM256, PRF384, NO_INTEG, X25519}),
    # RFC 9370: additional key exchange taken, or not there, or refused by NONE
    ((HYBRID, AEAD), [ike(ENCR_GCM256, PRF384, X25519, KEM)], 31, 1, {ENCR_GCM256, PRF384, X25519, KEM}),
    ((HYBRID, AEAD), [ike(ENCR_GCM256, PRF384, X25519)], 31, 1, {ENCR_GCM256, PRF384, X25519}),
    ((AEAD,), [ike(ENCR_GCM256, PRF384, X25519, KEM, NO_KEM)], 31, 1, {ENCR_GCM256, PRF384, X25519, NO_KEM}),
    # in IKE_AUTH no KE; extended numbers by our preference, and not at all where the peer is silent
    ((ESP,), [esp(ENCR_GCM256, NO_ESN, ESN)], 0, 1, {ENCR_GCM256, ESN}),
    ((ESP,), [esp(ENCR_GCM256, NO_ESN)], 0, 1, {ENCR_GCM256, NO_ESN}),
    ((ESP,), [esp(ENCR_GCM256)], 0, 1, {ENCR_GCM256}),
    ((ESP,), [esp(ENCR_GCM256, NO_KE, NO_ESN)], 0, 1, {ENCR_GCM256, NO_KE, NO_ESN}),
    ((PFS,), [esp(ENCR_GCM256, ECP, NO_ESN)], 19, 1, {ENCR_GCM256, ECP, NO_ESN}),
    (proposals.for_exchange((PFS,), "prefer"), [esp(ENCR_GCM256, NO_ESN)], 0, 1, {ENCR_GCM256, NO_ESN}),
    (proposals.for_exchange((PFS,), "prefer"), [esp(ENCR_GCM256, X25519)], 31, 1, {ENCR_GCM256, X25519}),
    (proposals.for_exchange((PFS,), "required", ike_auth=True), [esp(ENCR_GCM256)], 0, 1, {ENCR_GCM256}),
    ((AH, ESP), [esp(INTEG, NO_ESN, protocol=Protocol.AH)], 0, 1, {INTEG, NO_ESN}),
]


@pytest.mark.parametrize(("offers", "theirs", "group", "number", "answer"), TAKEN)
def test_taken(offers: Offers, theirs: list[Proposal], group: int, number: int, answer: set[Transform]) -> None:
    found = choose(offers, theirs, group)
    assert isinstance(found, Chosen)
    assert (found.number, set(found.answer.transforms)) == (number, answer)
    assert len(found.answer.transforms) == len(answer)
    assert found.spi == next(one.spi for one in theirs if one.number == number)
    assert found.answer.spi == b""


#: Our offers, the peer's proposals, the transform types that stand in the way.
REFUSED: list[tuple[Offers, list[Proposal], set[int]]] = [
    ((AEAD,), [ike(ENCR_GCM128, PRF384, X25519)], {T.ENCR}),
    ((AEAD,), [ike(Transform(T.ENCR, Encr.AES_GCM_16), PRF384, X25519)], {T.ENCR}),  # no key length
    ((AEAD,), [ike(Transform(T.ENCR, Encr.CHACHA20_POLY1305, 256), PRF384, X25519)], {T.ENCR}),  # one too many
    ((AEAD,), [ike(ENCR_GCM256, PRF256, MODP)], {T.PRF, T.KE}),
    ((AEAD,), [ike(ENCR_GCM256, PRF384, INTEG, X25519)], {T.INTEG}),
    ((CBC,), [ike(ENCR_CBC, PRF256, NO_INTEG, MODP)], {T.INTEG}),
    ((CBC,), [ike(ENCR_CBC, PRF256, MODP)], {T.INTEG}),
    ((AEAD,), [ike(ENCR_GCM256, PRF384)], {T.KE}),
    ((AEAD,), [ike(ENCR_GCM256, PRF384, X25519, KEM)], {T.ADDKE1}),
    ((HYBRID,), [ike(ENCR_GCM256, PRF384, X25519)], {T.ADDKE1}),  # pq = required
    ((AEAD,), [ike(ENCR_GCM256, PRF384, X25519, Transform(99, 1))], {99}),  # RFC 7296 sec. 3.3.6
    ((AEAD,), [ike(ENCR_GCM256, X25519)], {T.PRF}),
    # inventions by the hundred: what we know is told first, and no more types than there are
    ((AEAD,), [ike(ENCR_GCM256, X25519, *(Transform(kind, 1) for kind in range(100, 200)))], {T.PRF, *range(100, 111)}),
    # the nearest pair is told
    ((AEAD, CBC), [ike(ENCR_CBC, PRF384, INTEG, MODP), ike(ENCR_GCM128, PRF256, MODP, number=2)], {T.PRF}),
    ((PFS,), [esp(ENCR_GCM256, NO_ESN)], {T.KE}),
    ((PFS,), [esp(ENCR_GCM256, MODP, NO_ESN)], {T.KE}),
    ((ESP,), [esp(ENCR_GCM256, X25519, NO_ESN)], {T.KE}),
    (proposals.for_exchange((PFS,), "off"), [esp(ENCR_GCM256, X25519)], {T.KE}),
    ((PFS,), [esp(ENCR_GCM256, X25519, ESN)], {T.ESN}),
    ((AEAD,), [ike(ENCR_GCM256._replace(others=b"\x80\x63\0\1"), PRF384, X25519)], {T.ENCR}),
    ((ESP,), [esp(INTEG, NO_ESN, protocol=Protocol.AH)], set()),
    ((AEAD,), [], set()),
]


@pytest.mark.parametrize(("offers", "theirs", "kinds"), REFUSED)
def test_refused(offers: Offers, theirs: list[Proposal], kinds: set[int]) -> None:
    found = choose(offers, theirs, 31)
    assert isinstance(found, Refused)
    assert {one.kind for one in found.mismatches} == kinds


def test_a_refusal_can_be_told_to_a_person() -> None:
    found = choose((CBC, AEAD), [ike(ENCR_GCM128, PRF384, X25519, number=7)])
    assert isinstance(found, Refused)
    assert (found.offer, found.number) == (1, 7)
    assert found.mismatches[0].offered == (GCM128,)
    assert found.mismatches[0].accepted == (GCM256, CHACHA)
    assert str(found) == (
        "encryption: the peer offers AES_GCM_16-128; we accept AES_GCM_16-256, CHACHA20_POLY1305; the peer's proposal "
        "in full: encryption AES_GCM_16-128; PRF HMAC_SHA2_384; key exchange X25519"
    )
    assert str(choose((HYBRID,), [ike(ENCR_GCM256, PRF384, X25519)])).startswith(
        "additional key exchange 1: the peer offers NONE; we accept ML_KEM_768; the peer's proposal in full: "
    )
    assert str(choose((AEAD,), [])) == "the peer offers nothing for this protocol"


def test_no_key_exchange_method_serves_twice() -> None:
    """RFC 9370 sec. 2.2.2."""
    twice = IkeOffer(
        (GCM256,), (Prf.HMAC_SHA2_384,), (), (Ke.X25519,), ((Ke.X25519, Ke.ML_KEM_768), (Ke.ML_KEM_768, 0))
    )
    second = [Transform(T.ADDKE2, Ke.ML_KEM_768), Transform(T.ADDKE2, Ke.NONE)]
    found = choose((twice,), [ike(ENCR_GCM256, PRF384, X25519, Transform(T.ADDKE1, Ke.X25519), KEM, *second)])
    assert isinstance(found, Chosen)
    assert (found.ke, found.extra) == (Ke.X25519, (Ke.ML_KEM_768,))
    only = choose((twice,), [ike(ENCR_GCM256, PRF384, X25519, Transform(T.ADDKE1, Ke.X25519), *second)])
    assert isinstance(only, Refused)


def test_without_rfc_9242_no_additional_exchange_is_taken() -> None:
    theirs = [ike(ENCR_GCM256, PRF384, X25519, KEM), ike(ENCR_GCM256, PRF384, X25519, number=2)]
    found = choose((HYBRID, AEAD), theirs, extra=False)
    assert isinstance(found, Chosen)
    assert (found.number, found.extra) == (2, ())
    assert isinstance(choose((HYBRID,), theirs, extra=False), Refused)


def test_a_mixed_offer_becomes_two_proposals() -> None:
    """RFC 7296 sec. 3.3: AEAD and other ciphers do not stand in one proposal."""
    mixed = IkeOffer((CBC256, GCM256), (Prf.HMAC_SHA2_256,), (Integ.HMAC_SHA2_256_128,), (Ke.X25519,))
    first, second = build((mixed,))
    assert (first.number, second.number) == (1, 2)
    assert set(first.transforms) == {ENCR_CBC, PRF256, INTEG, X25519}
    assert set(second.transforms) == {ENCR_GCM256, PRF256, X25519}


def test_what_we_build_we_take() -> None:
    every: tuple[Offers, ...] = (
        (HYBRID, AEAD, CBC),
        (ESP,),
        (PFS,),
        (AH,),
        proposals.for_exchange((PFS, ESP), "prefer"),
    )
    for offers in every:
        built = build(offers, b"spi8spi8")
        found = choose(offers, built)
        assert isinstance(found, Chosen)
        assert (found.offer, found.number, found.spi) == (0, 1, b"spi8spi8")
        assert check_answer(offers, [found.answer]).answer == found.answer
    assert proposals.groups((HYBRID, AEAD, CBC)) == (Ke.X25519, Ke.ECP_256, Ke.MODP_2048)


ACCEPTED = ike(ENCR_GCM256, PRF384, X25519)


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [ACCEPTED, ike(ENCR_CBC, PRF256, INTEG, MODP, number=2)],
        [ike(ENCR_GCM256, PRF384, X25519, number=3)],  # never made
        [ike(ENCR_GCM256, PRF384, X25519, number=0)],
        [ike(ENCR_GCM256, PRF384, X25519, number=2)],  # from another proposal
        [ike(ENCR_GCM128, PRF384, X25519)],
        [ike(ENCR_GCM256, PRF384)],
        [ike(ENCR_GCM256, PRF384, X25519, ECP)],
        [ike(ENCR_GCM256, PRF384, X25519, KEM)],
        [ike(ENCR_GCM256, PRF384, INTEG, X25519)],
        [esp(ENCR_GCM256, PRF384, X25519)],
    ],
)
def test_an_answer_that_is_not_ours_is_refused(answer: list[Proposal]) -> None:
    with pytest.raises(PeerError) as refusal:
        check_answer((AEAD, CBC), answer)
    assert refusal.value.notify == NotifyType.NO_PROPOSAL_CHOSEN
    assert check_answer((AEAD, CBC), [ACCEPTED]).encr == GCM256
