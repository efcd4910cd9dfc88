"""Two machines that prove themselves by certificates: every kind of key, chains, revocation, and what each end says
when the other's proof is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from authority import LEAF, NOW, Authority, der
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from openssl import key
from pair import PSK, Exactly, Pair, downs, fqdn, mirrored, pair, peer, ups

from xdpsec.crypto.revocation import MAX_URLS, Revocation
from xdpsec.crypto.signing import Signer
from xdpsec.crypto.trust import MAX_CHAIN, Trust
from xdpsec.ike.events import FetchWanted, IkeDown, WorkWanted
from xdpsec.ike.identities import parse_identity, parse_rule
from xdpsec.ike.settings import Identity, LocalAuth, PeerSettings, RemoteAuth
from xdpsec.numbers import AuthMethod, HashAlgorithm, NotifyType

KINDS = ("rsa2048", "rsa3072", "p256", "p384", "p521", "brainpool256", "ed25519", "ed448")
FAILED = NotifyType.AUTHENTICATION_FAILED
CRL_URL = "http://pki.example.org/root.crl"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("root"), "/CN=root")


def signer(by: Authority, name: str, kind: str = "p256", more: str = "", *above: Authority) -> Signer:
    leaf = by.issue(f"/C=DE/CN={name}", f"{LEAF}subjectAltName=DNS:{name}\n{more}", kind)
    return Signer(key(kind), (der(leaf), *(one.der for one in above)))


def certified(root: Authority, ours: Signer, theirs: Signer, **more: Any) -> Pair:
    """a and b with these signers; each believes `root`."""
    trust = RemoteAuth(trust=Trust([root.certificate]))
    settings = peer(local_auth=LocalAuth(signer=ours), remote_auth=trust, **more)
    return timed(settings, mirrored(settings, local_auth=LocalAuth(signer=theirs)))


def timed(settings: PeerSettings, theirs: PeerSettings, wall: float = NOW) -> Pair:
    both = pair(settings, theirs)
    both.a.clock = both.b.clock = wall
    return both


def meet(both: Pair) -> Pair:
    both.connect()
    both.run(5.0)
    return both


def agreed(both: Pair) -> None:
    assert meet(both).up(), both.a.why() + both.b.why()
    both.agree()
    assert len(both.a.installed) == 1


class Staple:
    """What the host has to say of its certificate."""

    def __init__(self, data: bytes) -> None:
        self.data, self.asked = data, 0

    def at(self, wall: float) -> bytes:
        self.asked += 1
        return self.data


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("revocation", ["strict", "if-available", "off"])
def test_an_ocsp_response_comes_along_where_it_is_asked_for(root: Authority, side: str, revocation: str) -> None:
    """RFC 4806: CERTREQ of encoding 14, and the response in a CERT payload beside the certificate."""
    proof = signer(root, side)
    staple = Staple(root.ocsp(x509.load_der_x509_certificate(proof.certificates[0])))
    other = LocalAuth(psk=PSK)
    mine = LocalAuth(signer=proof, staple=staple)

    def made() -> Pair:
        believes = RemoteAuth(psk=PSK, trust=Trust([root.certificate], revocation=revocation))
        settings = peer(local_auth=mine if side == "a" else other, remote_auth=believes)
        return timed(settings, mirrored(settings, local_auth=mine if side == "b" else other))

    agreed(both := made())
    assert not both.a.told(FetchWanted)
    assert not both.b.told(FetchWanted)
    assert staple.asked == (revocation != "off")
    staple.data = b""
    if revocation == "strict":
        refused(made(), "nobody says whether certificate", by="b" if side == "a" else "a")
    else:
        agreed(made())


def refused(both: Pair, sentence: str, by: str = "b") -> None:
    """That side refuses the other's proof with these words, and both end with AUTHENTICATION_FAILED."""
    meet(both)
    assert sentence in both.side(by).why()
    for side in (both.a, both.b):
        assert ups(side) == [] or (side.name == "b" and by == "a")
        assert [notify for _, notify in downs(side)] == [FAILED] or (side.name == "b" and by == "a")
        assert side.installed == {}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_key(root: Authority, kind: str) -> None:
    both = certified(root, signer(root, "a", kind), signer(root, "b", "p256"))
    agreed(both)
    slow = [event.job for event in both.a.told(WorkWanted)]
    assert bool(slow) is (kind == "rsa3072")
    both = certified(root, signer(root, "a", "p256"), signer(root, "b", kind))
    agreed(both)


@pytest.mark.parametrize(("local", "remote"), [(PSK, None), (None, PSK)])
def test_each_side_by_its_own_means(root: Authority, local: bytes | None, remote: bytes | None) -> None:
    """A shared secret in one direction, a certificate in the other."""
    trust = Trust([root.certificate])
    ours = LocalAuth(psk=PSK) if local else LocalAuth(signer=signer(root, "a"))
    theirs = LocalAuth(psk=PSK) if remote else LocalAuth(signer=signer(root, "b"))
    settings = peer(local_auth=ours, remote_auth=RemoteAuth(psk=PSK) if remote else RemoteAuth(trust=trust))
    other = mirrored(settings, local_auth=theirs, remote_auth=RemoteAuth(psk=PSK) if local else RemoteAuth(trust=trust))
    agreed(timed(settings, other))


