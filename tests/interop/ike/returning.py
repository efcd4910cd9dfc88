"""Plays in which one end dies as by a power cut, the other notices (RFC 7296 sec. 2.4), and the tunnel comes back."""

from __future__ import annotations

import time

from interop.ike.sides import settled, until
from interop.ike.stage import Stage

#: Ours sends a request again for 165 s before it gives up; strongSwan here for some seconds.
NOTICED_SECONDS = 240.0
#: Who called and got no answer calls again, with up to 30 s between retransmissions.
BACK_SECONDS = 90.0


def peer_killed(stage: Stage) -> str:
    """We notice that the peer is gone; where we had begun, we call until it is back, else it calls again."""
    case = stage.case
    stage.begin()
    stage.carry()
    stage.right.kill()
    began = time.monotonic()
    until(lambda: not stage.left.sas(case), "the left side noticed", NOTICED_SECONDS)
    noticed = time.monotonic() - began
    stage.right.start()
    stage.right.load(case, left=False)
    began = time.monotonic()
    if case.role == "responder":
        stage.right.up(case)
    return f"noticed after {noticed:.0f} s, {_back(stage, began)}"


def we_killed(stage: Stage) -> str:
    """The peer notices that we are gone. Started again, we know nothing of it; who began before begins again."""
    case = stage.case
    stage.begin()
    stage.carry()
    stage.left.kill()
    began = time.monotonic()
    until(lambda: not stage.right.sas(case), "the peer noticed", NOTICED_SECONDS)
    noticed = time.monotonic() - began
    stage.left.start()
    began = time.monotonic()
    stage.initiator.up(case)
    return f"noticed after {noticed:.0f} s, {_back(stage, began)}"


def back_at_once(stage: Stage) -> str:
    """Who began dies and is back before the other notices: its INITIAL_CONTACT ends what the other still has."""
    case = stage.case
    stage.begin()
    stage.carry()
    dying = stage.initiator
    dying.kill()
    dying.start()
    if case.role == "responder":
        dying.load(case, left=False)
    began = time.monotonic()
    dying.up(case)
    return _back(stage, began)


def _back(stage: Stage, began: float) -> str:
    """One SA with one child at either end, agreed on as before, with packets both ways."""
    peer = settled(stage.right, stage.case, seconds=BACK_SECONDS)
    left = settled(stage.left, stage.case)
    seconds = time.monotonic() - began
    stage.agreed(peer, "peer", first=True)
    stage.agreed(left, "left", first=True)
    stage.carry()
    stage.end()
    return f"back after {seconds:.1f} s"
