"""The fence in front of a forwarding kernel: what crosses without it must not cross with it.

Host (left), gateway (this namespace), far (right): the gateway forwards in the clear, as one whose processes all died.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from shell import sh

from xdpsec.errors import LocalError
from xdpsec.net import fence as module
from xdpsec.net.fence import Box, Fence, missing

LOCAL, REMOTE = "10.1.0.0/16", "10.2.0.0/16"
HOST, HOST_GATE, FAR_GATE, FAR = "10.1.0.2", "10.1.0.1", "10.9.0.1", "10.2.0.2"
PEER = "10.9.0.2"
#: Then something else is made that bears a name of ours.
ANEW = "delete table inet xdpsec; add table inet xdpsec"


def box(*nets: str) -> Box:
    return tuple(ipaddress.ip_network(net) for net in nets)


@pytest.fixture
def hosts(namespace: None) -> Iterator[tuple[str, str]]:
    """A host with 10.1.0.2 on `in`, a peer with 10.9.0.2 and 10.2.0.2 behind `out`; forwarding on, rp_filter off."""
    names = [f"xs-{os.getpid()}-{side}" for side in ("host", "far")]
    host, far = names
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    Path("/proc/sys/net/ipv4/conf/all/rp_filter").write_text("0")
    try:
        for name, gate in zip(names, ("in", "out"), strict=True):
            sh(f"ip netns add {name}")
            sh(f"ip link add {gate} type veth peer name eth netns {name}")
            sh(f"ip -n {name} link set lo up")
            sh(f"ip -n {name} link set eth up")
            sh(f"ip link set {gate} up")
            Path(f"/proc/sys/net/ipv4/conf/{gate}/rp_filter").write_text("0")
        sh(f"ip addr add {HOST_GATE}/16 dev in")
        sh(f"ip addr add {FAR_GATE}/24 dev out")
        sh(f"ip -n {host} addr add {HOST}/16 dev eth")
        sh(f"ip -n {host} route add default via {HOST_GATE}")
        sh(f"ip -n {far} addr add {PEER}/24 dev eth")
        sh(f"ip -n {far} addr add {FAR}/32 dev lo")
        sh(f"ip -n {far} route add 10.1.0.0/16 via {FAR_GATE}")
        sh(f"ip route add 10.2.0.0/16 via {PEER}")
        yield host, far
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def ping(target: str, inside: str = "", source: str = "") -> tuple[bool, str]:
    """Does one echo come back? And what ping said."""
    words = ["ip", "netns", "exec", inside] if inside else []
    words += ["ping", "-n", "-c1", "-W1", *(["-I", source] if source else []), target]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode == 0, done.stdout


def received(name: str) -> int:
    """ICMP echo requests that reached a namespace's stack."""
    text = sh(f"ip netns exec {name} nstat -asz IcmpInEchos")
    return int(text.split("IcmpInEchos")[1].split()[0])


def test_control_run_then_fence_then_open(hosts: tuple[str, str]) -> None:
    host, far = hosts
    fence = Fence()
    ways = [(FAR, host, ""), (HOST, far, FAR), (FAR, "", HOST_GATE), (HOST_GATE, far, FAR)]
    assert [ping(*way)[0] for way in ways] == [True] * 4, "the control run must show traffic in the clear"
    assert not fence.stands()
    fence.protect([(LOCAL, REMOTE)], [PEER])
    assert fence.stands()
    before = received(host), received(far)
    assert [ping(*way)[0] for way in ways] == [False] * 4
    assert (received(host), received(far)) == before
    assert ping(PEER)[0], "the peer's outer address is spared"
    assert ping(HOST)[0], "the gateway still reaches its own side"
    fence.open()
    fence.open()
    assert [ping(*way)[0] for way in ways] == [True] * 4


