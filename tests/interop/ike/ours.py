"""xdpsec as the left side: one gateway with a peer for each case, and a host behind it for each.

It is configured once, for all cases; what a case loads is the other side's affair. What it does and says of itself goes
through its CLI, as an operator has it.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from netns.rig.gateways import Gateway

from interop.ike.cases import LEFT_OUTER, LEFT_SECOND, Case
from interop.ike.ground import OUTSIDE, Ground
from interop.ike.ours_config import CHILD, INSIDE, WORKERS, write
from interop.ike.sides import Child, Pings, Sa, ping_words, read_ping, until
from interop.ike.words import ALGORITHMS, ENCR, INTEG, KE, PRF
from xdpsec import numbers
from xdpsec.channel import negotiation as words
from xdpsec.channel.operator import Sas, SasQuery
from xdpsec.cli import shapes
from xdpsec.cli.client import Client, run_dir

REGISTRIES = {ENCR: numbers.Encr, PRF: numbers.Prf, INTEG: numbers.Integ, KE: numbers.Ke}
#: IANA's name, with the key's bits after it, as list-peers has it -> our word.
NAMES = {
    REGISTRIES[one.type](one.id).name + (f"-{one.bits}" if one.bits else ""): one.word
    for one in ALGORITHMS.values()
    if one.type in REGISTRIES
}


class Ours:
    """The gateway runs from its making on."""

    tells_exchange = False
    version = ""
    _moved = False

    def __init__(self, where: Ground, cases: Sequence[Case]) -> None:
        self.lab, self.namespace = where.lab, where.left
        self.host_namespace = self.lab.namespace("host")
        self._lan(cases)
        directory = self.lab.directory / "ours"
        directory.mkdir()
        self.gateway = Gateway(self.lab, self.namespace, write(directory, cases))
        self.start()

    def _lan(self, cases: Sequence[Case]) -> None:
        """Hosts behind the gateway, all in one namespace."""
        lab = self.lab
        lab.cable((self.host_namespace, "eth0"), (self.namespace, INSIDE), WORKERS)
        lab.ip(self.namespace, "address", "add", "10.99.0.1/24", "dev", INSIDE)
        lab.ip(self.host_namespace, "address", "add", "10.99.0.2/24", "dev", "eth0")
        lab.ip(self.host_namespace, "route", "add", "default", "via", "10.99.0.1")
        for case in cases:
            if "." in case.left_prefix and case.option("mode") != "transport":
                lab.ip(self.host_namespace, "address", "add", f"{case.left_host}/32", "dev", "eth0")
                lab.ip(self.namespace, "route", "add", case.left_prefix, "via", "10.99.0.2")
            if case.scenario == "pool" and case.role == "initiator":
                lab.ip(self.namespace, "route", "add", case.pool, "via", "10.99.0.2")

    def start(self) -> None:
        self.gateway.start()

    def kill(self) -> None:
        self.gateway.kill()

    def load(self, case: Case, left: bool) -> None:
        assert left, "we are the side under test"

    def unload(self, case: Case) -> None:
        with contextlib.suppress(AssertionError):
            self.down(case)
        if self._moved:
            self._change_address(LEFT_SECOND, LEFT_OUTER)
            self._moved = False

    def up(self, case: Case) -> None:
        self._begin(words.BringUp(case.key, ""))
        # what no worker carries is in no list of SAs
        empty = case.scenario in ("negotiated", "childless")
        refused = case.scenario == "refused"
        until(
            lambda: any(sa.children or empty for sa in self.sas(case)) or (refused and self.why(case) != ""), case.key
        )
        assert not refused or self.sas(case), self.why(case)

    def down(self, case: Case) -> None:
        self._begin(words.BringDown(case.key))

    def rekey_child(self, case: Case) -> None:
        """One that is only just there may still be on its way to its machine: then it is asked again."""
        until(lambda: not self._refused(words.Rekey(case.key, CHILD)), "a child that can be rekeyed")

    def rekey_ike(self, case: Case) -> None:
        self._begin(words.Rekey(case.key, ""))

    def why(self, case: Case) -> str:
        """As `xdpsec explain` tells, of the peer itself; "" before anything was tried."""
        with self._client() as client:
            rows = client.ask(words.ExplainQuery(case.key), words.Explanation).rows
        said = [row.text for row in rows if row.what == case.key and not row.up]
        return " | ".join(dict.fromkeys(text for text in said if "nothing was tried" not in text))

    def reauthenticate(self, case: Case) -> None:
        """It does so by itself, after the option `reauth`."""

    def _begin(self, wish: words.BringUp | words.BringDown | words.Rekey) -> None:
        """As `xdpsec up`, `down` and `rekey` do."""
        refusal = self._refused(wish)
        assert not refusal, refusal

    def _refused(self, wish: words.BringUp | words.BringDown | words.Rekey) -> str:
        with self._client() as client:
            return client.ask(wish, words.Begun).error

    def _client(self) -> Client:
        return Client(run_dir(self.gateway.config))

    def move(self, case: Case) -> str:
        self._change_address(LEFT_OUTER, LEFT_SECOND)
        self._moved = True
        return LEFT_SECOND

    def _change_address(self, old: str, new: str) -> None:
        self.lab.ip(self.namespace, "address", "add", f"{new}/16", "dev", OUTSIDE)
        self.lab.ip(self.namespace, "address", "del", f"{old}/16", "dev", OUTSIDE)

    def take(self, leased: str) -> None:
        """A gateway hands the address to a host behind it."""
        self.lab.ip(self.host_namespace, "address", "add", f"{leased}/32", "dev", "eth0")

    def ping(self, source: str, destination: str, count: int, interval: float = 0.05) -> Pings:
        words = ping_words(source, destination, count, interval)
        return read_ping(self.lab.inside(self.host_namespace, *words, check=False, timeout=60 + count * interval))

    def counted(self) -> dict[str, int]:
        """As `xdpsec drops` tells, whatever door and workers did with frames."""
        told = self.gateway.ask("drops")
        found: Counter[str] = Counter()
        for place in (*told["door"].values(), *told["workers"].values()):
            found.update(place)
        return found

    def name_servers(self) -> list[str]:
        return re.findall(r'event="addresses leased".* dns=(\S+)', self.gateway.log.read_text())

    def sas(self, case: Case) -> list[Sa]:
        """As `xdpsec list-peers` and `list-sas` tell."""
        with self._client() as client:
            peers = shapes.peers(client.ask(words.PeersQuery(), words.Peers))
            rows = shapes.sas(client.ask(SasQuery(), Sas))
        mine = [row for row in rows if row["label"] == f"{case.key}/{CHILD}"]
        return [_sa(row, mine) for row in peers if row["name"] == case.key and row["up"]]


def _sa(peer: dict[str, Any], rows: list[dict[str, Any]]) -> Sa:
    # the age is of the present keys: two at a time cannot be told apart, but one from the next
    agreed = frozenset(NAMES.get(name, name) for name in peer["suite"].split(", "))
    return Sa(str(peer["age_s"]), agreed, tuple(_children(rows)), peer["address"])


def _children(rows: list[dict[str, Any]]) -> Iterator[Child]:
    """Each inbound SA is a child; packets out are counted over all that it replaced and not yet forgot."""
    sent = sum(row["packets"] for row in rows if row["direction"] == "out")
    for row in rows:
        if row["direction"] == "in":
            agreed = frozenset(row["suite"].split("-")) | ({"esn"} if row["esn"] else frozenset())
            packets = row["packets"], sent
            yield Child(str(row["spi"]), agreed, "esp", "tunnel", bool(row["encap"]), packets, (), ())
