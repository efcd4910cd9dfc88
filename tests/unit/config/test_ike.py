"""Peers that negotiate: what a file may say of them, what stands where nothing is said, each refusal with its place."""

from __future__ import annotations

import pytest

from xdpsec.config.loader import parse
from xdpsec.config.proposals import parse_ike
from xdpsec.config.values import Config
from xdpsec.config.values_ike import Auth
from xdpsec.errors import ConfigError
from xdpsec.numbers import Encr, Integ, Ke, Prf

CORES = (0, 1)
#: The file of the design's first page, and one peer with everything said.
FIRST = """\
[gateway]
outside = ["eth0"]
inside = ["eth1"]

[peers.branch]
remote = "203.0.113.7"
local_id = "hq.example.net"
remote_id = "branch.example.net"
auth = { psk_file = "/etc/xdpsec/branch.psk" }
children.lan = { local = ["10.1.0.0/16"], remote = ["10.2.0.0/16"] }
"""
WHOLE = (
    FIRST
    + """
[peers.road]
remote = "any"
remote_id = "*.road.example.net"
auth = { certificate = "/etc/xdpsec/hq.pem", key = "/etc/xdpsec/hq.key", ca = ["/etc/xdpsec/ca.pem"], \
revocation = "strict" }
ike = ["aes256gcm16-prfsha384-x25519-ke1_mlkem768", "aes128-sha256-ecp256"]
pq = "prefer"
rekey_time = "2h"
dpd = "30s"
pool = { addresses = ["10.9.0.0/24"], dns = ["10.1.0.53"], domains = ["example.net"] }

[peers.road.children.net]
local = ["10.1.0.0/16"]
remote = ["10.9.0.0/24"]
esp = ["aes128-aes256-sha256-x25519-esn"]
start = "wait"
rekey_bytes = 1_000_000_000
"""
)


def read(text: str) -> Config:
    return parse(text, "gw.toml", CORES)


def test_a_child_that_waits_for_somebody_is_not_missed() -> None:
    assert [(child.label, child.stands) for child in read(WHOLE).children] == [
        ("branch/lan", True),
        ("road/net", False),
    ]
    traffic = read(FIRST.replace('10.2.0.0/16"] }', '10.2.0.0/16"], start = "on-traffic" }'))
    assert not traffic.children[0].stands


def test_the_first_tunnel() -> None:
    peer = read(FIRST).peers[0]
    ike = peer.ike
    assert ike is not None
    assert (ike.local_id, ike.remote_id, ike.auth) == (
        "hq.example.net",
        "branch.example.net",
        Auth(psk_file="/etc/xdpsec/branch.psk"),
    )
    assert (ike.pfs, ike.pq, ike.dpd, ike.rekey, ike.mobike, ike.fragment) == (
        "prefer",
        "prefer",
        120,
        14400,
        True,
        1280,
    )
    hybrid, classical = ike.offers
    assert hybrid.extra == ((Ke.ML_KEM_768,),)
    assert classical.ke == (Ke.X25519, Ke.ECP_256, Ke.ECP_384, Ke.MODP_3072)
    assert classical.encr[:2] == ((Encr.AES_GCM_16, 256), (Encr.CHACHA20_POLY1305, 0))
    assert classical.prf == (Prf.HMAC_SHA2_384, Prf.HMAC_SHA2_256)
    (child,) = peer.children
    assert child.manual is None
    assert child.negotiated is not None
    assert child.negotiated.start == "on-start"
    assert child.negotiated.offers[-1].esn == (True, False)


def test_everything_said() -> None:
    config = read(WHOLE)
    peer = config.peers[1]
    assert peer.ike
    assert peer.remote == ""
    assert (peer.ike.rekey, peer.ike.dpd) == (7200, 30)
    assert peer.ike.auth.secrets == ("/etc/xdpsec/hq.key",)
    assert peer.ike.auth.public == ("/etc/xdpsec/hq.pem", "/etc/xdpsec/ca.pem")
    first, second = peer.ike.offers
    assert (first.integ, first.ke, first.extra) == ((), (Ke.X25519,), ((Ke.ML_KEM_768,),))
    assert (second.encr, second.integ, second.prf) == (
        ((Encr.AES_CBC, 128),),
        (Integ.HMAC_SHA2_256_128,),
        (Prf.HMAC_SHA2_256,),
    )
    negotiated = peer.children[0].negotiated
    assert negotiated
    assert negotiated.offers[0].encr == ((Encr.AES_CBC, 128), (Encr.AES_CBC, 256))
    assert negotiated.offers[0].esn == (True,)
    assert peer.ike.pool
    assert peer.ike.pool.addresses == ("10.9.0.0/24",)