def test_the_same_over_ipv6(hosts: tuple[str, str]) -> None:
    """Neighbours are still found, and the sender is told."""
    host, far = hosts
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    for name, gate, own, gateway in (("host", "in", "fd01::2", "fd01::1"), ("far", "out", "fd09::2", "fd09::1")):
        space = {"host": host, "far": far}[name]
        sh(f"ip addr add {gateway}/64 dev {gate} nodad")
        sh(f"ip -n {space} addr add {own}/64 dev eth nodad")
        sh(f"ip -n {space} route add default via {gateway}")
    sh(f"ip -n {far} addr add fd02::2/128 dev lo nodad")
    sh("ip route add fd02::/64 via fd09::2")
    fence = Fence()
    ways = [("fd02::2", host, ""), ("fd01::2", far, "fd02::2"), ("fd02::2", "", "fd01::1"), ("fd01::1", far, "fd02::2")]
    for way in ways:  # link-local addresses are tentative for a second or two
        assert any(ping(*way)[0] for _ in range(5)), "the control run must show traffic in the clear"
    fence.protect([("fd01::/64", "fd02::/64")], ["fd09::2"])
    for gate in ("in", "out"):
        sh(f"ip neigh flush dev {gate}")
    assert [ping(*way)[0] for way in ways] == [False] * 4
    assert "No route" in ping("fd02::2", host)[1]
    assert ping("fd09::2")[0], "the peer's outer address is spared"
    assert ping("fd01::2")[0], "the gateway still reaches its own side"
    fence.open()
    fence.protect([("::/0", "::/0")], ["fd09::2"])
    for gate in ("in", "out"):
        sh(f"ip neigh flush dev {gate}")
    assert not ping("fd02::2", host)[0]
    assert ping("fd09::2")[0], "a wide child leaves neighbour discovery alone"
    assert ping("fd01::1", host)[0]


def test_a_peer_within_its_own_prefix_is_spared_to_us_alone(hosts: tuple[str, str]) -> None:
    """What a host sends to it is protected like everything for that prefix, and what comes from it must have been."""
    host, far = hosts
    assert ping(PEER, host)[0]
    assert ping(HOST, far, PEER)[0]
    Fence().protect([(LOCAL, f"{PEER}/32")], [PEER])
    assert ping(PEER)[0]
    assert not ping(PEER, host)[0]
    assert not ping(HOST, far, PEER)[0]


def test_sender_is_told(hosts: tuple[str, str]) -> None:
    Fence().protect([(LOCAL, REMOTE)], [PEER])
    assert "Destination Net Unreachable" in ping(FAR, hosts[0])[1]


def test_source_of_no_child_cannot_cross_either(hosts: tuple[str, str]) -> None:
    sh(f"ip -n {hosts[0]} addr add 10.77.0.2/32 dev lo")
    sh("ip route add 10.77.0.0/16 via 10.1.0.2")
    sh(f"ip -n {hosts[1]} route add 10.77.0.0/16 via {FAR_GATE}")
    assert ping(FAR, hosts[0], "10.77.0.2")[0]
    Fence().protect([(LOCAL, REMOTE)], [PEER])
    assert not ping(FAR, hosts[0], "10.77.0.2")[0]


def test_our_own_tun_is_the_way_through(hosts: tuple[str, str]) -> None:
    host, far = hosts
    Fence().protect([(LOCAL, REMOTE)], [PEER])
    assert not ping(FAR, host)[0]
    sh("ip link set out down")
    sh("ip link set out name xdpsec0")
    sh("ip link set xdpsec0 up")
    sh(f"ip route add 10.2.0.0/16 via {PEER}")
    assert ping(FAR, host)[0]
    assert ping(HOST, far, FAR)[0]


def test_a_child_that_is_gone_stays_closed(hosts: tuple[str, str]) -> None:
    fence = Fence()
    fence.protect([(LOCAL, REMOTE)], [PEER])
    fence.protect([("10.5.0.0/16", "10.6.0.0/16")], [PEER])
    assert not ping(FAR, hosts[0])[0]


def test_wide_child_spares_the_machine(hosts: tuple[str, str]) -> None:
    host, far = hosts
    Fence().protect([("10.1.0.0/16", "0.0.0.0/0")], [PEER])
    assert not ping(FAR, host)[0]
    assert not ping(HOST, far, FAR)[0]
    assert ping(HOST)[0]
    assert ping(PEER)[0]
    assert ping(HOST_GATE, host)[0]


