"""`check`: what it prints when all is right, and one sentence with file and line for each thing that is not."""

from __future__ import annotations

import json
import os
import pwd
import re
from collections.abc import Callable
from pathlib import Path

import desk
import pytest
from authority import Authority
from cryptography.hazmat.primitives.serialization import Encoding
from desk import configuration, sentence, write_keys

from xdpsec.config.keys import parse_keys
from xdpsec.config.suites import SUITES
from xdpsec.daemon import durable
from xdpsec.policy.sequence import Saved

Xdpsec = Callable[..., desk.Ran]


@pytest.fixture
def config(tmp_path: Path, veths: tuple[str, str]) -> Path:
    """Right in every way, in a namespace with its two interfaces."""
    write_keys(tmp_path / "lan.keys")
    return configuration(tmp_path, user='"nobody"', workers="[0, 1]" if os.cpu_count() != 1 else "[0, 0]")


def test_what_is_right_is_shown_as_it_would_run(xdpsec: Xdpsec, config: Path) -> None:
    before = sorted(path.name for path in config.parent.iterdir())
    ran = xdpsec("check", config)
    assert xdpsec("check", "--config", config).out == ran.out, "named as every other command has it"
    assert (ran.status, ran.err) == (0, "")
    assert f"{config} is right" in ran.out
    assert "2 workers on cores 0, 1" in ran.out
    assert "outside out0; inside in0" in ran.out
    row = next(line for line in ran.out.splitlines() if "branch/lan" in line)
    assert re.search(
        r"branch/lan +[01] +10\.1\.0\.0/16 +10\.2\.0\.0/16 +manual +0x1001 +0x2001 +aes256-sha256 +yes +- +1 +1$",
        row.rstrip(),
    )
    assert sorted(path.name for path in config.parent.iterdir()) == before  # it looks and touches nothing


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ('remote = ["10.2.0.0/16"]', 'remote = ["10.2.0.1/16"]', (":13: ", "10.2.0.0/16")),
        ("workers =", "workerz =", ("workerz", ":7: ")),
        ('inside = ["in0"]', 'inside = ["gone0"]', (":3: ", "gateway.inside", "gone0", "ip link")),
        ('user = "nobody"', 'user = "stranger"', ("stranger", "useradd")),
        ("spi_in = 0x1001", "spi_in = 7", (":14: ", "spi_in")),
        ("lan.keys", "none.keys", ("none.keys", "cannot be read", ":14: ", "manual.key_file names it")),
    ],
)  # fmt: skip
def test_each_mistake_has_its_sentence(
    xdpsec: Xdpsec, config: Path, old: str, new: str, parts: tuple[str, ...]
) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    sentence(xdpsec("check", config), 2, str(config.parent), *parts)


def test_key_files_are_looked_into(xdpsec: Xdpsec, config: Path) -> None:
    keys = config.parent / "lan.keys"
    keys.chmod(0o644)
    sentence(xdpsec("check", config), 2, str(keys), "0644", "chmod 0600")
    keys.chmod(0o600)
    os.chown(keys, 65534, 0)
    sentence(xdpsec("check", config), 2, "does not belong to root")
    os.chown(keys, 0, 0)
    keys.write_text(keys.read_text().replace('integrity = "', 'integrity = "00', 1))
    sentence(xdpsec("check", config), 2, f"{keys}:1", "33 bytes", "wants 32")
    keys.unlink()
    os.mkfifo(keys)
    sentence(xdpsec("check", config), 2, "not a regular file")


NEGOTIATING = """
[peers.site]
remote = "203.0.113.9"
local_id = "hq.example.net"
remote_id = "site.example.net"
auth = { psk_file = "FOLDER/site.psk" }
children.net = { local = ["10.1.0.0/16"], remote = ["10.4.0.0/16"] }
"""


@pytest.fixture
def negotiating(config: Path) -> Path:
    """The same with a peer that negotiates."""
    secret = config.parent / "site.psk"
    secret.write_text("a secret that is long enough\n")
    secret.chmod(0o600)
    config.write_text(config.read_text() + NEGOTIATING.replace("FOLDER", str(config.parent)))
    return config


def test_a_peer_that_negotiates_is_shown(xdpsec: Xdpsec, negotiating: Path) -> None:
    ran = xdpsec("check", negotiating)
    assert (ran.status, ran.err) == (0, "")
    row = next(line for line in ran.out.splitlines() if "site/net" in line)
    assert re.search(r"site/net +[01] +10\.1\.0\.0/16 +10\.4\.0\.0/16 +IKE( +-){7}$", row.rstrip())
    row = next(line for line in ran.out.splitlines() if line.startswith("site "))
    assert row.split() == ["site", "203.0.113.9", "hq.example.net", "site.example.net", "secret", "secret"]


