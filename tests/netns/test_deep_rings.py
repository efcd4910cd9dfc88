"""A worker that loses its core finds what came meanwhile in its receive ring, as deep as the configuration says."""

from __future__ import annotations

import os
import signal

import pytest

from netns.rig import books
from netns.rig.sites import pair
from netns.rig.spaces import udp
from xdpsec.demo.topology import INSIDE

PORT = 7002
FRAMES = 6000


@pytest.mark.parametrize(("depth", "kept"), [(1024, 1024), (8192, FRAMES)])
def test_what_a_stopped_worker_finds(depth: int, kept: int) -> None:
    with pair(workers=1) as made:
        site, other = made.where.a, made.where.b
        config = made.a.config
        config.write_text(config.read_text().replace("workers = 1\n", f"workers = 1\nrx_ring = {depth}\n"))
        made.start()
        made.ping(site, 0)  # neighbours are known from here on
        sender, before = udp(site.host, site.address(0), PORT), books.read(made.a)
        (worker,) = made.a.workers()
        os.kill(worker, signal.SIGSTOP)
        try:
            for _ in range(FRAMES):
                sender.sendto(b"deep", (other.address(0), PORT))
        finally:
            os.kill(worker, signal.SIGCONT)
            sender.close()
        books.rest([made.a])
        page = books.read(made.a)
        assert page.taken[INSIDE] - before.taken[INSIDE] == pytest.approx(kept, abs=8)  # what else the host has to say
        assert page.lost[INSIDE] - before.lost[INSIDE] == pytest.approx(FRAMES - kept, abs=8)