def test_again_and_overlapping(namespace: None) -> None:
    """nft refuses overlapping elements: nested and crossing pairs come as what is missing."""
    fence = Fence()
    for pairs in (
        [("10.1.0.0/16", "10.2.0.0/16")],
        [("10.1.0.0/16", "10.2.0.0/16")],
        [("10.1.7.0/24", "10.2.0.0/16"), ("10.1.0.1/32", "10.2.3.4/32")],
        [("10.0.0.0/8", "10.2.7.0/24"), ("10.0.0.0/8", "10.0.0.0/8")],
        [("fd01::/64", "fd02::/64"), ("fd00::/8", "fd02::/48"), ("::/0", "::/0"), ("0.0.0.0/0", "0.0.0.0/0")],
        [("10.1.0.0/16", "0.0.0.0/0")],
    ):
        fence.protect(pairs, [PEER, "fd09::2"])
        fence.protect(pairs, [PEER, "fd09::2"])


@pytest.mark.parametrize(
    "harm",
    [
        "flush ruleset",
        "delete table inet xdpsec",
        "flush table inet xdpsec",
        "flush chain inet xdpsec forward",
        "flush set inet xdpsec pairs4",
        "delete element inet xdpsec remote4 { 10.2.0.0/16 }",
        "add table inet xdpsec { flags dormant; }",
        "insert rule inet xdpsec forward accept",
        "add chain inet xdpsec forward { policy drop; }",
        f"{ANEW}; add set inet xdpsec pairs4 {{ type inet_service; elements = {{ 80 }}; }}",
        f"{ANEW}; add set inet xdpsec remote4 {{ type ipv4_addr; }}",
        f"{ANEW}; add set inet xdpsec remote4 {{ type ipv4_addr; flags interval, timeout; timeout 1h; }}; "
        "add element inet xdpsec remote4 { 10.2.0.0/16 }",
        f"{ANEW}; add chain inet xdpsec forward {{ type filter hook forward priority 0; }}",
    ],
)
def test_what_somebody_took_is_put_back(hosts: tuple[str, str], harm: str) -> None:
    """By the kernel's own answer: what crossed the harmed fence does not cross the mended one."""
    host, far = hosts
    fence = Fence()
    fence.protect([("10.5.0.0/16", "10.6.0.0/16")], [PEER])
    fence.protect([(LOCAL, REMOTE)], [PEER])
    before = sh("nft -s list table inet xdpsec")
    assert not fence.mend()
    sh(f"nft {harm}")
    halves = ("flush set", "delete element", "policy")  # these leave the other half of the fence
    if not any(part in harm for part in halves):
        assert ping(FAR, host)[0] or ping(HOST, far, FAR)[0], "the control run must show traffic in the clear"
    assert fence.mend()
    assert sh("nft -s list table inet xdpsec") == before
    assert not ping(FAR, host)[0]
    assert not ping(HOST, far, FAR)[0]
    assert not fence.mend()


