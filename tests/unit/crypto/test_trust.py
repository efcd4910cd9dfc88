"""Paths to an authority: good ones of every kind, each way to be wrong with its sentence; `openssl verify` beside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from authority import CA, DAY, LEAF, NOW, Authority, der, openssl_takes, pem
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openssl import key, openssl

from xdpsec.crypto.announce import signatures
from xdpsec.crypto.schemes import HASHES
from xdpsec.crypto.signing import Signer
from xdpsec.crypto.trust import MAX_CHAIN, Trust, expiring, load_certificates
from xdpsec.errors import LocalError, PeerError
from xdpsec.ike import settings as contract
from xdpsec.ike.identities import parse_identity
from xdpsec.ike.settings import Identity
from xdpsec.numbers import IdType, NotifyType

SAN = "subjectAltName=DNS:gw.example.org,email:me@example.org,IP:203.0.113.7,IP:2001:db8::1\n"
GW = parse_identity("gw.example.org")
SUBJECT = "/C=DE/O=Firm/CN=gw"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("root"), "/C=DE/CN=root")


@pytest.fixture(scope="module")
def leaf(root: Authority) -> x509.Certificate:
    return root.issue(SUBJECT, LEAF + SAN)


def trust(*anchors: Authority, **words: object) -> Trust:
    return Trust([anchor.certificate for anchor in anchors], **words)  # type: ignore[arg-type]


def refuses(
    sentence: str, by: Trust, chain: list[x509.Certificate], identity: Identity = GW, wall: float = NOW
) -> None:
    with pytest.raises(PeerError, match=sentence) as caught:
        by.verify(tuple(map(der, chain)), identity, wall)
    assert caught.value.notify == NotifyType.AUTHENTICATION_FAILED
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("above", ["rsa2048", "p256", "p384", "p521", "brainpool256", "ed25519", "ed448"])
@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p521", "brainpool256", "ed25519", "ed448"])
def test_every_kind_of_key(tmp_path: Path, above: str, kind: str) -> None:
    by = Authority(tmp_path, "/CN=root", kind=above)
    issued = by.issue(SUBJECT, LEAF + SAN, kind)
    assert openssl_takes(tmp_path, [by], [issued])
    found = trust(by).verify((der(issued),), GW, NOW)
    assert found == key(kind).public_key()


def test_intermediates_in_any_order(tmp_path: Path, root: Authority) -> None:
    first = Authority(tmp_path, "/CN=first", root)
    second = Authority(tmp_path, "/CN=second", first)
    issued = second.issue(SUBJECT, LEAF + SAN)
    for chain in ([issued, second.certificate, first.certificate], [issued, first.certificate, second.certificate],
                  [issued, root.certificate, first.certificate, second.certificate, second.certificate]):  # fmt: skip
        trust(root).verify(tuple(map(der, chain)), GW, NOW)
    trust(first).verify((der(issued), second.der), GW, NOW)
    assert not openssl_takes(tmp_path, [root], [issued, second.certificate])
    refuses("none of our authorities vouches", trust(root), [issued, second.certificate])


def test_an_anchor_may_be_the_peer_itself(root: Authority, leaf: x509.Certificate) -> None:
    Trust([leaf]).verify((der(leaf),), GW, NOW)
    other = root.issue("/CN=other", LEAF + SAN)
    with pytest.raises(PeerError, match="none of our authorities"):
        Trust([leaf]).verify((der(other),), GW, NOW)


# --- what is wrong with a path ---


def test_strangers(tmp_path: Path, root: Authority, leaf: x509.Certificate) -> None:
    other = Authority(tmp_path, "/C=DE/CN=root", kind="p384")  # the same name, another key
    assert not openssl_takes(tmp_path, [other], [leaf])
    refuses("(none of our authorities|signature)", trust(other), [leaf])
    alone = Authority(tmp_path, SUBJECT, extensions=LEAF + SAN)
    refuses("none of our authorities", trust(root), [alone.certificate])


def test_times(tmp_path: Path, root: Authority, leaf: x509.Certificate) -> None:
    by = trust(root)
    for wall, good in ((NOW + 364 * DAY, True), (NOW + 366 * DAY, False), (NOW - DAY, False)):
        assert openssl_takes(tmp_path, [root], [leaf], wall) is good
        if good:
            by.verify((der(leaf),), GW, wall)
    refuses(f"has expired on {leaf.not_valid_after_utc:%Y-%m-%d}", by, [leaf], wall=NOW + 366 * DAY)
    refuses("is not valid yet before", by, [leaf], wall=NOW - DAY)
    by.verify((der(leaf),), GW, NOW)  # a refusal leaves no trace


def test_a_broken_signature(root: Authority, leaf: x509.Certificate) -> None:
    broken = bytearray(der(leaf))
    broken[-1] ^= 1
    with pytest.raises(PeerError, match="signature"):
        trust(root).verify((bytes(broken),), GW, NOW)


@pytest.mark.parametrize(
    ("extensions", "sentence"),
    [
        ("basicConstraints=CA:FALSE\nkeyUsage=keyCertSign\n", "no authority"),
        ("basicConstraints=critical,CA:TRUE\nkeyUsage=digitalSignature\n", "(no authority|refused)"),
        ("subjectKeyIdentifier=hash\n", "no authority"),
        (f"{CA}nameConstraints=critical,permitted;DNS:other.org\n", "name constraints"),
        (f"{CA}nameConstraints=critical,excluded;DNS:example.org\n", "name constraints"),
        (f"{CA}nameConstraints=critical,permitted;IP:10.0.0.0/255.0.0.0\n", "name constraints"),
        (f"{CA}nameConstraints=critical,excluded;email:example.org\n", "name constraints"),
        (f"{CA}nameConstraints=critical,permitted;dirName:other\n[other]\nC=FR\n", "name constraints"),
        (f"{CA}1.2.3.4=critical,ASN1:NULL\n", "critical extension"),
    ],
)
def test_bad_intermediates(tmp_path: Path, root: Authority, extensions: str, sentence: str) -> None:
    middle = Authority(tmp_path, "/CN=middle", root, extensions=extensions)
    issued = middle.issue(SUBJECT, LEAF + SAN)
    if extensions != "subjectKeyIdentifier=hash\n":  # openssl takes that one
        assert not openssl_takes(tmp_path, [root], [issued, middle.certificate])
    refuses(sentence, trust(root), [issued, middle.certificate])


@pytest.mark.parametrize("permitted", ["DNS:example.org", "IP:203.0.113.0/255.255.255.0", "dirName:ours"])
def test_names_within_constraints(tmp_path: Path, root: Authority, permitted: str) -> None:
    extensions = f"{CA}nameConstraints=critical,permitted;{permitted}\n[ours]\nC=DE\nO=Firm\n"
    middle = Authority(tmp_path, "/CN=middle", root, extensions=extensions)
    plain = "subjectAltName=DNS:gw.example.org,IP:203.0.113.7\n"
    trust(root).verify((der(middle.issue(SUBJECT, LEAF + plain)), middle.der), GW, NOW)


def test_path_length(tmp_path: Path) -> None:
    top = Authority(tmp_path, "/CN=top", extensions=CA.replace("CA:TRUE", "CA:TRUE,pathlen:0"))
    middle = Authority(tmp_path, "/CN=middle", top)
    issued = middle.issue(SUBJECT, LEAF + SAN)
    assert not openssl_takes(tmp_path, [top], [issued, middle.certificate])
    refuses("further from its authority", trust(top), [issued, middle.certificate])
    trust(top).verify((der(top.issue(SUBJECT, LEAF + SAN)),), GW, NOW)


def test_weak_keys_and_hashes(tmp_path: Path, root: Authority) -> None:
    refuses("RSA key of 1024 bits", trust(root), [root.issue(SUBJECT, LEAF + SAN, "rsa1024")])
    refuses("curve secp224r1", trust(root), [root.issue(SUBJECT, LEAF + SAN, "p224")])
    refuses("signed with SHA1", trust(root), [root.issue(SUBJECT, LEAF + SAN, digest="sha1")])
    weak = Authority(tmp_path, "/CN=weak", root, kind="rsa1024")
    refuses("RSA key of 1024 bits", trust(root), [weak.issue(SUBJECT, LEAF + SAN), weak.certificate])


# --- what IKE asks of the peer's own certificate ---


@pytest.mark.parametrize(
    ("extensions", "sentence"),
    [
        ("", ""),
        ("keyUsage=nonRepudiation\n", ""),
        ("keyUsage=keyEncipherment\n", "key usage allows no signatures"),
        ("extendedKeyUsage=ipsecIKE\n", ""),
        ("extendedKeyUsage=serverAuth,anyExtendedKeyUsage\n", ""),
        ("extendedKeyUsage=serverAuth\n", "does not name ipsecIKE"),
        ("extendedKeyUsage=ipsecEndSystem,ipsecTunnel,ipsecUser\n", "does not name ipsecIKE"),
    ],
)
def test_usages(root: Authority, extensions: str, sentence: str) -> None:
    issued = root.issue(SUBJECT, extensions + SAN)
    if sentence:
        refuses(sentence, trust(root), [issued])
    else:
        trust(root).verify((der(issued),), GW, NOW)
    if "extended" in extensions:
        trust(root, any_purpose=True).verify((der(issued),), GW, NOW)


CLAIMS = [
    ("gw.example.org", True), ("GW.Example.ORG", True), ("me@example.org", True), ("me@EXAMPLE.org", True),
    ("203.0.113.7", True), ("2001:db8::1", True), ("C=de, O=firm, CN=GW", True),
    ("Me@example.org", False), ("example.org", False), ("a.gw.example.org", False), ("203.0.113.8", False),
    ("2001:db8::2", False), ("C=DE, CN=gw", False), ("fqdn:gw", False), ("keyid:gw.example.org", False),
    ("fqdn:me", False), ("email:gw@gw.example.org", False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "good"), CLAIMS)
def test_identities(root: Authority, leaf: x509.Certificate, text: str, good: bool) -> None:
    if good:
        trust(root).verify((der(leaf),), parse_identity(text), NOW)
    else:
        refuses("does not speak for .* it has gw.example.org", trust(root), [leaf], parse_identity(text))


def test_a_wildcard_in_a_certificate_is_none(root: Authority) -> None:
    issued = root.issue("/CN=*", LEAF + "subjectAltName=DNS:*.example.org,email:*@example.org\n")
    for text in ("gw.example.org", "me@example.org", "CN=gw"):
        refuses("does not speak for", trust(root), [issued], parse_identity(text))
    issued = root.issue("/CN=gw.example.org", LEAF)
    refuses("it has no subjectAltName", trust(root), [issued])


def test_key_ids(root: Authority) -> None:
    issued = root.issue(SUBJECT, LEAF + "subjectKeyIdentifier=hash\n")
    shown = openssl("x509", "-noout", "-ext", "subjectKeyIdentifier", stdin=pem(issued)).stdout
    digest = bytes.fromhex(shown.split()[-1].decode().replace(":", ""))
    trust(root).verify((der(issued),), Identity(IdType.KEY_ID, digest), NOW)
    refuses("does not speak", trust(root), [issued], Identity(IdType.KEY_ID, digest[:-1]))


@pytest.mark.parametrize("kind", [0, 4, IdType.DER_ASN1_GN, IdType.FC_NAME, IdType.NULL, 255])
def test_other_kinds_of_identity(root: Authority, leaf: x509.Certificate, kind: int) -> None:
    refuses("does not speak", trust(root), [leaf], Identity(kind, b"gw.example.org"))


def test_no_subject_no_name(root: Authority) -> None:
    issued = root.issue("/", LEAF + "subjectAltName=critical,DNS:gw.example.org\n")
    trust(root).verify((der(issued),), GW, NOW)
    refuses("does not speak", trust(root), [issued], Identity(IdType.DER_ASN1_DN, b"\x30\0"))


# --- bombs and garbage ---


def test_bounds_come_before_everything(root: Authority, leaf: x509.Certificate) -> None:
    refuses("sent no certificate", trust(root), [])
    for chain in ((der(leaf),) * (MAX_CHAIN + 1), (der(leaf), b"\x30" * (17 << 10))):
        with pytest.raises(PeerError, match="more than 8 certificates, or one of more than 16 KiB"):
            trust(root).verify(chain, GW, NOW)
    big = ",".join(f"DNS:n{at}.example.org" for at in range(900))
    issued = root.issue(SUBJECT, f"{LEAF}subjectAltName={big},DNS:gw.example.org\n")
    refuses("16 KiB", trust(root), [issued])


def test_a_loop_of_authorities_ends(tmp_path: Path, root: Authority) -> None:
    """Two that vouch for each other, and neither is ours."""
    one = Authority(tmp_path, "/CN=one", root, kind="p384")
    other = Authority(tmp_path, "/CN=other", one, kind="p521")
    back = other.issue("/CN=one", CA, kind="p384")
    leaf = one.issue(SUBJECT, LEAF + SAN)
    stranger = Authority(tmp_path, "/CN=stranger", kind="ed25519")
    refuses("none of our authorities", trust(stranger), [leaf, back, other.certificate])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_broken_certificates(root: Authority, leaf: x509.Certificate, data: st.DataObject) -> None:
    """Octets changed, cut off or repeated anywhere: a PeerError with words."""
    whole = bytearray(der(leaf))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for broken in (bytes(whole), bytes(whole[:cut]), bytes(whole) + bytes(whole[:cut])):
        if broken == der(leaf):
            trust(root).verify((broken,), GW, NOW)
            continue
        with pytest.raises(PeerError) as caught:
            trust(root).verify((broken,), GW, NOW)
        assert caught.value.notify == NotifyType.AUTHENTICATION_FAILED
        assert str(caught.value).isprintable()


# --- around it ---


def test_authorities_for_certreq(tmp_path: Path, root: Authority) -> None:
    """SHA-1 over SubjectPublicKeyInfo, computed by the openssl command."""
    other = Authority(tmp_path, "/CN=other", kind="rsa2048")
    wanted = b""
    for anchor in (root, other):
        public = openssl("x509", "-noout", "-pubkey", "-in", anchor.file).stdout
        spki = openssl("pkey", "-pubin", "-outform", "DER", stdin=public).stdout
        wanted += openssl("dgst", "-sha1", "-binary", stdin=spki).stdout
    assert trust(root, other).authorities == wanted
    assert trust(root).announced == signatures()


def test_files_of_certificates(root: Authority, leaf: x509.Certificate) -> None:
    assert load_certificates(b"text before\n" + pem(leaf) + root.file.read_bytes()) == (leaf, root.certificate)
    assert load_certificates(der(leaf)) == (leaf,)
    for raw in (b"", b"nothing", pem(leaf)[:100]):
        with pytest.raises(ValueError, match=r"(?i)pem|asn1"):
            load_certificates(raw)
    with pytest.raises(LocalError, match="no authority"):
        Trust([])


def test_expiry_is_seen_ahead(root: Authority, leaf: x509.Certificate) -> None:
    both = (root.certificate, leaf)
    assert list(expiring(both, NOW, 30 * DAY)) == []
    (found,) = expiring(both, NOW, 400 * DAY)
    assert found.name == "C=DE, O=Firm, CN=gw"
    assert found.ends == leaf.not_valid_after_utc.timestamp()
    assert len(list(expiring(both, NOW + 4000 * DAY, 0))) == 2


def test_contract_with_the_machine(root: Authority, leaf: x509.Certificate) -> None:
    """What ike/settings.py expects of a Signer and a Trust, from signature to check."""
    signer: contract.Signer = Signer(key("p256"), (der(leaf),))
    believes: contract.Trust = trust(root)
    method, data = signer.sign(b"octets", frozenset(HASHES), ())
    found = believes.verify(signer.certificates, GW, NOW)
    believes.check(found, method, data, b"octets")
    with pytest.raises(PeerError, match="is wrong"):
        believes.check(found, method, data, b"other octets")
    with pytest.raises(PeerError, match="kind that IKE cannot use"):
        believes.check("no key", method, data, b"octets")


def test_what_a_certificate_says_breaks_no_line(root: Authority) -> None:
    """An authority that somebody else runs signs what it likes, and people read the sentence on a terminal."""
    names = [x509.DNSName('a\nevent="IKE SA established"'), x509.RFC822Name("a\x1b[2J@b"), x509.DNSName("x" * 9000)]
    begins = datetime.fromtimestamp(NOW, UTC)
    made = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(root.certificate.subject)
    made = made.public_key(key("p384").public_key()).serial_number(77)
    made = made.not_valid_before(begins - timedelta(1)).not_valid_after(begins + timedelta(1))
    made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    nameless = made.sign(load_pem_private_key(root.key.read_bytes(), None), hashes.SHA256())  # type: ignore[arg-type]
    with pytest.raises(PeerError) as caught:
        trust(root).verify((der(nameless),), GW, NOW)
    text = str(caught.value)
    assert text.isprintable()
    assert text.startswith("certificate without a subject does not speak for")
    assert 'it has a?event="IKE SA established", a?[2J@b, xxx' in text
    assert len(text) < 1000
