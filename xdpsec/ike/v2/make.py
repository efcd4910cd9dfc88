"""How the gate gets machines of IKEv2: one for a stranger's first message, one that begins itself."""

from __future__ import annotations

from xdpsec.ike.events import Path
from xdpsec.ike.gate import Gate
from xdpsec.ike.settings import Host, PeerSettings
from xdpsec.ike.talker import Wanted
from xdpsec.ike.v2.machine import Machine


class Machines:
    """Gate's Machines."""

    def responder(self, number: int, host: Host, registry: Gate, path: Path, now: float) -> Machine:
        return Machine(number, host, registry, path, now)

    def initiator(
        self, number: int, host: Host, registry: Gate, peer: PeerSettings, now: float, wanted: Wanted
    ) -> Machine:
        """`peer` has its local address; the host has found that of the route where the configuration gives none."""
        path = Path(peer.local, peer.local_port, peer.remote, peer.remote_port)
        machine = Machine(number, host, registry, path, now)
        machine.connect(peer, wanted, now)
        return machine
