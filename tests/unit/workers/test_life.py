"""An SA's life in words: what the applier tells control of its use and limits, where it moves, what takes its place."""

from __future__ import annotations

import dataclasses

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.layers.l2 import Ether
from test_apply import (
    AUTH,
    INSIDE,
    KEY,
    OUR_MAC,
    OUTSIDE,
    PEER_MAC,
    SNAPSHOT,
    Rig,
    cleartext,
    install,
    put,
    rig,
    take,
)

from xdpsec.channel import messages as words
from xdpsec.workers.apply import report

__all__ = ["rig"]


GRANTS = (words.SeqGrant(0, 1024), words.SeqGrant(1, 1024))


def without(*left_out: type) -> tuple[words.Message, ...]:
    return tuple(word for word in SNAPSHOT if not isinstance(word, left_out))


def send(rig: Rig) -> bytes:
    """One packet from the host; what left outside."""
    put(rig, INSIDE, bytes(Ether(dst=OUR_MAC, src=PEER_MAC) / cleartext()))
    return take(rig, OUTSIDE)


def told(rig: Rig) -> list[words.Message]:
    report(rig.wire, rig.worker)
    return rig.heard()


def from_peer(rig: Rig, number: int, encap: bool = False) -> None:
    sa = SecurityAssociation(
        ESP, spi=0x1001, crypt_algo="AES-CBC", crypt_key=KEY, auth_algo="SHA2-256-128", auth_key=AUTH,
        tunnel_header=IP(src="192.0.2.2", dst="192.0.2.1"),
        nat_t_header=UDP(sport=61000, dport=4500) if encap else None,
    )  # fmt: skip
    inner = IP(src="10.2.0.9", dst="10.1.0.5") / UDP(sport=2, dport=1) / b"back"
    put(rig, OUTSIDE, bytes(Ether(dst=OUR_MAC, src=PEER_MAC) / sa.encrypt(inner, seq_num=number)))


def test_words_about_an_sa_that_is_gone_end_nobody(rig: Rig) -> None:
    rig.say(*SNAPSHOT, words.SaRemove(0))
    assert rig.say(words.SeqGrant(0, 2048), words.PathMtu(0, 1400), words.PathMtu(9, 1400)) == []
    assert rig.slots[0].granted == 1024


def test_the_first_use_is_told_once_where_it_was_asked_for(rig: Rig) -> None:
    rig.say(*without(words.SaInstall, words.SaUse))
    rig.say(dataclasses.replace(install(0x1001, False, 1), tell_use=True), *GRANTS)
    rig.say(words.NextHop(INSIDE, "10.1.0.5", bytes.fromhex("020000000005")))
    assert told(rig) == []
    from_peer(rig, 1)
    assert told(rig) == [words.SaFirstUse(1)]
    from_peer(rig, 2)
    assert told(rig) == []
    assert (rig.slots[1].packets, rig.slots[1].last_seen_ns > 0) == (2, True)


def test_limits_are_told_and_kept(rig: Rig) -> None:
    rig.say(*without(words.SaInstall, words.SaUse))
    limited = dataclasses.replace(install(0x2001, True, 0), soft_packets=2, hard_bytes=len(bytes(cleartext())) * 3)
    rig.say(limited, words.SaUse(0, 0), *GRANTS)
    assert [bool(send(rig)) for _ in range(5)] == [True] * 3 + [False] * 2
    assert told(rig) == [words.SaSoft(0), words.Exhausted(0)]


def test_an_sa_moves_to_other_addresses_and_into_udp(rig: Rig) -> None:
    rig.say(*SNAPSHOT, words.NextHop(OUTSIDE, "192.0.2.77", bytes.fromhex("020000000077")))
    assert Ether(send(rig))[IP].dst == "192.0.2.2"
    assert rig.say(words.SaMove(0, "192.0.2.5", "192.0.2.77", 4500, 61000)) == [words.Ack(11)]
    frame = Ether(send(rig))
    assert (frame.dst, frame[IP].src, frame[IP].dst) == ("02:00:00:00:00:77", "192.0.2.5", "192.0.2.77")
    assert (frame[UDP].sport, frame[UDP].dport, frame[ESP].seq) == (4500, 61000, 2)
    (refusal,) = rig.say(words.SaMove(5, "192.0.2.5", "192.0.2.77", 0, 0))
    assert isinstance(refusal, words.Ack)
    assert "slot 5" in refusal.error


@pytest.mark.parametrize("any_encap", [False, True])
def test_a_negotiated_sa_takes_both_encapsulations(rig: Rig, any_encap: bool) -> None:
    rig.say(*without(words.SaInstall, words.SaUse))
    rig.say(dataclasses.replace(install(0x1001, False, 1), any_encap=any_encap), *GRANTS)
    from_peer(rig, 1)
    from_peer(rig, 2, encap=True)
    assert rig.slots[1].packets == 1 + any_encap


def test_where_a_nat_moved_the_peer_is_told(rig: Rig) -> None:
    rig.say(*without(words.SaInstall, words.SaUse))
    known = dataclasses.replace(install(0x1001, False, 1), any_encap=True, encap_local=4500, encap_remote=4500)
    rig.say(known, *GRANTS)
    rig.say(words.NextHop(INSIDE, "10.1.0.5", bytes.fromhex("020000000005")))
    from_peer(rig, 1, encap=True)
    assert told(rig) == [words.SaElsewhere(1, "192.0.2.2", 61000)]


def test_what_waited_for_an_sa_leaves_first_and_in_order(rig: Rig) -> None:
    rig.say(*without(words.SaInstall, words.SaUse))
    for port in range(40):
        put(rig, INSIDE, bytes(Ether(dst=OUR_MAC) / IP(src="10.1.0.5", dst="10.2.0.9") / UDP(sport=port, dport=9)))
    assert told(rig) == [words.Acquire(0)]
    rig.say(install(0x2001, True, 0), *GRANTS, words.SaUse(0, 0))
    last = IP(src="10.1.0.5", dst="10.2.0.9") / UDP(sport=40, dport=9)
    put(rig, INSIDE, bytes(Ether(dst=OUR_MAC) / last))
    sa = SecurityAssociation(
        ESP, spi=0x2001, crypt_algo="AES-CBC", crypt_key=KEY, auth_algo="SHA2-256-128", auth_key=AUTH,
        tunnel_header=IP(src="192.0.2.1", dst="192.0.2.2"),
    )  # fmt: skip
    left = [Ether(take(rig, OUTSIDE))[IP] for _ in range(41)]
    assert [packet[ESP].seq for packet in left] == list(range(1, 42))
    assert [sa.decrypt(packet)[UDP].sport for packet in left] == list(range(41))
    assert take(rig, OUTSIDE) == b""
