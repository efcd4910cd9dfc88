"""Who is where: two sites, each a host behind a gateway, and a wan that routes between the gateways.

host A - gateway A - wan - gateway B - host B, MTU 1500, two queues a cable. Each host has one address for each of the
eight children. The wan knows no route to a host's address, the gateways have one: what they let out in the clear
would be seen there.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdpsec.demo.lab import Lab

#: Children, and so addresses of a host.
CHILDREN = 8
#: One queue for each worker: frames sent by either core stay on it.
QUEUES = 2
#: The gateways' interfaces, both sites alike.
OUTSIDE, INSIDE = "wan0", "lan0"


@dataclass(frozen=True, slots=True)
class Site:
    """One side. `number` 1 or 2 stands in its addresses; `wan_port` is the wan's interface towards it."""

    letter: str
    number: int
    host: str
    gateway: str
    wan_port: str

    @property
    def outer(self) -> str:
        """The gateway's address on the wan."""
        return f"10.90.{self.number}.1"

    @property
    def router(self) -> str:
        """The wan's address towards this site."""
        return f"10.90.{self.number}.254"

    def prefix(self, child: int) -> str:
        """What `child` (0 to 7) protects here."""
        return f"10.{80 + self.number}.{child + 1}.0/24"

    def address(self, child: int) -> str:
        """The host's address in it."""
        return f"10.{80 + self.number}.{child + 1}.10"

    @property
    def link(self) -> tuple[str, str]:
        """Addresses of the gateway and of the host on the cable between them."""
        return f"10.{80 + self.number}.0.1", f"10.{80 + self.number}.0.2"


@dataclass(frozen=True, slots=True)
class Topology:
    """Namespaces of the five, by name. `wan_ports` have no XDP: a capture there sees every frame."""

    a: Site
    b: Site
    wan: str

    @property
    def wan_ports(self) -> tuple[str, str]:
        return self.a.wan_port, self.b.wan_port

    @property
    def directions(self) -> tuple[tuple[Site, Site], tuple[Site, Site]]:
        """From and to, both ways."""
        return (self.a, self.b), (self.b, self.a)


def build(lab: Lab) -> Topology:
    """Make the five namespaces and the four cables between them."""
    wan = lab.namespace("wan")
    sites = [_site(lab, wan, letter, number) for number, letter in enumerate("ab", start=1)]
    lab.inside(wan, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    return Topology(sites[0], sites[1], wan)


def _site(lab: Lab, wan: str, letter: str, number: int) -> Site:
    site = Site(letter, number, lab.namespace(f"host-{letter}"), lab.namespace(f"gw-{letter}"), f"to-{letter}")
    near, far = site.link
    lab.cable((site.host, "eth0"), (site.gateway, INSIDE), QUEUES)
    lab.cable((site.gateway, OUTSIDE), (wan, site.wan_port), QUEUES)
    _script(
        lab,
        site.host,
        f"address add {far}/24 dev eth0",
        *(f"address add {site.address(child)}/32 dev eth0" for child in range(CHILDREN)),
        f"route add default via {near}",
    )
    _script(
        lab,
        site.gateway,
        f"address add {near}/24 dev {INSIDE}",
        *(f"route add {site.prefix(child)} via {far}" for child in range(CHILDREN)),
        f"address add {site.outer}/24 dev {OUTSIDE}",
        f"route add default via {site.router}",
    )
    # a gateway forwards, and would in the clear if nothing kept it from doing so
    lab.inside(site.gateway, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    _script(lab, wan, f"address add {site.router}/24 dev {site.wan_port}")
    return site


def _script(lab: Lab, namespace: str, *lines: str) -> None:
    """Several `ip` commands in one process."""
    lab.inside(namespace, "ip", "-batch", "-", text_input="\n".join(lines) + "\n")
