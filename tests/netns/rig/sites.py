"""Two sites as the demo lays them out, and the one thing more that makes a leak possible: every station forwards, and
the wan knows the way to both sites' hosts. Without fence and door, packets between the hosts cross in the clear.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from netns.rig.flows import Flows, Way
from netns.rig.gateways import Gateway
from netns.rig.tap import Frame, Tap
from xdpsec.demo import children, topology
from xdpsec.demo.children import Child
from xdpsec.demo.lab import Lab
from xdpsec.demo.topology import Site, Topology

#: What a site's hosts have: the third and fourth byte are the child's.
INNER = ("10.81.", "10.82.")


@dataclass(frozen=True, slots=True)
class Pair:
    """The lab, who is where, the children, and the gateways of site a and b."""

    lab: Lab
    where: Topology
    children: tuple[Child, ...]
    a: Gateway
    b: Gateway

    @property
    def gateways(self) -> tuple[Gateway, Gateway]:
        return self.a, self.b

    def start(self) -> None:
        """Both, side by side."""
        for gateway in self.gateways:
            gateway.begin()
        for gateway in self.gateways:
            gateway.ready()

    def gateway(self, site: Site) -> Gateway:
        return self.a if site is self.where.a else self.b

    def ways(self, numbers: Sequence[int] | None = None) -> list[Way]:
        """Both directions of these children, or of all."""
        chosen = range(len(self.children)) if numbers is None else numbers
        return [
            Way(f"lan{n + 1} {here.letter} to {there.letter}", (here.host, here.address(n)),
                (there.host, there.address(n)))
            for n in chosen
            for here, there in self.where.directions
        ]  # fmt: skip

    def flows(self, rate: float) -> Flows:
        """On every child, both ways, `rate` packets a second on each."""
        return Flows(self.ways(), rate)

    def set_workers(self, count: int) -> None:
        """In both configuration files; takes effect at the next start."""
        for gateway in self.gateways:
            lines = gateway.config.read_text().splitlines(keepends=True)
            text = "".join(f"workers = {count}\n" if line.startswith("workers = ") else line for line in lines)
            gateway.config.write_text(text)

    def ping(self, site: Site, child: int, *more: str) -> str:
        """From the site's host to the other's, on one child. LabError when no answer comes, after what `-W` says."""
        other = self.where.b if site is self.where.a else self.where.a
        words = ["ping", "-n", "-c1", "-W20", "-I", site.address(child), *more, other.address(child)]
        return self.lab.inside(site.host, *words)


@contextmanager
def pair(workers: int = 2) -> Iterator[Pair]:
    """Both gateways configured, none started."""
    with Lab() as lab:
        where = topology.build(lab)
        made = children.make(where.a, where.b)
        for site, peer in where.directions:
            leaky(lab, where, site)
            children.write(lab.directory / site.letter, site, peer, made)
        a, b = (Gateway(lab, site.gateway, lab.directory / site.letter / "xdpsec.toml") for site in (where.a, where.b))
        made_pair = Pair(lab, where, made, a, b)
        made_pair.set_workers(workers)
        yield made_pair


def leaky(lab: Lab, where: Topology, site: Site) -> None:
    """The wan routes to the site's hosts, and nobody checks where packets come from."""
    lab.ip(where.wan, "route", "add", f"10.{80 + site.number}.0.0/16", "via", site.outer)
    ends = {site.gateway: (topology.OUTSIDE, topology.INSIDE), site.host: ("eth0",), where.wan: (site.wan_port,)}
    for namespace, interfaces in ends.items():
        names = ("all", "default", *interfaces)
        lab.inside(namespace, "sysctl", "-qw", *(f"net.ipv4.conf.{name}.rp_filter=0" for name in names))


def leaked(frames: Sequence[Frame], flows: Flows) -> list[str]:
    """Frames that show an inner packet, by its addresses or by its payload wherever it stands."""
    found = []
    for frame in frames:
        addresses = frame.addresses if frame.ip else ("", "")
        if any(address.startswith(INNER) for address in addresses) or flows.marker in frame.raw:
            found.append(f"{frame.interface}: {' > '.join(addresses)}, {len(frame.raw)} bytes")
    return found


def nonces(frames: Sequence[Frame]) -> list[tuple[str, bytes]]:
    """Receiver with SPI and number, then IV, of each ESP frame: what names a key, and what a counter mode's nonce is
    made of. The IV of a CBC is random; its number is what must not repeat, so both stand for themselves."""
    found = []
    for frame in frames:
        esp = frame.esp
        if len(esp) >= 16:
            sa = f"{frame.addresses[1]} {esp[:4].hex()}"
            found += [(f"{sa} number", esp[4:8]), (f"{sa} iv", esp[8:16])]
    return found


def open_tap(pair_: Pair) -> Tap:
    """A tap on the wan, whose interfaces have no XDP."""
    return Tap(pair_.where.wan)
