"""The demo as a newcomer runs it: good from end to end, red when it must be, and gone without a trace in any case."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from netns.rig.patience import HANG_SECONDS
from xdpsec.demo import children, proof
from xdpsec.demo.children import Sa
from xdpsec.demo.topology import Site

XDPSEC = str(Path(sys.executable).with_name("xdpsec"))
#: Seconds of each throughput run: short, since the shares of the workers do not depend on it.
BRIEF = "1"
#: The whole demo takes less than a minute; on a busy machine it may take longer before we give up.
DEMO_SECONDS = 500
CHILDREN, SAS, WORKERS = 8, 16, 2


class Demo:
    """`xdpsec demo` as a process; `name` is known once it has built its lab."""

    def __init__(self, *options: str) -> None:
        # an editor or a pipe behind the demo makes no terminal: lines come when a step is done
        # who starts tests in the background of a shell leaves them deaf to Ctrl-C, and what they start
        argv = ["env", "--default-signal=INT", XDPSEC, "demo", "--seconds", BRIEF, *options]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        self.name = ""

    def until(self, step: str) -> None:
        """Read until the line that says this step is done."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(r"build the lab (xs-[0-9a-f]+)", line):
                self.name = found[1]
            if line.startswith(f"done {step}"):
                return
        pytest.fail(f"the demo ended before {step!r}:\n{''.join(self.lines)}")

    def end(self) -> int:
        rest, _ = self.process.communicate(timeout=DEMO_SECONDS)
        self.lines += rest.splitlines(keepends=True)
        return self.process.returncode

    @property
    def said(self) -> str:
        return "".join(self.lines)


