"""Target of the coverage-guided fuzzer: a whole gate before a peer that has the right keys. An input is a short play:
where it begins, then acts. Nothing may come out but answers and events, and a silent peer leaves nothing behind.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "ike"))

from attacker import Attacker
from ike_codec import EXCHANGES, chained, whole
from pair import ESP_GCM, GCM, child, mirrored, peer

from xdpsec.errors import PeerError
from xdpsec.ike.settings import Pool
from xdpsec.ike.v2.machine import Machine
from xdpsec.numbers import ExchangeType, Ke
from xdpsec.wire.header import Header, build_header, parse_header
from xdpsec.wire.message import encode_payloads, parse_clear, parse_envelope, parse_payloads

ACTS = 12  # in one play
#: Long enough for liveness, the last retransmission and what lingers after it.
SILENCE = 1000.0


def plain() -> Attacker:
    return Attacker(peer(), cookie_threshold=3)


def rich() -> Attacker:
    """Everything that is negotiated beside: post-quantum exchanges, two children, addresses, a NAT."""
    hybrid, pfs = replace(GCM, extra=((Ke.ML_KEM_768,),)), replace(ESP_GCM, extra=((Ke.ML_KEM_768, Ke.NONE),))
    nets = (child(offers=(pfs,)), child("more", "10.3.0.0/16", "10.4.0.0/16", index=1, offers=(pfs,)))
    ours = peer(ike_offers=(hybrid, GCM), children=nets, ask_addresses=(4,), force_encap=True, fragment=600)
    pool = Pool(("10.99.0.0/24",), ("10.2.0.53",), ("example.com",))
    return Attacker(ours, mirrored(ours, pool=pool, ask_addresses=()), cookie_threshold=3)


def stored(scene: Attacker) -> Callable[[], Attacker]:
    """Copies of it, faster than by talking up to there."""
    data = pickle.dumps(scene)
    return lambda: pickle.loads(data)


#: Where a play can begin. A private key cannot be copied: what waits with one is made anew.
SCENES: tuple[Callable[[], Attacker], ...] = (
    *(stored(scene) for kind in (plain, rich) for scene in (kind(), kind().keyed(), kind().established())),
    *(stored(kind().trusted()) for kind in (plain, rich)),
    *(lambda: plain().called(), lambda: rich().called()),
)


# --- acts: what one can do, each with some bytes ---


def datagram(play: Attacker, data: bytes) -> None:
    play.send(whole(data))


def request(play: Attacker, data: bytes) -> None:
    """Payloads in the next message; in the clear before there are keys. The first byte is the exchange."""
    if not data:
        return
    exchange, (first, plaintext) = EXCHANGES[data[0] % len(EXCHANGES)], chained(data[1:])
    if play.a.machines and play.sa.sealer is not None:
        play.send(play.sealed(exchange, first, plaintext))
        if any(answer[19] & 0x20 for answer in play.answers):
            play.next_id += 1
            play.answers = [answer for answer in play.answers if not answer[19] & 0x20]
    else:
        head = Header(b"INITIATE", bytes(8), 0, 0x20, ExchangeType.IKE_SA_INIT, True, False, 0)
        play.send(build_header(head, first, 28 + len(plaintext)) + plaintext)


def response(play: Attacker, data: bytes) -> None:
    """Payloads in answer to the newest request of the gate, in the clear to its first."""
    asked = [answer for answer in play.answers if not answer[19] & 0x20]
    if not asked or not play.a.machines:
        return
    exchange, number = asked[-1][18], int.from_bytes(asked[-1][20:24], "big")
    first, plaintext = chained(data)
    if exchange == ExchangeType.IKE_SA_INIT:
        head = Header(asked[-1][:8], b"RESPONSE", 0, 0x20, exchange, False, True, 0)
        play.send(build_header(head, first, 28 + len(plaintext)) + plaintext)
    elif play.sa.sealer is not None:
        play.send(play.sealed(exchange, first, plaintext, response=True, message_id=number))


def edited(play: Attacker, data: bytes) -> None:
    """The honest message that is held, with changes: which payload, and its new body; an empty one takes it away."""
    if len(play.held) != 1 or not play.gate.machines:
        return
    head = parse_header(play.held[0])
    if head.exchange == ExchangeType.IKE_SA_INIT:
        payloads = parse_clear(play.held[0]).payloads
    else:
        opener, envelope = play.machine.sa.opener, parse_envelope(play.held[0])
        if opener is None or play.sa.sealer is None or envelope.total:
            return
        payloads = parse_payloads(envelope.first, opener.open(envelope.aad, envelope.body), head.exchange)
    raw = [encode_payloads((one,)) for one in payloads]
    while len(data) > 1 and raw:
        at, size = data[0] % len(raw), data[1]
        body, data = data[2 : 2 + size], data[2 + size :]
        raw[at : at + 1] = [(raw[at][0], b"\0\0" + (len(body) + 4).to_bytes(2, "big") + body)] if body else []
    kinds = [kind for kind, _ in raw] + [0]
    text = b"".join(bytes((kind,)) + one[1:] for kind, (_, one) in zip(kinds[1:], raw, strict=True))
    if head.exchange == ExchangeType.IKE_SA_INIT:
        play.send(build_header(head, kinds[0], 28 + len(text)) + text)
    else:
        play.send(play.sealed(head.exchange, kinds[0], text, head.response, head.message_id))


def wait(play: Attacker, data: bytes) -> None:
    play.wait((0.1, 1.5, 40.0, 130.0)[data[0] % 4] if data else 1.0)


def wish(play: Attacker, data: bytes) -> None:
    """What the gate's own host may want of its machine."""
    machine = next(reversed(play.gate.machines.values()), None)
    if not isinstance(machine, Machine) or not machine.established or not data:
        return
    spi = next(iter(play.b.installed), 0)
    wishes: tuple[Callable[[], object], ...] = (
        lambda: machine.rekey_child(spi, play.now),
        lambda: machine.rekey_ike(play.now),
        lambda: machine.close_child(spi, play.now),
        lambda: machine.open_child("net", play.now),
        lambda: machine.close(play.now),
    )
    play.gate.wish(machine.number, lambda talker: wishes[data[0] % len(wishes)]())
    play.settle()


