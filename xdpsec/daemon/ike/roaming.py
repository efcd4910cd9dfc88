"""Our own addresses change: which IKE SAs move to another one (MOBIKE, RFC 4555), which must begin anew, who is told.

With MOBIKE who began moves, and the other side says where it is; where that cannot be and the address is gone, the IKE
SA is given up at once, so that the peer is called from where we are now. Knows no socket; `route` is asked for the
address towards a peer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from xdpsec.config.values import Config
from xdpsec.ike.events import IkeUp, Path

Wish = Callable[[int, Callable[[Any, float], None]], bool]
#: Peers that are told of other addresses in one turn, and seconds to the next: there may be thousands.
AT_ONCE, BETWEEN_SECONDS = 32, 0.05


class Roaming:
    """`later(seconds, call)` as of an event loop."""

    def __init__(
        self,
        config: Config,
        route: Callable[[str], str],
        wish: Wish,
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._fixed = {peer.name: peer.local for peer in config.peers}
        self._route, self._wish, self._later = route, wish, later
        self._outer: tuple[str, ...] = ()
        self._to_tell: deque[int] = deque()

    def look(self, up: Mapping[int, IkeUp], addresses: Collection[str], outer: Collection[str]) -> bool:
        """After the kernel's tables changed. `addresses`: all of ours, `outer` those that peers may hear of; `up`:
        established IKE SAs by machine. False: an SA lost its address and there is no way to its peer now, so look
        again when the tables change."""
        settled = True
        ways: dict[str, str] = {}
        for ike, event in list(up.items()):
            path = event.path
            local = self._fixed.get(event.peer, "")
            if not local:
                if path.remote not in ways:
                    ways[path.remote] = self._route(path.remote)
                local = ways[path.remote]
            if local and local != path.local:
                self._move(ike, replace(path, local=local), path.local not in addresses)
            settled = settled and (path.local in addresses or local not in ("", path.local))
        if tuple(outer) != self._outer:
            self._outer = tuple(outer)
            idle = not self._to_tell
            self._to_tell = deque(up)
            if idle:
                self._tell_some()
        return settled

    def _move(self, ike: int, path: Path, gone: bool) -> None:
        def act(machine: Any, now: float) -> None:
            if machine.sa.mobike and machine.initiator:
                machine.move(path, now)
            elif machine.sa.mobike and gone:
                machine.readdress(now, path.local)
            elif gone:
                machine.abandon("timeout", "our address is gone, and the peer cannot follow", now)

        self._wish(ike, act)

    def _tell_some(self) -> None:
        for _ in range(min(AT_ONCE, len(self._to_tell))):
            self._wish(self._to_tell.popleft(), lambda machine, now: machine.readdress(now))
        if self._to_tell:
            self._later(BETWEEN_SECONDS, self._tell_some)
