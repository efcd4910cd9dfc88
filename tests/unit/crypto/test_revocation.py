"""Revocation by CRL and OCSP, from files, URLs and the peer, in three modes; answers made by the openssl command."""

from __future__ import annotations

import base64
import urllib.parse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from authority import CA, DAY, LEAF, NOW, Authority, Responder, der
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import ocsp as pyca_ocsp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xdpsec.crypto import ocsp, revocation
from xdpsec.crypto.revocation import FRESH, RETRY, Revocation, load_crls
from xdpsec.crypto.trust import NeedsFetch, Trust
from xdpsec.errors import PeerError
from xdpsec.ike.identities import parse_identity

GW = parse_identity("gw.example.org")
SAN = "subjectAltName=DNS:gw.example.org\n"
CRL_URL, OCSP_URL = "http://pki.example.org/root.crl", "http://ocsp.example.org"
POINTS = f"crlDistributionPoints=URI:{CRL_URL}\n"
ACCESS = f"authorityInfoAccess=OCSP;URI:{OCSP_URL}/\n"
SIGNING = "extendedKeyUsage=OCSPSigning\nnoCheck=ignored\n"


@pytest.fixture
def root(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "/C=DE/CN=root")


def issue(by: Authority, more: str = "") -> x509.Certificate:
    return by.issue("/CN=gw", LEAF + SAN + more)


def verify(
    by: Authority,
    known: Revocation,
    *chain: x509.Certificate,
    mode: str = "if-available",
    wall: float = NOW,
    staples: tuple[bytes, ...] = (),
) -> None:
    Trust([by.certificate], known, mode).verify(tuple(map(der, chain)), GW, wall, staples)


def wants(
    by: Authority, known: Revocation, *chain: x509.Certificate, mode: str = "if-available", wall: float = NOW
) -> str:
    """The one URL that has to be fetched first."""
    with pytest.raises(NeedsFetch) as caught:
        verify(by, known, *chain, mode=mode, wall=wall)
    (url,) = caught.value.urls
    return str(url)


def crl_bytes(crl: x509.CertificateRevocationList, encoding: Encoding = Encoding.DER) -> bytes:
    return crl.public_bytes(encoding)


# --- CRLs ---


def test_a_crl_from_a_file(root: Authority) -> None:
    good, bad = issue(root), issue(root)
    known = Revocation([root.crl(bad)])
    for mode in ("strict", "if-available"):
        verify(root, known, good, mode=mode)
        with pytest.raises(PeerError, match="certificate CN=gw has been revoked"):
            verify(root, known, bad, mode=mode)
    verify(root, known, bad, mode="off")


def test_modes_without_a_word(root: Authority) -> None:
    leaf = issue(root)
    verify(root, Revocation(), leaf)
    verify(root, Revocation(), leaf, mode="off")
    with pytest.raises(PeerError, match='nobody says whether certificate CN=gw is revoked, and revocation is "strict"'):
        verify(root, Revocation(), leaf, mode="strict")


def test_each_certificate_on_the_path_counts(tmp_path: Path, root: Authority) -> None:
    middle = Authority(tmp_path, "/CN=middle", root)
    leaf = issue(middle)
    only_leaf, only_middle = [middle.crl()], [root.crl()]
    verify(root, Revocation(only_leaf), leaf, middle.certificate)
    with pytest.raises(PeerError, match="whether certificate CN=middle is revoked"):
        verify(root, Revocation(only_leaf), leaf, middle.certificate, mode="strict")
    with pytest.raises(PeerError, match="whether certificate CN=gw is revoked"):
        verify(root, Revocation(only_middle), leaf, middle.certificate, mode="strict")
    verify(root, Revocation(only_leaf + only_middle), leaf, middle.certificate, mode="strict")
    with pytest.raises(PeerError, match="certificate CN=middle has been revoked"):
        verify(root, Revocation([root.crl(middle.certificate)]), leaf, middle.certificate)


