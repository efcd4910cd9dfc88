"""The rows of matrix.tsv as cases: who does what with which proposals, and the addresses that each case has alone.

`left` is the side under test (ours, or a strongSwan that proves the rows), `right` the peer. Each case has an outer
address of the peer and a prefix on either side of its own, so that no case can live on what another left behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MATRIX = Path(__file__).with_name("matrix.tsv")
COLUMNS = ("name", "peer", "role", "scenario", "ike", "esp", "auth", "options")
#: How the peers are called in the matrix, and in the table.
PEERS = {"user": "strongSwan", "kernel": "strongSwan kernel", "iked": "OpenIKED"}
ROLES = ("initiator", "responder")
#: The router between both, on either side.
LEFT_ROUTER, RIGHT_ROUTER = "10.60.255.254", "10.59.255.254"
LEFT_OUTER = "10.60.0.1"
LEFT_SIX, LEFT_ROUTER_SIX, RIGHT_ROUTER_SIX = "fd60::1", "fd60::ffff", "fd59::ffff"
LEFT_SECOND = "10.60.0.2"
#: What a responder names beside the address that it leases.
NAME_SERVER = "192.0.2.53"
#: In place of a proposal: whatever the daemon has when nothing is configured.
DEFAULT = "default"
LEFT_ID, RIGHT_ID = "left.example", "right.example"
IDS = {
    "name": (LEFT_ID, RIGHT_ID),
    "mail": ("left@example.net", "right@example.net"),
    "address": ("198.51.100.1", "198.51.100.2"),
    "address6": ("2001:db8::1", "2001:db8::2"),
    "dn": ("C=DE, O=Interop, CN=left", "C=DE, O=Interop, CN=right"),
    "keyid": ("keyid:left", "keyid:right"),
}
#: In the third byte, so that no address ends in 0 or 255.
BLOCK = 200


@dataclass(frozen=True, slots=True)
class Case:
    """`role` is the left side's: who begins. `number` counts from 1 through the whole matrix."""

    number: int
    name: str
    peer: str
    role: str
    scenario: str
    ike: str
    esp: str
    auth: str
    options: dict[str, str]

    @property
    def title(self) -> str:
        return f"{self.peer} {self.role} {self.name}"

    @property
    def key(self) -> str:
        """A name for both configurations."""
        return f"c{self.number}"

    @property
    def core(self) -> bool:
        return "core" in self.options

    def option(self, name: str, default: str = "") -> str:
        return self.options.get(name, default)

    @property
    def ids(self) -> tuple[str, str]:
        """Who the left side and the right side are, in words that strongSwan and xdpsec read alike."""
        return IDS[self.option("ids", "name")]

    def _bytes(self) -> tuple[int, int]:
        return self.number // BLOCK, self.number % BLOCK + 1

    @property
    def six(self) -> bool:
        """IKE itself goes over IPv6."""
        return self.option("outer") == "6"

    @property
    def left_outer(self) -> str:
        return LEFT_SIX if self.six else LEFT_OUTER

    @property
    def right_outer(self) -> str:
        high, low = self._bytes()
        return f"fd59::{high}:{low}" if self.six else f"10.59.{high}.{low}"

    @property
    def right_seen(self) -> str:
        """The peer's address as the left side sees it."""
        high, low = self._bytes()
        return f"10.58.{high}.{low}" if self.option("nat") == "right" else self.right_outer

    @property
    def spare(self) -> bool:
        """The peer has its second address from the beginning, and may lose the first."""
        return self.option("mobike") == "spare"

    @property
    def right_second(self) -> str:
        """Where the peer moves to (RFC 4555)."""
        high, low = self._bytes()
        return f"10.59.{100 + high}.{low}"

    @property
    def left_seen(self) -> str:
        """Our address as the peer sees it."""
        return RIGHT_ROUTER if self.option("nat") == "left" else self.left_outer

    @property
    def pool(self) -> str:
        """What the responder of a configuration payload leases."""
        high, low = self._bytes()
        return f"10.{180 + high}.{low}.0/28"

    @property
    def left_prefix(self) -> str:
        return self._prefix(100, LEFT_OUTER)

    @property
    def right_prefix(self) -> str:
        return self._prefix(140, self.right_outer)

    def _prefix(self, base: int, outer: str) -> str:
        high, low = self._bytes()
        if self.option("mode") == "transport":
            return f"{outer}/32"
        return f"fd00:{base + high}:{low}::/64" if self.option("inner") == "6" else f"10.{base + high}.{low}.0/24"

    @property
    def left_host(self) -> str:
        high, low = self._bytes()
        return f"10.{100 + high}.{low}.10"

    @property
    def right_host(self) -> str:
        high, low = self._bytes()
        return f"10.{140 + high}.{low}.10"


def read(text: str) -> list[Case]:
    """Every row; `both` in the role makes two cases of it."""
    cases: list[Case] = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        row = dict(zip(COLUMNS, line.split("\t"), strict=True))
        words = row["options"].split() if row["options"] != "-" else []
        options = {key: value for key, _, value in (word.partition("=") for word in words)}
        for role in ROLES if row["role"] == "both" else (row["role"],):
            plain = (row["name"], row["peer"], role, row["scenario"], row["ike"], row["esp"], row["auth"])
            cases.append(Case(len(cases) + 1, *plain, options))
    return cases


def matrix() -> list[Case]:
    return read(MATRIX.read_text())
