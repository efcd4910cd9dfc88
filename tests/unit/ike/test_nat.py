"""NAT: seen or faked, ports float to 4500, ESP goes in UDP, keepalives, a mapping that changes (RFC 7296 sec. 2.23)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pair import A, B, Pair, established, mirrored, pair, peer

from xdpsec.ike.events import Path, PathChanged
from xdpsec.ike.v2 import nat
from xdpsec.numbers import NotifyType
from xdpsec.wire.payloads import Notify

OUTSIDE = "203.0.113.9"


def behind_nat(outside_port: int = 61_000, **more: Any) -> Pair:
    """Side a is behind a NAT that b sees as OUTSIDE; each source port of a gets its own there."""
    ours = peer(**more)
    both = pair(ours, mirrored(ours, remote=""))
    ports: dict[int, int] = {}
    both.outside = outside_port  # type: ignore[attr-defined]

    def translate(sender: str, path: Path) -> Path:
        if sender == "a":
            port = ports[path.local_port] = both.outside + path.local_port - 500  # type: ignore[attr-defined]
            return replace(path, local=OUTSIDE, local_port=port)
        inside = {port: own for own, port in ports.items()}.get(path.remote_port, 0)
        return replace(path, remote=A, remote_port=inside) if path.remote == OUTSIDE else path

    both.translate = translate
    return both


@pytest.mark.parametrize(("mobike", "ports"), [(False, (500, 500)), (True, (4500, 4500))])
def test_without_nat_only_mobike_floats(mobike: bool, ports: tuple[int, int]) -> None:
    """RFC 4555 sec. 3.3: a peer that may move later is on port 4500 from the start."""
    both = established(peer(mobike=mobike))
    seen = [(path.local_port, path.remote_port) for _, _, path in both.wire.log]
    assert seen == [(500, 500)] * 2 + [ports] * 2
    assert [one.encap for one in both.a.installed.values()] == [False]


def test_initiator_behind_nat() -> None:
    both = behind_nat()
    both.connect()
    both.run(5.0)
    assert both.up()
    both.agree()
    assert (both.a.sa.nat_here, both.a.sa.nat_there) == (True, False)
    assert (both.b.sa.nat_here, both.b.sa.nat_there) == (False, True)
    assert both.wire.log[2][2] == Path(A, 4500, B, 4500)
    (ours,), (theirs,) = both.a.installed.values(), both.b.installed.values()
    assert ours.encap
    assert ours.path == Path(A, 4500, B, 4500)
    assert theirs.path == Path(B, 4500, OUTSIDE, 65_000)


@pytest.mark.parametrize("faker", ["a", "b"])
def test_faked_nat_is_honoured_on_both_sides(faker: str) -> None:
    """Some peers claim one to have UDP: what does not match counts."""
    ours = peer(force_encap=faker == "a")
    both = established(ours, mirrored(ours, force_encap=faker == "b"))
    both.agree()
    assert [one.encap for one in both.a.installed.values()] == [True]
    assert both.wire.log[2][2] == Path(A, 4500, B, 4500)
    assert both.b.sa.path == Path(B, 4500, A, 4500)


def test_peer_on_a_port_of_its_own_keeps_it() -> None:
    ours = peer(remote_port=7777, force_encap=True)
    both = pair(ours)
    both.connect()
    both.run(5.0)
    assert both.up()
    assert both.wire.log[2][2] == Path(A, 4500, B, 7777)


def test_peer_without_nat_traversal_stays_on_its_ports() -> None:
    assert nat.detect([Notify(NotifyType.COOKIE)], b"i" * 8, b"r" * 8, Path(A, 500, B, 500)) is None


def test_one_of_several_sources_that_matches_is_enough() -> None:
    """A multihomed peer may name several (sec. 2.23)."""
    path = Path(A, 500, B, 500)
    said = [
        Notify(NotifyType.NAT_DETECTION_SOURCE_IP, nat.digest(b"i" * 8, b"r" * 8, address, 500))
        for address in ("192.0.2.77", B)
    ]
    said += nat.notifies(b"i" * 8, b"r" * 8, Path(B, 500, A, 500), fake=False)[1:]
    assert nat.detect(said, b"i" * 8, b"r" * 8, path) == (False, False)
    assert nat.detect([said[0], said[2]], b"i" * 8, b"r" * 8, path) == (False, True)


def test_digest_of_the_rfc() -> None:
    """SHA-1 over SPIs, address, port: recomputed here by hand."""
    from hashlib import sha1

    octets = bytes.fromhex("01020304050607081112131415161718c000020101f4")
    spis = octets[:8], octets[8:16]
    assert nat.digest(*spis, "192.0.2.1", 500) == sha1(octets).digest()
    packed = bytes.fromhex("20010db8000000000000000000000001")
    assert nat.digest(*spis, "2001:db8::1", 4500) == sha1(octets[:16] + packed + b"\x11\x94").digest()


def test_keepalives_only_from_behind_the_nat_and_only_in_silence() -> None:
    both = behind_nat(dpd=0.0)
    both.connect()
    both.run(119.0)
    pings = [who for who, data, _ in both.wire.log if data == b"\xff"]
    assert pings == ["a"] * 5


def test_new_mapping_is_followed_on_authentic_messages() -> None:
    both = behind_nat(mobike=False, dpd=30.0)
    both.connect()
    both.run(5.0)
    both.outside = 62_000  # type: ignore[attr-defined]
    both.run(60.0)
    assert both.b.sa.path == Path(B, 4500, OUTSIDE, 66_000)
    assert both.b.told(PathChanged)[-1].path == both.b.sa.path
    assert both.b.told(PathChanged)[-1].encap
    assert both.up()


@pytest.mark.parametrize(
    ("mobike", "who", "follows"),
    [(False, "b", True), (True, "b", False), (False, "a", False)],  # sec. 2.23: MOBIKE's affair; a is behind the NAT
)
def test_new_mapping_is_followed_when_esp_alone_shows_it(mobike: bool, who: str, follows: bool) -> None:
    both = behind_nat(mobike=mobike)
    both.connect()
    both.run(5.0)
    side = both.a if who == "a" else both.b
    (child,) = side.installed.values()
    before = side.sa.path
    side.machine.seen(child.spi_in, "203.0.113.77", 62_000, both.now)
    side.machine.seen(child.spi_in + 1, "203.0.113.78", 62_000, both.now)  # of no child here
    both.settle()
    after = replace(before, remote="203.0.113.77", remote_port=62_000) if follows else before
    assert side.sa.path == after
    assert [event.path for event in side.told(PathChanged)[-1:]] == [after] * follows


@pytest.mark.parametrize(("who", "follows"), [("a", False), ("b", True)])
def test_whom_an_end_behind_a_nat_follows(who: str, follows: bool) -> None:
    """Both are behind one. Who called does not follow (sec. 2.23): a packet that somebody sent on from elsewhere would
    break the talk. Who is called there is behind one that stays as it is, and its callers' do not."""
    public, moved = "203.0.113.2", "203.0.113.77"
    ours = peer(remote=public, mobike=False, dpd=30.0)
    both, ends = pair(ours, mirrored(ours, remote="", local=B)), {"a": OUTSIDE, "b": public}

    def translate(sender: str, path: Path) -> Path:
        return replace(path, local=ends[sender], remote=B if sender == "a" else A)

    both.translate = translate
    both.connect()
    both.run(5.0)
    side = both.side(who)
    assert (side.sa.nat_here, side.sa.nat_there) == (True, True)
    before = side.sa.path
    ends["b" if who == "a" else "a"] = moved
    both.run(60.0)
    (child,) = side.installed.values()
    side.machine.seen(child.spi_in, moved, before.remote_port, both.now)
    both.settle()
    assert side.sa.path == (replace(before, remote=moved) if follows else before)
    assert both.up()