def test_where_all_negotiate_no_column_is_for_manual_keys(xdpsec: Xdpsec, negotiating: Path) -> None:
    """And what root alone can look at was looked at."""
    text = negotiating.read_text()
    gateway = text[: text.index("[peers.")]
    negotiating.write_text(gateway + NEGOTIATING.replace("FOLDER", str(negotiating.parent)))
    ran = xdpsec("check", negotiating)
    assert (ran.status, ran.err) == (0, "")
    assert "SPI" not in ran.out
    assert "not root" not in ran.out


@pytest.mark.parametrize(
    ("said", "why"),
    [('mode = "transport", ', "transport mode"), ('ah = ["sha256-x25519"], ', "AH"), ("", "IPv6")],
)
def test_what_is_negotiated_but_not_carried_is_said(xdpsec: Xdpsec, negotiating: Path, said: str, why: str) -> None:
    """As README has it; no worker takes such a child (tests/interop/ike plays them to that end)."""
    text = negotiating.read_text().replace("children.net = { ", f"children.net = {{ {said}")
    if why == "IPv6":
        text = text.replace('["10.1.0.0/16"], remote = ["10.4.0.0/16"]', '["fd01::/64"], remote = ["fd04::/64"]')
    negotiating.write_text(text)
    ran = xdpsec("check", negotiating)
    assert ran.status == 0
    assert f"no packet goes through it: child site/net, why {why} is not carried yet" in ran.out


@pytest.mark.parametrize("key", ["run_dir", "state_dir"])
def test_directories_that_a_start_would_refuse(xdpsec: Xdpsec, config: Path, key: str) -> None:
    """By the same sentences; nothing is made on the way."""
    name = key.removesuffix("_dir")
    path = config.parent / name
    assert not path.exists()
    path.touch()
    sentence(xdpsec("check", config), 2, f"{key} {path} is no directory")
    text = config.read_text()
    config.write_text(text.replace(f"/{name}", f"/{name}/below"))
    sentence(xdpsec("check", config), 2, f"{key} {path}/below cannot be used (Not a directory)")
    config.write_text(text.replace(f"/{name}", f"/{'x' * 300}"))
    sentence(xdpsec("check", config), 2, key, "cannot be used (File name too long)")
    config.write_text(text)
    path.unlink()
    path.mkdir(mode=0o777)
    path.chmod(0o777)
    os.chown(path, 1, 1)
    sentence(xdpsec("check", config), 2, f"{key} {path}", "chown")


def test_a_directory_is_no_configuration(xdpsec: Xdpsec, tmp_path: Path) -> None:
    for verb in ("check", "status", "stop", "fence"):
        sentence(xdpsec(verb, "--config", tmp_path), 2, str(tmp_path), "Is a directory", "name a readable file")


def test_what_should_not_stay_so_is_said(xdpsec: Xdpsec, negotiating: Path) -> None:
    (negotiating.parent / "site.psk").write_text("short\n")
    ran = xdpsec("check", negotiating)
    assert ran.status == 0
    assert f"shared secret is short and can be guessed: file {negotiating.parent}/site.psk" in ran.out


@pytest.mark.parametrize("side", ["local", "remote"])
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", True),
        (', revocation = "strict"', True),
        (', revocation = "off"', False),
        (', crl = ["FOLDER/ca.crl"]', False),
    ],
)
def test_where_all_is_protected_nothing_can_be_fetched(
    xdpsec: Xdpsec, negotiating: Path, side: str, more: str, said: bool
) -> None:
    folder = negotiating.parent
    root = Authority(folder, "/O=Firm/CN=root")
    (folder / "ca.crl").write_bytes(root.crl().public_bytes(Encoding.DER))
    gateway = negotiating.read_text().partition("[peers.")[0]
    text = gateway + NEGOTIATING.replace('site.psk" }', f'site.psk", ca = ["{root.file}"]{more} }}')
    negotiating.write_text(text.replace("FOLDER", str(folder)))
    assert "cannot be fetched" not in xdpsec("check", negotiating).out
    prefix = {"local": "10.1.0.0/16", "remote": "10.4.0.0/16"}[side]
    at = text.rindex(prefix)
    whole = text[:at] + "0.0.0.0/0" + text[at + len(prefix) :]
    negotiating.write_text(whole.replace("FOLDER", str(folder)))
    ran = xdpsec("check", negotiating)
    assert (ran.status, ran.err) == (0, "")
    line = "but revocation lists and OCSP answers cannot be fetched: peer site, why child site/net protects 0.0.0.0/0"
    assert (line in ran.out) is said


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        (
            "site.psk",
            "none.psk",
            ("none.psk", "cannot be read", "name a file that is there", ":20: peers.site.auth.psk_file names it"),
        ),
        ("hq.example.net", "not a name", (":18: ", "peers.site.local_id", "is no identity")),
        ("site.example.net", "*site", (":19: ", "peers.site.remote_id", "is no pattern")),
        ('local_id = "hq.example.net"\n', "", ("peers.site.local_id", "no route tells our address")),
    ],
)
def test_each_mistake_of_a_peer_that_negotiates(
    xdpsec: Xdpsec, negotiating: Path, old: str, new: str, parts: tuple[str, ...]
) -> None:
    text = negotiating.read_text()
    assert old in text
    negotiating.write_text(text.replace(old, new))
    sentence(xdpsec("check", negotiating), 2, *parts)