def test_pq_required_offers_nothing_else() -> None:
    ike = read(FIRST.replace("local_id", 'pq = "required"\nlocal_id')).peers[0].ike
    assert ike
    assert [offer.extra for offer in ike.offers] == [((Ke.ML_KEM_768,),)]


def test_no_pfs_offers_no_exchange() -> None:
    child = read(FIRST.replace("local_id", 'pfs = "off"\nlocal_id')).children[0]
    assert child.negotiated
    assert [offer.ke for offer in child.negotiated.offers] == [()]


def test_ipv6() -> None:
    text = (
        FIRST.replace("203.0.113.7", "2001:db8::7")
        .replace("10.1.0.0/16", "fd00::/64")
        .replace("10.2.0.0/16", "fd01::/64")
    )
    assert read(text).peers[0].remote == "2001:db8::7"
    assert read(text).children[0].local == ("fd00::/64",)


BRANCH, ROAD = "peers.branch", "peers.road"
PSK = 'auth = { psk_file = "/etc/xdpsec/branch.psk" }'
LAN = 'children.lan = { local = ["10.1.0.0/16"], remote = ["10.2.0.0/16"] }'
MANUAL = 'manual = { spi_in = 0x1001, spi_out = 0x2001, key_file = "/etc/xdpsec/lan.keys" }'
#: (what is replaced, by what, line, key, a word of the sentence)
ROWS = [
    ('"hq.example.net"', '""', 7, f"{BRANCH}.local_id", "at least 1"),
    ('"hq.example.net"', f'"{"x" * 1025}"', 7, f"{BRANCH}.local_id", "has 1025 characters"),
    (PSK, "auth = {}", 9, f"{BRANCH}.auth", "neither a secret nor a certificate"),
    (PSK, 'auth = { psk = "x" }', 9, f"{BRANCH}.auth.psk", "did you mean psk_file?"),
    (PSK, 'auth = { psk_file = "branch.psk" }', 9, f"{BRANCH}.auth.psk_file", "absolute"),
    (', key = "/etc/xdpsec/hq.key"', "", 15, f"{ROAD}.auth.key", "beside certificate"),
    (', ca = ["/etc/xdpsec/ca.pem"]', "", 15, f"{ROAD}.auth.ca", "nobody vouches"),
    (PSK, PSK.replace(" }", ', passphrase = "prompt" }'), 9, f"{BRANCH}.auth.passphrase", "is for a key"),
    (PSK, PSK.replace(" }", ', ocsp = "/etc/xdpsec/gw.ocsp" }'), 9, f"{BRANCH}.auth.ocsp", "is about a certificate"),
    (PSK, "", 7, f"{BRANCH}.local_id", "is for peers with auth"),
    (LAN, LAN.replace(" }", f", {MANUAL} }}"), 10, f"{BRANCH}.children.lan.manual", "no place in a peer with auth"),
    ('remote_id = "*.road.example.net"', "", 12, f"{ROAD}.remote_id", "who may come"),
    ('start = "wait"', "", 22, f"{ROAD}.children.net.start", 'write start = "wait"'),
    ('start = "wait"', 'start = "later"', 26, f"{ROAD}.children.net.start", "on-traffic"),
    ('start = "wait"', 'start = "wait"\nah = ["sha256"]', 27, f"{ROAD}.children.net.ah", "keep one of them"),
    ('"2h"', '"2w"', 18, f"{ROAD}.rekey_time", "no time"),
    ('"2h"', "1.5", 18, f"{ROAD}.rekey_time", "no time"),
    ("aes128-sha256-ecp256", "aes128-sha256-ecp257", 16, f"{ROAD}.ike[1]", "no algorithm here"),
    ("aes128-sha256-ecp256", "aes128-sha256", 16, f"{ROAD}.ike[1]", "lacks a key exchange"),
    ("aes128-sha256-ecp256", "aes128-ecp256-prfsha256", 16, f"{ROAD}.ike[1]", "lacks an integrity"),
    ("aes128-sha256-ecp256", "aes128gcm16-ecp256", 16, f"{ROAD}.ike[1]", "lacks a PRF"),
    ("aes128-sha256-ecp256", "aes128gcm16-sha256-ecp256", 16, f"{ROAD}.ike[1]", "leave that out"),
    ("aes128-sha256-ecp256", "aes128gcm16-aes128-sha256-ecp256", 16, f"{ROAD}.ike[1]", "two proposals"),
    ("aes128-sha256-ecp256", "null-sha256-ecp256", 16, f"{ROAD}.ike[1]", "cannot protect IKE"),
    ("aes128-sha256-ecp256", "aes128-sha256-ecp256-ke2_mlkem768", 16, f"{ROAD}.ike[1]", "skips a key exchange"),
    ("aes128-sha256-ecp256", "3des-sha1-modp1024", 16, f"{ROAD}.ike[1]", "allow_legacy"),
    ("aes128-aes256-sha256", "prfsha256", 25, f"{ROAD}.children.net.esp[0]", "no place in a proposal of this kind"),
    ("aes128-aes256-sha256", "aes128-sha2_256", 25, f"{ROAD}.children.net.esp[0]", "did you mean sha256?"),
    ("aes128-sha256-ecp256", "AES128-sha256-ecp256", 16, f"{ROAD}.ike[1]", "did you mean aes128?"),
    ("aes128-sha256-ecp256", "aes128gcm-prfsha256-ecp256", 16, f"{ROAD}.ike[1]", "did you mean aes128gcm16?"),
    ("aes128-sha256-ecp256", "aes128-sha256-dh14", 16, f"{ROAD}.ike[1]", "did you mean modp2048?"),
    ("aes128-sha256-ecp256", "qqqq-sha256-ecp256", 16, f"{ROAD}.ike[1]", "docs/config.md, Proposals, lists all"),
    ('local_id = "hq.example.net"', 'leftid = "hq.example.net"', 7, f"{BRANCH}.leftid", "did you mean local_id?"),
    (PSK, PSK + "\nproposals = ['aes128']", 10, f"{BRANCH}.proposals", "did you mean ike?"),
    (PSK, PSK + "\nfragmentation = 100", 10, f"{BRANCH}.fragmentation", "0, or 576 to 65535"),
    ('"10.2.0.0/16"', '"fd01::/64"', 10, f"{BRANCH}.children.lan", "split it in two"),
    ('remote = "203.0.113.7"', 'remote = "203.0.113.7"\nlocal = "2001:db8::1"', 7, f"{BRANCH}.local", "another"),
]  # fmt: skip


