"""Target of the coverage-guided fuzzer: what a stranger sends to prove who it is. Certificates, CRLs, OCSP answers,
names and signatures of its making end as a refusal or as a value. The first byte of an input says which way in.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryptography import x509

from xdpsec.crypto import claims, names
from xdpsec.crypto.announce import build_announcements, parse_announcements
from xdpsec.crypto.malformed import MALFORMED
from xdpsec.crypto.revocation import Revocation
from xdpsec.crypto.signing import usable, verify
from xdpsec.crypto.trust import NeedsFetch, Trust
from xdpsec.errors import PeerError
from xdpsec.ike.identities import parse_rule, show
from xdpsec.ike.settings import Identity

#: Made once by the openssl command: certificates, a CRL, an OCSP answer, and a time at which all of them hold.
MADE = dict(
    line.split(" = ") for line in (Path(__file__).parent / "corpus" / "certificates.txt").read_text().splitlines()
)
WALL = float(MADE["wall"])
ROOT, MIDDLE, *LEAVES = (
    x509.load_der_x509_certificate(bytes.fromhex(MADE[name])) for name in ("root", "middle", "p256", "rsa", "ed25519")
)
TRUSTS = [Trust([ROOT], Revocation(), kind) for kind in ("if-available", "strict", "off")]
RULES = tuple(map(parse_rule, ("a.example", "*.example", "*@example", "10.0.0.0/8", "CN=a", "C=DE, CN=*")))
WANTED = Identity(2, b"a.example")


def pieces(data: bytes) -> list[bytes]:
    """Each behind its length in two bytes."""
    found = []
    while len(data) > 2:
        size = int.from_bytes(data[:2], "big")
        found.append(data[2 : 2 + size])
        data = data[2 + size :]
    return found


def chain(data: bytes) -> None:
    """A whole proof: which trust, the certificates, the last piece an OCSP answer."""
    sent = pieces(data[1:])
    trust = TRUSTS[data[0] % len(TRUSTS)]
    trust.verify(tuple(sent[:-1]), WANTED, WALL, tuple(sent[-1:]))


def certificate(data: bytes) -> None:
    """One certificate as if its path had held: what is then read in it."""
    try:
        found = x509.load_der_x509_certificate(data)
        claims.unfit(found, any_purpose=False)
        claims.claims(found, 2, b"a.example")
        claims.claims(found, 9, claims.subject(found))
        claims.authority(found)
        usable(found.public_key())
    except MALFORMED:
        return
    assert len(names.show(claims.subject(found))) < 100_000


def name(data: bytes) -> None:
    """An ID payload: shown to people, and matched by every kind of rule."""
    identity = Identity(data[0], data[1:])
    line = show(identity)
    assert line.isprintable()
    assert len(line) < 4096
    for rule in RULES:
        rule.matches(identity)


def proof(data: bytes) -> None:
    """An AUTH payload: which key, which method, its data."""
    if len(data) > 1:
        key = usable(LEAVES[data[0] % len(LEAVES)].public_key())
        verify(key, data[1], data[2:], b"signed octets")
        raise AssertionError("a signature of nobody's was taken")


def revoked(data: bytes) -> None:
    """What an OCSP responder or a web server sent."""
    known = Revocation()
    url = known.ask(LEAVES[0], ROOT, WALL)
    if url:
        known.take(url, data[1:], WALL)
    known.staple(data[1:], LEAVES[data[0] % len(LEAVES)], ROOT, WALL)


def announced(data: bytes) -> None:
    build_announcements(parse_announcements(data))


WAYS: tuple[Callable[[bytes], None], ...] = (chain, certificate, name, proof, revoked, announced)


def one_input(data: bytes) -> None:
    """What the fuzzer calls. Any exception that leaves it is a finding."""
    if len(data) < 2:
        return
    try:
        WAYS[data[0] % len(WAYS)](data[1:])
    except NeedsFetch as wanted:
        if not all(url.startswith(("http://", "https://")) for url in wanted.urls):
            raise AssertionError("something else than a web server is to be asked") from wanted
    except PeerError as error:
        if not str(error):
            raise AssertionError("a refusal that says nothing") from error
