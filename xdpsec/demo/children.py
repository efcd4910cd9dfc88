"""The eight children: suites, SPIs, fresh random keys, and the files in which a user would write them down.

Kinds and SPIs are fixed so that two neighbours, alike in cost, go to different workers: SPIs that count upwards do
(policy/placement.py). Knows a key file and a configuration file as docs describe them, nothing of how they are read.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xdpsec.config.suites import SUITES, Suite
from xdpsec.demo.topology import CHILDREN, INSIDE, OUTSIDE, Site

#: (suite, in UDP 4500) of each child. Two neighbours carry alike loads.
KINDS = (
    ("aes128gcm16", False),
    ("aes128gcm16", True),
    ("aes256gcm16", False),
    ("aes256gcm16", False),
    ("aes256-sha256", False),
    ("aes128-sha256", False),
    ("aes256-sha384", False),
    ("aes256-sha512", False),
)
#: First inbound SPI of site 1 and of site 2.
FIRST_SPI = {1: 0x1001, 2: 0x2001}
#: Each gateway has a namespace, and so a loopback, of its own: both may use the default port.
METRICS = "127.0.0.1:9310"
WORKERS = 2
#: The account of control and workers; every Debian and Ubuntu has it.
USER = "nobody"


@dataclass(frozen=True, slots=True)
class Key:
    """Hexadecimal, as key files and tshark have it; an AEAD's salt ends `encryption`, its `integrity` is empty."""

    encryption: str = field(repr=False)
    integrity: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sa:
    """One SA: from the sender's outer address to the receiver's, whose SPI it is. `pattern`: 16 bytes in hexadecimal
    that only this SA's pings carry."""

    child: int
    spi: int
    suite: Suite
    udp: bool
    source: str
    destination: str
    key: Key
    pattern: str


@dataclass(frozen=True, slots=True)
class Child:
    """`forth` goes from a to b, `back` from b to a."""

    number: int
    suite: Suite
    udp: bool
    forth: Sa
    back: Sa

    @property
    def name(self) -> str:
        return f"lan{self.number + 1}"


def make(a: Site, b: Site) -> tuple[Child, ...]:
    """Eight children with keys that nobody had before."""
    return tuple(_child(number, a, b) for number in range(CHILDREN))


def _child(number: int, a: Site, b: Site) -> Child:
    name, udp = KINDS[number]
    suite = SUITES[name]
    forth, back = (
        Sa(number, FIRST_SPI[to.number] + number, suite, udp, via.outer, to.outer, _key(suite), secrets.token_hex(16))
        for via, to in ((a, b), (b, a))
    )
    return Child(number, suite, udp, forth, back)


def _key(suite: Suite) -> Key:
    return Key(secrets.token_hex(suite.key_len), secrets.token_hex(suite.auth_len) if suite.auth_len else "")


def write(directory: Path, site: Site, peer: Site, children: Sequence[Child]) -> Path:
    """Write the key files (root's alone) and the configuration of `site` below `directory`; return the latter."""
    directory.mkdir()
    for child in children:
        inbound, outbound = _both(site, child)
        text = "".join(
            f"{name} = {_key_table(sa.key)}\n" for name, sa in (("inbound", inbound), ("outbound", outbound))
        )
        secret(directory / f"{child.name}.keys", text)
    config = directory / "xdpsec.toml"
    config.write_text(configuration(directory, site, peer, children))
    return config


def _both(site: Site, child: Child) -> tuple[Sa, Sa]:
    """Inbound and outbound, as `site` sees them."""
    return (child.forth, child.back) if child.forth.destination == site.outer else (child.back, child.forth)


def _key_table(key: Key) -> str:
    integrity = f', integrity = "{key.integrity}"' if key.integrity else ""
    return f'{{ encryption = "{key.encryption}"{integrity} }}'


def secret(path: Path, text: str) -> None:
    """A new file, root's alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def configuration(directory: Path, site: Site, peer: Site, children: Sequence[Child]) -> str:
    """The file a user would write for `site`."""
    head = f"""{gateway(directory, site)}\
# counter modes and manual keys go together only while nobody restores an old copy of state_dir (RFC 8221 sec. 3)
allow_manual_counter_modes = true

[peers.site-{peer.letter}]
remote = "{peer.outer}"
"""
    return head + "".join(_child_table(directory, site, peer, child) for child in children)


def gateway(directory: Path, site: Site) -> str:
    """Its first table."""
    return f"""[gateway]
outside = ["{OUTSIDE}"]
inside = ["{INSIDE}"]
workers = {_workers(site, sorted(os.sched_getaffinity(0)))}
user = "{USER}"
run_dir = "{directory}/run"
state_dir = "{directory}/state"
metrics = "{METRICS}"
"""


def _workers(site: Site, cores: Sequence[int]) -> int | list[int]:
    """Where the machine has cores enough, each gateway works on its own."""
    own = list(cores[(site.number - 1) * WORKERS : site.number * WORKERS])
    return own if len(cores) >= 2 * WORKERS else WORKERS


def _child_table(directory: Path, site: Site, peer: Site, child: Child) -> str:
    inbound, outbound = _both(site, child)
    encap = ", encap = [4500, 4500]" if child.udp else ""
    return f"""
[peers.site-{peer.letter}.children.{child.name}]
local = ["{site.prefix(child.number)}"]
remote = ["{peer.prefix(child.number)}"]
manual = {{ spi_in = {inbound.spi:#x}, spi_out = {outbound.spi:#x}, esp = "{child.suite.name}", \
key_file = "{directory}/{child.name}.keys"{encap} }}
"""


def ends(sa: Sa, a: Site, b: Site) -> tuple[str, str]:
    """The hosts' addresses that this SA protects, source first."""
    source, target = (a, b) if sa.source == a.outer else (b, a)
    return source.address(sa.child), target.address(sa.child)
