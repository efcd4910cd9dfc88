"""From the configuration to what machines are told; and the book: who may come from where, who says to be whom."""

from __future__ import annotations

import errno
import socket

import pytest
from ike_rig import CONFIG

from xdpsec.config.loader import parse
from xdpsec.config.psk import parse_secret
from xdpsec.daemon.credentials import Credentials
from xdpsec.daemon.ike import start
from xdpsec.daemon.ike.files import named
from xdpsec.daemon.ike.peers import Book, settings
from xdpsec.errors import ConfigError
from xdpsec.ike.events import Path
from xdpsec.ike.identities import parse_identity
from xdpsec.ike.settings import Algorithm, PeerSettings
from xdpsec.numbers import Encr, IdType, Ke, Protocol

#: Without the rig's own peer from anywhere.
BRANCH = CONFIG.replace("MORE", "").split("\n[peers.road]")[0]
FILES = {"/etc/xdpsec/branch.psk": b"a secret of some length\n", "/etc/xdpsec/road.psk": b"0x" + b"ab" * 32}
ROAD = """
[peers.road]
remote = "any"
local_id = "hq"
remote_id = "*.road.example.net"
auth = { psk_file = "/etc/xdpsec/road.psk" }
children.net = { local = ["10.1.0.0/16"], remote = ["10.9.0.0/24"], start = "wait", rekey_packets = 1000 }

[peers.other]
remote = "203.0.113.7"
local_id = "hq2"
remote_id = "other"
auth = { psk_file = "/etc/xdpsec/road.psk" }
children.net = { local = ["10.1.0.0/16"], remote = ["10.8.0.0/24"], esp = ["aes128-sha256"] }
"""


def route(remote: str) -> str:
    return "198.51.100.1"


def made(text: str = BRANCH + ROAD) -> tuple[PeerSettings, ...]:
    return settings(parse(text, "gw.toml", (0, 1)), FILES, Credentials(FILES, {}), route)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('remote_id = "203.0.113.7"', "203.0.113.7"),
        ('remote_id = "branch"\nsend_remote_id = false', ""),
        ('remote_id = "*.example.net"', ""),
        ('remote_id = "C=DE, CN=branch"', ""),  # its certificate may write the same otherwise
    ],
)
def test_whom_we_ask_for(text: str, named: str) -> None:
    branch = made(BRANCH.replace('remote_id = "branch"', text))[0]
    assert branch.named == (parse_identity(named) if named else None)


def test_what_the_machines_are_told() -> None:
    branch, road, other = made()
    assert (branch.name, branch.remote, branch.local) == ("branch", "203.0.113.7", "")
    assert (branch.local_id.kind, branch.local_id.data) == (IdType.FQDN, b"hq")
    assert (branch.named, road.named) == (parse_identity("branch"), None)
    assert branch.local_auth.psk == branch.remote_auth.psk == b"a secret of some length"
    assert road.remote_auth.psk == bytes.fromhex("ab" * 32)
    assert branch.ike_offers[0].extra == ((Ke.ML_KEM_768,),)
    assert branch.ike_offers[1].encr[0] == Algorithm(Encr.AES_GCM_16, 256)
    assert (branch.lifetime.soft_seconds, branch.dpd, branch.fragment) == (14400.0, 120.0, 1280)
    assert [(child.name, child.index) for child in branch.children] == [("lan", 0), ("lab", 1)]
    assert branch.children[0].offers[0].protocol == Protocol.ESP
    assert road.children[0].lifetime.soft_packets == 1000
    assert road.children[0].lifetime.hard_packets == 1100
    assert other.children[0].offers[0].encr == (Algorithm(Encr.AES_CBC, 128),)
    assert "secret" not in repr(branch)


def test_within_a_pool_the_selector_is_the_leased_address() -> None:
    pool = 'pool = { addresses = ["10.9.0.0/16"] }\nauth = { psk_file = "/etc/xdpsec/road.psk" }\nchildren.net'
    text = (BRANCH + ROAD).replace('auth = { psk_file = "/etc/xdpsec/road.psk" }\nchildren.net', pool, 1)
    _, road, _ = made(text)
    assert road.pool
    assert (road.pool.prefixes, road.children[0].remote) == (("10.9.0.0/16",), ())
    beyond = made(text.replace("10.9.0.0/16", "10.9.0.0/25"))[1]
    assert beyond.children[0].remote == ("10.9.0.0/24",)