def test_intermediates_travel(tmp_path: Path, root: Authority) -> None:
    middle = Authority(tmp_path, "/CN=middle", root)
    agreed(certified(root, signer(middle, "a", "p256", "", middle), signer(root, "b")))
    refused(certified(root, signer(middle, "a"), signer(root, "b")), "none of our authorities vouches")


IDENTITIES = [("a.example.org", "*.example.org"), ("me@example.org", "*@example.org"), ("192.0.2.1", "192.0.2.0/24"),
              ("2001:db8::1", "2001:db8::1"), ("C=DE, CN=a", "C=DE, CN=*"), ("C=DE, CN=a", "*")]  # fmt: skip


@pytest.mark.parametrize(("identity", "rule"), IDENTITIES)
def test_every_kind_of_identity(root: Authority, identity: str, rule: str) -> None:
    more = "subjectAltName=DNS:a.example.org,email:me@example.org,IP:192.0.2.1,IP:2001:db8::1\n"
    ours = Signer(key("p256"), (der(root.issue("/C=DE/CN=a", LEAF + more)),))
    both = certified(root, ours, signer(root, "b"))
    (one,), (other,) = both.a.peers, both.b.peers
    both.a.peers = (replace(one, local_id=parse_identity(identity)),)
    both.b.peers = (replace(other, remote_id=parse_rule(rule)),)
    agreed(both)


# --- proofs that are none ---


def test_a_stranger_s_certificate(tmp_path: Path, root: Authority) -> None:
    other = Authority(tmp_path, "/CN=other", kind="p384")
    refused(certified(root, signer(other, "a"), signer(root, "b")), "none of our authorities vouches")
    refused(certified(root, signer(root, "a"), signer(other, "b")), "none of our authorities vouches", by="a")


def test_another_s_certificate(root: Authority) -> None:
    """The right authority, but not who it says it is; and the right certificate without its key."""
    refused(certified(root, signer(root, "c"), signer(root, "b")), "does not speak for the identity")
    stolen = Signer(key("p384"), signer(root, "a").certificates)
    refused(certified(root, stolen, signer(root, "b")), "is wrong for the secp256r1 key of the certificate")
    both = certified(root, signer(root, "a"), signer(root, "b"))
    (other,) = both.b.peers
    both.b.peers = (replace(other, remote_id=Exactly(fqdn("c"))),)
    meet(both)
    assert not ups(both.a)
    assert [notify for _, notify in downs(both.a)] == [FAILED]


def test_an_expired_certificate(root: Authority) -> None:
    both = certified(root, signer(root, "a"), signer(root, "b"))
    both.b.clock = NOW + 400 * 86400
    refused(both, "certificate C=DE, CN=a has expired on ")


def test_no_certificate_at_all(root: Authority) -> None:
    both = certified(root, Signer(key("p256"), ()), signer(root, "b"))
    refused(both, "the peer sent no certificate")


def test_a_secret_where_a_certificate_is_wanted(root: Authority) -> None:
    trust = RemoteAuth(trust=Trust([root.certificate]))
    settings = peer(local_auth=LocalAuth(psk=PSK), remote_auth=trust)
    both = timed(settings, mirrored(settings, local_auth=LocalAuth(signer=signer(root, "b"))))
    refused(both, "may not authenticate by method 2")


def test_a_bomb_of_certificates(root: Authority) -> None:
    many = signer(root, "a")
    many = replace(many, certificates=many.certificates + (root.der,) * MAX_CHAIN)
    refused(certified(root, many, signer(root, "b")), "more than 8 certificates")
    large = replace(many, certificates=(many.certificates[0], b"\x30" * (17 << 10)))
    refused(certified(root, large, signer(root, "b")), "16 KiB")
    junk = replace(many, certificates=(b"\x30\x03\x02\x01\x05",))
    refused(certified(root, junk, signer(root, "b")), "malformed certificate")


# --- revocation ---


def crl(root: Authority, *revoked: x509.Certificate) -> bytes:
    return root.crl(*revoked).public_bytes(Encoding.DER)


def test_revoked_by_a_file(tmp_path: Path) -> None:
    root = Authority(tmp_path, "/CN=root")
    ours = signer(root, "a")
    known = Revocation([root.crl(x509.load_der_x509_certificate(ours.certificates[0]))])
    both = certified(root, ours, signer(root, "b"))
    (other,) = both.b.peers
    both.b.peers = (replace(other, remote_auth=RemoteAuth(trust=Trust([root.certificate], known))),)
    refused(both, "certificate C=DE, CN=a has been revoked")