def test_an_old_crl_says_little(root: Authority) -> None:
    good, bad = issue(root), issue(root)
    known, late = Revocation([root.crl(bad)]), NOW + 31 * DAY
    verify(root, known, good, wall=late)
    with pytest.raises(PeerError, match="nobody says"):
        verify(root, known, good, mode="strict", wall=late)
    for mode in ("strict", "if-available"):  # what was revoked stays so
        with pytest.raises(PeerError, match="has been revoked"):
            verify(root, known, bad, mode=mode, wall=late)


def test_a_crl_of_a_namesake_is_none(tmp_path: Path, root: Authority) -> None:
    other = Authority(tmp_path, "/C=DE/CN=root", kind="p384")
    bad = issue(root)
    forged = other.crl(bad)
    verify(root, Revocation([forged]), bad)
    with pytest.raises(PeerError, match="nobody says"):
        verify(root, Revocation([forged]), bad, mode="strict")
    with pytest.raises(PeerError, match="has been revoked"):
        verify(root, Revocation([root.crl(bad)]), bad)


def test_a_crl_by_url(root: Authority) -> None:
    good, bad = issue(root, POINTS), issue(root, POINTS)
    known = Revocation()
    by = Trust([root.certificate], known)
    assert wants(root, known, good) == CRL_URL
    version = known.version
    assert known.take(CRL_URL, crl_bytes(root.crl(bad)), NOW)
    assert known.version != version
    by.verify((der(good),), GW, NOW)  # built before the CRL came
    with pytest.raises(PeerError, match="has been revoked"):
        by.verify((der(bad),), GW, NOW)
    assert wants(root, known, good, wall=NOW + 31 * DAY) == CRL_URL  # it is old by then


@pytest.mark.parametrize("mode", ["strict", "if-available"])
@pytest.mark.parametrize("body", [None, b"", b"<html>not here</html>", b"\x30\x03\x02\x01\x05"])
def test_a_fetch_that_fails(root: Authority, mode: str, body: bytes | None) -> None:
    leaf = issue(root, POINTS)
    known = Revocation()
    url = wants(root, known, leaf, mode=mode)
    assert not known.take(url, body, NOW)
    if mode == "strict":
        with pytest.raises(PeerError, match="nobody says"):
            verify(root, known, leaf, mode=mode, wall=NOW + RETRY - 1)
    else:
        verify(root, known, leaf, mode=mode, wall=NOW + RETRY - 1)
    assert wants(root, known, leaf, mode=mode, wall=NOW + RETRY) == url


def test_a_fetch_that_was_not_tried_rests_as_long_as_it_is_told(root: Authority) -> None:
    leaf, known = issue(root, POINTS), Revocation()
    assert not known.take(wants(root, known, leaf), None, NOW, 5.0)
    verify(root, known, leaf, wall=NOW + 4)
    assert wants(root, known, leaf, wall=NOW + 5) == CRL_URL


def test_a_fetched_crl_must_be_the_issuer_s(tmp_path: Path, root: Authority) -> None:
    namesake = Authority(tmp_path, "/C=DE/CN=root", kind="p384")
    stranger = Authority(tmp_path, "/CN=stranger")
    leaf = issue(root, POINTS)
    known = Revocation()
    for by in (namesake, stranger):
        assert wants(root, known, leaf) == CRL_URL
        assert not known.take(CRL_URL, crl_bytes(by.crl(leaf)), NOW)
        assert known.crls == ()
        known.expire(NOW + RETRY)
    assert not known.take("http://elsewhere/", crl_bytes(root.crl()), NOW)  # nobody asked
    assert wants(root, known, leaf) == CRL_URL
    assert not known.take(CRL_URL, crl_bytes(root.crl()), NOW + 31 * DAY)  # old already


def test_files_of_crls(root: Authority) -> None:
    crl = root.crl()
    assert load_crls(crl_bytes(crl)) == [crl]
    assert load_crls(b"words\n" + crl_bytes(crl, Encoding.PEM) * 2) == [crl, crl]
    for raw in (b"", b"-----BEGIN X509 CRL-----", root.file.read_bytes()):
        with pytest.raises(ValueError, match=r"(?i)pem|asn1|crl"):
            load_crls(raw)