def test_files_are_read_once() -> None:
    assert named(parse(BRANCH + ROAD, "gw.toml", (0, 1))) == tuple(FILES)


def test_identities_by_default_are_the_addresses() -> None:
    text = BRANCH.replace('local_id = "hq"\n', "").replace('remote_id = "branch"\n', "")
    branch = made(text)[0]
    assert branch.local_id == parse_identity("198.51.100.1")
    assert branch.remote_id.matches(parse_identity("203.0.113.7"))


@pytest.mark.parametrize(
    ("old", "new", "line", "key"),
    [
        ('local_id = "hq"', 'local_id = "not a name"', 8, "peers.branch.local_id"),
        ('remote_id = "branch"', 'remote_id = "*branch"', 9, "peers.branch.remote_id"),
    ],
)
def test_what_is_no_identity(old: str, new: str, line: int, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        made(BRANCH.replace(old, new))
    assert (caught.value.line, caught.value.key) == (line, key)


def test_a_short_ppk_is_refused() -> None:
    text = BRANCH.replace("auth =", 'ppk = { id = "p", file = "/etc/xdpsec/branch.psk" }\nauth =')
    with pytest.raises(ConfigError, match="32 random bytes"):
        made(text)


# --- the book ---


def way(remote: str, local: str = "198.51.100.1") -> Path:
    return Path(local, 500, remote, 500)


def names(peers: tuple[PeerSettings, ...]) -> list[str]:
    return [peer.name for peer in peers]


def test_by_address_in_the_order_of_the_file() -> None:
    book = Book(made(), route)
    assert names(book.by_address(way("203.0.113.7"))) == ["branch", "road", "other"]
    assert names(book.by_address(way("192.0.2.1"))) == ["road"]


def test_a_peer_with_a_local_address_is_met_there_only() -> None:
    text = BRANCH.replace("local_id", 'local = "198.51.100.9"\nlocal_id')
    book = Book(made(text), route)
    assert names(book.by_address(way("203.0.113.7"))) == []
    assert names(book.by_address(way("203.0.113.7", "198.51.100.9"))) == ["branch"]


def test_by_identity() -> None:
    book = Book(made(), route)
    everybody = book.by_address(way("203.0.113.7"))
    assert names(book.by_identity(parse_identity("other"), None, everybody)) == ["other"]
    assert names(book.by_identity(parse_identity("x.road.example.net"), parse_identity("hq"), everybody)) == ["road"]
    assert names(book.by_identity(parse_identity("other"), parse_identity("hq"), everybody)) == []
    assert names(book.by_identity(parse_identity("stranger"), None, everybody)) == []


def test_by_name_with_the_routes_address() -> None:
    book = Book(made(), route)
    branch, road = book.by_name("branch"), book.by_name("road")
    assert branch
    assert road
    assert branch.local == "198.51.100.1"
    assert road.local == ""
    assert book.by_name("nobody") is None


# --- secrets ---


@pytest.mark.parametrize(
    ("raw", "secret"),
    [
        (b"plain text\n", b"plain text"),
        (b"plain text\r\n", b"plain text"),
        (b" spaces stay ", b" spaces stay "),
        (b"0x00ff", b"\x00\xff"),
        (b"0sAAEC/w==\n", b"\x00\x01\x02\xff"),
        ("käse".encode(), "käse".encode()),
    ],
)
def test_secrets(raw: bytes, secret: bytes) -> None:
    assert parse_secret(raw, "f") == secret


@pytest.mark.parametrize(
    "raw", [b"", b"\n", b"0x", b"0xabc", b"0xzz", b"0s***", b"one\ntwo\n", b"x" * 5000, b"\xef\xbb\xbf0x00ff"]
)
def test_what_is_no_secret(raw: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_secret(raw, "f")
    assert caught.value.fix
    assert "zz" not in str(caught.value)


def test_there_is_no_way_where_there_is_no_such_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without IPv6, and a peer that has nothing else."""

    def refuses(*words: object, **more: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refuses)
    assert start.route("2001:db8::1") == ""
