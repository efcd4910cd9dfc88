"""Plays in which both ends change keys at once (RFC 7296 sec. 2.8.1, 2.8.2, 2.25).

Both are asked while the router lets no IKE message pass, so that either has its request on the way before it hears of
the other's; what then arrives are their retransmissions. Children and IKE SAs that lose are to go, and no packet.
"""

from __future__ import annotations

from collections.abc import Callable

from netns.rig.tap import Frame

from interop.ike.cases import LEFT_OUTER, Case
from interop.ike.frames import ike_messages
from interop.ike.pinging import Pinging
from interop.ike.sides import Sa, Side, settled
from interop.ike.stage import PING_INTERVAL, Both, Stage, newer_than

CREATE_CHILD_SA, RESPONSE = 36, 0x20
#: An end that was told TEMPORARY_FAILURE asks again: we after 10 to 20 s, strongSwan after 5 to 15.
AGAIN_SECONDS = 60.0


def at_once(stage: Stage) -> str:
    """Options `left` and `right` say what either end changes: `child` or `ike`. Several times, so that either wins."""
    case, times = stage.case, int(stage.case.option("times"))
    wanted = case.option("left"), case.option("right")
    both = stage.begin()
    with Pinging(stage.ground.lab, stage.left, case.left_host, case.right_host, PING_INTERVAL) as pings:
        for _ in range(times):
            _cross(stage, wanted)
            both = _after(stage, both, wanted)
    lost = pings.lost()
    assert not lost, f"{len(lost)} of {pings.sent()} pings lost: {lost[:5]}"
    stage.carry()
    stage.end()
    return f"{times} times, {pings.sent()} pings, none lost"


def _cross(stage: Stage, wanted: tuple[str, str]) -> None:
    """Either end's request is on the wire before anything reaches the other."""
    case = stage.case
    with stage.ground.tap() as tap, stage.ground.held():
        for side, what in zip((stage.left, stage.right), wanted, strict=True):
            _change(side, what)(case)
        for source in (LEFT_OUTER, case.right_outer):
            tap.wait(lambda frame, source=source: _asks(frame, source), AGAIN_SECONDS)  # type: ignore[misc]


def _change(side: Side, what: str) -> Callable[[Case], None]:
    return {"child": side.rekey_child, "ike": side.rekey_ike}[what]


def _asks(frame: Frame, source: str) -> bool:
    found = ike_messages([frame])
    return any(who == source and data[18] == CREATE_CHILD_SA and not data[19] & RESPONSE for who, _, data in found)


def _after(stage: Stage, before: Both, wanted: tuple[str, str]) -> Both:
    """What was to be changed is, at the peer; both ends have one SA with one child and no more."""
    changed = [newer_than(before.peer, what == "ike") for what in dict.fromkeys(wanted)]

    def new(sa: Sa) -> bool:
        return all(one(sa) for one in changed)

    peer = settled(stage.right, stage.case, new, AGAIN_SECONDS)
    left = settled(stage.left, stage.case)
    stage.agreed(peer, "peer", first=False)
    return Both(peer, left)
