"""Published ESP packets through the whole packet path (data/: each file names its source on top). The cipher and HMAC
cases that are no packets are proved in tests/unit/native/test_engine.c from the same directory."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from memory_lab import ENGINES, INSIDE, OUR, OUR_MAC, OUTSIDE, PEER, SUITES, lab
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy_oracle import forwarded

from xdpsec.workers.native import Selector

DATA = Path(__file__).parent / "data"
SUITE = {suite.name: suite for suite in SUITES}
ALL = Selector("0.0.0.0/0", "0.0.0.0/0", 0, (0, 65535), (0, 65535))


def cases(name: str) -> list[dict[str, str]]:
    """Blocks of `key = value` lines, apart by blank lines; # starts a comment."""
    blocks: list[dict[str, str]] = [{}]
    for line in (DATA / name).read_text().splitlines():
        if line.startswith("#"):
            continue
        if not line:
            blocks.append({})
            continue
        key, value = line.split(" = ") if " = " in line else (line.removesuffix(" ="), "")
        blocks[-1][key] = value
    return [block for block in blocks if block]


def frame(esp: bytes) -> bytes:
    return bytes(Ether(dst=OUR_MAC) / IP(src=PEER, dst=OUR, proto=50) / Raw(esp))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", cases("rfc3602-esp.txt"), ids=lambda case: case["case"])
def test_cbc_packets_come_out_whole(case: dict[str, str], engine: str) -> None:
    """The RFC's packets have no ICV: HMAC-SHA-256 of the standard library gives them one."""
    esp, inner, auth_key = bytes.fromhex(case["esp"]), bytes.fromhex(case["inner"]), bytes(range(32))
    with lab() as gateway:
        keys = (bytes.fromhex(case["key"]), auth_key)
        suite = SUITE["cbc128-sha256"]
        gateway.install(suite, False, spi=int(case["spi"], 16), engine=engine, selector=ALL, keys=keys)
        gateway.core.route_replace([("192.168.123.0/24", "", INSIDE), ("10.9.0.0/24", "", OUTSIDE)])
        gateway.neighbour(INSIDE, "192.168.123.200", "02:00:00:00:00:77")
        sealed = esp + hmac.digest(auth_key, esp, hashlib.sha256)[:16]
        assert gateway.verdict(OUTSIDE, frame(sealed)) == "DECRYPTED"
        assert gateway.take(INSIDE)[14:] == forwarded(inner)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", cases("gcm-esp.txt"), ids=lambda case: case["case"])
def test_gcm_packets_are_authentic(case: dict[str, str], engine: str) -> None:
    """Authentic, and then refused for what is inside: the draft's next header is 1 or nonsense. One bit off: no ICV."""
    number, esn = int(case["seq"], 16), len(case["seq"]) == 16
    esp = bytes.fromhex(case["spi"] + case["seq"][-8:] + case["nonce"][8:] + case["cipher"] + case["icv"])
    suite = SUITE["gcm128" if len(case["key"]) == 32 else "gcm256"]
    keys = (bytes.fromhex(case["key"] + case["nonce"][:8]), b"")
    with lab() as gateway:
        slot = gateway.install(
            suite, False, spi=int(case["spi"], 16), esn=esn, engine=engine, number=number - 1, selector=ALL, keys=keys
        )
        slot.granted = (1 << 64) - 1
        gateway.core.sa_grant(0, (1 << 64) - 1)
        assert gateway.verdict(OUTSIDE, frame(esp[:-1] + bytes([esp[-1] ^ 1]))) == "DROP_ICV"
        expected = "DROP_NO_GRANT" if number == (1 << 64) - 1 else "DROP_TRAILER"
        assert gateway.verdict(OUTSIDE, frame(esp)) == expected


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", cases("rfc7634-esp.txt"), ids=lambda case: case["case"])
def test_chacha_packets_come_out_whole(case: dict[str, str], engine: str) -> None:
    esp = bytes.fromhex(case["spi"] + case["seq"] + case["nonce"][8:] + case["cipher"] + case["icv"])
    keys = (bytes.fromhex(case["key"] + case["nonce"][:8]), b"")
    inner = bytes.fromhex(case["plain"])[:-4]  # two bytes of padding, their number, next header
    with lab() as gateway:
        gateway.install(SUITE["chacha20"], False, spi=int(case["spi"], 16), engine=engine, selector=ALL, keys=keys)
        gateway.core.route_replace([("192.0.2.0/24", "", INSIDE), ("10.9.0.0/24", "", OUTSIDE)])
        gateway.neighbour(INSIDE, "192.0.2.5", "02:00:00:00:00:77")
        assert gateway.verdict(OUTSIDE, frame(esp[:-1] + bytes([esp[-1] ^ 1]))) == "DROP_ICV"
        assert gateway.verdict(OUTSIDE, frame(esp)) == "DECRYPTED"
        assert gateway.take(INSIDE)[14:] == forwarded(inner)