@pytest.mark.parametrize(("who", "follows"), [("a", False), ("b", True)])
def test_esp_alone_moves_as_ike_does(who: str, follows: bool) -> None:
    public = "203.0.113.2"
    ours = peer(remote=public, mobike=False, dpd=0.0)
    both = pair(ours, mirrored(ours, remote="", local=B))
    both.translate = lambda sender, path: replace(
        path, local=OUTSIDE if sender == "a" else public, remote=B if sender == "a" else A
    )
    both.connect()
    both.run(5.0)
    side = both.side(who)
    (child,) = side.installed.values()
    side.machine.seen(child.spi_in, "203.0.113.77", 62_000, both.now)
    assert (side.sa.path.remote == "203.0.113.77") is follows


def test_forged_message_moves_nothing() -> None:
    both = behind_nat(mobike=False)
    both.connect()
    both.run(5.0)
    good = [data for who, data, _ in both.wire.log if who == "a"][-1]
    where = both.b.sa.path
    for data in (good, good[:-1] + b"x", good[:20] + b"\0\0\0\2" + good[24:]):
        both.b.machine.receive(data, Path(B, 4500, "198.51.100.66", 4500), both.now)
        both.settle()
    assert both.b.sa.path == where


def test_peer_without_nat_is_not_followed() -> None:
    both = established(peer(mobike=False, dpd=30.0))
    both.translate = lambda sender, path: replace(path, local="192.0.2.50") if sender == "a" else path
    both.run(60.0)
    assert both.b.sa.path == Path(B, 500, A, 500)
