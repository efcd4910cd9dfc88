"""Configuration files: what is accepted, and each refusal with its line, key and fix."""

from __future__ import annotations

import codecs
import contextlib
import gc
from pathlib import Path

import pytest

from xdpsec.config import lines
from xdpsec.config.loader import load, parse, parse_bytes, worker_cores
from xdpsec.config.suites import SUITES
from xdpsec.config.values import Config
from xdpsec.errors import ConfigError

CORES = (0, 1)
WHOLE = """\
# first tunnel
[gateway]
outside = ["eth0"]
inside  = ["eth1"]
workers = 4

[peers.branch]
remote = "203.0.113.7"
children.lan = { local = ["10.1.0.0/16"], remote = ["10.2.0.0/16"], manual = { spi_in = 0x1001, spi_out = 0x2001, \
esp = "aes256-sha256", key_file = "/etc/xdpsec/lan.keys" } }

[peers.old.children.lab]
local = ["10.1.9.0/24"]
remote = ["10.9.0.0/16"]
protocol = "tcp"
remote_ports = [80, 443]
manual = { spi_in = 0x1002, spi_out = 0x2002, key_file = "/etc/xdpsec/lab.keys", esn = false, encap = [4500, 4501] }

[peers.old]
remote = "203.0.113.9"
local = "198.51.100.1"
"""


def read(text: str) -> Config:
    return parse(text, "gw.toml", CORES)


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert "\n" not in str(caught.value)
    assert caught.value.fix
    return caught.value


def test_a_whole_file() -> None:
    config = read(WHOLE)
    gateway = config.gateway
    assert (gateway.outside, gateway.inside, gateway.cores) == (("eth0",), ("eth1",), (1, 0, 1, 0))
    assert (gateway.burst, gateway.spin_us, gateway.engine, gateway.replay_window) == (64, 0, "auto", 4096)
    assert gateway.hold_frames == 64
    assert gateway.rx_ring == 4096
    assert (gateway.run_dir, gateway.state_dir) == ("/run/xdpsec", "/var/lib/xdpsec")
    assert (gateway.metrics_host, gateway.metrics_port) == ("127.0.0.1", 9310)
    assert not gateway.allow_manual_counter_modes
    lan, lab = config.children
    assert (lan.index, lan.label, lan.protocol, lan.remote_ports) == (0, "branch/lan", 0, (0, 65535))
    assert lan.manual
    assert lab.manual
    assert (lan.manual.suite.name, lan.manual.esn, lan.manual.encap) == ("aes256-sha256", True, None)
    assert (lab.index, lab.label, lab.protocol, lab.remote_ports) == (1, "old/lab", 6, (80, 443))
    assert (lab.manual.spi_in, lab.manual.esn, lab.manual.encap) == (0x1002, False, (4500, 4501))
    assert [(peer.remote, peer.local) for peer in config.peers] == [
        ("203.0.113.7", ""),
        ("203.0.113.9", "198.51.100.1"),
    ]


@pytest.mark.parametrize("name", SUITES)
def test_every_suite(name: str) -> None:
    allowed = "allow_manual_counter_modes = true\nallow_legacy = true"
    text = WHOLE.replace("workers = 4", allowed).replace("aes256-sha256", name)
    assert next(manual.suite for _, manual in read(text).manual) is SUITES[name]


