"""What AUTH covers, worked out here by hand from what was on the wire, beside what the machines sent.

RFC 7296 sec. 2.15, RFC 9242 sec. 3.3.2, RFC 8784 sec. 3, draft-ietf-ipsecme-ikev2-downgrade-prevention.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import replace

import pytest
from pair import GCM, PSK, Pair, downs, mirrored, pair, peer

from xdpsec.ike.settings import PeerSettings, Ppk
from xdpsec.ike.v2 import sealing
from xdpsec.ike.v2.sa import IkeKeys
from xdpsec.numbers import IdType, Ke, NotifyType, PayloadType
from xdpsec.wire.header import LENGTH
from xdpsec.wire.message import build_clear, find, parse_clear, parse_payloads
from xdpsec.wire.payloads import Auth, Nonce, Notify

HYBRID = peer(ike_offers=(replace(GCM, extra=((Ke.ML_KEM_768,),)),), fragment=0)
TRANSCRIPT = NotifyType.IKE_SA_INIT_FULL_TRANSCRIPT_AUTH


def prf(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def watch(settings: PeerSettings) -> tuple[Pair, list[IkeKeys], list[tuple[str, int, int, bytes]]]:
    """A handshake; every generation of SK_* in order; each sealed message: sender, id, first payload, plaintext."""
    both = pair(settings)
    generations: list[IkeKeys] = []
    opened: list[tuple[str, int, int, bytes]] = []
    both.connect()
    while not both.up():
        for side in (both.a, both.b):
            shake = side.machines[-1].sa.handshake if side.machines else None
            if shake is not None and shake.keys is not None and shake.keys not in generations:
                generations.append(shake.keys)
        before = len(both.wire.log)
        assert both.step()
        for sender, data, _ in both.wire.log[before:]:
            if data[16] == PayloadType.SK:
                receiver = both.b if sender == "a" else both.a
                found = sealing.unseal(receiver.machine.sa, data)
                assert found is not None
                opened.append((sender, int.from_bytes(data[20:24], "big"), found[0], found[1]))
    return both, generations, opened


def body(kind: int, data: bytes) -> bytes:
    return bytes((kind, 0, 0, 0)) + data


def auths(opened: Iterable[tuple[str, int, int, bytes]]) -> tuple[bytes, bytes]:
    found = []
    for _, _, first, plaintext in opened:
        auth = find(parse_payloads(first, plaintext, 35), Auth)
        if auth is not None:
            found.append(auth.data)
    ours, theirs = found
    return ours, theirs


def signed(both: Pair, keys: IkeKeys, intauth: bytes = b"") -> tuple[bytes, bytes]:
    """The octets of both sides with the full transcript, which both announce."""
    (request, response) = (data for _, data, _ in both.wire.log[:2])
    nonces = [one.data for data in (request, response) if (one := find(parse_clear(data).payloads, Nonce))]
    ours = bytes(8) + response + request + nonces[1] + prf(keys.pi, body(IdType.FQDN, b"a")) + intauth
    theirs = bytes(8) + request + response + nonces[0] + prf(keys.pr, body(IdType.FQDN, b"b")) + intauth
    return ours, theirs


def maced(octets: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    key = prf(PSK, b"Key Pad for IKEv2")
    return prf(key, octets[0]), prf(key, octets[1])


def test_plain_handshake() -> None:
    both, (keys,), opened = watch(peer())
    assert auths(opened) == maced(signed(both, keys))


def test_with_a_postquantum_preshared_key() -> None:
    both, (keys,), opened = watch(peer(ppks=(Ppk(b"\x02id", b"p" * 32),)))
    mixed = replace(keys, pi=prf(b"p" * 32, keys.pi + b"\1"), pr=prf(b"p" * 32, keys.pr + b"\1"))
    assert auths(opened) == maced(signed(both, mixed))


def test_with_an_intermediate_exchange() -> None:
    """IntAuth takes headers as if the message were neither encrypted nor cut, and IKE_AUTH's message id."""
    both, generations, opened = watch(HYBRID)
    chained = []
    for (_, message_id, first, plaintext), sk_p, flags in zip(
        opened[:2], (generations[0].pi, generations[0].pr), (0x08, 0x20), strict=True
    ):
        sizes = LENGTH + 4 + len(plaintext), 4 + len(plaintext)
        spis = both.a.sa.spi_i + both.a.sa.spi_r
        head = spis + bytes((46, 0x20, 43, flags)) + message_id.to_bytes(4, "big") + sizes[0].to_bytes(4, "big")
        chained.append(prf(sk_p, head + bytes((first, 0)) + sizes[1].to_bytes(2, "big") + plaintext))
    intauth = chained[0] + chained[1] + (2).to_bytes(4, "big")
    assert len(generations) == 2
    assert auths(opened[2:]) == maced(signed(both, generations[1], intauth))


def strip(both: Pair, sender: str) -> None:
    """A man in the middle takes the notify out of that side's IKE_SA_INIT."""

    def fate(number: int, who: str, data: bytes) -> Iterable[float]:
        if who == sender and data[18] == 34:
            message = parse_clear(data)
            kept = tuple(one for one in message.payloads if not (type(one) is Notify and one.kind == TRANSCRIPT))
            both.flying.append((both.now, -1, who, build_clear(message.header, kept), both.wire.log[number][2]))
            return ()
        return (0.01,)

    both.wire.fate = fate


@pytest.mark.parametrize("sender", ["a", "b"])
def test_stripping_the_transcript_is_noticed(sender: str) -> None:
    """The two sides then cover different octets, and whoever was lied to about the other does not verify."""
    both = pair()
    strip(both, sender)
    both.connect()
    both.run(5.0)
    assert ("authentication", NotifyType.AUTHENTICATION_FAILED) in downs(both.a) + downs(both.b)
    assert not both.a.installed


def test_peer_that_does_not_know_the_transcript(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then AUTH covers one's own message alone."""
    from xdpsec.ike.v2 import extensions

    true = extensions.answered
    monkeypatch.setattr(
        extensions,
        "answered",
        lambda *words: tuple(one for one in true(*words) if not (type(one) is Notify and one.kind == TRANSCRIPT)),
    )
    forget = extensions.Both.of
    monkeypatch.setattr(
        extensions.Both, "of", classmethod(lambda cls, payloads: replace(forget(payloads), transcript=False))
    )
    both, (keys,), opened = watch(mirrored(mirrored(peer())))
    ours, theirs = signed(both, keys)
    (request, response) = (data for _, data, _ in both.wire.log[:2])
    cut = 8 + len(request) + len(response)
    assert auths(opened) == maced((request + ours[cut:], response + theirs[cut:]))
