"""xdpsec as the left side: one gateway with a peer for each case, and a host behind it for each.

It is configured once, for all cases; what a case loads is the other side's affair. What it does and says of itself goes
through its CLI, as an operator has it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

from netns.rig.gateways import Gateway

from interop.ike.cases import LEFT_OUTER, LEFT_SECOND, Case
from interop.ike.ground import OUTSIDE, Ground
from interop.ike.ours_config import CHILD, INSIDE, WORKERS, write
from interop.ike.sides import Pings, Sa, ping_words, read_ping, until


class Ours:
    """The gateway runs from its making on."""

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

    def start(self) -> None:
        self.gateway.start()

    def kill(self) -> None:
        self.gateway.kill()

    def load(self, case: Case, left: bool) -> None:
        assert left, "we are the side under test"

    def unload(self, case: Case) -> None:
        with contextlib.suppress(AssertionError):
            self._cli("down", case.key)
        if self._moved:
            self._change_address(LEFT_SECOND, LEFT_OUTER)
            self._moved = False

    def up(self, case: Case) -> None:
        self._cli("up", case.key)
        until(lambda: any(sa.children for sa in self.sas(case)), f"{case.key} is up")

    def down(self, case: Case) -> None:
        self._cli("down", case.key)

    def rekey_child(self, case: Case) -> None:
        self._cli("rekey", case.key, CHILD)

    def rekey_ike(self, case: Case) -> None:
        self._cli("rekey", case.key)

    def move(self, case: Case) -> str:
        self._change_address(LEFT_OUTER, LEFT_SECOND)
        self._moved = True
        return LEFT_SECOND

    def _change_address(self, old: str, new: str) -> None:
        self.lab.ip(self.namespace, "address", "add", f"{new}/16", "dev", OUTSIDE)
        self.lab.ip(self.namespace, "address", "del", f"{old}/16", "dev", OUTSIDE)

    def ping(self, source: str, destination: str, count: int, interval: float = 0.05) -> Pings:
        words = ping_words(source, destination, count, interval)
        return read_ping(self.lab.inside(self.host_namespace, *words, check=False, timeout=60 + count * interval))

    def _cli(self, *words: str) -> str:
        done = self.gateway.cli(*words, "--config", str(self.gateway.config))
        assert not done.returncode, f"xdpsec {' '.join(words)}: {(done.stderr or done.stdout).strip()}"
        return done.stdout

    def sas(self, case: Case) -> list[Sa]:
        rows: list[dict[str, Any]] = json.loads(self._cli("list-peers", "--json"))
        return [_sa(row) for row in rows if row["peer"] == case.key and row["state"] == "up"]


def _sa(row: dict[str, Any]) -> Sa:
    raise NotImplementedError(row)
