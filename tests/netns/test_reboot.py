"""After a simulated reboot (no tmpfs state, another boot id) packets flow again and no number was used twice.

Only the disk knows then how far the numbers went: everything that was granted counts as used. A peer that was not
rebooted is behind our mark by one inbound block at most, which its traffic crosses in some hundred packets.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from netns.rig.flows import Flows
from netns.rig.patience import HANG_SECONDS, until
from netns.rig.sites import Pair, leaked, nonces, pair
from netns.rig.tap import Tap

#: A GCM child, one in UDP, and a CBC child. The others stay quiet.
BUSY = (0, 1, 4)
#: Packets a second on each way: an inbound block of 1,024 is crossed within seconds.
RATE = 400.0
#: Before each reboot, on each way: enough to be in the middle of a block.
BUSY_PACKETS = 400


@pytest.fixture(scope="module")
def tapped() -> Iterator[tuple[Pair, Tap]]:
    with pair() as made, Tap(made.where.wan) as tap:
        made.start()
        for child in range(len(made.children)):
            made.ping(made.where.a, child)
        yield made, tap


def unique(tap: Tap) -> None:
    """No (key, nonce) pair twice, over all that ever crossed."""
    assert tap.lost() == 0
    repeated = [name for name, count in Counter(nonces(tap.frames())).items() if count > 1]
    assert not repeated, f"{len(repeated)} twice, the first: {repeated[0]}"


def first_answer(made: Pair, child: int) -> None:
    """A ping from either side gets through, the first or a later one."""
    where = made.where
    for here, there in where.directions:
        words = ["-n", "-c1", "-i0.2", f"-w{HANG_SECONDS:.0f}", "-I", here.address(child), there.address(child)]
        made.lab.inside(here.host, "ping", *words, timeout=2 * HANG_SECONDS)


def test_one_gateway_reboots_under_traffic(tapped: tuple[Pair, Tap]) -> None:
    """The other goes on as before."""
    made, tap = tapped
    with Flows(made.ways(BUSY), RATE) as flows:
        flows.wait()
        since = time.monotonic()
        until(lambda: flows.sent_since(since) >= BUSY_PACKETS, "packets in the middle of a block")
        made.a.kill()
        made.a.reboot()
        made.a.start()
        flows.wait()
        for child in BUSY:
            first_answer(made, child)
        flows.pause()
        assert not leaked(tap.frames(), flows)
    unique(tap)


def test_both_gateways_reboot(tapped: tuple[Pair, Tap]) -> None:
    """Every child answers again, the quiet ones too: our numbers begin beyond what the other refuses."""
    made, tap = tapped
    for gateway in made.gateways:
        gateway.kill()
        gateway.reboot()
    made.start()
    for child in range(len(made.children)):
        first_answer(made, child)
    unique(tap)


def test_reboot_after_reboot(tapped: tuple[Pair, Tap], rounds: int) -> None:
    """Several in a row without a packet between them: a block is left behind each time, none is used again."""
    made, tap = tapped
    for _ in range(1 + rounds):
        for gateway in made.gateways:
            gateway.kill()
            gateway.reboot()
        made.start()
    for child in range(len(made.children)):
        first_answer(made, child)
    unique(tap)


def test_clean_stop_before_a_reboot_loses_no_number(tapped: tuple[Pair, Tap]) -> None:
    """Exact numbers are on disk then: the peer sees the very next one, although tmpfs is gone."""
    made, tap = tapped
    before = {row["label"]: row["next_seq"] for row in made.a.ask("list-sas") if row["direction"] == "out"}
    assert made.a.stop() == 0
    made.a.reboot()
    made.a.start()
    after = {row["label"]: row["next_seq"] for row in made.a.ask("list-sas") if row["direction"] == "out"}
    assert after == before
    for child in range(len(made.children)):
        first_answer(made, child)
    unique(tap)