GATEWAY, CHILD, LAB = "gateway", "peers.branch.children.lan", "peers.old.children.lab"
#: (what is replaced, by what, line, key, a word of the sentence)
ROWS = [
    ("workers = 4", "wrokers = 4", 5, "gateway.wrokers", "did you mean workers?"),
    ("workers = 4", "qqqq = 4", 5, "gateway.qqqq", "unknown key"),
    ("workers = 4", "tun = true", 5, "gateway.tun", "no tun port yet"),
    ("[gateway]", "[gatewy]", 2, "gatewy", "did you mean gateway?"),
    ('outside = ["eth0"]', "", 2, "gateway.outside", "is missing"),
    ('outside = ["eth0"]', 'outside = "eth0"', 3, "gateway.outside", "list in brackets"),
    ('outside = ["eth0"]', "outside = []", 3, "gateway.outside", "at least 1"),
    ('outside = ["eth0"]', 'outside = ["e/0"]', 3, "gateway.outside[0]", "interface name"),
    ('["eth1"]', '["eth0"]', 4, "gateway.inside[0]", "named twice"),
    ('["eth1"]', '["eth1",\n "eth1"]', 5, "gateway.inside[1]", "named twice"),
    ('["eth1"]', str([f"i{n}" for n in range(8)]), 4, "gateway.inside", "at most 8"),
    ("workers = 4", "workers = 33", 5, "gateway.workers", "1 to 32"),
    ("workers = 4", "workers = 0", 5, "gateway.workers", "1 to 32"),
    ("workers = 4", "workers = true", 5, "gateway.workers", "1 to 32"),
    ("workers = 4", 'workers = "all"', 5, "gateway.workers", "auto"),
    ("workers = 4", "workers = [0, 7]", 5, "gateway.workers", "choose from 0, 1"),
    ("workers = 4", "workers = [-1]", 5, "gateway.workers", "1 to 32"),
    ("workers = 4", "workers = [4096]", 5, "gateway.workers", "1 to 32"),
    ("workers = 4", 'state_dir = "/run/xdpsec"', 5, "gateway.state_dir", "name another"),
    ('outside = ["eth0"]', 'outside = ["e\\u001b[2J"]', 3, "gateway.outside[0]", "interface name"),
    ("workers = 4", "burst = 257", 5, "gateway.burst", "at most 256"),
    ("workers = 4", "burst = 1.5", 5, "gateway.burst", "whole number"),
    ("workers = 4", "replay_window = 100", 5, "gateway.replay_window", "multiple of 64"),
    ("workers = 4", "replay_window = 65536", 5, "gateway.replay_window", "at most 4096"),
    ("workers = 4", 'engine = "isal"', 5, "gateway.engine", "'ipsec-mb'"),
    ("workers = 4", 'xdp = "offload"', 5, "gateway.xdp", "'native'"),
    ("workers = 4", 'user = "a b"', 5, "gateway.user", "account"),
    ("workers = 4", 'run_dir = "run"', 5, "gateway.run_dir", "begin it with /"),
    ("workers = 4", 'metrics = "9310"', 5, "gateway.metrics", "127.0.0.1:9310"),
    ("workers = 4", 'metrics = "::1:9310"', 5, "gateway.metrics", "127.0.0.1:9310"),
    ("workers = 4", "allow_manual_counter_modes = 1", 5, "gateway.allow_manual_counter_modes", "true or false"),
    ('"203.0.113.7"', '"branch.example"', 8, "peers.branch.remote", "IP address"),
    ('"203.0.113.7"', '"224.0.0.1"', 8, "peers.branch.remote", "unicast"),
    ("0x1001", "255", 9, f"{CHILD}.manual.spi_in", "256 to 0xffffffff"),
    ("0x2001", "0x100000000", 9, f"{CHILD}.manual.spi_out", "256 to 0xffffffff"),
    ("0x1001", "0x1002", 16, f"{LAB}.manual.spi_in", "branch/lan already"),
    ("aes256-sha256", "des-md5", 9, f"{CHILD}.manual.esp", "docs/config.md, Suites"),
    ("workers = 4", "rx_ring = 5000", 5, "gateway.rx_ring", "4096, 8192"),
    ("workers = 4", "hold_frames = 1025", 5, "gateway.hold_frames", "at most 1024"),
    ("aes256-sha256", "aes255-sha256", 9, f"{CHILD}.manual.esp", "did you mean aes256-sha256"),
    ("aes256-sha256", "chacha20poly1305", 9, f"{CHILD}.manual.esp", "allow_manual_counter_modes"),
    ("aes256-sha256", "3des-sha256", 9, f"{CHILD}.manual.esp", "allow_legacy"),
    ("aes256-sha256", "aes256gcm16", 9, f"{CHILD}.manual.esp", "allow_manual_counter_modes"),
    ("/etc/xdpsec/lab.keys", "/etc/xdpsec/lan.keys", 16, f"{LAB}.manual.key_file", "branch/lan already"),
    ('"/etc/xdpsec/lab.keys"', '"lab.keys"', 16, f"{LAB}.manual.key_file", "absolute"),
    ("[4500, 4501]", "[4500]", 16, f"{LAB}.manual.encap", "at least 2"),
    ("[4500, 4501]", "[4500, 0]", 16, f"{LAB}.manual.encap[1]", "at least 1"),
    ('"10.1.0.0/16"', '"10.1.2.0/16"', 9, f"{CHILD}.local[0]", "write 10.1.0.0/16"),
    ('"10.1.0.0/16"', '"fd00::/64"', 9, CHILD, "split it in two"),
    ('protocol = "tcp"', 'protocol = "tpc"', 14, f"{LAB}.protocol", "did you mean tcp?"),
    ('protocol = "tcp"', 'protocol = "icmp"', 11, LAB, "ports without a protocol"),
    ("[80, 443]", "[443, 80]", 15, f"{LAB}.remote_ports", "lowest"),
    ("manual = { spi_in = 0x1002", "auth = { psk = 0x1002", 16, f"{LAB}.auth", "goes to the peer"),
    ('protocol = "tcp"', "protocol = 300", 14, f"{LAB}.protocol", "from 0 to 255"),
    ("workers = 4", "workers = 4\nworkers = 5", 6, "workers", "a second time; keep one"),
    ("[peers.old]", "[peers.branch]", 18, "peers.branch", "a second time; keep one"),
    ('"203.0.113.7"', "203.0.113.7", 8, "remote", "double quotes"),
    ('"203.0.113.7"', "here", 8, "remote", "double quotes"),
    ('"203.0.113.7"', '"%any"', 8, "peers.branch.remote", 'write "any"'),
    ("workers = 4", "connections = 4", 5, "gateway.connections", "docs/config.md lists the keys"),
    ("[gateway]", "[connections]", 2, "connections", "did you mean peers?"),
    ('remote = ["10.9.0.0/16"]', 'remote = ["10.9.0.0/16"', 13, "", "is not TOML"),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "word"), ROWS, ids=[f"{row[3]} {row[1]}"[:60] for row in ROWS])
