"""What hosts see of the path: Time Exceeded, Too Big with a size that then fits, a clamped MSS, and neighbours that
change their link-layer address."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from interop import echo
from scapy.layers.inet import IP, TCP

from netns.rig.flows import Flows
from netns.rig.patience import HANG_SECONDS
from netns.rig.sites import Pair, pair
from netns.rig.tap import Frame, Tap
from xdpsec.demo.topology import INSIDE, Site
from xdpsec.demo.waiting import Lines

ECHO = str(Path(echo.__file__).resolve())
ECHO_PORT = 7
IP_AND_ICMP, IP_AND_TCP = 28, 40
SYN = 0x02
RATE = 40.0


@pytest.fixture(scope="module")
def made() -> Iterator[Pair]:
    with pair() as pair_:
        pair_.start()
        yield pair_


@pytest.fixture
def flows(made: Pair) -> Iterator[Flows]:
    with made.flows(RATE) as running:
        running.wait()
        yield running


def refused_ping(made: Pair, child: int, *more: str) -> str:
    """What ping says about a ping from host A that must not get through."""
    where = made.where
    words = ["ping", "-n", "-c1", "-W20", "-I", where.a.address(child), *more, where.b.address(child)]
    argv = ["ip", "netns", "exec", where.a.host, *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=HANG_SECONDS, check=False)
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


@pytest.mark.parametrize("child", [0, 1, 4, 7])
def test_time_exceeded(made: Pair, child: int) -> None:
    """RFC 1812 sec. 5.3.1: a packet that arrives with TTL 1 goes no further, and its sender is told by whom."""
    said = refused_ping(made, child, "-t1")
    assert f"From {made.where.a.link[0]} icmp_seq=1 Time to live exceeded" in said


@pytest.mark.parametrize("child", range(8))
def test_too_big_names_a_size_that_fits(made: Pair, child: int) -> None:
    """RFC 1191 sec. 4: the size in Fragmentation Needed gets through, one byte more does not."""
    said = refused_ping(made, child, "-Mdo", "-s1472")
    found = re.search(r"Frag needed and DF set \(mtu = (\d+)\)", said)
    assert found, said
    mtu = int(found[1])
    assert 1300 < mtu < 1500
    made.ping(made.where.a, child, "-Mdo", f"-s{mtu - IP_AND_ICMP}")
    forget(made)
    again = refused_ping(made, child, "-Mdo", f"-s{mtu - IP_AND_ICMP + 1}")
    assert f"mtu = {mtu}" in again
    forget(made)


def forget(made: Pair) -> None:
    """Host A no longer knows what it was told about the path."""
    made.lab.ip(made.where.a.host, "route", "flush", "cache")


@pytest.mark.parametrize("child", [0, 1, 5])
def test_mss_is_clamped_on_the_wire(made: Pair, child: int) -> None:
    """Both SYNs as host B's and host A's interfaces see them: a full segment fits the tunnel, and none is refused."""
    where = made.where
    mtu = int(re.search(r"mtu = (\d+)", refused_ping(made, child, "-Mdo", "-s1472"))[1])  # type: ignore[index]
    forget(made)
    with Tap(where.b.host, "eth0") as there, Tap(where.a.host, "eth0") as here:
        with echoing(made, where.b, child):
            words = [where.b.address(child), str(ECHO_PORT), where.a.address(child), "300000"]
            made.lab.inside(where.a.host, sys.executable, ECHO, "ask", *words)
        syns = [there.wait(is_syn, HANG_SECONDS), here.wait(is_syn, HANG_SECONDS)]
        for syn in syns:
            mss = dict(IP(syn.ip)[TCP].options)["MSS"]
            assert mtu - IP_AND_TCP - 16 < mss <= mtu - IP_AND_TCP
            whole = IP(syn.ip)
            del whole[TCP].chksum
            assert IP(bytes(whole))[TCP].chksum == IP(syn.ip)[TCP].chksum
        refused = [frame for frame in here.frames() if frame.ip and frame.ip[9] == 1 and frame.ip[20:22] == b"\x03\x04"]
        assert not refused, "a segment was too big although the MSS was clamped"


@contextmanager
def echoing(made: Pair, site: Site, child: int) -> Iterator[None]:
    """An echo server at the site's host, listening."""
    argv = [sys.executable, ECHO, "serve", site.address(child), str(ECHO_PORT)]
    process = made.lab.start(site.host, argv, stdout=subprocess.PIPE)
    try:
        Lines(process.stdout, "echo server").until(lambda line: line == "listening", HANG_SECONDS)
        yield
    finally:
        made.lab.stop(process)


def is_syn(frame: Frame) -> bool:
    return bool(frame.ip) and frame.ip[9] == 6 and bool(IP(frame.ip)[TCP].flags.value & SYN)


@pytest.mark.parametrize("side", ["host", "wan"])
def test_a_neighbour_changes_its_address(made: Pair, flows: Flows, side: str) -> None:
    """The host behind gateway B, then gateway B's router, which say so (gratuitous ARP): traffic follows."""
    namespace, interface = (made.where.b.host, "eth0") if side == "host" else (made.where.wan, made.where.b.wan_port)
    made.lab.inside(namespace, "sysctl", "-qw", f"net.ipv4.conf.{interface}.arp_notify=1")
    made.lab.ip(namespace, "link", "set", interface, "address", "02:00:00:00:0b:01")
    flows.wait()


def test_a_neighbour_that_is_gone_comes_back(made: Pair, flows: Flows) -> None:
    """Its entry flushed under traffic: the kernel resolves it anew, since a worker asks."""
    made.lab.ip(made.b.namespace, "neigh", "flush", "dev", INSIDE)
    flows.wait()


def test_a_route_changes(made: Pair, flows: Flows) -> None:
    """A second router on the wan: gateway A's packets go by it from then on."""
    site, lab = made.where.a, made.lab
    other = "10.90.1.253"
    lab.ip(made.where.wan, "address", "add", f"{other}/24", "dev", site.wan_port)
    lab.ip(made.a.namespace, "route", "replace", "default", "via", other)
    flows.wait()
    lab.ip(made.a.namespace, "route", "replace", "default", "via", site.router)
    flows.wait()
