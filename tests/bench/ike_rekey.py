"""A thousand rekeys of one child under traffic both ways: every numbered datagram must come out, once.

Two of our gateways with a host behind each, or one of ours and strongSwan. Ours begins each rekey once the SA before
has carried enough packets. What a host's socket or a full ring loses counts as well.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netns.rig.gateways import Gateway

from xdpsec.channel import negotiation
from xdpsec.channel import operator as words
from xdpsec.cli.client import Client, run_dir
from xdpsec.demo.children import USER
from xdpsec.demo.lab import Lab, LabError, Process

PSK = "rekeys under traffic 0123456789abcdef"
PORTS = (7001, 7002)
PACKETS = 100  # that each SA carries, each way
PATIENCE = 10.0  # seconds for one rekey
#: Seconds between two: a replaced SA keeps its place for a while, and there are places for some dozens.
EVERY = 0.08
LEAD = 2.0  # seconds of traffic before the first rekey
LONGEST = 900  # seconds of traffic, unless it is stopped before


@dataclass(frozen=True, slots=True)
class End:
    """A gateway's side; `host` is the namespace where its traffic begins and ends."""

    letter: str
    number: int
    gateway: str
    host: str

    @property
    def outer(self) -> str:
        return f"10.90.0.{self.number}"

    @property
    def prefix(self) -> str:
        return f"10.{80 + self.number}.0.0/24"

    @property
    def address(self) -> str:
        return f"10.{80 + self.number}.0.10"

    @property
    def identity(self) -> str:
        return f"{self.letter}.bench.example"


Start = Callable[[Lab, End, End], None]


