"""Which slot of sa_state each SA takes: its own from before, else a free one. Layout: struct xs_sa_slot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xdpsec.errors import LocalError

FREE = bytes(16)


def allocate(slots: Sequence[bytes], wanted: Iterable[bytes]) -> dict[bytes, int]:
    """sa_id -> slot. `slots` are the sa_ids that stand in the slots now (FREE = none). A slot of an SA that is not
    wanted is not free: whoever clears it saves its numbers first. LocalError when the slots do not suffice."""
    before = {sa_id: slot for slot, sa_id in enumerate(slots) if sa_id != FREE}
    free = (slot for slot, sa_id in enumerate(slots) if sa_id == FREE)
    taken: dict[bytes, int] = {}
    for sa_id in wanted:
        slot = before.get(sa_id)
        if slot is None:
            slot = next(free, None)
        if slot is None:
            raise LocalError(f"sa_state has {len(slots)} slots, too few for the SAs configured; stop and start xdpsec")
        taken[sa_id] = slot
    return taken