# --- OCSP ---


def test_ocsp_by_url(root: Authority) -> None:
    good, bad = issue(root, ACCESS), issue(root, ACCESS)
    root.crl(bad)
    known = Revocation()
    for leaf in (good, bad):
        url = wants(root, known, leaf)
        tail = url.removeprefix(f"{OCSP_URL}/")
        request = pyca_ocsp.load_der_ocsp_request(base64.b64decode(urllib.parse.unquote(tail)))
        assert request.serial_number == leaf.serial_number
        assert known.take(url, root.ocsp(leaf), NOW)
    verify(root, known, good, mode="strict")
    with pytest.raises(PeerError, match="has been revoked"):
        verify(root, known, bad)
    with pytest.raises(PeerError, match="has been revoked"):
        verify(root, known, bad, wall=NOW + 5 * DAY)  # what was revoked stays so
    assert wants(root, known, good, wall=NOW + 2 * DAY).startswith(OCSP_URL)


def test_ocsp_first_then_the_crl(root: Authority) -> None:
    leaf = issue(root, ACCESS + POINTS)
    known = Revocation()
    first = wants(root, known, leaf)
    assert first.startswith(OCSP_URL)
    known.take(first, None, NOW)
    assert wants(root, known, leaf) == CRL_URL
    known.take(CRL_URL, crl_bytes(root.crl(leaf)), NOW)
    with pytest.raises(PeerError, match="has been revoked"):
        verify(root, known, leaf)


def test_the_peer_brings_its_own_answer(root: Authority) -> None:
    """RFC 4806."""
    good, bad = issue(root, ACCESS), issue(root, ACCESS)
    verify(root, Revocation(), good, mode="strict", staples=(root.ocsp(good),))
    root.crl(bad)
    with pytest.raises(PeerError, match="has been revoked"):
        verify(root, Revocation(), bad, staples=(root.ocsp(bad),))
    with pytest.raises(NeedsFetch):  # another's
        verify(root, Revocation(), bad, staples=(root.ocsp(good),))
    with pytest.raises(NeedsFetch):
        verify(root, Revocation(), bad, staples=(b"", b"\x30\x80", b"garbage"))


RESPONDERS = [
    (SIGNING, True),
    ("extendedKeyUsage=OCSPSigning\n", True),
    ("extendedKeyUsage=serverAuth\n", False),
    ("extendedKeyUsage=anyExtendedKeyUsage\n", False),
    ("", False),
]


@pytest.mark.parametrize(("extensions", "good"), RESPONDERS)
@pytest.mark.parametrize("kind", ["p384", "rsa2048"])
def test_who_may_answer(root: Authority, extensions: str, good: bool, kind: str) -> None:
    """RFC 6960 sec. 4.2.2.2: the issuer, or one with OCSPSigning from the issuer itself."""
    leaf = issue(root)
    answer = root.ocsp(leaf, Responder(root, extensions, kind))
    assert (ocsp.judge(answer, leaf, root.certificate, NOW) is not None) is good


def test_responders_of_other_authorities(tmp_path: Path, root: Authority) -> None:
    leaf = issue(root)
    namesake = Authority(tmp_path, "/C=DE/CN=root", kind="p521")
    above = Authority(tmp_path, "/CN=above")
    below = Authority(tmp_path, "/CN=below", root)
    for other in (namesake, above, below):
        assert ocsp.judge(root.ocsp(leaf, Responder(other, SIGNING)), leaf, root.certificate, NOW) is None
    assert ocsp.judge(root.ocsp(leaf), leaf, namesake.certificate, NOW) is None


def test_answers_have_their_time(root: Authority) -> None:
    leaf = issue(root)
    dated, undated = root.ocsp(leaf, days=2), root.ocsp(leaf, days=0)
    begun = NOW - 3600
    for answer, wall, good in (
        (dated, NOW, True), (dated, begun + 2 * DAY, True), (dated, begun + 2 * DAY + 600, False),
        (dated, begun - 600, False), (undated, begun + 600, True), (undated, begun + ocsp.UNDATED + 600, False),
    ):  # fmt: skip
        assert (ocsp.judge(answer, leaf, root.certificate, wall) is not None) is good
    old = Responder(root, SIGNING)
    assert ocsp.judge(root.ocsp(leaf, old, days=4000), leaf, root.certificate, NOW + 300 * DAY) is not None
    assert ocsp.judge(root.ocsp(leaf, old, days=4000), leaf, root.certificate, NOW + 400 * DAY) is None


