"""Manual SAs: configuration and keys become the two messages of a child."""

from __future__ import annotations

import pytest

from xdpsec.config.keys import KeyPair, SaKey
from xdpsec.config.loader import parse
from xdpsec.errors import ConfigError
from xdpsec.policy.manual import manual_sas

TEXT = """[gateway]
outside = ["eth0"]
inside = ["eth1"]
engine = "openssl"
replay_window = 128
[peers.b]
remote = "203.0.113.7"
children.x = { local = ["10.1.0.0/16"], remote = ["10.2.0.0/16"], manual = { spi_in = 0x1001, spi_out = 0x2001, \
key_file = "/x" } }
children.y = { local = ["10.3.0.0/16"], remote = ["10.2.0.0/16"], manual = { spi_in = 0x1002, spi_out = 0x2002, \
key_file = "/y", esn = false, esp = "aes128-sha1", encap = [4500, 4501] } }
"""
KEYS = {
    "/x": KeyPair(SaKey(b"a" * 32, b"b" * 32), SaKey(b"c" * 32, b"d" * 32)),
    "/y": KeyPair(SaKey(b"e" * 16, b"f" * 20), SaKey(b"g" * 16, b"h" * 20)),
}


def test_two_messages_a_child() -> None:
    sas = manual_sas(parse(TEXT, "f", (0,)), KEYS, lambda remote: "198.51.100.1")
    assert [(sa.spi, sa.outbound, sa.child, sa.label) for sa in sas] == [
        (0x1001, False, 0, "b/x"), (0x2001, True, 0, "b/x"), (0x1002, False, 1, "b/y"), (0x2002, True, 1, "b/y"),
    ]  # fmt: skip
    first, last = sas[0].install(7, 1500), sas[3].install(8, 1400)
    assert (first.cipher, first.auth, first.key, first.auth_key, first.icv_len) == (
        "aes-cbc", "sha256", b"a" * 32, b"b" * 32, 16,
    )  # fmt: skip
    assert (first.slot, first.esn, first.replay_window, first.engine, first.encap_local) == (7, True, 128, "openssl", 0)
    assert (first.local, first.remote, first.path_mtu) == ("198.51.100.1", "203.0.113.7", 1500)
    assert (last.auth, last.key, last.esn, last.encap_local, last.encap_remote) == (
        "sha1",
        b"g" * 16,
        False,
        4500,
        4501,
    )
    assert [(s.local, s.remote) for s in last.selectors] == [("10.3.0.0/16", "10.2.0.0/16")]


def test_a_message_has_keys_of_its_own_to_wipe() -> None:
    sa = manual_sas(parse(TEXT, "f", (0,)), KEYS, lambda remote: "198.51.100.1")[0]
    assert sa.install(0, 1500).key is not sa.key.encryption
    assert "aaaa" not in repr(sa)


def test_one_key_twice() -> None:
    keys = {**KEYS, "/y": KeyPair(SaKey(b"e" * 16, b"f" * 20), SaKey(b"g" * 16, b"b" * 32))}
    with pytest.raises(ConfigError, match="same key"):
        manual_sas(parse(TEXT, "f", (0,)), keys, lambda remote: "198.51.100.1")