@pytest.fixture
def demo() -> Iterator[Any]:
    """Starts demos, and ends the one that a failed test left behind, by the way that is under test anyway."""
    started: list[Demo] = []

    def start(*options: str) -> Demo:
        started.append(Demo(*options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.communicate(timeout=DEMO_SECONDS)


def traces(name: str, inodes: frozenset[int] = frozenset()) -> list[str]:
    """What is left of a lab: namespaces, its directory, processes in its namespaces (by inode: their names may be
    gone) or with its name among their arguments."""
    folders = ("/run/netns", "/run", "/dev/shm")
    left = [str(path) for folder in folders for path in Path(folder).glob(f"{name}*")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            inside = (process / "ns/net").stat().st_ino in inodes
            arguments = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended meanwhile, or is none that root may look into: not of a lab
            continue
        if inside or (name in arguments and int(process.name) != os.getpid()):
            left.append(f"{process.name}: {arguments}")
    return left


@contextmanager
def namespaces(name: str) -> Iterator[frozenset[int]]:
    """Their inodes, which are nobody else's before the end: the kernel gives a number again once it is free."""
    held = [os.open(path, os.O_RDONLY) for path in Path("/run/netns").glob(f"{name}-*")]
    try:
        yield frozenset(os.fstat(descriptor).st_ino for descriptor in held)
    finally:
        for descriptor in held:
            os.close(descriptor)


# --- good --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Kept:
    name: str
    keys: str
    said: str
    summary: dict[str, Any]

    @property
    def directory(self) -> Path:
        return next(path for path in (Path("/run", self.name), Path("/dev/shm", self.name)) if path.exists())

    def inside(self, role: str, *argv: str) -> str:
        command = ["ip", "netns", "exec", f"{self.name}-{role}", *argv]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=HANG_SECONDS).stdout


@pytest.fixture(scope="module", params=["ike", "manual"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """One demo that was told to stay; its end is that `--remove` leaves nothing."""
    file = tmp_path_factory.mktemp("demo") / "summary.json"
    demo = Demo("--keep", "--json-file", str(file), "--keys", request.param)
    demo.until("build the lab")
    status = demo.end()
    with namespaces(demo.name) as inodes:
        try:
            assert status == 0, demo.said
            yield Kept(demo.name, request.param, demo.said, json.loads(file.read_text()))
        finally:
            removed = subprocess.run([XDPSEC, "demo", "--remove", demo.name], check=False, timeout=DEMO_SECONDS)
        assert removed.returncode == 0
        assert traces(demo.name, inodes) == []


def test_only_esp_udp_4500_and_arp_crossed_the_wan(kept: Kept) -> None:
    wan = kept.summary["wan"]
    assert (wan["strangers"], wan["uncaptured"]) == (0, 0)
    assert wan["frames"] > 10_000
    assert {"ESP", "UDP 4500"} <= set(wan["kinds"]) <= {"ESP", "UDP 4500", "IKE", "ARP", "neighbour discovery"}


def test_every_child_was_opened_by_its_keys_both_ways(kept: Kept) -> None:
    opened = kept.summary["decrypted"]
    assert len({one["spi"] for one in opened}) == SAS
    assert all(one["known"] >= kept.summary["pings"] / SAS for one in opened)
    assert {one["suite"][:6] for one in opened} == {"aes128", "aes256"}
    assert sum(one["udp"] for one in opened) == 2


def test_each_worker_carried_its_share(kept: Kept) -> None:
    for gateway in kept.summary["gateways"]:
        assert len(gateway["workers"]) == WORKERS
        assert all(share >= 0.25 for worker in gateway["workers"] for share in worker["shares"].values())
        assert gateway["handed_over"] <= 0.01
        assert all(sum(worker["cycles"].values()) > 0 for worker in gateway["workers"])


def test_tcp_and_udp_went_both_ways(kept: Kept) -> None:
    streams = kept.summary["streams"]
    assert [(one["protocol"], one["sender"]) for one in streams] == [
        ("TCP", "a"),
        ("TCP", "b"),
        ("UDP", "a"),
        ("UDP", "b"),
    ]
    assert all(one["slowest"] > 0 for one in streams)


def test_rekeys_under_load_lost_nothing(kept: Kept) -> None:
    """IKE and every child, from both sides, while datagrams ran both ways."""
    rekeys = kept.summary["rekeys"]
    if kept.keys == "manual":
        assert rekeys is None
        return
    assert rekeys["ike"] >= 4
    assert rekeys["children"] >= 2 * CHILDREN
    assert rekeys["sent"] > 1000
    assert rekeys["lost"] == 0


def test_the_last_words_show_how_to_look_around(kept: Kept) -> None:
    """Every line that it prints for that works as it stands."""
    commands = [line.strip() for line in kept.said.splitlines() if line.startswith(f"  ip netns exec {kept.name}")]
    tried = [command for command in commands if "tcpdump" not in command]
    assert len(tried) == 5
    for command in tried:
        argv = [*command.split(), "-c", "1"] if " ping " in command else command.split()
        assert subprocess.run(argv, check=True, capture_output=True, timeout=HANG_SECONDS).stdout, command
    config = (kept.directory / "gateway-b" / "xdpsec.toml").read_text()
    assert all(line in kept.said for line in config.splitlines())


def test_keys_are_roots_alone(kept: Kept) -> None:
    made = [*kept.directory.glob("gateway-*/*.keys"), *kept.directory.glob("gateway-*/*.psk")]
    given = [kept.directory / "gateway-a" / name for name in ("esp_sa", "ikev2_decryption_table")]
    assert len(made) == {"ike": 4, "manual": 2 * CHILDREN}[kept.keys]
    files = [*made, kept.directory / "tshark" / "esp_sa", *(given if kept.keys == "ike" else ())]
    assert all((file.stat().st_uid, file.stat().st_mode & 0o777) == (0, 0o600) for file in files)
    secrets = [word for file in files for word in re.findall(r"[0-9a-f]{32,}", file.read_text())]
    assert secrets
    assert not any(word in kept.said for word in secrets)


# --- red ---------------------------------------------------------------------------------------------------------


def test_wrong_keys_open_nothing_of_the_real_capture(kept: Kept, tmp_path: Path) -> None:
    """Control of the proof: the demo's own capture, read with keys of another day."""
    a, b = Site("a", 1, "", "", ""), Site("b", 2, "", "", "")
    others: list[Sa] = [sa for child in children.make(a, b) for sa in (child.forth, child.back)]
    spis = [one["spi"] for one in kept.summary["decrypted"]]
    sas = [dataclasses.replace(sa, spi=spi) for sa, spi in zip(others, spis, strict=True)]
    ends = {sa.spi: children.ends(sa, a, b) for sa in sas}
    reading = proof.read(kept.directory / "wan.pcap", sas, tmp_path / "tshark", ends)
    assert all(one.frames > 0 and one.known == 0 for one in reading.opened)
    assert len(reading.faults(1)) == SAS


def test_one_packet_in_the_clear_makes_it_red(demo: Any, tmp_path: Path) -> None:
    """An inner packet put onto the wan at gateway A, while iperf3 runs over the tunnel."""
    file = tmp_path / "summary.json"
    run = demo("--json-file", str(file), "--keys", "manual")  # who made the keys makes no difference, but takes longer
    run.until("open the capture")
    frame = Ether(dst="02:00:00:00:00:01") / IP(src="10.81.1.10", dst="10.82.1.10") / ICMP() / Raw(b"in the clear")
    inject(f"{run.name}-wan", "to-a", bytes(frame))
    assert run.end() == 1, run.said
    summary = json.loads(file.read_text())
    assert not summary["good"]
    assert summary["wan"]["strangers"] == 1
    assert "10.81.1.10 > 10.82.1.10: ICMP echo request" in run.said
    assert traces(run.name) == []


def inject(namespace: str, interface: str, frame: bytes) -> None:
    """Send a frame out of an interface in another namespace."""
    program = (
        "import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((sys.argv[1], 0)); "
        "s.send(bytes.fromhex(sys.argv[2]))"
    )
    command = ["ip", "netns", "exec", namespace, sys.executable, "-c", program, interface, frame.hex()]
    subprocess.run(command, check=True, timeout=HANG_SECONDS)


# --- gone --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "number"),
    [
        ("build the lab", signal.SIGINT),
        ("write secrets", signal.SIGINT),
        ("start both gateways", signal.SIGTERM),
        ("negotiate over IKEv2", signal.SIGINT),
        ("open the capture", signal.SIGINT),
    ],
)
def test_an_interrupted_demo_leaves_nothing(demo: Any, step: str, number: signal.Signals) -> None:
    run = demo()
    run.until(step)
    with namespaces(run.name) as inodes:
        assert inodes
        run.process.send_signal(number)
        assert run.end() == 130, run.said
        assert traces(run.name, inodes) == []


def test_a_lab_that_does_not_exist_cannot_be_removed() -> None:
    for name in ("xs-000000", "../etc"):
        done = subprocess.run(
            [XDPSEC, "demo", "--remove", name], check=False, capture_output=True, text=True, timeout=HANG_SECONDS
        )
        assert done.returncode != 0
        assert name in done.stderr