def test_a_fence_that_is_as_it_was_is_not_read_again(namespace: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every nft transaction on the machine has us look, and a look read each element of thousands of peers."""
    fence = Fence()
    fence.protect([(LOCAL, REMOTE)], [PEER])
    assert not fence.mend()
    with monkeypatch.context() as patched:
        patched.setattr(module, "_elements", None)
        assert not fence.mend()
    fence.protect([("10.5.0.0/16", "10.6.0.0/16")], [])
    sh("nft delete element inet xdpsec remote4 { 10.6.0.0/16 }")
    sh("nft delete element inet xdpsec pairs4 { 10.5.0.0/16 . 10.6.0.0/16 }")
    assert fence.mend(), "the sets are as they were before that pair was laid"
    assert "10.6.0.0/16" in sh("nft list set inet xdpsec remote4")


def test_what_another_gateway_added_is_no_harm(hosts: tuple[str, str]) -> None:
    one, other = Fence(), Fence()
    one.protect([("10.5.0.0/16", "10.6.0.0/16")], [])
    other.protect([(LOCAL, REMOTE)], [PEER])
    assert not one.mend()
    sh("nft flush chain inet xdpsec forward")
    assert one.mend()
    assert not ping(FAR, hosts[0])[0]
    assert not other.mend()


@pytest.mark.parametrize(
    "strange",
    [
        "add element inet xdpsec pairs4 { 10.5.0.0/16 . 10.6.0.0/16 comment branch }",
        "add element inet xdpsec remote4 { 10.6.0.0/16 comment branch }",
        "add set inet xdpsec ports { type inet_service; elements = { 80 }; }",
        "add set inet xdpsec macs { type ether_addr; elements = { 00:11:22:33:44:55 }; }",
    ],
)
def test_what_somebody_else_put_into_the_table_is_read(hosts: tuple[str, str], strange: str) -> None:
    """By the gateway that runs, by the next one, and when it is all laid anew."""
    fence = Fence()
    fence.protect([(LOCAL, REMOTE)], [PEER])
    sh(f"nft {strange}")
    assert not fence.mend()
    Fence().protect([(LOCAL, REMOTE), ("10.5.0.0/16", "10.6.0.0/16")], [PEER])
    sh("nft flush chain inet xdpsec forward")
    assert fence.mend()
    assert not ping(FAR, hosts[0])[0]
    assert "10.5.0.0/16 . 10.6.0.0/16" in sh("nft list set inet xdpsec pairs4")


def test_a_table_that_goes_while_it_is_read_is_put_back(
    hosts: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An nft before which somebody deletes the table, once."""
    fence = Fence()
    fence.protect([(LOCAL, REMOTE)], [PEER])
    nft, once = shutil.which("nft"), tmp_path / "once"
    once.touch()
    fake = tmp_path / "nft"
    fake.write_text(f'#!/bin/sh\n[ "$3" = table ] && rm {once} 2>/dev/null && {nft} flush ruleset\nexec {nft} "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert fence.mend()
    assert not once.exists()
    assert not ping(FAR, hosts[0])[0]


QUICKER = ["flush ruleset", "flush chain inet xdpsec forward", "insert rule inet xdpsec forward accept"]


@pytest.mark.parametrize("quicker", QUICKER)
def test_a_fence_that_is_touched_as_soon_as_it_is_laid_is_put_back(
    hosts: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quicker: str
) -> None:
    """Somebody is faster than our look at what we made."""
    fence, nft, fake = Fence(), shutil.which("nft"), tmp_path / "nft"
    fence.protect([(LOCAL, REMOTE)], [PEER])
    sh("nft flush ruleset")
    fake.write_text(f'#!/bin/sh\n{nft} "$@" || exit\n[ "$1" != -f ] || {nft} {quicker}\n')
    fake.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert fence.mend()
    assert ping(FAR, hosts[0])[0]
    assert fence.mend()
    assert not ping(FAR, hosts[0])[0]
    assert not fence.mend()


def test_mending_before_anything_was_laid_lays_nothing(namespace: None) -> None:
    fence = Fence()
    assert not fence.mend()
    assert not fence.stands()


def test_refused_whole_when_one_pair_is_wrong(namespace: None) -> None:
    fence = Fence()
    with pytest.raises(LocalError, match="one address family"):
        fence.protect([("10.1.0.0/16", "10.2.0.0/16"), ("10.1.0.0/16", "fd02::/64")], [])
    assert not fence.stands()


def test_nft_is_not_there(namespace: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalError, match="install the package nftables"):
        Fence().protect([("10.1.0.0/16", "10.2.0.0/16")], [])


def test_missing_against_counting() -> None:
    """By brute force over an eight-address world: exactly what was not covered, and each address pair once."""
    chance = random.Random(4301)
    world = [ipaddress.IPv4Address(f"10.0.0.{n}") for n in range(8)]

    def net() -> str:
        bits = chance.randint(29, 32)
        return str(ipaddress.ip_network(f"10.0.0.{chance.randrange(8)}/{bits}", strict=False))

    def covers(one: Box, point: tuple[ipaddress.IPv4Address, ...]) -> bool:
        return all(address in part for address, part in zip(point, one, strict=True))

    for _ in range(200):
        have = missing([box(net(), net()) for _ in range(3)], [])
        wanted = [box(net(), net()) for _ in range(3)]
        new = missing(wanted, have)
        for point in itertools.product(world, world):
            times = sum(covers(one, point) for one in [*have, *new])
            assert times == any(covers(one, point) for one in [*have, *wanted])


def test_a_machine_that_starts_no_process_just_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks after the fence looks again; anything but a LocalError would end the gateway."""

    def refuses(*words: object, **more: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "run", refuses)
    with pytest.raises(LocalError, match="nft cannot be started"):
        Fence().mend()
