"""The gateways' IKE as their operator drives it: `xdpsec up`, `rekey`, `keylog`, and what `list-peers` says then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from xdpsec.demo import negotiated
from xdpsec.demo.children import Child
from xdpsec.demo.gateway import XDPSEC, Gateway
from xdpsec.demo.lab import Lab, LabError

#: A handshake takes milliseconds; two gateways that start on a busy machine leave it little.
UP_SECONDS = 20.0
LOOK_SECONDS = 0.05
#: How often each gateway replaces the keys of everything while traffic runs.
ROUNDS = 2


class Conversation:
    """Between gateway A, which calls, and gateway B. Keys that A gives away lie in the lab's directory."""

    def __init__(self, lab: Lab, a: Gateway, b: Gateway) -> None:
        self._lab, self._a, self._b = lab, a, b
        self._ike, self._esp = (a.config.with_name(name) for name in ("ikev2_decryption_table", "esp_sa"))

    def open(self) -> list[str]:
        """Every child of both sides is up; words about it."""
        command = [XDPSEC, "keylog", str(self._ike), "--esp", str(self._esp), "--config", str(self._a.config)]
        self._lab.start(self._a.site.gateway, command, self._a.config.with_name("keylog.log"))
        self._until(lambda: "are given to an operator" in self._a.log.read_text(), "its key log")
        self._tell(self._a, "up", *negotiated.peers(self._b.site))
        self._until(self._is_up, "its children")
        rows = self._a.ask("list-peers")
        return [f"{len(rows)} IKE SAs", rows[0]["suite"], f"{sum(row['children_up'] for row in rows)} children up"]

    def _is_up(self) -> bool:
        return all(child["up"] for gateway in (self._a, self._b) for child in gateway.ask("status")["children"])

    def children(self) -> tuple[Child, ...]:
        return negotiated.read_children(self._a.site, self._b.site, self._a.ask("list-sas"), self._esp)

    # --- rekeys --------------------------------------------------------------------------------------------------

    def counts(self) -> tuple[int, int]:
        """Generations of IKE keys and pairs of child SAs until now."""
        return negotiated.keys_made(self._ike, self._esp)

    def rekeying(self) -> threading.Thread:
        """Replaces everything, from both sides in turn, in a thread of its own; started."""
        thread = threading.Thread(target=self._rekey)
        thread.start()
        return thread

    def _rekey(self) -> None:
        for _ in range(ROUNDS):
            for gateway, other in ((self._a, self._b), (self._b, self._a)):
                peers = negotiated.peers(other.site)
                self._tell(gateway, "rekey", *peers, *(f"{peer}/*" for peer in peers))

    # --- below ---------------------------------------------------------------------------------------------------

    def _tell(self, gateway: Gateway, *words: str) -> None:
        self._lab.inside(gateway.site.gateway, XDPSEC, *words, "--config", str(gateway.config))

    def _until(self, true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + UP_SECONDS
        while not true():
            if time.monotonic() > deadline:
                raise LabError(f"gateway A: {what} did not come up; the end of {self._a.log}:\n{_tail(self._a.log)}")
            time.sleep(LOOK_SECONDS)


def _tail(log: Path, lines: int = 8) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
