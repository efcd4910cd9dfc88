"""Who is who: shared secrets, identities, the two steps in which a responder finds its peer, one connection per peer.

Every refusal is AUTHENTICATION_FAILED on the wire, a sentence in the log, and leaves nothing behind.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from attacker import Attacker
from pair import GCM, A, B, Exactly, Pair, Side, downs, established, fqdn, mirrored, pair, peer, ups

from xdpsec.ike.events import IkeDown, Note, Path
from xdpsec.ike.settings import Algorithm, IkeOffer, LocalAuth, PeerSettings, Ppk, RemoteAuth
from xdpsec.ike.v2.machine import Machine
from xdpsec.ike.v2.sa import State
from xdpsec.numbers import Encr, ExchangeType, Ke, NotifyType, Prf, Protocol
from xdpsec.wire.payloads import Delete, Notify, Payload

FAILED = ("authentication", NotifyType.AUTHENTICATION_FAILED)


def finished(ours: PeerSettings, *theirs: PeerSettings) -> Pair:
    both = Pair(Side("a", (ours,)), Side("b", theirs))
    both.connect()
    both.run(5.0)
    return both


def lines(side: Side) -> str:
    return "\n".join(str(note.fields) for note in side.told(Note))


# --- refusals -----------------------------------------------------------------------------------------------

WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"remote_auth": RemoteAuth(psk=b"another")}, "the shared secrets differ"),
    ({"remote_id": Exactly(fqdn("somebody"))}, "no peer a is configured for this address"),
    ({"remote_auth": RemoteAuth()}, "may not authenticate by method 2"),
)


@pytest.mark.parametrize(("theirs", "sentence"), WRONG)
def test_responder_refuses(theirs: dict[str, Any], sentence: str) -> None:
    both = finished(peer(), mirrored(peer(), **theirs))
    assert downs(both.a) == downs(both.b) == [FAILED]
    assert sentence in lines(both.b)
    for side in (both.a, both.b):
        assert not side.installed
        assert not ups(side)
    both.run(60.0)
    assert both.a.machine.done
    assert both.b.machine.done


def test_initiator_refuses_a_responder_with_another_secret() -> None:
    """The responder believes in an SA that the initiator does not: it is told so, with a delete, and why."""
    both = finished(peer(), mirrored(peer(), local_auth=LocalAuth(psk=b"another")))
    assert downs(both.a) == downs(both.b) == [FAILED]
    assert not both.a.installed
    assert not both.b.installed


def test_initiator_refuses_a_responder_with_another_identity() -> None:
    both = finished(peer(named=None), mirrored(peer(), local_id=fqdn("mallory")))
    assert downs(both.a) == [FAILED]
    assert "another identity" in both.a.told(IkeDown)[0].text
    assert not both.b.installed


def test_peer_for_whom_no_proof_is_configured_proves_nothing() -> None:
    """Not even by a shared secret that is empty on both sides."""
    both = finished(peer(remote_auth=RemoteAuth()), mirrored(peer(), local_auth=LocalAuth(psk=b"")))
    assert downs(both.a) == [FAILED]
    assert "not configured for b" in both.a.told(IkeDown)[0].text
    assert not both.a.installed


def test_failed_peer_may_try_again() -> None:
    both = finished(peer(), mirrored(peer(), remote_auth=RemoteAuth(psk=b"another")))
    both.b.peers = (mirrored(peer()),)
    both.connect()
    both.run(5.0)
    assert both.up()


# --- two steps ----------------------------------------------------------------------------------------------

CBC = IkeOffer((Algorithm(Encr.AES_CBC, 256),), (Prf.HMAC_SHA2_256,), (12,), (Ke.X25519,))


def anybody(name: str, **more: Any) -> PeerSettings:
    """A peer that may come from everywhere, as b knows it."""
    return mirrored(peer(), name=name, remote="", remote_id=Exactly(fqdn(name)), **more)


def test_identity_finds_the_peer_among_those_of_an_address() -> None:
    others = tuple(anybody(name, remote_auth=RemoteAuth(psk=name.encode())) for name in ("x", "y"))
    both = finished(peer(), *others, anybody("a"))
    assert both.up()
    both.agree()
    assert ups(both.b)[0].peer == "a"


def test_peer_so_found_must_accept_what_was_agreed() -> None:
    """The first peer of the address took AES-GCM; the one that it really is wants CBC."""
    both = finished(peer(ike_offers=(GCM, CBC)), anybody("x", ike_offers=(GCM,)), anybody("a", ike_offers=(CBC,)))
    assert downs(both.b) == [FAILED]
    assert "does not accept the algorithms of this IKE SA" in lines(both.b)


def test_post_quantum_is_required_of_the_peer_so_found() -> None:
    hybrid = replace(GCM, extra=((Ke.ML_KEM_768,),))
    both = finished(peer(), anybody("x"), anybody("a", pq="required", ike_offers=(hybrid, GCM)))
    assert downs(both.b) == [FAILED]
    assert "requires a post-quantum" in lines(both.b)


def test_each_guest_has_its_own_ppk() -> None:
    """RFC 8784 sec. 3: the responder looks the named one up among those of the peer that IDi says."""
    mine, other = Ppk(b"\x02a", b"1" * 32), Ppk(b"\x02x", b"2" * 32)
    guests = anybody("x", ppks=(other,), ppk_required=True), anybody("a", ppks=(mine,), ppk_required=True)
    both = finished(peer(ppks=(mine,), ppk_required=True), *guests)
    assert both.up()
    assert ups(both.a)[0].ppk
    both = finished(peer(ppks=(other,), ppk_required=True), *guests)
    assert downs(both.b) == [FAILED]
    assert "names a postquantum preshared key that we do not have" in lines(both.b)


def test_idr_chooses_among_our_identities() -> None:
    """RFC 7296 sec. 1.2: with IDr the initiator says with which of the responder's identities it wants to talk."""
    other = anybody("a", local_id=fqdn("c"), local_auth=LocalAuth(psk=b"another"))
    both = finished(peer(), other, anybody("a"))
    assert both.up()
    assert ups(both.a)[0].remote_id == fqdn("b")


