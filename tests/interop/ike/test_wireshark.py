"""tshark reads what crossed the wire between our gateway and strongSwan, with the rows that `xdpsec keylog` wrote."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from netns.rig.gateways import XDPSEC

from interop.ike.arena import Arena
from interop.ike.cases import Case, read
from interop.ike.ground import LEFT_PORT
from interop.ike.ours import Ours
from interop.ike.sides import until
from interop.ike.stage import Stage

#: One of each kind that tshark 4.0 knows; tests/unit/ike/test_wireshark.py has them all between two of our machines.
CIPHERS = ("aes256gcm16-prfsha384-x25519", "aes256-sha512-ecp384", "aes128ctr-sha256-x25519", "3des-sha1-modp2048")
ROW = "key log {0}\tuser\t{1}\ttunnel\t{0}\taes128gcm16\tpsk\t-"
ROLES = ("initiator", "responder")
CASES = read("\n".join(ROW.format(cipher, role) for cipher in CIPHERS for role in ROLES))
#: Exchange -> payloads that show only where SK was opened (RFC 7296 sec. 1.2, 1.3).
INSIDE = {"35": {"39", "44", "45"}, "36": {"33", "40"}}
DELETE = "42"


@pytest.fixture(scope="module")
def wired() -> Iterator[Arena]:
    with Arena.open("ours", "user", CASES) as made:
        yield made


@contextmanager
def recorded(stage: Stage, directory: Path) -> Iterator[tuple[Path, Path]]:
    """Capture and key log; both are whole when the block ends."""
    assert isinstance(stage.left, Ours)
    capture, keys = directory / "ike.pcap", directory / "ikev2_decryption_table"
    lab = stage.ground.lab
    sniff = ["tcpdump", "-U", "--immediate-mode", "-i", LEFT_PORT, "-w", str(capture), "udp"]
    keylog = [XDPSEC, "keylog", str(keys), "--config", str(stage.left.gateway.config)]
    said = directory / "said"
    with lab.running(stage.ground.router, sniff, said), lab.running(stage.left.namespace, keylog, said):
        # both say so; the gateway gives no key before it was asked
        until(lambda: "listening on" in said.read_text() and "keys go to" in said.read_text(), "capture and key log")
        yield capture, keys


def read_capture(capture: Path, keys: Path) -> list[dict[str, Any]]:
    fields = ("isakmp.ispi", "isakmp.exchangetype", "isakmp.typepayload", "_ws.malformed")
    wanted = [word for field in fields for word in ("-e", field)]
    command = ["tshark", "-r", str(capture), "-Y", "isakmp", "-T", "json", *wanted]
    environment = {"WIRESHARK_CONFIG_DIR": str(keys.parent)}
    done = subprocess.run(command, capture_output=True, timeout=60, env=environment, check=True)
    assert b"Error loading" not in done.stderr, done.stderr.decode()
    return [packet["_source"]["layers"] for packet in json.loads(done.stdout)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.ike} {case.role}")
def test_every_message_is_opened(wired: Arena, case: Case, tmp_path: Path) -> None:
    with wired.case(case) as stage, recorded(stage, tmp_path) as (capture, keys):
        both = stage.begin()
        stage.carry()
        stage.left.rekey_child(case)
        both = stage.again(both, ike=False, first=True)
        stage.left.rekey_ike(case)
        stage.again(both, ike=True, first=True)
        stage.end()
        until(lambda: len(keys.read_text().splitlines()) == 2, "one row for each generation of keys")
    packets = read_capture(capture, keys)
    assert len({packet["isakmp.ispi"][0] for packet in packets}) == 2
    assert len(packets) >= 10
    for packet in packets:
        payloads = set(packet["isakmp.typepayload"])
        assert "_ws.malformed" not in packet, packet
        assert payloads >= INSIDE.get(packet["isakmp.exchangetype"][0], set()), packet
    assert any(DELETE in packet["isakmp.typepayload"] for packet in packets)