def mood(play: Attacker, data: bytes) -> None:
    """How the gate's workers take new SAs from now on: well, badly, not at all."""
    play.b.acks = ("", "no room", None)[data[0] % 3] if data else ""


def elsewhere(play: Attacker, data: bytes) -> None:
    """The peer has another address and port."""
    play.path = replace(play.path, remote=f"198.51.100.{len(data) % 250}", remote_port=4500 + len(data))


PARTS = (request, response, edited, datagram, wish, wait, mood, elsewhere)


def acts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Part, length in two bytes, and what belongs to it."""
    for _ in range(ACTS):
        if len(data) < 3:
            return
        size = int.from_bytes(data[1:3], "big")
        yield data[0], data[3 : 3 + size]
        data = data[3 + size :]


def one_input(data: bytes) -> None:
    """What the fuzzer calls. Any exception that leaves it is a finding."""
    if not data:
        return
    play = SCENES[data[0] % len(SCENES)]()
    for part, body in acts(data[1:]):
        try:
            PARTS[part % len(PARTS)](play, body)
        except PeerError as error:
            raise AssertionError("a PeerError came out of the gate") from error
    assert len(play.gate.machines) < 2 * ACTS
    play.wait(SILENCE)
    nothing_left(play)


def nothing_left(play: Attacker) -> None:
    """After a long silence."""
    gate = play.gate
    assert not gate.machines, play.lines()[-3:]
    assert not any((gate.by_spi, gate.openings, gate.first_messages, gate.per_source))
    assert not play.b.installed
    assert not gate.leases.held
    assert gate.get_timer() is None
