"""The bench's three namespaces: our gateway, strongSwan beside it, and the station that is every peer of both.

Each gateway has a cable to the station and one to a network behind it. All peers' addresses are local to the station
and routed to it, as if behind one router: a gateway resolves one neighbour, and a flood's answers end there unheard.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ike_people import BEHIND, GUEST_OUTER, GUESTS, LOCAL, OUTER, people

from xdpsec.demo.lab import Lab, run

OUTSIDE, INSIDE = "out0", "in0"


@dataclass(frozen=True, slots=True)
class Side:
    """One gateway: "ours" or "theirs". `link` is the station's interface towards it."""

    name: str
    number: int
    namespace: str

    @property
    def outer(self) -> str:
        return f"10.9.{self.number}.1"

    @property
    def router(self) -> str:
        return f"10.9.{self.number}.2"

    @property
    def link(self) -> str:
        return f"to-{self.name}"


@dataclass(frozen=True, slots=True)
class Net:
    lab: Lab
    station: str
    ours: Side
    theirs: Side


def build(lab: Lab) -> Net:
    station = lab.namespace("station")
    sides = [Side(name, number, lab.namespace(name)) for number, name in enumerate(("ours", "theirs"), 1)]
    for setting in ("all.rp_filter=0", "default.rp_filter=0"):
        lab.inside(station, "sysctl", "-qw", f"net.ipv4.conf.{setting}")
    for side in sides:
        lab.cable((side.namespace, OUTSIDE), (station, side.link))
        lab.cable((side.namespace, INSIDE), (station, f"in-{side.name}"))
        lab.ip(side.namespace, "address", "add", f"{side.outer}/24", "dev", OUTSIDE)
        lab.ip(side.namespace, "address", "add", f"{LOCAL.replace('.0/', '.1/')}", "dev", INSIDE)
        lab.ip(station, "address", "add", f"{side.router}/24", "dev", side.link)
        lab.ip(side.namespace, "route", "add", OUTER, "via", side.router)
        lab.ip(side.namespace, "route", "add", BEHIND, "via", side.router)
    lab.ip(station, "route", "add", "local", OUTER, "dev", "lo")
    return Net(lab, station, *sides)


def invite(net: Net, count: int) -> None:
    """strongSwan's namespace becomes one of peers: the first `count` guests' addresses are its own, and the station
    hands on what is for them."""
    lab, host, station = net.lab, net.theirs, net.station
    for person in people(count, GUESTS):
        lab.ip(host.namespace, "address", "add", f"{person.address}/32", "dev", OUTSIDE)
        # its userspace ESP wants an address of its own within what it protects
        lab.ip(host.namespace, "address", "add", person.prefix, "dev", "lo")
    lab.ip(host.namespace, "route", "add", net.ours.outer, "via", host.router)
    lab.inside(station, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    for words in ("add pref 10 lookup local", "del pref 0", f"add pref 5 to {GUEST_OUTER} lookup 77"):
        lab.ip(station, "rule", *words.split())
    lab.ip(station, "route", "add", "default", "via", host.outer, "table", "77")


# --- what processes have used --


def processes(lab: Lab, namespace: str) -> dict[int, str]:
    """Those in the namespace, with their command lines."""
    found = {}
    for pid in map(int, lab_pids(namespace)):
        try:
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended just now
    return found


def lab_pids(namespace: str) -> list[str]:
    return run(["ip", "netns", "pids", namespace]).split()


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads, by the scheduler's clock (nanoseconds)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise LookupError(f"no Pss of process {pid}")


def udp_counts(lab: Lab, namespace: str) -> dict[str, int]:
    """The kernel's counters of UDP over IPv4 in the namespace (proc(5), net/snmp)."""
    rows = [line.split() for line in lab.inside(namespace, "cat", "/proc/net/snmp").splitlines() if line[:4] == "Udp:"]
    return dict(zip(rows[0][1:], map(int, rows[1][1:]), strict=True))
