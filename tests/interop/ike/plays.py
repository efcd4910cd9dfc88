"""What happens in a case: one function for each scenario of matrix.tsv. Each returns what the table says as detail."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path

from netns.rig.tap import Frame

from interop.ike import words
from interop.ike.cases import LEFT_OUTER, NAME_SERVER, Case
from interop.ike.crossing import at_once
from interop.ike.frames import ike_messages
from interop.ike.ground import FORGOTTEN
from interop.ike.pinging import Pinging
from interop.ike.returning import back_at_once, peer_killed, we_killed
from interop.ike.sides import Child, only, settled, until
from interop.ike.stage import PING_INTERVAL, PINGS, Both, Stage, summary

TIMES = 100
#: The old IKE SA stays beside the new one for a while.
REAUTH_SECONDS = 40.0
#: Of strongswan.WIDE, and in no case's prefix.
ELSEWHERE = "10.250.1.10"
SKF = 53
IKE_SA_INIT = 34
#: What `xdpsec explain` says of a case by its option `reason`, else `wrong`, where we began and where the peer did.
REASONS = {
    "psk": ("AUTHENTICATION_FAILED", "the shared secrets differ"),
    "id": ("the peer has another identity", "no peer somebody.example"),
    "asked": ("and asked for right.", ""),  # no peer begins with a name that it was not asked for
    "expired": ("has expired", "has expired"),
    "authority": ("none of our authorities", "none of our authorities"),
    "revoked": ("has been revoked", "has been revoked"),
}
#: A Notify payload's protocol, SPI length and type (RFC 7296 sec. 3.10): COOKIE is 16390.
COOKIE = bytes((0, 0)) + (16390).to_bytes(2, "big")
HALF_OPEN = str(Path(__file__).with_name("half_open.py").resolve())


def tunnel(stage: Stage) -> str:
    both = stage.begin()
    child = stage.carry()
    stage.end()
    return summary(both, child)


def negotiated(stage: Stage) -> str:
    """What our data plane does not carry yet: the peer has it, and lists what it agreed on."""
    stage.initiator.up(stage.case)
    peer = settled(stage.right, stage.case)
    stage.agreed(peer, "peer", first=True)
    stage.end()
    return f"negotiated only: {summary(Both(peer, peer), peer.children[0])}"


def narrowed(stage: Stage) -> str:
    """We have more than the peer takes (RFC 7296 sec. 2.9): what it takes goes both ways, before and after a rekey; the
    rest goes nowhere, neither through that SA nor in the clear."""
    both = stage.begin()
    for _ in range(2):
        _stays_here(stage, stage.carry())
        stage.by().rekey_child(stage.case)
        both = stage.again(both, ike=False)
    child = stage.carry()
    stage.end()
    return summary(both, child)


def _stays_here(stage: Stage, child: Child) -> None:
    """What we protect, and the child does not have."""
    before = stage.left.counted()
    with stage.ground.tap() as tap:
        got = stage.left.ping(stage.case.left_host, ELSEWHERE, PINGS)
        frames = [frame for frame in tap.frames() if frame.ip]
    assert got.received == 0
    assert not [frame for frame in frames if frame.esp or ELSEWHERE in frame.addresses], "it was sent"
    assert only(stage.right, stage.case).children[0].packets == child.packets, "the peer got some of it"
    if before:
        wanted = before["DROP_NO_OUT_SA"] + PINGS
        until(lambda: stage.left.counted()["DROP_NO_OUT_SA"] == wanted, "what was not sent is counted")


def pfs(stage: Stage) -> str:
    """The initiator changes the child's keys with an exchange of its own, then those of the IKE SA."""
    both = stage.begin()
    stage.carry()
    stage.by().rekey_child(stage.case)
    both = stage.again(both, ike=False)
    stage.carry()
    stage.by().rekey_ike(stage.case)
    both = stage.again(both, ike=True)
    child = stage.carry()
    stage.end()
    return summary(both, child)


def rekey_child(stage: Stage) -> str:
    return _rekeys(stage, stage.by().rekey_child, ike=False)


def rekey_ike(stage: Stage) -> str:
    return _rekeys(stage, stage.by().rekey_ike, ike=True)


