"""The demo from its beginning to its end; whatever happens on the way, nothing of it stays unless it was told to."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.markup import escape

from xdpsec.demo import children as kinds
from xdpsec.demo import figures, negotiated, proof, traffic
from xdpsec.demo.capture import Capture
from xdpsec.demo.children import Child
from xdpsec.demo.conversation import ROUNDS, Conversation
from xdpsec.demo.gateway import XDPSEC, Gateway
from xdpsec.demo.lab import Lab, LabError
from xdpsec.demo.lab import remove as remove_lab
from xdpsec.demo.negotiated import Rekeys
from xdpsec.demo.report import Summary
from xdpsec.demo.steps import Steps
from xdpsec.demo.topology import Site, Topology, build

#: Seconds of an iperf3 run. TCP carries what takes about so long at 1 Gbit/s, UDP sends well below that.
SECONDS = 4
TCP_MEBIBYTES_A_SECOND, UDP_RATE = 15, "25M"
#: Of each child while keys are replaced: what two busy cores carry without a drop, so that a loss is the rekeys'.
REKEY_RATE, REKEY_SECONDS = "2M", 6
#: Exit statuses: red, could not run, interrupted (128 + SIGINT).
RED, FAILED, INTERRUPTED = 1, 2, 130
TOOLS = ("ip", "ethtool", "sysctl", "nft", "ping", "iperf3", "tcpdump", "tshark")


def main(keep: bool = False, json_file: Path | None = None, seconds: int = SECONDS, manual: bool = False) -> int:
    """Run the demo; 0 when everything was as it should be. With `keep` the lab stays and is described. `json_file`
    gets the summary; `seconds` is about the length of each throughput run; `manual`: keys are not negotiated."""
    console = Console()
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        _check(json_file)
        with Lab() as lab:
            summary = _Demo(lab, Steps(console), manual, seconds).run()
            summary.print(console)
            if json_file:
                json_file.write_text(json.dumps(summary.to_json(), indent=2) + "\n")
            if keep:
                lab.leave_running()
                _describe(console, lab)
        return RED if summary.faults() else 0
    except LabError as error:
        return _say(f"[red]failed[/red] {escape(str(error))}", FAILED)
    except KeyboardInterrupt:
        return _say("interrupted; everything is removed", INTERRUPTED)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def remove(name: str) -> int:
    """Remove a lab that was kept, by its name."""
    try:
        if remove_lab(name):
            return 0
        return _say(f"there is no lab {escape(name)}; `ip netns list` shows what there is", RED)
    except LabError as error:
        return _say(escape(str(error)), FAILED)


def _say(text: str, status: int) -> int:
    Console(stderr=True).print(text, highlight=False, soft_wrap=True)
    return status


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _check(json_file: Path | None) -> None:
    if os.geteuid() != 0:
        raise LabError("the demo makes network namespaces, which only root may; run it with sudo")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise LabError(f"{missing[0]} is not installed; `make setup` installs what the demo needs")
    if json_file and not json_file.parent.is_dir():
        raise LabError(f"--json-file {json_file}: there is no directory {json_file.parent}; make it, or name another")


class _Demo:
    def __init__(self, lab: Lab, steps: Steps, manual: bool, seconds: int) -> None:
        self._lab, self._steps, self._manual, self._seconds = lab, steps, manual, seconds

    def run(self) -> Summary:
        lab, steps = self._lab, self._steps
        with steps.step(f"build the lab {lab.name}") as notes:
            topology = build(lab)
            notes.append("host A - gateway A - wan - gateway B - host B")
        with steps.step("watch the wan") as notes:
            watch = Capture(lab, topology.wan, lab.directory / "strangers.pcap", proof.STRANGERS)
            notes.append(f"it sees {_control(lab, topology, watch)} frames of a ping in the clear, as it should")
        with steps.step("write secrets and configurations") as notes:
            children = kinds.make(topology.a, topology.b) if self._manual else ()
            configs = self._configure(topology, children)
            notes.append("manual keys" if self._manual else "keys are negotiated")
        with steps.step("start both gateways"):
            sites = (topology.a, topology.b)
            gateways = [Gateway(lab, site, config) for site, config in zip(sites, configs, strict=True)]
            for gateway in gateways:
                gateway.wait()
        talk = None if self._manual else Conversation(lab, *gateways)
        if talk:
            with steps.step("negotiate over IKEv2") as notes:
                notes += talk.open()
                children = talk.children()
        pings, reading = self._pings(topology, children)
        loads = (
            traffic.Load("TCP", mebibytes=TCP_MEBIBYTES_A_SECOND * self._seconds),
            traffic.Load("UDP", rate=UDP_RATE, seconds=self._seconds),
        )
        streams = tuple(self._stream(ends, children, load) for load in loads for ends in topology.directions)
        rekeys = self._rekey(topology, children, talk) if talk else None
        with steps.step("ask both gateways for their counters"):
            strangers = watch.mark()
            read = tuple(figures.read(g.site.letter, g.ask("status"), g.ask("drops")) for g in gateways)
        return Summary(
            name=lab.name,
            seconds=steps.seconds,
            pings=pings,
            wanted=traffic.PINGS,
            streams=streams,
            crossed=sum(_received(lab, topology.wan, port) for port in topology.wan_ports),
            strangers=tuple(strangers),
            uncaptured=watch.stop(),
            reading=reading,
            gateways=read,
            rekeys=rekeys,
            least_rekeys=ROUNDS * 2,
        )

    def _rekey(self, topology: Topology, children: Sequence[Child], talk: Conversation) -> Rekeys:
        """Keys are replaced while datagrams run; what that took and what got lost."""
        load = traffic.Load("UDP", rate=REKEY_RATE, seconds=REKEY_SECONDS)
        with self._steps.step("rekey IKE and all children under load, from both sides") as notes:
            before = talk.counts()
            streams = []
            for ends in topology.directions:
                rekeying = talk.rekeying()
                streams.append(traffic.iperf(self._lab, ends, children, load))
                rekeying.join()
            ike, pairs = (after - earlier for after, earlier in zip(talk.counts(), before, strict=True))
            sent = sum(one.packets for one in streams)
            done = Rekeys(ike, pairs, sent, sum(round(one.lost * one.packets) for one in streams))
            notes.append(f"{done.ike} IKE SAs, {done.children} children, {done.lost} of {done.sent:,} datagrams lost")
        return done

    def _configure(self, topology: Topology, children: Sequence[Child]) -> list[Path]:
        """The configuration files, of gateway A and of gateway B."""
        if not self._manual:
            shared = negotiated.make_secrets()
            return [
                negotiated.write(self._lab.directory / f"gateway-{site.letter}", site, peer, shared)
                for site, peer in topology.directions
            ]
        return [
            kinds.write(self._lab.directory / f"gateway-{site.letter}", site, peer, children)
            for site, peer in topology.directions
        ]

    def _pings(self, topology: Topology, children: Sequence[Child]) -> tuple[int, proof.Reading]:
        """Ping across every child while everything that the gateways send is captured, then read it with the keys."""
        lab = self._lab
        file = lab.directory / "wan.pcap"
        with self._steps.step("ping across every child, both ways") as notes:
            capture = Capture(lab, topology.wan, file, "inbound")
            pings = traffic.ping_all(lab, topology, children)
            capture.mark()
            if lost := capture.stop():
                raise LabError(f"the capture of the pings lost {lost} frames")
            notes.append(f"{pings} of {pings} came back")
        with self._steps.step("open the capture with the keys (tshark)") as notes:
            sas = [sa for child in children for sa in (child.forth, child.back)]
            ends = {sa.spi: kinds.ends(sa, topology.a, topology.b) for sa in sas}
            reading = proof.read(file, sas, lab.directory / "tshark", ends)
            notes += [f"{count} {kind}" for kind, count in sorted(reading.kinds.items())]
            notes.append(f"{sum(one.known for one in reading.opened)} known payloads in {len(sas)} SAs")
        return pings, reading

    def _stream(self, ends: tuple[Site, Site], children: Sequence[Child], load: traffic.Load) -> traffic.Stream:
        source, target = ends
        what = f"{load.mebibytes} MiB of TCP" if load.mebibytes else f"UDP at {load.rate}bit/s"
        way = f"from host {source.letter.upper()} to host {target.letter.upper()}"
        with self._steps.step(f"{what} in each child {way}") as notes:
            stream = traffic.iperf(self._lab, ends, children, load)
            notes.append(f"{stream.bits_per_second / 1e6:,.1f} Mbit/s")
        return stream


def _control(lab: Lab, topology: Topology, watch: Capture) -> int:
    """While nothing protects anything yet, a ping in the clear must be seen at both of the wan's interfaces, coming in
    and going out: else the capture is blind and proves nothing."""
    lab.inside(topology.a.gateway, "ping", "-q", "-c", "1", topology.b.outer)
    seen = watch.mark()
    for port in topology.wan_ports:
        for direction in ("In", "Out"):
            if not any(line.split()[:2] == [port, direction] and "ICMP echo" in line for line in seen):
                raise LabError(f"the capture does not see what goes {direction.lower()} at {port} of the wan")
    return len(seen)


def _received(lab: Lab, namespace: str, interface: str) -> int:
    (row,) = json.loads(lab.ip(namespace, "-json", "-stats", "link", "show", interface))
    return int(row["stats64"]["rx"]["packets"])


def _describe(console: Console, lab: Lab) -> None:
    """The configurations and how to look around."""
    for config in sorted(lab.directory.glob("gateway-*/xdpsec.toml")):
        console.print(f"\n[bold]{config}[/bold]")
        console.print(config.read_text(), markup=False, highlight=False, soft_wrap=True)
    config = lab.directory / "gateway-a/xdpsec.toml"
    enter = f"ip netns exec {lab.name}-gw-a"
    lines = [
        *(f"{enter} {XDPSEC} {verb} --config {config}" for verb in ("status", "list-sas", "drops")),
        f"{enter} curl -s http://{kinds.METRICS}/metrics",
        f"ip netns exec {lab.name}-host-a ping -I 10.81.1.10 10.82.1.10",
        f"ip netns exec {lab.name}-wan tcpdump -n -i any",
        f"tail {lab.directory}/gateway-a/log",
        f"{XDPSEC} demo --remove {lab.name}",
    ]
    console.print("The lab is still there. To look around, and to remove it at the end:\n")
    for line in lines:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
