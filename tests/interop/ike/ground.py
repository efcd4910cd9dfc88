"""Where two sides meet: a router between their networks, which translates addresses when a case wants it to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from netns.rig.tap import Tap

from interop.ike.cases import LEFT_OUTER, LEFT_ROUTER, LEFT_ROUTER_SIX, LEFT_SIX, RIGHT_ROUTER, RIGHT_ROUTER_SIX, Case
from xdpsec.demo.lab import Lab

LEFT_PORT, RIGHT_PORT = "l0", "r0"
#: The interface of either side towards the router.
OUTSIDE = "wan0"
HELD = "held"
#: Port 500, and on port 4500 what has the marker of RFC 3948 sec. 2.2.
HOLD = (
    f"add table ip {HELD}",
    f"add chain ip {HELD} forward {{ type filter hook forward priority 0; }}",
    *(f"add rule ip {HELD} forward udp {end} 500 drop" for end in ("sport", "dport")),
    *(f"add rule ip {HELD} forward udp {end} 4500 @th,64,32 0 drop" for end in ("sport", "dport")),
)
#: Seconds, and the peer's UDP port after that.
FORGOTTEN, REMAPPED = 1, 62000


@dataclass(frozen=True, slots=True)
class Ground:
    """Names of the namespaces; in `right`, or in a guest on its interface, runs the peer."""

    lab: Lab
    left: str
    router: str
    right: str

    def tap(self) -> Tap:
        """All that crosses the router, on both its cables."""
        return Tap(self.router)

    @contextmanager
    def translated(self, case: Case) -> Iterator[None]:
        """NAT of one side, as the case says."""
        seen = ["SNAT", "--to-source", case.right_seen]
        rules = {
            "left": ["POSTROUTING", "-o", RIGHT_PORT, "-s", LEFT_OUTER, "-j", "MASQUERADE"],
            "right": ["POSTROUTING", "-o", LEFT_PORT, "-s", case.right_outer, "-j", *seen],
        }
        rule = rules.get(case.option("nat"))
        if not rule:
            yield
            return
        self.lab.inside(self.router, "iptables", "-t", "nat", "-A", *rule)
        try:
            yield
        finally:
            self.lab.inside(self.router, "iptables", "-t", "nat", "-D", *rule)

    @contextmanager
    def held(self) -> Iterator[None]:
        """No IKE message passes the router; ESP does, in UDP too."""
        for line in HOLD:
            self.lab.inside(self.router, "nft", *line.split())
        try:
            yield
        finally:
            self.lab.inside(self.router, "nft", "delete", "table", "ip", HELD)

    @contextmanager
    def forgetful(self, case: Case) -> Iterator[Callable[[], None]]:
        """The peer's NAT remembers nothing for longer than FORGOTTEN seconds. The function makes it choose REMAPPED as
        the port of what it sees for the first time."""
        timeouts = [f"net.netfilter.nf_conntrack_udp_timeout{kind}" for kind in ("", "_stream")]
        before = [self.lab.inside(self.router, "sysctl", "-n", name).strip() for name in timeouts]
        rule = ["POSTROUTING", "-p", "udp", "-o", LEFT_PORT, "-s", case.right_outer, "-j", "SNAT"]
        rule += ["--to-source", f"{case.right_seen}:{REMAPPED}"]
        added: list[bool] = []

        def remap() -> None:
            self.lab.inside(self.router, "iptables", "-t", "nat", "-I", *rule)
            added.append(True)

        self.lab.inside(self.router, "sysctl", "-qw", *(f"{name}={FORGOTTEN}" for name in timeouts))
        try:
            yield remap
        finally:
            if added:
                self.lab.inside(self.router, "iptables", "-t", "nat", "-D", *rule)
            values = [f"{name}={value}" for name, value in zip(timeouts, before, strict=True)]
            self.lab.inside(self.router, "sysctl", "-qw", *values)


def arrive(case: Case, device: str, left: bool) -> list[str]:
    """`ip` lines that give a side the address of this case alone, and its way to the other."""
    outer = case.left_outer if left else case.right_outer
    if case.six:
        length, router, more = 64, LEFT_ROUTER_SIX if left else RIGHT_ROUTER_SIX, " nodad"
    else:
        length, router, more = 16, LEFT_ROUTER if left else RIGHT_ROUTER, ""
    spare = [f"address add {case.right_second}/{length} dev {device}"] if case.spare and not left else []
    return [
        f"address flush dev {device} scope global",
        f"address add {outer}/{length} dev {device}{more}",
        *spare,
        f"route replace default via {router}",
    ]


def _six(lab: Lab, left: str, router: str, right: str) -> None:
    """The same in IPv6, but for NAT."""
    for namespace, interface in ((left, OUTSIDE), (router, LEFT_PORT), (router, RIGHT_PORT), (right, OUTSIDE)):
        lab.inside(namespace, "sysctl", "-qw", f"net.ipv6.conf.{interface}.disable_ipv6=0")
    lab.inside(router, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    for namespace, interface, address in (
        (left, OUTSIDE, LEFT_SIX),
        (router, LEFT_PORT, LEFT_ROUTER_SIX),
        (router, RIGHT_PORT, RIGHT_ROUTER_SIX),
    ):
        lab.ip(namespace, "address", "add", f"{address}/64", "dev", interface, "nodad")
    lab.ip(left, "route", "add", "default", "via", LEFT_ROUTER_SIX)


@contextmanager
def ground() -> Iterator[Ground]:
    """The left side's interface has its address; the right one's comes with each case."""
    with Lab() as lab:
        left, router, right = (lab.namespace(role) for role in ("left", "router", "right"))
        lab.cable((left, OUTSIDE), (router, LEFT_PORT), 2)
        lab.cable((router, RIGHT_PORT), (right, OUTSIDE))
        lab.inside(router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for side in (left, right):  # to lose one address is not to lose all
            lab.inside(side, "sysctl", "-qw", "net.ipv4.conf.all.promote_secondaries=1")
        lab.ip(router, "address", "add", f"{LEFT_ROUTER}/16", "dev", LEFT_PORT)
        lab.ip(router, "address", "add", f"{RIGHT_ROUTER}/16", "dev", RIGHT_PORT)
        lab.ip(left, "address", "add", f"{LEFT_OUTER}/16", "dev", OUTSIDE)
        lab.ip(left, "route", "add", "default", "via", LEFT_ROUTER)
        _six(lab, left, router, right)
        yield Ground(lab, left, router, right)