def _rekeys(stage: Stage, change: Callable[[Case], None], ike: bool) -> str:
    """Many in a row under ping; not one packet is lost, but where the peer itself loses some (option `may-lose`)."""
    case, times = stage.case, int(stage.case.option("times", str(TIMES)))
    both = stage.begin()
    first = any(words.ALGORITHMS[word].type == words.KE for word in words.expected(case.esp, "esp")) and ike
    with Pinging(stage.ground.lab, stage.left, case.left_host, case.right_host, PING_INTERVAL) as pings:
        began = time.monotonic()
        for _ in range(times):
            change(case)
            both = stage.again(both, ike, first)
        seconds = time.monotonic() - began
    lost = pings.lost()
    assert len(lost) <= int(case.option("may-lose", "0")), f"{len(lost)} of {pings.sent()} pings lost: {lost[:5]}"
    stage.carry()
    stage.end()
    return f"{times} in {seconds:.1f} s, {pings.sent()} pings, {len(lost) or 'none'} lost"


def fragments(stage: Stage) -> str:
    """Certificates that do not fit one packet: in SKF payloads both ways, or with the option `no` in none."""
    with stage.ground.tap() as tap:
        tunnel(stage)
        seen = _fragments(tap.frames(), stage.case)
    if stage.case.option("fragmentation") == "no":
        assert not any(seen), f"fragments from left and right: {seen}"
    else:
        assert all(seen), f"fragments from left and right: {seen}"
    return f"fragments from us {seen[0]}, from the peer {seen[1]}"


def _fragments(frames: list[Frame], case: Case) -> tuple[int, int]:
    found = [source for source, _, data in ike_messages(frames) if data[16] == SKF]
    # each frame as it comes to the router, before any translation
    return found.count(LEFT_OUTER), found.count(case.right_outer)


def childless(stage: Stage) -> str:
    """IKE_AUTH without a child (RFC 6023); the child comes by CREATE_CHILD_SA, with a key exchange of its own."""
    both = stage.begin(first=False)
    child = stage.carry()
    stage.end()
    return summary(both, child)


def mobike(stage: Stage) -> str:
    """One side changes its address (RFC 4555): the same SAs, the other address, packets both ways. Where the peer lost
    it and had not begun, we find out, and try the other that it told us of."""
    case = stage.case
    before = stage.begin()
    stage.carry()
    mover = stage.by()
    moved = mover.move(case)
    other = stage.right if mover is stage.left else stage.left
    until(lambda: any(sa.remote.split(":")[0] == moved for sa in other.sas(case)), f"the other side knows {moved}")
    # whoever aims at another address says so before the other end has heard of it
    until(lambda: all(sa.local in ("", moved) for sa in mover.sas(case)), f"the mover is at {moved}")
    after = settled(stage.right, case)
    assert after.ident == before.peer.ident, "not the same SA any more"
    stage.carry()
    stage.end()
    return f"moved to {moved}"


def remapped(stage: Stage) -> str:
    """The NAT before the peer forgets it, and the peer's next packet is ESP from another port: our packets follow it,
    those of IKE too (RFC 7296 sec. 2.23)."""
    case = stage.case
    both = stage.begin()
    with stage.ground.forgetful(case) as remap:
        stage.carry()
        time.sleep(2 * FORGOTTEN)
        remap()
        with stage.ground.tap() as tap:
            got = stage.right.ping(case.right_host, case.left_host, 2 * PINGS)
            asked = list(ike_messages(tap.frames()))
        assert got.received >= PINGS, f"{got.received} of {2 * PINGS} pings were answered"
        assert not asked, "a message of IKE has shown the port"
        stage.carry()
        stage.left.rekey_child(case)
        stage.again(both, ike=False)
        child = stage.carry()
        stage.end()
    return f"{2 * PINGS - got.received} of {2 * PINGS} lost, {summary(both, child)}"