@pytest.mark.parametrize("where", ['psk_file = "{}"', 'certificate = "/a", key = "/b", ca = ["/c"], passphrase = "{}"'])
def test_a_secret_in_the_wrong_place_is_not_repeated(where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(FIRST.replace('psk_file = "/etc/xdpsec/branch.psk"', where.format("hunter2")))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["aes256gcmm16-prfsha256-x25519", "nothing-like-it", ""])
def test_a_refused_proposal_names_few(text: str) -> None:
    with pytest.raises(ValueError, match=r"docs/config\.md") as caught:
        parse_ike(text)
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize(("old", "new", "line", "key", "word"), ROWS, ids=[f"{row[3]} {row[1]}"[:70] for row in ROWS])
def test_refusals(old: str, new: str, line: int, key: str, word: str) -> None:
    assert old in WHOLE
    with pytest.raises(ConfigError) as caught:
        read(WHOLE.replace(old, new, 1))
    assert (caught.value.key, caught.value.line) == (key, line), str(caught.value)
    assert word in str(caught.value)
    assert caught.value.fix


def test_legacy_where_it_is_allowed() -> None:
    text = WHOLE.replace("aes128-sha256-ecp256", "3des-sha1-modp1024").replace("[peers.branch]", "[peers.branch]", 1)
    ike = read(text.replace('inside = ["eth1"]', 'inside = ["eth1"]\nallow_legacy = true')).peers[1].ike
    assert ike
    assert ike.offers[1].encr == ((Encr.TRIPLE_DES, 0),)
