"""The end of a machine in which we erred: what it did not foresee may have left anything half done.

Takes nothing for granted but the lists themselves: whatever goes wrong here too, children are retired and IkeDown is
said. The gate has the boundary.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from xdpsec.ike.events import IkeDown, RetireChild
from xdpsec.ike.v2 import dispatch
from xdpsec.ike.v2.flow import Install, Question
from xdpsec.ike.v2.sa import State

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine

REASON = "fault"
TEXT = "an error of ours, not of the peer's"


def disown(m: Machine, question: Question | None) -> None:
    """Workers may have a child that these steps asked them to take and that is not the SA's yet."""
    if isinstance(question, Install) and not any(question.child.spi_in in sa.children for sa in m.sas):
        child = question.child
        m.emit(RetireChild(m.number, child.spi_in, child.spi_out, child.index, "failed"))


def wreck(m: Machine) -> None:
    """In order if that is possible; by hand what is left then. The peer is told where the window allows it."""
    for sa in m.sas:
        if sa.state == State.ESTABLISHED and sa.outbox.free:
            with suppress(Exception):
                dispatch.farewell(m, sa)
    orderly = False
    with suppress(Exception):
        m.abandon(REASON, TEXT, m.now)
        orderly = True
    for sa in m.sas:
        for child in sa.children.values():
            m.emit(RetireChild(m.number, child.spi_in, child.spi_out, child.settings.index, "down"))
        sa.children = {}
        sa.forget()
    m.sas = ()
    if not orderly:
        name = m.peer.name if m.peer else ""
        m.emit(IkeDown(m.number, name, m.initiator, m.established, REASON, TEXT))
