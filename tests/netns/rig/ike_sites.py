"""Two sites as in sites.py whose gateways negotiate: a shared secret, children without keys in any file."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from netns.rig.gateways import Gateway
from netns.rig.sites import Pair, leaky
from xdpsec.demo import children, topology
from xdpsec.demo.lab import Lab
from xdpsec.demo.topology import INSIDE, OUTSIDE, Site

METRICS = "127.0.0.1:9310"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a test wants of both configuration files. `peer` and `child` are lines of TOML; `secrets` by site letter;
    `joined`: one child with all prefixes."""

    count: int = 2
    workers: int = 2
    peer: str = ""
    child: str = ""
    secrets: tuple[str, str] | None = None
    joined: bool = False


def write(directory: Path, site: Site, peer: Site, wishes: Wishes, secret: str) -> None:
    """The secret, root's alone, and the configuration."""
    directory.mkdir()
    path = directory / "peer.psk"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
    text = f"""[gateway]
outside = ["{OUTSIDE}"]
inside = ["{INSIDE}"]
workers = {wishes.workers}
user = "nobody"
run_dir = "{directory}/run"
state_dir = "{directory}/state"
metrics = "{METRICS}"

[peers.site-{peer.letter}]
remote = "{peer.outer}"
local_id = "gw-{site.letter}.example.net"
remote_id = "gw-{peer.letter}.example.net"
auth = {{ psk_file = "{path}" }}
{wishes.peer}
"""
    numbers = list(range(wishes.count))
    for group in [numbers] if wishes.joined else [[number] for number in numbers]:
        local, remote = ([one.prefix(number) for number in group] for one in (site, peer))
        text += f"""
[peers.site-{peer.letter}.children.lan{group[0] + 1}]
local = {json.dumps(local)}
remote = {json.dumps(remote)}
{wishes.child}
"""
    (directory / "xdpsec.toml").write_text(text)


@contextmanager
def ike_pair(wishes: Wishes | None = None) -> Iterator[Pair]:
    """Both gateways configured, none started."""
    wishes = wishes or Wishes()
    shared = secrets.token_hex(32)
    known = wishes.secrets or (shared, shared)
    with Lab() as lab:
        where = topology.build(lab)
        for (site, peer), secret in zip(where.directions, known, strict=True):
            leaky(lab, where, site)
            write(lab.directory / site.letter, site, peer, wishes, secret)
        a, b = (Gateway(lab, site.gateway, lab.directory / site.letter / "xdpsec.toml") for site in (where.a, where.b))
        yield Pair(lab, where, children.make(where.a, where.b)[: wishes.count], a, b)
