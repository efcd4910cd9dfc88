"""Durable sequence state: which numbers of an SA may still be used or accepted, whatever ended us.

Of every SA an `end` stands on disk: no number at or above it was ever used (outbound) or accepted (inbound), because a
block is on disk before the worker hears of it. Two copies, the state file and a marker beside the key file, so that a
lost or restored state file is seen. Pure values and rules: no file, no clock. RFC 4303 sec. 3.3.3, RFC 8221 sec. 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from xdpsec.errors import LocalError

FIRST = 1  # RFC 4303 sec. 2.2: the first packet is number 1
#: The smallest inbound block. After a reboot everything below the end is refused: more would black out a quiet tunnel.
INBOUND_BLOCK = 1024
#: An outbound block is so many inbound ones. Asked for at half use, two of them lie ahead: after a reboot of both ends
#: our numbers begin beyond what the peer refuses.
OUTBOUND_BLOCKS = 4
#: An inbound block is at least so many seconds of the traffic seen.
BLOCK_SECONDS = 1.0
#: No rate is measured over less: the clock's grain would be taken for traffic.
RATE_SECONDS = 0.001
#: Packets per second that no SA carries (the smallest ones of 100 Gb/s Ethernet): counts that say more are no counts.
RATE_MOST = 150e6
LIMIT, LIMIT_ESN = 1 << 32, (1 << 64) - 1  # RFC 4303 sec. 2.2.1; the last number of an ESN is never used


class UnsafeState(LocalError):
    """The SA cannot go on without risking that a number serves twice; only new keys mend that."""


@dataclass(frozen=True, slots=True)
class Saved:
    """One SA as a file has it. `window` is the replay window (packets) that its slot was kept with, 0 outbound."""

    outbound: bool
    end: int
    window: int = 0
    label: str = ""


@dataclass(frozen=True, slots=True)
class Numbers:
    """An SA as its slot has it (struct xs_sa_slot). Outbound `next_seq` counts, inbound `floor` and `top`."""

    outbound: bool
    next_seq: int
    granted: int
    floor: int
    top: int

    @property
    def used(self) -> int:
        """The lowest number that neither was used nor is behind an accepted one."""
        return self.next_seq if self.outbound else min(self.top + 1, LIMIT_ESN)


@dataclass(frozen=True, slots=True)
class Want:
    """An SA that is to start. `label` is peer/child."""

    sa_id: bytes
    label: str
    key_file: str
    outbound: bool
    window: int
    esn: bool

    @property
    def limit(self) -> int:
        """No block ends above this."""
        return LIMIT_ESN if self.esn else LIMIT


# --- at start ---------------------------------------------------------------------------------------------------


def resume(want: Want, state: Saved | None, marker: Saved | None, slot: Numbers | None) -> Numbers:
    """Where the SA goes on. `slot` is what sa_state holds of it, None after a reboot or when it never ran. The
    `granted` of the result is never above what the state file allows. UnsafeState when the files do not fit."""
    if any(known is not None and known.outbound != want.outbound for known in (state, marker, slot)):
        raise _unsafe(want, f"the {_side(want)} key of {want.label} served the other direction before")
    if state is None:
        if marker is None and slot is None:
            return _from_end(want, FIRST)
        raise _unsafe(want, f"the sequence state of {want.label} ({_side(want)}) is gone although its key was used")
    known_end = max(marker.end if marker else 0, slot.used if slot else 0, slot.granted if slot else 0)
    if state.end < known_end:
        text = f"is older than its marker: {state.end} where {known_end} was reached"
        raise _unsafe(want, f"the sequence state of {want.label} ({_side(want)}) {text}")
    if slot is None:
        return _from_end(want, state.end)
    if want.outbound or state.window == want.window:
        return slot
    # the slot's bits were laid out for another window: nothing below the top can be told apart
    return Numbers(False, 0, slot.granted, max(slot.floor, slot.top), slot.top)


def _from_end(want: Want, end: int) -> Numbers:
    """Everything below `end` counts as used, or as accepted."""
    if want.outbound:
        return Numbers(True, end, end, 0, 0)
    return Numbers(False, 0, end, end - 1, end - 1)


def _side(want: Want) -> str:
    return "outbound" if want.outbound else "inbound"


def _unsafe(want: Want, text: str) -> UnsafeState:
    fix = f"make new keys for {want.label} in {want.key_file}, on both gateways"
    return UnsafeState(f"{text}; a number could serve twice: {fix}")


def exact(numbers: Numbers) -> Numbers:
    """After a clean stop: no number beyond the used ones is granted any more."""
    return Numbers(numbers.outbound, numbers.next_seq, numbers.used, numbers.floor, numbers.top)


# --- blocks -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Grant:
    """A block: numbers below `end`. `packets` the SA had carried and `at` (seconds) are when."""

    end: int
    packets: int
    at: float


def block_size(outbound: bool, rate: float) -> int:
    """Numbers in a block; `rate` in packets per second."""
    inbound = max(INBOUND_BLOCK, math.ceil(min(rate, RATE_MOST) * BLOCK_SECONDS))
    return inbound * OUTBOUND_BLOCKS if outbound else inbound


def first_grant(want: Want, numbers: Numbers, end: int, packets: int, now: float) -> Grant:
    """The block to start with. `end` is what the disk allows already: it is used up first."""
    block = block_size(want.outbound, 0.0)
    whole = min(max(end, numbers.used + block), want.limit)
    return Grant(max(whole, end), packets, now)


def next_grant(want: Want, used: int, packets: int, now: float, last: Grant) -> Grant:
    """The block after `last`: so many numbers more than `used`, which may be a number that a packet only wants. It may
    end where `last` did, when enough is left of it. What we send is never beyond `last`, whatever memory says that
    all workers write."""
    block = block_size(want.outbound, (packets - last.packets) / max(now - last.at, RATE_SECONDS))
    used = min(used, last.end) if want.outbound else used
    end = max(last.end, min(used + block, want.limit))
    return Grant(end, packets, now)