def build(lab: Lab, strongswan: bool) -> tuple[End, End]:
    ends = []
    for number, letter in enumerate("ab", 1):
        gateway = lab.namespace(f"gw-{letter}")
        theirs = strongswan and letter == "b"
        host = gateway if theirs else lab.namespace(f"host-{letter}")
        end = End(letter, number, gateway, host)
        if theirs:  # its tun device finds packets of the same namespace
            lab.ip(gateway, "address", "add", f"{end.address}/32", "dev", "lo")
        else:
            lab.cable((gateway, "lan0"), (host, "eth0"))
            lab.ip(gateway, "address", "add", f"10.{80 + number}.0.1/24", "dev", "lan0")
            lab.ip(host, "address", "add", f"{end.address}/24", "dev", "eth0")
            lab.ip(host, "route", "add", "default", "via", f"10.{80 + number}.0.1")
        ends.append(end)
    a, b = ends
    lab.cable((a.gateway, "wan0"), (b.gateway, "wan0"))
    for end, other in ((a, b), (b, a)):
        lab.ip(end.gateway, "address", "add", f"{end.outer}/24", "dev", "wan0")
        if end.host != end.gateway:
            lab.ip(end.gateway, "route", "add", other.prefix, "via", other.outer)
            lab.inside(end.gateway, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    return a, b


def ours(lab: Lab, end: End, other: End) -> Gateway:
    directory = lab.directory / end.letter
    directory.mkdir()
    secret = directory / "psk"
    secret.touch(mode=0o600)
    secret.write_text(PSK)
    config = directory / "xdpsec.toml"
    config.write_text(f"""[gateway]
outside = ["wan0"]
inside = ["lan0"]
workers = [{_core(end)}]
user = "{USER}"
run_dir = "{directory}/run"
state_dir = "{directory}/state"

[peers.{other.letter}]
remote = "{other.outer}"
local = "{end.outer}"
local_id = "{end.identity}"
remote_id = "{other.identity}"
auth = {{ psk_file = "{secret}" }}
[peers.{other.letter}.children.net]
local = ["{end.prefix}"]
remote = ["{other.prefix}"]
start = "{"on-start" if end.letter == "a" else "wait"}"
""")
    return Gateway(lab, end.gateway, config)


def _core(end: End) -> int:
    """Each gateway's worker has one to itself, where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[-end.number % len(cores)]


class Rekeys:
    """The operator of gateway A."""

    def __init__(self, gateway: Gateway) -> None:
        self._client = Client(run_dir(gateway.config))

    def rows(self) -> tuple[words.SaRow, ...]:
        return self._client.ask(words.SasQuery(), words.Sas).rows

    def wait_up(self) -> None:
        deadline = time.monotonic() + 60
        while len(self.rows()) < 2:
            if time.monotonic() > deadline:
                raise LabError("the child did not come up")
            time.sleep(0.05)

    def run(self, count: int) -> tuple[int, int]:
        """How many were done, and the fewest packets that an SA carried before it was replaced."""
        fewest, done = 1 << 62, 0
        known = {row.spi for row in self.rows()}
        for _ in range(count):
            began = time.monotonic()
            self._client.ask(negotiation.Rekey("b", "net"), negotiation.Begun)
            fresh = self._fresh(known)
            known |= {row.spi for row in fresh}
            fewest = min([fewest, *(self._carried(row.spi) for row in fresh)])
            done += 1
            time.sleep(max(0.0, began + EVERY - time.monotonic()))
        return done, fewest

    def _fresh(self, known: set[int]) -> list[words.SaRow]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            rows = self.rows()
            fresh = [row for row in rows if row.spi not in known]
            if len(fresh) >= 2:
                return fresh
            time.sleep(0.002)
        raise LabError("a rekey did not end")

    def _carried(self, spi: int) -> int:
        """Waits until the SA has carried enough."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            rows = self.rows()
            carried = next((row.packets for row in rows if row.spi == spi), 0)
            if carried >= PACKETS:
                return carried
            time.sleep(0.002)
        raise LabError("an SA carried too little")


class Flow:
    """Numbered datagrams from one end to the other."""

    def __init__(self, lab: Lab, program: Path, source: End, target: End, port: int, rate: int) -> None:
        argv = [str(program), "receive", target.address, str(port), str(LONGEST)]
        self._receiver = lab.start(target.host, argv, stdout=subprocess.PIPE)
        assert self._receiver.stdout is not None
        if self._receiver.stdout.readline() != b"ready\n":
            raise LabError("seqflow does not receive")
        argv = [str(program), "send", target.address, str(port), source.address, str(rate), str(LONGEST)]
        self._sender = lab.start(source.host, argv, stdout=subprocess.PIPE)

    def stop(self) -> None:
        self._sender.send_signal(signal.SIGTERM)

    def counts(self) -> dict[str, int]:
        """sent, lost, duplicated, reordered, once it was stopped."""
        sent, got = _said(self._sender), _said(self._receiver)
        lost = sent["sent"] - got["received"]
        return {"sent": sent["sent"], "lost": lost, "duplicated": got["duplicated"], "reordered": got["reordered"]}


def _said(process: Process) -> dict[str, int]:
    words = process.communicate(timeout=1200)[0].decode().split()
    return {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}


def measure(program: Path, strongswan: Start | None, rate: int, rekeys: int) -> dict[str, Any]:
    """The row. `rate` packets a second in all, half of it each way. `strongswan` starts it; None = ours."""
    with Lab() as lab:
        a, b = build(lab, strongswan is not None)
        gateway = ours(lab, a, b)
        if strongswan is None:
            ours(lab, b, a).start()
        else:
            strongswan(lab, a, b)
        gateway.start()
        operator = Rekeys(gateway)
        operator.wait_up()
        for source, target in ((a, b), (b, a)):  # next hops are known then; a packet does not wait for one
            lab.inside(source.host, "ping", "-q", "-c", "3", "-i", "0.3", "-I", source.address, target.address)
        flows = [
            Flow(lab, program, source, target, port, rate // 2)
            for (source, target), port in zip(((a, b), (b, a)), PORTS, strict=True)
        ]
        time.sleep(LEAD)
        began = time.monotonic()
        done, fewest = operator.run(rekeys)
        took = time.monotonic() - began
        for flow in flows:
            flow.stop()
        counts = [flow.counts() for flow in flows]
    row: dict[str, Any] = {"name": "rekey", **{key: sum(one[key] for one in counts) for key in counts[0]}}
    peer = "xdpsec" if strongswan is None else "strongswan"
    return {**row, "peer": peer, "rekeys": done, "rate": rate, "fewest": fewest, "took_s": round(took, 1)}
