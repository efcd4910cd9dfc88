"""Two of our gateways that prove themselves by certificates: locked keys, revocation lists from a web server, and what
an operator reads when the peer's certificate is none to believe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from netns.rig.authority import PORT, Authority, web
from netns.rig.ike_sites import ike_pair
from netns.rig.patience import until
from netns.rig.sites import Pair, leaked, open_tap
from netns.test_ike import RATE, total

PASSPHRASES = {"a": "open sesame", "b": "swordfish, said thrice"}


@contextmanager
def certified(
    monkeypatch: pytest.MonkeyPatch, revocation: str = "if-available", place: str = "10.90.1.254", days: int = 30
) -> Iterator[tuple[Pair, Authority, x509.Certificate]]:
    """Both gateways configured, none started; the authority, and the certificate of site b. Its list would be found at
    `place`. a's passphrase is in a file, b's is a systemd credential."""
    with ike_pair() as pair:
        authority = Authority.make(pair.lab.directory / "pki")
        url = f"http://{place}:{PORT}/list.crl"
        made = {}
        for letter, word in PASSPHRASES.items():
            file = pair.lab.directory / letter / "own"
            named = url if letter == "b" else ""
            made[letter] = authority.issue(file, word, f"gw-{letter}.example.net", named, days if letter == "b" else 30)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(pair.lab.directory / "b"))
        sources = {"a": str(pair.lab.directory / "a/own.word"), "b": "credential:own.word"}
        for gateway, letter in zip(pair.gateways, "ab", strict=True):
            _configure(gateway.config, authority.directory / "ca.pem", sources[letter], revocation)
        yield pair, authority, made["b"]


def _configure(config: Path, authority: Path, passphrase: str, revocation: str) -> None:
    """Certificates in place of the shared secret."""
    own = config.parent / "own"
    auth = f"""auth = {{ certificate = "{own}.pem", key = "{own}.key", passphrase = "{passphrase}", \
ca = ["{authority}"], revocation = "{revocation}" }}"""
    lines = config.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("auth = "))
    config.write_text("\n".join([*lines[:at], auth, *lines[at + 1 :]]) + "\n")


def up(pair: Pair) -> None:
    """Packets cross both ways, none in the clear."""
    with open_tap(pair) as tap:
        pair.start()
        with pair.flows(RATE) as flows:
            flows.wait()
            assert leaked(tap.frames(), flows) == []
    for gateway in pair.gateways:
        assert total(gateway, "xdpsec_ike_handshakes_total", outcome="established") >= 1
        assert "not encrypted" not in gateway.log.read_text()


def said(pair: Pair, sentence: str) -> None:
    """Wait until a's log has it."""
    until(lambda: sentence in pair.a.log.read_text(), lambda: f"{sentence!r} in {pair.a.tail(12)}")


def refused(pair: Pair, sentence: str) -> None:
    """No packet crosses, and a says why."""
    with open_tap(pair) as tap:
        pair.start()
        with pair.flows(RATE) as flows:
            said(pair, sentence)
            since = time.monotonic()
            until(lambda: flows.sent_since(since) > RATE, "packets that could cross after it")
            flows.pause()
            assert [record.arrived for record in flows.records] == [{}] * len(flows.records)
            assert leaked(tap.frames(), flows) == []
    assert [child["up"] for child in pair.a.ask("status")["children"]] == [False, False]
    assert total(pair.a, "xdpsec_ike_handshakes_total", outcome="established") == 0


def test_locked_keys_and_a_list_from_the_web(monkeypatch: pytest.MonkeyPatch) -> None:
    with certified(monkeypatch, "strict") as (pair, authority, _):
        authority.publish()
        with web(pair.lab, pair.where.wan, "10.90.1.254", authority.directory) as asked:
            _lenient(pair.b.config)  # a's certificate names no list
            up(pair)
            assert "GET /list.crl" in asked.read_text()
        for gateway, word in zip(pair.gateways, PASSPHRASES.values(), strict=True):
            assert word not in gateway.log.read_text()


def test_a_revoked_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    with certified(monkeypatch) as (pair, authority, theirs):
        authority.publish(theirs)
        with web(pair.lab, pair.where.wan, "10.90.1.254", authority.directory):
            refused(pair, "certificate CN=gw-b.example.net has been revoked")


def test_an_expired_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    with certified(monkeypatch, "off", days=-1) as (pair, _, _):
        refused(pair, "certificate CN=gw-b.example.net has expired on ")
        assert "certificate has ended" in pair.b.log.read_text()


def test_no_list_where_none_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody serves it; and a URL into a protected prefix is not even asked."""
    for place in ("10.90.1.254", "10.82.1.10"):
        with certified(monkeypatch, "strict", place) as (pair, _, _):
            _lenient(pair.b.config)
            refused(pair, "nobody says whether certificate CN=gw-b.example.net is revoked")
            said(pair, "cannot be fetched" if place == "10.90.1.254" else "10.82.1.10, where nobody may send us")


def test_a_wrong_passphrase_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with certified(monkeypatch) as (pair, _, _):
        (pair.lab.directory / "a/own.word").write_text("open barley\n")
        refusal = pair.a.refuse()
        assert "cannot be unlocked with this passphrase" in refusal
        assert "barley" not in refusal


def _lenient(config: Path) -> None:
    config.write_text(config.read_text().replace('revocation = "strict"', 'revocation = "if-available"'))