def test_secrets_and_certificates_are_looked_into(xdpsec: Xdpsec, negotiating: Path) -> None:
    secret, authority = negotiating.parent / "site.psk", negotiating.parent / "ca.pem"
    secret.chmod(0o644)
    sentence(xdpsec("check", negotiating), 2, str(secret), "0644", "chmod 0600")
    secret.chmod(0o600)
    secret.write_text("0xabc\n")
    sentence(xdpsec("check", negotiating), 2, str(secret), "hexadecimal")
    secret.write_text("a secret that is long enough\n")
    text = negotiating.read_text()
    negotiating.write_text(text.replace('site.psk" }', f'site.psk", ca = ["{authority}"] }}'))
    authority.write_text("no certificate\n")
    authority.chmod(0o664)
    sentence(xdpsec("check", negotiating), 2, str(authority), "0664", "others may change it")
    authority.chmod(0o644)
    sentence(xdpsec("check", negotiating), 2, str(authority), "holds no certificate")


def test_one_key_in_two_files(xdpsec: Xdpsec, config: Path) -> None:
    more = config.read_text().split("[peers.branch.children.lan]")[1]
    for old, new in (("10.2.", "10.3."), ("0x1001", "0x1002"), ("0x2001", "0x2002"), ("lan.keys", "lab.keys")):
        more = more.replace(old, new)
    config.write_text(config.read_text() + "[peers.branch.children.lab]" + more)
    other = config.parent / "lab.keys"
    other.write_text((config.parent / "lan.keys").read_text())
    other.chmod(0o600)
    sentence(xdpsec("check", config), 2, "lab.keys", "is the same key as inbound.encryption of", "lan.keys")


def _ids(config: Path) -> tuple[bytes, bytes]:
    pair = parse_keys((config.parent / "lan.keys").read_bytes(), "lan.keys", SUITES["aes256-sha256"])
    return pair.inbound.sa_id, pair.outbound.sa_id


def _mark(config: Path, rows: dict[bytes, Saved]) -> None:
    marker = config.parent / "lan.keys.used"
    descriptor = os.open(marker, os.O_RDWR | os.O_CREAT, 0o600)
    durable.Marker(descriptor, str(config.parent / "lan.keys")).write(rows, rows.keys())
    os.close(descriptor)


def _save(config: Path, rows: dict[bytes, Saved]) -> None:
    (_state_dir(config) / durable.STATE_NAME).write_bytes(durable.encode(rows))


def _state_dir(config: Path) -> Path:
    """As a start leaves it: the account's alone."""
    folder = config.parent / "state"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, *pwd.getpwnam("nobody")[2:4])
    return folder


def test_used_keys_go_on_where_the_disk_says(xdpsec: Xdpsec, config: Path) -> None:
    inbound, outbound = _ids(config)
    rows = {inbound: Saved(False, 3000, 4096, "branch/lan"), outbound: Saved(True, 9000, 0, "branch/lan")}
    _mark(config, rows)
    _save(config, rows)
    ran = xdpsec("check", config)
    assert ran.status == 0, ran.err
    assert re.search(r" 3000 +9000$", next(line for line in ran.out.splitlines() if "branch/lan" in line).rstrip())


def test_a_lost_or_older_state_file_is_refused_with_the_way_out(xdpsec: Xdpsec, config: Path) -> None:
    inbound, outbound = _ids(config)
    rows = {inbound: Saved(False, 3000, 4096, "branch/lan"), outbound: Saved(True, 9000, 0, "branch/lan")}
    _mark(config, rows)
    sentence(xdpsec("check", config), 2, "is gone although its key was used", "make new keys")
    _save(config, rows | {outbound: Saved(True, 8000, 0, "branch/lan")})
    sentence(xdpsec("check", config), 2, "older than its marker", "make new keys")
    (config.parent / "state" / durable.STATE_NAME).write_text(json.dumps("nonsense"))
    sentence(xdpsec("check", config), 2, "cannot be trusted", "make new keys")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_root_is_neither_held_up_nor_led_astray_by_the_account(
    xdpsec: Xdpsec, config: Path, make: Callable[[Path], object]
) -> None:
    """state_dir belongs to the account of control: whoever has that has what lies there."""
    make(_state_dir(config) / durable.STATE_NAME)
    sentence(xdpsec("check", config), 2, "cannot be trusted")


def test_who_is_not_root_gets_what_he_may_know(xdpsec: Xdpsec, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (config.parent / "lan.keys").unlink()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    ran = xdpsec("check", config)
    assert (ran.status, ran.err) == (0, "")
    assert "not root" in ran.out