def test_without_idr_the_peers_own_rule_judges_who_answers() -> None:
    both = finished(peer(named=None), anybody("a", local_id=fqdn("c")), anybody("a"))
    assert downs(both.a) == [FAILED]
    assert "the peer has another identity" in lines(both.a)


# --- one connection per peer ----------------------------------------------------------------------------------


def again(both: Pair, **more: Any) -> None:
    """Side a connects once more, as if it were another process."""
    both.a.machines[-1].established = False  # what a restart does not know
    both.connect()
    both.run(1.0)


def test_initial_contact_drops_what_the_peer_has_forgotten() -> None:
    both = established()
    again(both)
    assert downs(both.b) == [("replaced", 0)]
    assert len(both.b.installed) == 1
    assert both.b.machine.sa.state == State.ESTABLISHED


def test_newer_connection_replaces_the_older_after_a_while() -> None:
    """Without INITIAL_CONTACT: the peer may be reauthenticating, and deletes the old one itself."""
    both = established()
    both.connect()
    both.run(1.0)
    assert len(both.b.installed) == 2
    both.run(60.0)
    assert len(both.a.installed) == len(both.b.installed) == 1
    assert len([one for one in both.b.machines if one.sas]) == 1
    both.agree()


def test_uniqueness_keep_refuses_the_newer() -> None:
    both = established(theirs=mirrored(peer(), uniqueness="keep"))
    both.connect()
    both.run(1.0)
    assert ("authentication", NotifyType.AUTHENTICATION_FAILED) in downs(both.b)
    assert "its first connection is kept" in lines(both.b)
    assert len(both.b.installed) == 1


def test_uniqueness_keep_is_asked_again_when_the_newer_one_would_stand() -> None:
    """Both began while none stood: here the workers take their time, with certificates a fetch does."""
    both = pair(peer(), mirrored(peer(), uniqueness="keep"))
    both.b.lag = 0.5
    both.connect()
    both.run(0.1)
    both.connect()
    both.run(5.0)
    assert [bool(one.sas) and one.established for one in both.b.machines] == [True, False]
    assert downs(both.b) == [FAILED]
    assert "its first connection is kept" in lines(both.b)
    assert len(both.b.installed) == len(both.a.installed) == 1
    both.agree()


def test_uniqueness_off_has_both() -> None:
    both = established(peer(uniqueness="off"))
    both.connect()
    both.run(40.0)
    assert len(both.b.installed) == 2


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("ahead", [0.0, 0.004, 0.012, 0.025])
def test_both_begin_at_once_and_one_connection_stays(seed: int, ahead: float) -> None:
    both = pair()
    for side in (both.a, both.b):
        side.seed = seed
        side.__post_init__()
    both.connect()
    both.run(ahead)
    settings = both.b.peers[0]
    machine = Machine(len(both.b.machines), both.b, both.b, Path(B, 500, A, 500), both.now)
    both.b.machines.append(machine)
    machine.connect(settings, ((settings.children[0], None),), both.now)
    both.settle()
    both.run(60.0)
    assert len(both.a.installed) == len(both.b.installed) == 1
    alive = [[one for one in side.machines if one.sas] for side in (both.a, both.b)]
    assert [len(ones) for ones in alive] == [1, 1]
    assert alive[0][0].sa.spi_i == alive[1][0].sa.spi_i
    both.agree()


# --- a peer that believes us not ---


@pytest.mark.parametrize("beside", [(), (Delete(Protocol.IKE),)])
def test_an_initiator_that_refuses_our_proof_says_so_afterwards(beside: tuple[Payload, ...]) -> None:
    """RFC 7296 sec. 2.21.2: in the exchange behind IKE_AUTH, and it need not delete what it never took for made."""
    doubter = Attacker().established()
    said = (Notify(NotifyType.AUTHENTICATION_FAILED), *beside)
    assert doubter.ask(ExchangeType.INFORMATIONAL, said) == ()
    (down,) = doubter.downs()
    assert (down.reason, down.notify) == FAILED
    assert down.text == "the peer refuses us: AUTHENTICATION_FAILED; we said to be b"
    assert not doubter.b.installed
    assert not doubter.machine.stands