def pool(stage: Stage) -> str:
    """The initiator asks for an address (CFG_REQUEST), gets one of the responder's pool and a name server, and sends
    from it."""
    case = stage.case
    stage.initiator.up(case)
    sa = settled(stage.right, case)
    stage.agreed(sa, "peer", first=True)
    child = sa.children[0]
    mine = child.remote if case.role == "initiator" else child.local
    leased = mine[0].split("/")[0]
    assert ip_address(leased) in ip_network(case.pool), f"{leased} is not of {case.pool}"
    assert stage.initiator.name_servers()[-1:] == [NAME_SERVER], stage.initiator.name_servers()
    source, destination = leased, case.left_host if case.role == "responder" else case.right_host
    stage.initiator.take(leased)
    got = stage.initiator.ping(source, destination, PINGS)
    assert got.received == PINGS, f"{got.received} of {PINGS} pings from {source} were answered"
    packets = only(stage.right, case).children[0].packets
    assert min(packets) >= PINGS, packets
    stage.end()
    return f"leased {leased}, name server {NAME_SERVER}"


def refused(stage: Stage) -> str:
    """The two do not fit: no SA comes of it, at either side, and our operator reads why."""
    try:
        stage.initiator.up(stage.case)
    except Exception as error:
        said = str(error).splitlines()[0]
    else:
        raise AssertionError("there is an SA between two that must not trust each other")
    for side in (stage.left, stage.right):
        assert not side.sas(stage.case)
    why = stage.left.why(stage.case)
    if why is None:
        return said
    wanted = REASONS[stage.case.option("reason", stage.case.option("wrong"))][stage.case.role == "responder"]
    assert wanted in why, f"{wanted!r} is not in what we say: {why}"
    return why


def defaults(stage: Stage) -> str:
    """Nothing is configured of algorithms at either side: both say the same of what came of it."""
    stage.initiator.up(stage.case)
    both = Both(settled(stage.right, stage.case), settled(stage.left, stage.case))
    assert both.peer.words == both.left.words, f"{both.peer.words} and {both.left.words}"
    assert both.peer.children[0].words == both.left.children[0].words
    child = stage.carry()
    stage.end()
    return summary(both, child)


def reauthenticated(stage: Stage) -> str:
    """A whole new IKE SA takes the place of the old one, which goes after it: no packet is lost. It may be one of many:
    they come as often as they are told to."""
    case = stage.case
    before = stage.begin()
    with Pinging(stage.ground.lab, stage.left, case.left_host, case.right_host, PING_INTERVAL) as pings:
        if case.option("by") == "right":
            stage.right.reauthenticate(case)

        def replaced() -> bool:
            found = {sa.ident: sa for sa in stage.right.sas(case) if sa.children}
            carries = any(min(sa.children[0].packets) >= PINGS for sa in found.values())
            return carries and before.peer.ident not in found

        until(replaced, "another IKE SA that carries packets both ways, and the old one gone", REAUTH_SECONDS)
        for sa in stage.right.sas(case):
            stage.agreed(sa, "peer", first=True)
    lost = pings.lost()
    assert not lost, f"{len(lost)} of {pings.sent()} pings lost: {lost[:5]}"
    stage.end()
    return f"{pings.sent()} pings, none lost"


def cookie(stage: Stage) -> str:
    """The peer has one conversation half open already, and asks for a cookie first (RFC 7296 sec. 2.6)."""
    case = stage.case
    stage.ground.lab.inside(stage.ground.left, sys.executable, HALF_OPEN, LEFT_OUTER, case.right_outer)
    with stage.ground.tap() as tap:
        detail = tunnel(stage)
        found = list(ike_messages(tap.frames()))
    # SA_INIT's first answer is smaller than its request, and the request comes again, with the cookie in front
    first = next(data for source, _, data in found if source == case.right_outer and data[18] == IKE_SA_INIT)
    assert COOKIE in first, "there was no cookie in the first answer"
    return detail


PLAYS: dict[str, Callable[[Stage], str]] = {
    "tunnel": tunnel,
    "negotiated": negotiated,
    "narrowed": narrowed,
    "pfs": pfs,
    "rekey-child": rekey_child,
    "rekey-ike": rekey_ike,
    "fragments": fragments,
    "peer-killed": peer_killed,
    "we-killed": we_killed,
    "back-at-once": back_at_once,
    "childless": childless,
    "mobike": mobike,
    "remapped": remapped,
    "pool": pool,
    "refused": refused,
    "defaults": defaults,
    "reauthenticated": reauthenticated,
    "cookie": cookie,
    "at-once": at_once,
}