@pytest.mark.parametrize(("mode", "revoke", "body"), [
    ("strict", False, True), ("strict", True, True), ("strict", False, False),
    ("if-available", False, True), ("if-available", True, True), ("if-available", False, False),
])  # fmt: skip
def test_revocation_by_url(tmp_path: Path, mode: str, revoke: bool, body: bool) -> None:
    """The host is sent for the list while the peer waits; what comes decides, and when nothing comes the mode does."""
    root = Authority(tmp_path, "/CN=root")
    ours = signer(root, "a", "p256", f"crlDistributionPoints=URI:{CRL_URL}\n")
    leaf = x509.load_der_x509_certificate(ours.certificates[0])
    known = Revocation()
    both = certified(root, ours, signer(root, "b"))
    (other,) = both.b.peers
    both.b.peers = (replace(other, remote_auth=RemoteAuth(trust=Trust([root.certificate], known, mode))),)
    both.b.works = False
    both.connect()
    both.run(3.0)
    (wanted,) = both.b.told(FetchWanted)
    assert wanted.urls == (CRL_URL,)
    assert not ups(both.a)
    known.take(CRL_URL, crl(root, *([leaf] if revoke else [])) if body else None, NOW)
    both.b.machine.answer(wanted.ticket, None, both.now)
    both.settle()
    both.run(5.0)
    assert bool(ups(both.a)) is (not revoke and (body or mode == "if-available")), both.b.why()
    assert ("has been revoked" in both.b.why()) is revoke
    assert ("nobody says" in both.b.why()) is (mode == "strict" and not body)
    assert len(both.b.told(FetchWanted)) == 1


@pytest.mark.parametrize(("mode", "last", "up"), [
    ("if-available", False, True), ("strict", False, False), ("strict", True, True),
])  # fmt: skip
def test_every_url_is_tried_and_the_last_answer_heard(tmp_path: Path, mode: str, last: bool, up: bool) -> None:
    """A certificate names as many as we ask; all fail but perhaps the last."""
    root = Authority(tmp_path, "/CN=root")
    points = ",".join(f"URI:http://pki.example.org/{at}" for at in range(MAX_URLS))
    access = ",".join(f"OCSP;URI:http://ocsp.example.org/{at}" for at in range(MAX_URLS))
    ours = signer(root, "a", "p256", f"crlDistributionPoints={points}\nauthorityInfoAccess={access}\n")
    known = Revocation()
    both = certified(root, ours, signer(root, "b"))
    (other,) = both.b.peers
    both.b.peers = (replace(other, remote_auth=RemoteAuth(trust=Trust([root.certificate], known, mode))),)
    both.b.works = False
    both.connect()
    for at in range(1, 2 * MAX_URLS + 1):
        both.run(1.0)
        wanted = both.b.told(FetchWanted)
        assert len(wanted) == at
        known.take(wanted[-1].urls[0], crl(root) if last and at == 2 * MAX_URLS else None, NOW)
        both.b.machine.answer(wanted[-1].ticket, None, both.now)
        both.settle()
    both.run(1.0)
    assert bool(ups(both.a)) is up, both.b.why()
    assert ("nobody says" in both.b.why()) is not up


# --- which signature ---


def test_the_method_follows_what_the_peer_knows(root: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that announces only SHA2-512 gets it."""
    from xdpsec.ike.v2 import extensions

    heard: list[tuple[int, Any]] = []
    check = Trust.check

    def spy(self: Trust, found: object, method: int, data: bytes, octets: bytes) -> None:
        heard.append((method, data[1 : 1 + data[0]] if method == AuthMethod.SIGNATURE else b""))
        check(self, found, method, data, octets)

    monkeypatch.setattr(Trust, "check", spy)
    monkeypatch.setattr(extensions, "_HASHES", HashAlgorithm.SHA2_512.to_bytes(2, "big"))
    monkeypatch.setattr(extensions, "announced", lambda peers: ())
    agreed(certified(root, signer(root, "a", "rsa2048"), signer(root, "b", "p256")))
    assert all(bytes.fromhex("0304") in blob or bytes.fromhex("020305") in blob for _, blob in heard)
    heard.clear()
    monkeypatch.setattr(extensions, "_HASHES", b"")
    agreed(certified(root, signer(root, "a", "rsa2048"), signer(root, "b", "p384")))
    assert heard == [(AuthMethod.RSA, b""), (AuthMethod.ECDSA_384, b"")]


def test_ends_leave_nothing(root: Authority) -> None:
    both = certified(root, signer(root, "c"), signer(root, "b"))
    meet(both)
    both.run(600.0)
    assert both.a.spis == both.b.spis == {}
    assert len(both.b.told(IkeDown)) == 1


def test_an_identity_of_no_kind(root: Authority) -> None:
    both = certified(root, signer(root, "a"), signer(root, "b"))
    (one,), (other,) = both.a.peers, both.b.peers
    both.a.peers = (replace(one, local_id=Identity(13, b"")),)
    both.b.peers = (replace(other, remote_id=parse_rule("*")),)
    meet(both)
    assert not ups(both.a)