def test_refusals(old: str, new: str, line: int, key: str, word: str) -> None:
    assert old in WHOLE
    error = refused(WHOLE.replace(old, new, 1))
    assert (error.key, error.line if key else line) == (key, line)
    assert word in str(error)
    assert str(error).startswith("gw.toml:")


@pytest.mark.parametrize("name", ["a\\nb", "\\u001b[2J", "\\u009b2J", "\\r", "\\u202e"])
def test_a_refusal_is_one_line_that_no_terminal_obeys(name: str) -> None:
    """Whatever stands in the file: a copied name with a line break, an escape sequence."""
    for text in (
        WHOLE.replace("workers", f'"{name}"', 1),
        WHOLE.replace("[peers.old]", f'[peers."{name}"]'),
        WHOLE.replace("children.lan", f'children."{name}"'),
        WHOLE.replace("203.0.113.7", name),
    ):
        said = str(refused(text))
        assert said.isprintable()
        assert name.replace("u00", "x") in said or name in said


def test_a_refusal_of_something_endless_is_short() -> None:
    endless = "n" * 10_000
    for text in (
        WHOLE.replace("workers", endless, 1),
        WHOLE.replace("[peers.old]", f"[peers.{endless}]"),
        WHOLE.replace("203.0.113.7", endless),
        WHOLE.replace("eth0", endless),
    ):
        assert len(str(refused(text))) < 1200


def test_a_byte_order_mark_before_the_text_is_no_part_of_it() -> None:
    assert parse_bytes(codecs.BOM_UTF8 + WHOLE.encode(), "gw.toml", CORES) == read(WHOLE)
    with pytest.raises(ConfigError, match=r"gw.toml:5: gateway.wrong"):
        parse_bytes(codecs.BOM_UTF8 + WHOLE.replace("workers", "wrong", 1).encode(), "gw.toml", CORES)


