"""The rules of the durable numbers, one by one: what goes on, what is refused, how large a block is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xdpsec.policy.sequence import (
    LIMIT,
    LIMIT_ESN,
    Grant,
    Numbers,
    Saved,
    UnsafeState,
    Want,
    exact,
    first_grant,
    next_grant,
    resume,
)

OUT = Want(b"o" * 16, "branch/lan", "/etc/xdpsec/lan.keys", outbound=True, window=0, esn=True)
IN = Want(b"i" * 16, "branch/lan", "/etc/xdpsec/lan.keys", outbound=False, window=4096, esn=True)
USED_OUT = Numbers(True, next_seq=700, granted=1500, floor=0, top=0)
USED_IN = Numbers(False, next_seq=0, granted=1500, floor=10, top=699)


def saved(want: Want, end: int) -> Saved:
    return Saved(want.outbound, end, want.window, want.label)


def test_a_fresh_key_starts_at_number_one() -> None:
    """RFC 4303 sec. 2.2: the first packet is number 1."""
    assert resume(OUT, None, None, None).next_seq == 1
    assert resume(IN, None, None, None) == Numbers(False, 0, granted=1, floor=0, top=0)


def test_after_a_reboot_everything_granted_counts_as_used() -> None:
    assert resume(OUT, saved(OUT, 1500), saved(OUT, 1500), None) == Numbers(True, 1500, 1500, 0, 0)
    back = resume(IN, saved(IN, 1500), saved(IN, 1500), None)
    assert (back.floor, back.top, back.granted) == (1499, 1499, 1500)


def test_in_the_same_boot_the_slot_goes_on() -> None:
    for want, slot in ((OUT, USED_OUT), (IN, USED_IN)):
        assert resume(want, saved(want, 1500), saved(want, 1500), slot) == slot
        # the state file is written first: it may be ahead
        assert resume(want, saved(want, 9000), saved(want, 1500), slot) == slot
        assert resume(want, saved(want, 1500), None, slot) == slot


def test_another_window_makes_the_old_bits_worthless() -> None:
    other = replace(IN, window=64)
    assert resume(other, saved(IN, 1500), None, USED_IN) == replace(USED_IN, floor=699)
    assert resume(IN, saved(IN, 1500), None, USED_IN).floor == 10


@pytest.mark.parametrize("want", [OUT, IN])
def test_lost_or_older_state_is_refused_and_says_how_to_mend_it(want: Want) -> None:
    slot = USED_OUT if want.outbound else USED_IN
    for state, marker, at in (
        (None, saved(want, 5), None),
        (None, None, slot),
        (saved(want, 1499), saved(want, 1500), None),
        (saved(want, 1499), None, slot),
        (saved(want, 699), None, replace(slot, granted=0)),
    ):
        with pytest.raises(UnsafeState) as refusal:
            resume(want, state, marker, at)
        text = str(refusal.value)
        assert "make new keys for branch/lan in /etc/xdpsec/lan.keys, on both gateways" in text
        assert "\n" not in text


def test_a_key_does_not_change_sides() -> None:
    for known in ((saved(OUT, 5), None, None), (None, saved(OUT, 5), None), (saved(IN, 2000), None, USED_OUT)):
        with pytest.raises(UnsafeState, match="inbound key of branch/lan served the other direction"):
            resume(IN, *known)


def test_a_clean_stop_gives_the_rest_of_the_block_back() -> None:
    assert exact(USED_OUT).granted == 700
    assert exact(USED_IN).granted == 700
    again = resume(IN, saved(IN, exact(USED_IN).granted), None, None)
    assert (again.floor, again.top) == (699, 699)


# --- blocks: inbound the larger of 1,024 and a second of traffic, outbound at least that (dataplane.md sec. 3) --------


def test_first_blocks() -> None:
    inbound = first_grant(IN, resume(IN, None, None, None), 1, 0, 0.0)
    outbound = first_grant(OUT, resume(OUT, None, None, None), 1, 0, 0.0)
    assert inbound.end == 1 + 1024
    assert outbound.end - 1 >= 2 * 1024


def test_a_block_is_a_second_of_traffic() -> None:
    last = Grant(end=1025, packets=0, at=100.0)
    assert next_grant(IN, used=513, packets=512, now=164.0, last=last).end == 513 + 1024
    assert next_grant(IN, used=513, packets=512, now=100.001, last=last).end == 513 + 512_000
    assert next_grant(OUT, used=513, packets=512, now=100.001, last=last).end >= 513 + 512_000


def test_a_block_never_shrinks_what_was_granted() -> None:
    last = Grant(end=500_000, packets=0, at=0.0)
    assert next_grant(IN, used=1000, packets=999, now=1000.0, last=last).end == 500_000


def test_a_peer_that_jumped_ahead_is_reached_at_once_and_by_no_more_than_a_block() -> None:
    """It was rebooted and begins beyond our block: its packets open, yet none may be accepted. What we grant then is
    what we would refuse after a reboot of ours."""
    last = Grant(end=1025, packets=99, at=0.0)
    grant = next_grant(IN, used=100_000, packets=99, now=1.0, last=last)
    assert grant.end == 100_000 + 1024
    # what the jump was is not taken for a rate
    assert next_grant(IN, used=100_001, packets=100, now=1.5, last=grant).end == 100_001 + 1024


def test_counts_that_a_worker_made_up_use_up_no_key() -> None:
    """Any worker can write any SA's slot. Nothing sends beyond its block, and no wire carries more than 100 Gb/s."""
    last = Grant(end=1025, packets=0, at=0.0)
    made_up = LIMIT_ESN - 1
    assert next_grant(OUT, used=made_up, packets=0, now=1.0, last=last).end == 1025 + 4096
    for want in (OUT, IN):
        assert next_grant(want, used=1000, packets=made_up, now=1.0, last=last).end < 1 << 30


def test_numbers_end_with_their_width() -> None:
    narrow = replace(OUT, esn=False)
    last = Grant(end=LIMIT - 10, packets=0, at=0.0)
    grant = next_grant(narrow, used=LIMIT - 2000, packets=2000, now=1.0, last=last)
    assert grant.end == LIMIT
    assert next_grant(narrow, used=LIMIT - 1, packets=4000, now=2.0, last=grant).end == LIMIT
    assert next_grant(OUT, used=LIMIT - 2000, packets=2000, now=1.0, last=last).end > LIMIT
    assert first_grant(narrow, Numbers(True, LIMIT - 1, LIMIT - 1, 0, 0), LIMIT - 1, 0, 0.0).end == LIMIT
