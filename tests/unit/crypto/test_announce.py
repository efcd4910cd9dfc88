"""SUPPORTED_AUTH_METHODS (RFC 9593): one table both ways, each truncation refused, and how much is taken."""

from __future__ import annotations

import openssl
import pytest

from xdpsec.crypto import announce
from xdpsec.crypto.announce import Announcement, build_announcements, parse_announcements
from xdpsec.crypto.schemes import ED25519
from xdpsec.crypto.signing import Signer, verify
from xdpsec.errors import PeerError
from xdpsec.numbers import HashAlgorithm, NotifyType

CASES: tuple[tuple[str, tuple[Announcement, ...]], ...] = (
    ("", ()),
    ("0202", (Announcement(2),)),
    ("030100", (Announcement(1),)),
    ("030902", (Announcement(9, 2),)),
    ("0a0e01" + "300506032b6570", (Announcement(14, 1, ED25519.blob),)),
    ("0202" "030a00" "0a0e00300506032b6571" "020d",
     (Announcement(2), Announcement(10), Announcement(14, 0, bytes.fromhex("300506032b6571")), Announcement(13))),
)  # fmt: skip


@pytest.mark.parametrize(("data", "entries"), CASES)
def test_both_ways(data: str, entries: tuple[Announcement, ...]) -> None:
    assert build_announcements(entries) == bytes.fromhex(data)
    assert parse_announcements(bytes.fromhex(data)) == entries


@pytest.mark.parametrize(("data", "entries"), CASES)
def test_truncated(data: str, entries: tuple[Announcement, ...]) -> None:
    whole = bytes.fromhex(data)
    starts = {len(build_announcements(entries[:count])) for count in range(len(entries) + 1)}
    for size in set(range(len(whole))) - starts:
        refuses(whole[:size])
    refuses(whole + b"\x05\x0e")


@pytest.mark.parametrize("data", [b"\0", b"\x01", b"\x01\x02", b"\0" * 8, b"\xff\x02"])
def test_lengths_that_say_nothing(data: bytes) -> None:
    refuses(data)


def test_as_many_as_anybody_needs() -> None:
    assert len(parse_announcements(b"\x02\x02" * announce.MAX_ANNOUNCEMENTS)) == announce.MAX_ANNOUNCEMENTS
    refuses(b"\x02\x02" * (announce.MAX_ANNOUNCEMENTS + 1))


def refuses(data: bytes) -> None:
    with pytest.raises(PeerError) as caught:
        parse_announcements(data)
    assert caught.value.notify == NotifyType.INVALID_SYNTAX


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "p521", "brainpool256", "ed25519", "ed448"])
def test_every_key_finds_one_of_ours(kind: str) -> None:
    heard = parse_announcements(build_announcements(announce.signatures()))
    method, data = Signer(openssl.key(kind)).sign(b"octets", frozenset(HashAlgorithm), heard)
    verify(openssl.key(kind).public_key(), method, data, b"octets")
