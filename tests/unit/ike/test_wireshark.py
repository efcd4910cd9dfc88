"""Wireshark as the other opinion: with our key log it opens every message of a handshake, for each cipher it knows.

One capture with all handshakes and one run of tshark. It knows no ChaCha20-Poly1305, of which there must be no row.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from pair import GCM, Pair, established, pair, peer, rows

from xdpsec.ike.settings import Algorithm, IkeOffer
from xdpsec.numbers import Encr, Integ, Ke, NotifyType, Prf

AES = (128, 192, 256)
AEADS = (Encr.AES_GCM_8, Encr.AES_GCM_12, Encr.AES_GCM_16, Encr.AES_CCM_8, Encr.AES_CCM_12, Encr.AES_CCM_16)
INTEGS = (Integ.HMAC_SHA1_96, Integ.HMAC_SHA2_256_128, Integ.HMAC_SHA2_384_192, Integ.HMAC_SHA2_512_256)


def offer(encr: int, bits: int, integ: int = 0) -> IkeOffer:
    return IkeOffer((Algorithm(encr, bits),), (Prf.HMAC_SHA2_384,), (integ,) if integ else (), (Ke.X25519,))


OFFERS = (
    *(offer(encr, bits) for encr in AEADS for bits in AES),
    *(offer(encr, bits, Integ.HMAC_SHA2_256_128) for encr in (Encr.AES_CBC, Encr.AES_CTR) for bits in AES),
    *(offer(Encr.AES_CBC, 256, integ) for integ in (*INTEGS, Integ.AES_XCBC_96, Integ.AES_CMAC_96)),
    offer(Encr.TRIPLE_DES, 0, Integ.HMAC_SHA1_96),
)
HYBRID = IkeOffer(GCM.encr, GCM.prf, (), GCM.ke, ((Ke.ML_KEM_768,),))
INSIDE = {"35": {"39", "44"}, "36": {"33", "40"}, "43": {"34"}, "44": {"34"}}


@dataclass
class Talk:
    """A handshake, a rekey of the IKE SA and a delete under the new keys."""

    pair: Pair
    rows: list[str]


def talk(chosen: IkeOffer, seed: int) -> Talk:
    both = pair(peer(ike_offers=(chosen,), fragment=0))
    for side in (both.a, both.b):
        side.seed = seed
        side.__post_init__()
    both.a.keylog = True
    both.connect()
    both.run(2.0)
    assert both.up(), both.a.why()
    both.a.machine.rekey_ike(both.now)
    both.settle()
    both.run(2.0)
    both.a.machine.close(both.now)
    both.settle()
    both.run(2.0)
    return Talk(both, rows(both.a))


def capture(talks: list[Talk]) -> bytes:
    """A pcap of raw IPv4 datagrams (link type 101)."""
    out = [pack("!IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)]
    number = count(1)
    for one in talks:
        for sender, data, path in one.pair.wire.log:
            body = data if path.local_port == 500 else bytes(4) + data
            udp = pack("!HHHH", path.local_port, path.remote_port, 8 + len(body), 0) + body
            ends = (b"\xc0\0\2\1", b"\xc0\0\2\2") if sender == "a" else (b"\xc0\0\2\2", b"\xc0\0\2\1")
            datagram = pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + b"".join(ends) + udp
            out += pack("!IIII", next(number), 0, len(datagram), len(datagram)), datagram
    return b"".join(out)


def decode(file: Path, keylog: list[str]) -> list[dict[str, Any]]:
    (file.parent / "ikev2_decryption_table").write_text("\n".join(keylog) + "\n")
    fields = ("isakmp.messageid", "isakmp.exchangetype", "isakmp.typepayload", "isakmp.notify.msgtype", "_ws.malformed")
    wanted = [word for field in fields for word in ("-e", field)]
    command = ["tshark", "-r", str(file), "-T", "json", *wanted]
    done = subprocess.run(command, capture_output=True, timeout=60, env={"WIRESHARK_CONFIG_DIR": str(file.parent)})
    assert done.returncode == 0, done.stderr.decode()
    assert b"Error loading" not in done.stderr, done.stderr.decode()
    return [packet["_source"]["layers"] for packet in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Talk], list[dict[str, Any]]]:
    talks = [talk(chosen, seed) for seed, chosen in enumerate(OFFERS)]
    file = tmp_path_factory.mktemp("wire") / "ike.pcap"
    file.write_bytes(capture(talks))
    return talks, decode(file, [row for one in talks for row in one.rows])


def test_one_row_for_each_generation_of_keys(decoded: tuple[list[Talk], list[dict[str, Any]]]) -> None:
    talks, _ = decoded
    assert [len(one.rows) for one in talks] == [2] * len(OFFERS)


def test_every_message_is_opened(decoded: tuple[list[Talk], list[dict[str, Any]]]) -> None:
    """Payload types of what was sealed show only where it was opened: AUTH, SA, nonce, delete, key exchange."""
    talks, packets = decoded
    assert len(packets) == sum(len(one.pair.wire.log) for one in talks)
    for packet in packets:
        assert opened(packet), packet
    assert any(set(packet["isakmp.typepayload"]) >= {"46", "42"} for packet in packets)


def opened(packet: dict[str, Any]) -> bool:
    exchange, payloads = packet["isakmp.exchangetype"][0], set(packet["isakmp.typepayload"])
    return "_ws.malformed" not in packet and payloads >= INSIDE.get(exchange, set())


def test_generations_of_a_hybrid(tmp_path: Path) -> None:
    """Wireshark takes one row for a pair of SPIs: the first opens IKE_INTERMEDIATE, the second what follows."""
    one = talk(HYBRID, 99)
    assert len(one.rows) == 3
    file = tmp_path / "hybrid.pcap"
    file.write_bytes(capture([one]))
    for chosen, exchanges in ((one.rows[:1], {"43"}), (one.rows[1:], {"35", "36", "44"})):
        found = [packet for packet in decode(file, chosen) if packet["isakmp.exchangetype"][0] in exchanges]
        assert len(found) >= 2
        assert all(map(opened, found)), found


def test_wireshark_reads_our_first_message_as_we_mean_it(decoded: tuple[list[Talk], list[dict[str, Any]]]) -> None:
    _, packets = decoded
    first = {int(kind) for kind in packets[0]["isakmp.notify.msgtype"]}
    assert {NotifyType.NAT_DETECTION_SOURCE_IP, NotifyType.IKE_SA_INIT_FULL_TRANSCRIPT_AUTH} <= first


def test_no_row_for_a_cipher_that_it_does_not_know() -> None:
    both = pair(peer(ike_offers=(offer(Encr.CHACHA20_POLY1305, 0),)))
    both.a.keylog = True
    both.connect()
    both.run(2.0)
    assert both.up()
    assert not rows(both.a)


def test_no_row_unless_asked_for() -> None:
    assert not rows(established().a)
