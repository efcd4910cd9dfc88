"""The same eight children with keys that the gateways negotiate: what a user writes, and what came of it.

Two peers at each side, since one of the children goes in UDP and that is a peer's affair. Site B waits, site A calls.
Suites are those of the manual demo, each with a hybrid key exchange for its rekeys.
"""

from __future__ import annotations

import csv
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdpsec.config.suites import SUITES
from xdpsec.demo.children import KINDS, Child, Key, Sa, gateway, secret
from xdpsec.demo.topology import CHILDREN, Site

#: The peer without and with UDP, by what its name ends in.
PLAIN, UDP = "", "-udp"
KE = "x25519-ke1_mlkem768"


def peers(peer: Site) -> tuple[str, str]:
    """Names of the two peers that stand for the other site."""
    return f"site-{peer.letter}{PLAIN}", f"site-{peer.letter}{UDP}"


def write(directory: Path, site: Site, peer: Site, shared: Mapping[str, str]) -> Path:
    """The secrets (root's alone) and the configuration of `site`; the latter's path. `shared`: ending -> secret."""
    directory.mkdir()
    for ending, text in shared.items():
        secret(directory / f"peer{ending}.psk", f"{text}\n")
    config = directory / "xdpsec.toml"
    config.write_text(
        gateway(directory, site) + "".join(_peer(directory, site, peer, ending) for ending in (PLAIN, UDP))
    )
    return config


def make_secrets() -> dict[str, str]:
    """Fresh ones for both peers."""
    return {ending: secrets.token_hex(32) for ending in (PLAIN, UDP)}


def _peer(directory: Path, site: Site, peer: Site, ending: str) -> str:
    force = "force_encap = true\n" if ending == UDP else ""
    head = f"""
[peers.site-{peer.letter}{ending}]
remote = "{peer.outer}"
local_id = "gw-{site.letter}{ending}.example.net"
remote_id = "gw-{peer.letter}{ending}.example.net"
auth = {{ psk_file = "{directory}/peer{ending}.psk" }}
{force}"""
    numbers = [number for number, (_, udp) in enumerate(KINDS) if udp == (ending == UDP)]
    return head + "".join(
        f"""
[peers.site-{peer.letter}{ending}.children.lan{number + 1}]
local = ["{site.prefix(number)}"]
remote = ["{peer.prefix(number)}"]
esp = ["{KINDS[number][0]}-{KE}"]
start = "wait"
"""
        for number in numbers
    )


# --- what came of it -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rekeys:
    """What happened under load: exchanges of either kind, datagrams sent and lost meanwhile."""

    ike: int
    children: int
    sent: int
    lost: int

    def faults(self, least: int) -> list[str]:
        """In sentences; `least` rekeys of each kind are wanted."""
        found = [f"{self.lost} of {self.sent} datagrams were lost while keys were replaced"] if self.lost else []
        few = [
            f"{count} {what}" for what, count in (("IKE SAs", self.ike), ("children", self.children)) if count < least
        ]
        return found + [f"only {text} were rekeyed, {least} were wanted" for text in few]


def read_children(a: Site, b: Site, sas: Sequence[Mapping[str, Any]], keys: Path) -> tuple[Child, ...]:
    """The children as negotiated: gateway A's `list-sas --json`, and its key log of ESP."""
    with keys.open(newline="") as file:
        found = {int(row[3], 16): Key(row[5].removeprefix("0x"), row[7].removeprefix("0x")) for row in csv.reader(file)}
    made: list[Child] = []
    for number in range(CHILDREN):
        rows = [row for row in sas if row["label"].endswith(f"/lan{number + 1}")]
        out, back = (next(row for row in rows if row["direction"] == way) for way in ("out", "in"))
        forth, home = (_sa(number, row, via, to, found[row["spi"]]) for row, via, to in ((out, a, b), (back, b, a)))
        made.append(Child(number, forth.suite, forth.udp, forth, home))
    return tuple(made)


def _sa(number: int, row: Mapping[str, Any], via: Site, to: Site, key: Key) -> Sa:
    pattern = secrets.token_hex(16)
    return Sa(number, row["spi"], SUITES[row["suite"]], bool(row["encap"]), via.outer, to.outer, key, pattern)


def keys_made(ike: Path, esp: Path) -> tuple[int, int]:
    """Generations of IKE keys, and pairs of child SAs, that a key log has seen."""
    return len(ike.read_text().splitlines()), len(esp.read_text().splitlines()) // 2
