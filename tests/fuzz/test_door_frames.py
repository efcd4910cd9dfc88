"""Mutated frames through the XDP program by BPF_PROG_TEST_RUN: it never does what door_model.py does not allow, above
all it never passes protected cleartext; each frame is counted once; each verdict is hit."""

from __future__ import annotations

import random

from door_model import DROP, PASS, REDIRECT, Door, allowed
from door_rig import namespace, rig, veths  # noqa: F401
from scapy.packet import Packet
from test_steer import CLEAR, CLEAR6, MAC, OUR4, OUR6, OUT, OUT6, ROWS, Rig, to

from xdpsec.workers.native import check, door_verdict_names, lib

FRAMES = 40_000
SEED = 2026
MASK = 1 << 7
OUTSIDE, INSIDE = 0, 1
ACTIONS = {"TO_WORKER": REDIRECT, "PASS": PASS, "DROP": DROP}
#: by frame alone; NO_WORKER and NO_PORT are the set-up's (verdicts.tsv)
BY_BYTES = {name for name in door_verdict_names() if name not in ("DROP_NO_WORKER", "DROP_NO_PORT")}

LOCAL = {"10.1.0.0/16": MASK, "fd01::/64": MASK, "10.3.0.0/16": 1}
REMOTE = {"10.2.0.0/16": MASK, "fd02::/64": MASK, "10.4.0.0/16": 2}
DOORS = tuple(Door(MAC[port], port == OUTSIDE, frozenset({OUR4, OUR6}), LOCAL, REMOTE) for port in (OUTSIDE, INSIDE))
PROTECTED: list[tuple[int, Packet]] = [(OUTSIDE, CLEAR), (OUTSIDE, CLEAR6), (INSIDE, OUT), (INSIDE, OUT6)]
SOURCES = [(port, packet) for _, port, packet, _, _ in ROWS] + PROTECTED * 5
LENGTHS = (0, 1, 4, 5, 0x45, 0x60, 0x81, 0x88, 0xFF)


def mutated(dice: random.Random, frame: bytes) -> bytes:
    """One to three things wrong, mostly in the headers."""
    data = bytearray(frame)
    for _ in range(dice.randint(1, 3)):
        kind = dice.randrange(7)
        head = min(len(data), 64)
        if kind == 0 and head:
            data[dice.randrange(head)] ^= 1 << dice.randrange(8)
        elif kind == 1 and head:
            data[dice.randrange(head)] = dice.choice(LENGTHS)
        elif kind == 2:
            del data[dice.randrange(14, len(data) + 1) if len(data) >= 14 else 0 :]
        elif kind == 3:
            data[12:12] = dice.choice([b"\x81\x00\x00\x07", b"\x88\xa8\x00\x09"])
        elif kind == 4 and len(data) > 24:  # protocol, fragment, version: where readers are led astray
            data[dice.choice([14, 20, 21, 23])] = dice.choice(
                [0, 6, 17, 43, 44, 45, 50, 51, 60, 0x20, 0x45, 0x4F, 0x60]
            )
        elif kind == 5:
            data += dice.randbytes(dice.randrange(40))
        elif len(data) > 44:
            at = dice.randrange(14, 44)
            data[at : at + 4] = dice.randbytes(4)
    return bytes(data)


def test_the_door_never_passes_protected_cleartext(rig: Rig) -> None:  # noqa: F811
    dice = random.Random(SEED)
    whole = [(port, to(port, packet)) for port, packet in SOURCES]
    actions = {DROP: 0, PASS: 0, REDIRECT: 0}
    sent = 0
    for number in range(FRAMES):
        port, frame = whole[number % len(whole)]
        if number >= len(whole):
            frame = mutated(dice, frame)
        if len(frame) < 14:
            continue  # BPF_PROG_TEST_RUN takes no less
        action = lib.xs_door_try(rig.door.program, frame, len(frame), rig.links[port].ifindex, 0)
        check(action, "test run")
        assert action in allowed(DOORS[port], frame), f"seed {SEED}, frame {number}, port {port}: {frame.hex()}"
        actions[action] += 1
        sent += 1
    counted = [sum(column) for column in zip(*rig.maps.verdicts(), strict=True)]
    by_name = dict(zip(door_verdict_names(), counted, strict=True))
    assert sum(counted) == sent
    for ending, action in ACTIONS.items():
        names = [name for name in by_name if name.startswith(ending) or name.endswith(ending)]
        assert sum(by_name[name] for name in names) == actions[action], ending
    assert {name for name in BY_BYTES if not by_name[name]} == set()


def test_a_port_that_nobody_configured_lets_nothing_through(rig: Rig) -> None:  # noqa: F811
    frame = to(INSIDE, OUT)
    assert lib.xs_door_try(rig.door.program, frame, len(frame), 1, 0) == DROP  # 1: loopback
    assert rig.maps.verdicts()[0][door_verdict_names().index("DROP_NO_PORT")] == 1
