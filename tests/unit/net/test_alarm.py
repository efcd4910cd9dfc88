"""What rings: the fence's table and links; what others do to tables of their own does not. The kernel's own messages,
and hostile ones."""

from __future__ import annotations

import random
import select
import struct
import subprocess
from collections.abc import Iterator

import pytest
from shell import sh

from xdpsec.net.alarm import Alarm, names_fence
from xdpsec.net.fence import Fence


@pytest.fixture
def alarm(namespace: None) -> Iterator[Alarm]:
    Fence().protect([("10.1.0.0/16", "10.2.0.0/16")], ["10.9.0.2"])
    made = Alarm()
    yield made
    made.close()


def rings(alarm: Alarm) -> tuple[bool, bool]:
    """The messages of a change are there when the command that made it has ended."""
    return alarm.drain() if select.select([alarm], [], [], 0)[0] else (False, False)


@pytest.mark.parametrize(
    ("harm", "rang"),
    [
        ("flush ruleset", True),
        ("delete table inet xdpsec", True),
        ("flush table inet xdpsec", True),
        ("flush chain inet xdpsec forward", True),
        ("flush set inet xdpsec pairs4", True),
        ("add table inet xdpsec { flags dormant; }", True),
        ("insert rule inet xdpsec forward accept", True),
        ("add table inet xdpsec2", False),
        ("add table ip xdpsec", False),
        ("add table inet other { chain c { type filter hook input priority 0; }; }", False),
    ],
)
def test_the_fence_rings_and_strangers_do_not(alarm: Alarm, harm: str, rang: bool) -> None:
    assert rings(alarm) == (False, False)
    sh(f"nft {harm}")
    assert rings(alarm) == (rang, False)
    assert rings(alarm) == (False, False)


def test_a_link_rings(alarm: Alarm) -> None:
    sh("ip link add d0 type veth peer name d1")
    assert rings(alarm) == (False, True)


def test_what_was_lost_to_an_overflow_rings(alarm: Alarm) -> None:
    """More than a receive buffer of strangers' changes, the fence's among them."""
    rules = "\n".join(f'add rule inet other c counter accept comment "{"x" * 100}{n}"' for n in range(3000))
    for _ in range(3):
        subprocess.run(
            ["nft", "-f", "-"], input=f"add table inet other\nadd chain inet other c\n{rules}\n", text=True, check=True
        )
    assert rings(alarm) == (True, False)


def message(family: int, *attributes: tuple[int, bytes]) -> bytes:
    body = struct.pack("=BBH", family, 0, 0)
    for kind, value in attributes:
        body += struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
    return struct.pack("=IHHII", 16 + len(body), 0xA02, 0, 0, 0) + body


def test_bytes_of_any_kind_are_read() -> None:
    """Layout: <linux/netlink.h>, <linux/netfilter/nfnetlink.h>."""
    ours, others = message(1, (2, b"what"), (1, b"xdpsec\0")), message(1, (1, b"other\0"))
    assert names_fence(ours)
    assert names_fence(others + ours)
    assert not names_fence(message(2, (1, b"xdpsec\0")))
    assert not names_fence(others)
    chance = random.Random(4301)
    for size in range(len(ours)):
        names_fence(ours[:size])
    for _ in range(2000):
        names_fence(bytes(chance.choice(ours) if chance.random() < 0.7 else chance.randrange(256) for _ in range(60)))