def test_unknown_is_no_answer(root: Authority) -> None:
    leaf = issue(root)
    assert ocsp.judge(root.ocsp(leaf, known=False), leaf, root.certificate, NOW) is None
    failed = pyca_ocsp.OCSPResponseBuilder.build_unsuccessful(pyca_ocsp.OCSPResponseStatus.TRY_LATER)
    assert ocsp.judge(failed.public_bytes(Encoding.DER), leaf, root.certificate, NOW) is None
    assert ocsp.judge(root.ocsp(leaf) + b"\0" * ocsp.MAX_SIZE, leaf, root.certificate, NOW) is None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_broken_answers(world: tuple[bytes, x509.Certificate, x509.Certificate], data: st.DataObject) -> None:
    whole, leaf, issuer = world
    broken = bytearray(whole)
    broken[data.draw(st.integers(0, len(broken) - 1))] ^= data.draw(st.integers(1, 255))
    judged = ocsp.judge(bytes(broken), leaf, issuer, NOW)
    # Octets outside what is signed may change: the responder's own certificate, unused here.
    assert judged is None or judged == ocsp.judge(whole, leaf, issuer, NOW)
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert ocsp.judge(whole[:cut], leaf, issuer, NOW) is None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, x509.Certificate, x509.Certificate]:
    by = Authority(tmp_path_factory.mktemp("world"), "/CN=root")
    leaf = issue(by)
    return by.ocsp(leaf), leaf, by.certificate


# --- authorities of one name: who has an authority of its own can call one below it as it likes ---


@pytest.fixture
def partner(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "/CN=partner", kind="p521")


@pytest.fixture
def namesake(tmp_path: Path, partner: Authority) -> Authority:
    """Called as the root is, with a key of its own."""
    return Authority(tmp_path, "/C=DE/CN=root", partner, kind="p384")


def twin(by: Authority, of: x509.Certificate) -> x509.Certificate:
    """With the serial number of another one."""
    (by.folder / "cert.srl").write_text(f"{of.serial_number - 1:040X}\n")
    made = issue(by)
    assert made.serial_number == of.serial_number
    assert made.issuer == of.issuer
    return made


def newest(by: Authority) -> bytes:
    """A CRL of tomorrow, with nothing on it."""
    key = load_pem_private_key(by.key.read_bytes(), None)
    begins = datetime.fromtimestamp(NOW, UTC)
    made = x509.CertificateRevocationListBuilder().issuer_name(by.certificate.subject)
    made = made.last_update(begins - timedelta(seconds=1)).next_update(begins + timedelta(days=40))
    return crl_bytes(made.sign(key, hashes.SHA256()))  # type: ignore[arg-type]


def test_an_answer_of_a_namesake_is_about_its_own(root: Authority, partner: Authority, namesake: Authority) -> None:
    good, bad, known = issue(root), issue(root), Revocation()
    its_bad = twin(namesake, good)
    namesake.crl(its_bad)
    with pytest.raises(PeerError, match="has been revoked"):
        verify(partner, known, its_bad, namesake.certificate, staples=(namesake.ocsp(its_bad),))
    verify(root, known, good)
    its_good = twin(namesake, bad)
    verify(partner, known, its_good, namesake.certificate, staples=(namesake.ocsp(its_good),))
    with pytest.raises(PeerError, match="nobody says"):
        verify(root, known, bad, mode="strict")


