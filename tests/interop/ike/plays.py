"""What happens in a case: one function for each scenario of matrix.tsv. Each returns what the table says as detail.

A play is done by two sides that know nothing of each other, on a ground that a tap listens to. Algorithms are read from
the peer, and from the left side too; packets go both ways and the peer must have counted them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from netns.rig.tap import Frame

from interop.ike import words
from interop.ike.cases import LEFT_OUTER, Case
from interop.ike.frames import ike_messages
from interop.ike.ground import Ground
from interop.ike.pinging import Pinging
from interop.ike.sides import Child, Sa, Side, only, settled, until

PINGS = 4
#: Traffic under which keys change: 50 packets a second each way.
PING_INTERVAL = 0.02
TIMES = 100
#: The old IKE SA stays beside the new one for a while.
REAUTH_SECONDS = 40.0
AUTH_NAMES = {
    "psk": "pre-shared key", "rsa": "RSA signature", "rsa-sha256": "RSA_EMSA_PKCS1_SHA2_256",
    "rsa-sha384": "RSA_EMSA_PKCS1_SHA2_384", "rsa-sha512": "RSA_EMSA_PKCS1_SHA2_512",
    "rsa4096-sha256": "RSA_EMSA_PKCS1_SHA2_256",
    "rsa/pss-sha256": "RSA_EMSA_PSS_SHA2_256_SALT_32", "rsa/pss-sha384": "RSA_EMSA_PSS_SHA2_384_SALT_48",
    "rsa/pss-sha512": "RSA_EMSA_PSS_SHA2_512_SALT_64", "ecdsa256": "ECDSA-256 signature",
    "ecdsa384": "ECDSA-384 signature", "ecdsa521": "ECDSA-521 signature",
    "ecdsa256-sha256": "ECDSA_WITH_SHA256_DER", "ecdsa384-sha384": "ECDSA_WITH_SHA384_DER",
    "ecdsa521-sha512": "ECDSA_WITH_SHA512_DER", "ed25519": "ED25519", "ed448": "ED448",
}  # fmt: skip
SKF = 53
IKE_SA_INIT = 34
#: What `xdpsec explain` says of a case by its option `wrong`, where we began and where the peer did.
REASONS = {
    "psk": ("AUTHENTICATION_FAILED", "the shared secrets differ"),
    "id": ("the peer has another identity", "no peer somebody.example"),
    "expired": ("has expired", "has expired"),
    "authority": ("none of our authorities", "none of our authorities"),
    "revoked": ("has been revoked", "has been revoked"),
}
#: A Notify payload's protocol, SPI length and type (RFC 7296 sec. 3.10): COOKIE is 16390.
COOKIE = bytes((0, 0)) + (16390).to_bytes(2, "big")
HALF_OPEN = str(Path(__file__).with_name("half_open.py").resolve())


class Proving(Protocol):
    """A peer that says by which methods both sides proved themselves."""

    def proofs(self) -> tuple[str, str]: ...


@dataclass(frozen=True, slots=True)
class Both:
    """The same SA as the two sides tell of it."""

    peer: Sa
    left: Sa


@dataclass(frozen=True, slots=True)
class Stage:
    """A case, set up and not begun."""

    ground: Ground
    case: Case
    left: Side
    right: Side

    @property
    def initiator(self) -> Side:
        return self.left if self.case.role == "initiator" else self.right

    def by(self) -> Side:
        """Who acts, where either may: the option `by`, else who began."""
        return {"left": self.left, "right": self.right, "": self.initiator}[self.case.option("by")]

    def begin(self, first: bool = True) -> Both:
        """Up, agreed on at both ends, proved. `first`: the child came with IKE_AUTH."""
        self.initiator.up(self.case)
        both = Both(settled(self.right, self.case), settled(self.left, self.case))
        self._agree(both, first)
        self._proved()
        return both

    def _agree(self, both: Both, first: bool) -> None:
        self._agreed(both.peer, "peer", first)
        self._agreed(both.left, "left", first)

    def _agreed(self, sa: Sa, who: str, first: bool) -> None:
        case, child = self.case, sa.children[0]
        ike, esp = words.expected(case.ike, "ike"), words.expected(case.esp, "esp")
        # IKE_AUTH carries no key exchange: the first child has none of its own
        side = self.right if who == "peer" else self.left
        without = set() if side.tells_exchange and not first else {words.KE}
        exact = {word for word in esp if word != "noesn" and words.ALGORITHMS[word].type not in without}
        assert sa.words == ike, f"{who}: IKE with {sorted(sa.words)} instead of {sorted(ike)}"
        found = {
            word for word in child.words if word not in words.ALGORITHMS or words.ALGORITHMS[word].type not in without
        }
        assert found == exact, f"{who}: child with {sorted(child.words)} instead of {sorted(exact)}"
        assert child.protocol == case.option("protocol", "esp"), child
        assert child.mode == case.option("mode", "tunnel"), child
        if case.option("nat"):
            assert child.encapsulated, f"{who}: there is NAT, and ESP goes without UDP"
            assert who != "peer" or sa.remote.startswith(f"{case.left_seen}:"), sa.remote

    def again(self, before: Both, ike: bool, first: bool = False) -> Both:
        """After a rekey: both have another SA, or another child in the same, agreed on as before. Our side may keep the
        old one for a while, in which late packets are taken."""
        known = before.left.ident if ike else {child.ident for child in before.left.children}
        after: list[Sa] = []

        def changed() -> bool:
            after[:] = self.left.sas(self.case)
            if ike:
                return any(sa.ident != known for sa in after)
            return any(child.ident not in known for sa in after for child in sa.children)

        until(changed, "the left side has new keys")
        both = Both(settled(self.right, self.case, _newer(before.peer, ike)), after[-1])
        self._agreed(both.peer, "peer", first)
        return both

    def _proved(self) -> None:
        wanted = AUTH_NAMES.get(self.case.auth, self.case.auth)
        if hasattr(self.right, "proofs"):
            mine, theirs = self.right.proofs()
            assert (mine, theirs) == (wanted, wanted), f"the peer proved itself by {mine} and believed {theirs}"

    def carry(self) -> Child:
        """Packets both ways, which the peer counted; what it says of its child now."""
        case = self.case
        before = only(self.right, case).children[0].packets
        for side, source, destination in (
            (self.left, case.left_host, case.right_host),
            (self.right, case.right_host, case.left_host),
        ):
            got = side.ping(source, destination, PINGS)
            assert got.received == PINGS, f"{got.received} of {PINGS} pings from {source} were answered"
        child = only(self.right, case).children[0]
        grown = [now - then for now, then in zip(child.packets, before, strict=True)]
        assert min(grown) >= 2 * PINGS, f"the peer counts {grown} packets in and out"
        return child

    def end(self) -> None:
        """One side deletes, the other has nothing left of it; but where we were told to be up, we call again."""
        before = {sa.ident for sa in self.right.sas(self.case)}
        if self.case.option("down") == "right":
            self.right.down(self.case)
            until(lambda: not before & {sa.ident for sa in self.right.sas(self.case)}, "the peer has let go")
        self.left.down(self.case)
        until(lambda: not self.left.sas(self.case), "the left side has let go")
        until(lambda: not self.right.sas(self.case), "the peer has let go")


def _newer(before: Sa, ike: bool) -> Callable[[Sa], bool]:
    def newer(sa: Sa) -> bool:
        return sa.ident != before.ident if ike else sa.children[0].ident != before.children[0].ident

    return newer


def summary(both: Both, child: Child) -> str:
    sa = both.peer
    esp = "-".join(sorted(child.words, key=_order))
    way = " in UDP" if child.encapsulated else ""
    return (
        f"{'-'.join(sorted(sa.words, key=_order))}, {child.protocol} {esp}{way}, {child.packets[0]}/{child.packets[1]}"
    )


def _order(word: str) -> int:
    return words.ALGORITHMS[word].type if word in words.ALGORITHMS else 0


# --- the scenarios -------------------------------------------------------------------------------------------


def tunnel(stage: Stage) -> str:
    both = stage.begin()
    child = stage.carry()
    stage.end()
    return summary(both, child)


def negotiated(stage: Stage) -> str:
    """What our data plane does not carry yet: the peer has it, and lists what it agreed on."""
    stage.initiator.up(stage.case)
    peer = settled(stage.right, stage.case)
    stage._agreed(peer, "peer", first=True)
    stage.end()
    return f"negotiated only: {summary(Both(peer, peer), peer.children[0])}"


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


def peer_killed(stage: Stage) -> str:
    """The peer dies as by a power cut: we notice, and with its next life there is an SA again."""
    stage.begin()
    stage.carry()
    stage.right.kill()
    began = time.monotonic()
    until(lambda: not stage.left.sas(stage.case), "the left side noticed", 240.0)
    stage.right.start()
    return f"noticed after {time.monotonic() - began:.0f} s"


def we_killed(stage: Stage) -> str:
    """The same the other way round: the peer notices."""
    stage.begin()
    stage.carry()
    stage.left.kill()
    began = time.monotonic()
    until(lambda: not stage.right.sas(stage.case), "the peer noticed", 240.0)
    stage.left.start()
    return f"noticed after {time.monotonic() - began:.0f} s"


def childless(stage: Stage) -> str:
    """IKE_AUTH without a child (RFC 6023); the child comes by CREATE_CHILD_SA, with a key exchange of its own."""
    both = stage.begin(first=False)
    child = stage.carry()
    stage.end()
    return summary(both, child)


def mobike(stage: Stage) -> str:
    """One side changes its address (RFC 4555): the same SAs, the other address, packets both ways."""
    case = stage.case
    before = stage.begin()
    stage.carry()
    mover = stage.by()
    moved = mover.move(case)
    other = stage.right if mover is stage.left else stage.left
    until(lambda: any(sa.remote.split(":")[0] == moved for sa in other.sas(case)), f"the other side knows {moved}")
    after = settled(stage.right, case)
    assert after.ident == before.peer.ident, "not the same SA any more"
    stage.carry()
    stage.end()
    return f"moved to {moved}"


def pool(stage: Stage) -> str:
    """The initiator asks for an address (CFG_REQUEST), gets one of the responder's pool, and sends from it."""
    case = stage.case
    stage.initiator.up(case)
    sa = settled(stage.right, case)
    child = sa.children[0]
    mine = child.remote if case.role == "initiator" else child.local
    leased = mine[0].split("/")[0]
    source, destination = leased, case.left_host if case.role == "responder" else case.right_host
    stage.initiator.take(leased)
    got = stage.initiator.ping(source, destination, PINGS)
    assert got.received == PINGS, f"{got.received} of {PINGS} pings from {source} were answered"
    packets = only(stage.right, case).children[0].packets
    assert min(packets) >= PINGS, packets
    stage.end()
    return f"leased {leased}"


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
    wanted = REASONS[stage.case.option("wrong")][stage.case.role == "responder"]
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
    """A whole new IKE SA takes the place of the old one, which goes after it: no packet is lost."""
    case = stage.case
    before = stage.begin()
    with Pinging(stage.ground.lab, stage.left, case.left_host, case.right_host, PING_INTERVAL) as pings:
        if case.option("by") == "right":
            stage.right.reauthenticate(case)

        def replaced() -> bool:
            found = {sa.ident for sa in stage.right.sas(case) if sa.children}
            return bool(found) and before.peer.ident not in found

        until(replaced, "another IKE SA, and the old one gone", REAUTH_SECONDS)
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
    "pfs": pfs,
    "rekey-child": rekey_child,
    "rekey-ike": rekey_ike,
    "fragments": fragments,
    "peer-killed": peer_killed,
    "we-killed": we_killed,
    "childless": childless,
    "mobike": mobike,
    "pool": pool,
    "refused": refused,
    "defaults": defaults,
    "reauthenticated": reauthenticated,
    "cookie": cookie,
}
