"""Files of a configuration become proofs: what fits together is shared, what does not has a sentence with its file."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from authority import LEAF, Authority, pem
from openssl import key_pem

from xdpsec.config.values_ike import Auth
from xdpsec.crypto.signing import Signer
from xdpsec.daemon.credentials import AHEAD, Credentials, doubts
from xdpsec.errors import ConfigError, PeerError
from xdpsec.ike.identities import parse_identity

GW = parse_identity("gw.example.org")
AUTH = Auth(certificate="/gw.pem", key="/gw.key", ca=("/ca.pem",))


@pytest.fixture
def root(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "/CN=root")


@pytest.fixture
def files(root: Authority) -> dict[str, bytes]:
    leaf = root.issue("/CN=gw", LEAF + "subjectAltName=DNS:gw.example.org\n")
    locked = subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-scrypt", "-passout", "pass:word"],
        input=key_pem("p256"), capture_output=True, check=True,
    ).stdout  # fmt: skip
    return {
        "/gw.pem": pem(leaf) + root.file.read_bytes(),
        "/gw.key": key_pem("p256"),
        "/locked.key": locked,
        "/ca.pem": root.file.read_bytes(),
        "/empty": b"",
        "/other.pem": pem(root.issue("/CN=other", LEAF, "p384")),
    }


def test_a_signer_and_a_trust(files: dict[str, bytes]) -> None:
    made = Credentials(files, {})
    signer, trust = made.signer(AUTH), made.trust(AUTH)
    assert isinstance(signer, Signer)
    assert trust is not None
    assert len(signer.certificates) == 2
    method, data = signer.sign(b"octets", (), ())
    trust.check(trust.verify(signer.certificates, GW, time.time() + 60), method, data, b"octets")
    assert made.unencrypted() == ["/gw.key"]
    assert made.signer(replace(AUTH, certificate="", key="")) is None
    assert made.trust(replace(AUTH, ca=())) is None


def test_what_is_the_same_is_made_once(files: dict[str, bytes]) -> None:
    made = Credentials(files, {})
    assert made.signer(AUTH) is made.signer(replace(AUTH, ca=()))
    assert made.trust(AUTH) is made.trust(replace(AUTH, certificate="", key=""))
    assert made.trust(AUTH) is not made.trust(replace(AUTH, revocation="strict"))


def test_how_a_key_signs(files: dict[str, bytes], root: Authority) -> None:
    more = {"/rsa.key": key_pem("rsa2048"), "/rsa.pem": pem(root.issue("/CN=rsa", LEAF, "rsa2048"))}
    made = Credentials({**files, **more}, {})
    rsa = replace(AUTH, certificate="/rsa.pem", key="/rsa.key")
    wishes = {
        "auto": "RSASSA-PSS with SHA2-256",
        "pkcs1": "RSA PKCS#1 v1.5 with SHA2-256",
        "pss-sha384": "RSASSA-PSS with SHA2-384",
        "pkcs1-sha512": "RSA PKCS#1 v1.5 with SHA2-512",
    }
    for wish, name in wishes.items():
        signer = made.signer(replace(rsa, signature=wish))
        assert signer is not None
        assert str(signer.choose({2, 3, 4})) == name
    with pytest.raises(ConfigError, match=r"/rsa.key: the RSA-2048 key in it cannot sign by .ecdsa-sha256.*; write"):
        made.signer(replace(rsa, signature="ecdsa-sha256"))


def test_a_locked_key(files: dict[str, bytes]) -> None:
    auth = replace(AUTH, key="/locked.key")
    made = Credentials(files, {"/locked.key": b"word"})
    assert made.signer(auth) is not None
    assert made.unencrypted() == []
    for words, text in (({}, "is encrypted"), ({"/locked.key": b"other"}, "cannot be unlocked")):
        with pytest.raises(ConfigError, match=f"/locked.key: {text}.*; ") as caught:
            Credentials(files, words).signer(auth)
        assert "other" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"certificate": "/empty"}, "/empty: holds no certificate"),
        ({"certificate": "/gw.key"}, "/gw.key: holds no certificate"),
        ({"certificate": "/other.pem"}, "/other.pem: its first certificate is not for the key in /gw.key"),
        ({"certificate": "/ca.pem", "key": "/gw.pem"}, "/gw.pem: holds CERTIFICATE, not PKCS#8"),
        ({"key": "/empty"}, "/empty: holds no private key"),
        ({"ca": ("/empty",)}, "/empty: holds no certificate"),
    ],
)
def test_what_does_not_fit(files: dict[str, bytes], change: dict[str, str], text: str) -> None:
    made = Credentials(files, {})
    auth = replace(AUTH, **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=text):
        made.trust(auth) if "ca" in change else made.signer(auth)


def test_what_check_sees_without_a_passphrase(files: dict[str, bytes]) -> None:
    made = Credentials(files, {})
    for good in (AUTH, replace(AUTH, key="/locked.key", passphrase="prompt"), replace(AUTH, certificate="", key="")):
        made.inspect(good)
    for change, text in (
        ({"key": "/locked.key"}, "/locked.key: is encrypted, and no passphrase is named"),
        ({"key": "/empty"}, "/empty: holds no private key"),
        ({"certificate": "/other.pem"}, "its first certificate is not for the key"),
        ({"certificate": "/empty", "key": "/locked.key", "passphrase": "prompt"}, "/empty: holds no certificate"),
        ({"ca": ("/gw.key",)}, "/gw.key: holds no certificate"),
    ):
        with pytest.raises(ConfigError, match=text):
            made.inspect(replace(AUTH, **change))


def test_revocation_lists(root: Authority, files: dict[str, bytes]) -> None:
    made = Credentials(files, {})
    signer = made.signer(AUTH)
    assert signer is not None
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    crl = root.crl(x509.load_der_x509_certificate(signer.certificates[0])).public_bytes(Encoding.PEM)
    revoking = Credentials({**files, "/crl": crl}, {})
    revoking.load_crls(["/crl", "/crl"])
    trust = revoking.trust(AUTH)
    assert trust is not None
    with pytest.raises(PeerError, match="has been revoked"):
        trust.verify(signer.certificates, GW, time.time() + 60)
    with pytest.raises(ConfigError, match=r"/ca.pem: holds no revocation list"):
        revoking.load_crls(["/ca.pem"])


def test_the_end_is_seen_ahead(files: dict[str, bytes]) -> None:
    made = Credentials(files, {})
    assert made.ends() == []
    made.signer(AUTH)
    made.trust(AUTH)
    now = time.time()
    assert list(made.expiring(now)) == []
    assert [(file, name) for file, name, _ in made.ends()] == [
        ("/gw.pem", "CN=gw"),
        ("/gw.pem", "CN=root"),
        ("/ca.pem", "CN=root"),
    ]
    first = min(ends for *_, ends in made.ends())
    assert abs(first - now - 365 * 86400) < 120
    assert [(file, one.name) for file, one in made.expiring(first - AHEAD + 1)] == [("/gw.pem", "CN=gw")]


@pytest.mark.parametrize(
    ("text", "more", "why"),
    [
        ("gw.example.org", "", ""),
        ("CN=gw", "", ""),
        ("other.example.org", "", "does not speak for local_id other.example.org"),
        ("gw.example.org", "extendedKeyUsage=serverAuth\n", "does not name ipsecIKE"),
    ],
)
def test_what_a_peer_will_not_like(root: Authority, text: str, more: str, why: str) -> None:
    leaf = root.issue("/CN=gw", LEAF + more + "subjectAltName=DNS:gw.example.org\n")
    found = doubts(leaf, parse_identity(text))
    assert (why in found) if why else found == ""