def test_a_crl_of_a_namesake_hides_none(root: Authority, partner: Authority, namesake: Authority) -> None:
    bad, good = issue(root), issue(root)
    known = Revocation([root.crl(bad)])
    its_own = issue(namesake, "crlDistributionPoints=URI:http://pki.example.com/crl\n")
    url = wants(partner, known, its_own, namesake.certificate)
    assert known.take(url, newest(namesake), NOW)
    with pytest.raises(PeerError, match="has been revoked"):
        verify(root, known, bad)
    verify(root, known, good, mode="strict")
    with pytest.raises(PeerError, match="has been revoked"):  # also once it is old
        verify(root, known, bad, wall=NOW + 31 * DAY)


def test_who_names_the_url_of_another_does_not_put_it_to_rest(
    root: Authority, partner: Authority, namesake: Authority
) -> None:
    good, bad, known = issue(root, POINTS), issue(root, POINTS), Revocation()
    for stranger in (issue(partner, POINTS), issue(namesake, POINTS)):
        assert wants(partner, known, stranger, namesake.certificate) == CRL_URL
    assert not known.take(CRL_URL, crl_bytes(root.crl()), NOW)
    assert wants(root, known, good) == CRL_URL
    assert wants(partner, known, issue(namesake, POINTS), namesake.certificate, wall=NOW + RETRY) == CRL_URL
    assert known.take(CRL_URL, crl_bytes(root.crl(bad)), NOW)  # asked for by both at once
    with pytest.raises(PeerError, match="has been revoked"):
        verify(root, known, bad)


def test_few_judge_what_one_url_gives(
    root: Authority, partner: Authority, namesake: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list takes milliseconds, and who has an authority makes more below it: those who asked last are told."""
    monkeypatch.setattr(revocation, "MAX_ASKERS", 2)
    known, askers = Revocation(), (root, partner, namesake)
    for by in askers:
        assert known.ask(issue(by, POINTS), by.certificate, NOW) == CRL_URL
    assert known.take(CRL_URL, newest(namesake), NOW)
    rests = [not known.ask(issue(by, POINTS), by.certificate, NOW) for by in askers]
    assert rests == [False, True, True]


# --- bounds ---


def test_stores_do_not_grow(root: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_WANTED", "MAX_ANSWERS", "MAX_CRLS", "MAX_FAILED"):
        monkeypatch.setattr(revocation, name, 3)
    known = Revocation()
    crl = crl_bytes(root.crl())
    for at in range(6):
        leaf = issue(root, f"crlDistributionPoints=URI:http://pki.example.org/{at}\n")
        url = wants(root, known, leaf, wall=NOW + at * DAY * 40) if at % 2 else known.ask(leaf, root.certificate, NOW)
        known.take(url, crl if at < 5 else None, NOW)
        known.staple(root.ocsp(leaf), leaf, root.certificate, NOW)
        known.ask(leaf, root.certificate, NOW + FRESH * 20)
    sizes = [len(store) for store in (known._wanted, known._answers, known._crls, known._failed)]
    assert sizes == [3, 3, 3, 3]
    known.expire(NOW + 2 * DAY)
    assert (len(known._failed), len(known._answers)) == (0, 0)


def test_few_urls_of_one_certificate(root: Authority) -> None:
    urls = ",".join(f"URI:http://pki.example.org/{at}" for at in range(20))
    leaf = issue(root, f"crlDistributionPoints={urls}\n")
    known, asked = Revocation(), []
    while url := known.ask(leaf, root.certificate, NOW):
        asked.append(url)
        known.take(url, None, NOW)
    assert asked == ["http://pki.example.org/0", "http://pki.example.org/1"]


def test_no_url_is_named_before_the_path_holds(tmp_path: Path, root: Authority) -> None:
    stranger = Authority(tmp_path, "/CN=stranger", kind="p384")
    for chain in ([issue(stranger, POINTS)], [root.issue("/CN=x", LEAF + POINTS + "subjectAltName=DNS:other.org\n")]):
        with pytest.raises(PeerError, match=r"none of our authorities|does not speak"):
            verify(root, Revocation(), *chain)
    middle = Authority(tmp_path, "/CN=middle", root, extensions=CA + POINTS)
    assert wants(root, Revocation(), issue(middle), middle.certificate) == CRL_URL
