"""Our own addresses change: which IKE SAs move to another one (MOBIKE, RFC 4555), and which must begin anew.

Who began and agreed on MOBIKE moves; where that cannot be and the address is gone, the IKE SA is given up at once, so
that the peer is called from where we are now. Knows no socket; `route` is asked for the address towards a peer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from xdpsec.config.values import Config
from xdpsec.ike.events import IkeUp, Path

Wish = Callable[[int, Callable[[Any, float], None]], bool]


class Roaming:
    def __init__(self, config: Config, route: Callable[[str], str], wish: Wish) -> None:
        self._fixed = {peer.name: peer.local for peer in config.peers}
        self._route, self._wish = route, wish

    def look(self, up: Mapping[int, IkeUp], addresses: Collection[str]) -> None:
        """After the kernel's tables changed. `addresses`: all of ours; `up`: established IKE SAs by machine."""
        ways: dict[str, str] = {}
        for ike, event in list(up.items()):
            path = event.path
            if path.remote not in ways:
                ways[path.remote] = self._fixed.get(event.peer) or self._route(path.remote)
            local = ways[path.remote]
            if local and local != path.local:
                self._move(ike, replace(path, local=local), path.local not in addresses)

    def _move(self, ike: int, path: Path, gone: bool) -> None:
        def act(machine: Any, now: float) -> None:
            if machine.initiator and machine.sa.mobike:
                machine.move(path, now)
            elif gone:
                machine.abandon("timeout", "our address is gone, and the peer cannot follow", now)

        self._wish(ike, act)
