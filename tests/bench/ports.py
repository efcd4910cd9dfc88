"""What the gateway and the bare forwarder share: the door on two veths, memory, one socket per port, queue and worker.

Port 0 (`out0`) is outside, port 1 (`in0`) inside. Eight children, one destination subnet each, dealt over the workers:
the door steers for both alike. Lives inside the station's namespace.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from xdpsec.daemon import regions
from xdpsec.net.afxdp import Sockets, statistics
from xdpsec.net.door import Door, DoorMaps
from xdpsec.net.values import Link, PortSockets, Rings
from xdpsec.workers.native import door_verdict_names, lib

OUTSIDE, INSIDE = 0, 1
INTERFACES = ("out0", "in0")
CHILDREN = 8
LOCAL = "10.1.0.0/16"
OWN, PEER = "10.9.0.1", "10.9.0.2"
SINK_MAC = "02:00:00:00:00:99"  # nobody's: the kernel behind the sink drops what it gets


def remote(child: int) -> str:
    return f"10.2.{child}.0/24"


def mac_of(interface: str) -> bytes:
    return bytes.fromhex(Path(f"/sys/class/net/{interface}/address").read_text().strip().replace(":", ""))


def _link(interface: str) -> Link:
    queues = lib.xs_xsk_queues(interface.encode())
    return Link(socket.if_nametoindex(interface), mac_of(interface), 1500, queues)


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything a worker of either kind needs; `sockets` by port. Descriptors live as long as the process."""

    workers: int
    rings: Rings
    links: tuple[Link, Link]
    memory: regions.Regions
    sockets: tuple[PortSockets, PortSockets]
    door: Door
    maps: DoorMaps

    def serve(self) -> None:
        """Let frames come."""
        for port, opened in enumerate(self.sockets):
            for queue, row in enumerate(opened.own):
                for worker, descriptor in enumerate(row):
                    self.door.serve(port, queue, worker, descriptor)

    def arrived(self) -> dict[str, int]:
        """Frames at the inside port by the door's verdict."""
        names = door_verdict_names()
        return dict(zip(names, self.maps.verdicts()[INSIDE], strict=True))

    def refused(self) -> dict[str, int]:
        """Frames that the door sent to a socket and the socket did not take, by the two reasons of XDP_STATISTICS that
        are drops (an empty fill ring shows as rx_dropped and must not count twice)."""
        found = [statistics(fd) for opened in self.sockets for row in opened.own for fd in row]
        return {name: sum(one[name] for one in found) for name in ("rx_dropped", "rx_ring_full")}


def open_ports(workers: int, directory: Path, depth: int) -> Ports:
    """The door attached and told its tables; nobody served yet. `depth`: of the receive rings."""
    rings = Rings.of_depth(depth)
    links = (_link(INTERFACES[OUTSIDE]), _link(INTERFACES[INSIDE]))
    queues = sum(link.queues for link in links)
    state, slots = regions.open_state(directory / f"state-{os.getpid()}", CHILDREN, regions.boot_id())
    memory = regions.make(workers, regions.chunk_count(workers, queues, rings), 2048, state, slots)
    maker = Sockets(memory.umem, memory.umem_size, memory.chunk_size, rings)
    sockets = (maker.open_port(links[OUTSIDE], workers, "copy"), maker.open_port(links[INSIDE], workers, "copy"))
    door = Door()
    for port, link in enumerate(links):
        door.attach(port, link, port == OUTSIDE)
    maps = DoorMaps(door.maps())
    maps.set_addresses([OWN])
    everyone = (1 << CHILDREN) - 1
    maps.set_prefixes({LOCAL: everyone}, {remote(c): (1 << c, [c % workers]) for c in range(CHILDREN)})
    return Ports(workers, rings, links, memory, sockets, door, maps)