def test_two_children_may_not_overlap() -> None:
    error = refused(WHOLE.replace("10.1.9.0/24", "10.1.0.0/20").replace("10.9.0.0/16", "10.2.3.0/24"))
    assert (error.line, error.key) == (11, LAB)
    assert "branch/lan" in str(error)


def test_children_of_different_ports_do_not_overlap() -> None:
    text = WHOLE.replace("10.9.0.0/16", "10.2.0.0/16").replace(
        'remote = ["10.2', 'protocol = "udp", remote = ["10.2', 1
    )
    assert len(read(text).children) == 2


def test_the_same_outbound_spi_to_two_peers_is_fine_but_not_twice_to_one() -> None:
    assert read(WHOLE.replace("0x2002", "0x2001"))
    assert "0x2001" in str(refused(WHOLE.replace("0x2002", "0x2001").replace("203.0.113.9", "203.0.113.7")))


def test_more_pairs_of_prefixes_than_an_sa_has_rows() -> None:
    many = str([f"10.{n}.0.0/16" for n in range(100, 117)])
    assert "split the child" in str(refused(WHOLE.replace('["10.9.0.0/16"]', many)))


def test_seventy_children_are_welcome() -> None:
    text = WHOLE
    for n in range(70):
        text += f"""[peers.p{n}]
remote = "192.0.2.{n + 1}"
children.c = {{ local = ["10.1.0.0/16"], remote = ["10.100.{n}.0/24"], manual = {{ spi_in = {5000 + n}, \
spi_out = {5000 + n}, key_file = "/k{n}" }} }}
"""
    assert [child.index for child in read(text).children] == list(range(72))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(str(tmp_path / "absent.toml"), CORES)
    path = tmp_path / "latin.toml"
    path.write_bytes(b"[gateway]\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r":2: is not UTF-8"):
        load(str(path), CORES)
    path.write_text(WHOLE)
    assert load(str(path), CORES).file == str(path)


@pytest.mark.parametrize(
    ("workers", "cores", "expected"),
    [
        ("auto", (0,), (0,)),
        ("auto", (0, 1), (1,)),
        ("auto", (0, 1, 2, 3), (1, 2, 3)),
        (1, (0, 1), (1,)),
        (2, (0, 1), (1, 0)),
        (4, (0, 1), (1, 0, 1, 0)),
        ([3, 2], (0, 1, 2, 3), (3, 2)),
    ],
)
def test_cores(workers: int | list[int] | str, cores: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert worker_cores(workers, cores) == expected


def crowd(count: int) -> str:
    return "".join(
        f"""[peers.p{n}]
remote = "198.51.{n // 250}.{n % 250}"
local_id = "hq"
remote_id = "p{n}"
auth = {{ psk_file = "/etc/xdpsec/p{n}.psk" }}
children.lan = {{ local = ["10.1.0.0/16"], remote = ["10.{n // 250}.{n % 250}.0/24"] }}
"""
        for n in range(count)
    )


HEAD = '[gateway]\noutside = ["out0"]\ninside = ["in0"]\n'


@pytest.mark.parametrize("wrong", ["", "nonsense = 1\n"])
def test_garbage_is_not_collected_while_thousands_are_read_and_is_after(wrong: str) -> None:
    collected: list[str] = []

    def count(phase: str, info: object) -> None:
        collected.append(phase)

    assert gc.isenabled()
    gc.callbacks.append(count)
    try:
        with contextlib.suppress(ConfigError):
            parse(HEAD + crowd(500) + wrong, "gw.toml", (0, 1))
            assert not wrong
        assert len(collected) < 10  # as it is let in again; else there are hundreds
    finally:
        gc.callbacks.remove(count)
    assert gc.isenabled()


def test_where_keys_stand_is_looked_up_when_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[str] = []

    def walk(text: str) -> dict[lines.Path, int]:
        walked.append(text)
        return true(text)

    true = lines.key_lines
    monkeypatch.setattr(lines, "key_lines", walk)
    config = parse(HEAD + crowd(3), "gw.toml", (0, 1))
    assert not walked
    assert config.line(("peers", "p1", "remote_id")) == len(HEAD.splitlines()) + 10
    assert config.line(("gateway", "inside")) == 3
    assert len(walked) == 1
