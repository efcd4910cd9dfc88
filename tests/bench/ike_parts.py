"""What `make bench-ike` measures, part by part (ike.md sec. 4); each gives rows for build/bench-ike.json.

CPU of our gateway is that of all its processes but the workers, workers' acks and the channel included; strongSwan's is
charon's. Nothing here passes or fails. Knows no table and no file.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ike_net
import ike_offers
import ike_parse
import ike_rekey
import ike_sides
from ike_field import Flood, Station, group
from ike_people import GUESTS, Papers, people
from ike_sides import Ours, Theirs

from xdpsec.demo.lab import Lab, LabError

Row = dict[str, Any]
Told = Callable[[str], None]
#: Calls at a time, fewer than make strongSwan ask for cookies (30).
WINDOW = 25
FLOOD_RATE, FLOOD_SECONDS, HONEST = 20_000, 20, 20
REKEY_RATE = 50_000


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much: connects of a handshake row after `warm` others, in `turns`; established peers; seconds of rest."""

    roles: tuple[str, ...] = ("responder", "initiator")
    connects: int = 1000
    warm: int = 100
    turns: int = 5
    some: int = 100
    many: int = 5_000
    most: int = 10_000
    settle_seconds: float = 5.0
    idle_seconds: float = 130.0  # in which every peer is asked for a sign of life (dpd = 120)
    slow: int = 50
    rekeys: int = 1000


def handshakes(name: str, sizes: Sizes, told: Told) -> list[Row]:
    """Rows of both roles, but for the wide offer, which is the peer's; `name` as in the JSON."""
    kind = "ecdsa" if name.startswith("ecdsa") else "psk"
    wide = name.endswith("wide-offer")
    rows = []
    for role, measure in (("responder", _answering), ("initiator", _calling)):
        if role not in sizes.roles or (wide and role == "initiator"):
            continue
        with Lab() as lab:
            net = ike_net.build(lab)
            crowd = people(sizes.connects + sizes.warm)
            papers = Papers(lab.directory / "papers", kind)
            papers.write(crowd)
            ours, theirs = Ours(net, crowd, papers), Theirs(net, crowd, papers)
            ours.start()
            theirs.start()
            offers = ike_offers.WIDE if wide else ike_offers.NARROW
            station = Station(net, [group(0, len(crowd), papers, offers)])
            row = {"name": name, "role": role, **measure(ours, theirs, station, sizes)}
        told(f"{name}, {role}: {row['ours_ms']:.3f} ms, strongSwan {row['theirs_ms']:.3f} ms")
        rows.append(row)
    return rows


def _answering(ours: Ours, theirs: Theirs, station: Station, sizes: Sizes) -> Row:
    """The station calls; the gateways take turns."""

    def turn(contender: Ours | Theirs, first: int, count: int) -> tuple[float, int]:
        before = contender.cpu()
        said = station.ask("call", side=contender.side.name, first=first, count=count, window=WINDOW)
        return contender.cpu() - before, _enough(contender, said["up"], count, said["why"])

    return _turns(turn, ours, theirs, sizes)


def _calling(ours: Ours, theirs: Theirs, station: Station, sizes: Sizes) -> Row:
    """The gateways call the station in turns."""

    def turn(contender: Ours | Theirs, first: int, count: int) -> tuple[float, int]:
        known = station.ask("await_up", count=0, seconds=0)["up"]
        before = contender.cpu()
        contender.call(people(count, first))
        said = station.ask("await_up", count=known + count, seconds=60)
        time.sleep(0.2)  # the last answer is on its way to the gateway
        return contender.cpu() - before, _enough(contender, said["up"] - known, count, said["why"])

    return _turns(turn, ours, theirs, sizes)


def _enough(contender: Ours | Theirs, up: int, count: int, why: dict[str, int]) -> int:
    """How many connected: of ours all must, strongSwan may fail some on a busy machine."""
    if up < (count if isinstance(contender, Ours) else 0.9 * count):
        raise LabError(f"{contender.side.name}: {count - up} of {count} did not connect: {why}")
    return up


Turn = Callable[[Ours | Theirs, int, int], tuple[float, int]]


def _turns(turn: Turn, ours: Ours, theirs: Theirs, sizes: Sizes) -> Row:
    """Both after a warm-up, alternating; ms of CPU for each that connected."""
    contenders: tuple[Ours | Theirs, ...] = (ours, theirs)
    for contender in contenders:
        turn(contender, sizes.connects, sizes.warm)
    each = sizes.connects // sizes.turns
    used: dict[str, float] = dict.fromkeys(("ours", "theirs"), 0.0)
    up = dict.fromkeys(used, 0)
    for number in range(sizes.turns):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            seconds, connected = turn(contender, number * each, each)
            used[contender.side.name] += seconds * 1000
            up[contender.side.name] += connected
    ours_ms, theirs_ms = (used[name] / up[name] for name in ("ours", "theirs"))
    return {"ours_ms": round(ours_ms, 4), "theirs_ms": round(theirs_ms, 4), "ratio": round(ours_ms / theirs_ms, 4)}


# --- many peers --


def crowd(sizes: Sizes, told: Told) -> list[Row]:
    """Memory, idle CPU, the listing: one gateway with more and more peers."""
    with Lab() as lab:
        net = ike_net.build(lab)
        everybody = people(sizes.most)
        papers = Papers(lab.directory / "papers", "psk")
        papers.write(everybody)
        ours = Ours(net, everybody, papers)
        told(f"a gateway with {sizes.most} peers starts: {ours.start():.1f} s")
        station = Station(net, [group(0, sizes.most, papers, ike_offers.NARROW)])
        kib = []
        up = 0
        for goal in (sizes.some, sizes.many):
            up = _reach(station, up, goal)
            ours.scrape()
            kib.append(ours.control_kib())
        each = (kib[1] - kib[0]) / (sizes.many - sizes.some)
        told(f"memory: {each:.1f} KiB a peer")
        _reach(station, up, sizes.most)
        ours.scrape()
        time.sleep(sizes.settle_seconds)
        before = ours.cpu(workers=True)
        time.sleep(sizes.idle_seconds)
        percent = 100 * (ours.cpu(workers=True) - before) / sizes.idle_seconds
        told(f"idle: {percent:.2f} % of a core")
        seconds = max(_listing(ours, verb, told) for verb in ("list-peers", "status"))
    return [
        {"name": "memory", "kib": round(each, 2)},
        {"name": "idle", "percent": round(percent, 3), "peers": sizes.most},
        {"name": "listing", "s": round(seconds, 3), "peers": sizes.most},
    ]


def _listing(ours: Ours, verb: str, told: Told) -> float:
    began = time.monotonic()
    listed = ours.ask(verb)
    took = time.monotonic() - began
    told(f"{verb}: {took:.2f} s, {len(listed.splitlines())} lines")
    return took


def _reach(station: Station, up: int, goal: int) -> int:
    said = station.ask("call", side="ours", first=up, count=goal - up, window=WINDOW)
    if said["up"] != goal - up:
        raise LabError(f"only {said['up']} of {goal - up} connected: {said}")
    return goal


# --- under a flood --


def flood(sizes: Sizes, told: Told, program: Path) -> list[Row]:
    """Honest peers of ours, then strongSwan's, connect while strangers flood; established ones rekey."""
    with Lab() as lab:
        net = ike_net.build(lab)
        ike_net.invite(net, HONEST)
        known, guests = people(sizes.some + HONEST), people(HONEST, GUESTS)
        papers = Papers(lab.directory / "papers", "psk")
        papers.write([*known, *guests])
        ours = Ours(net, [*known, *guests], papers)
        ours.start()
        station = Station(net, [group(0, len(known), papers, ike_offers.NARROW)])
        _reach(station, 0, sizes.some)
        rows = []
        for peer in ("xdpsec", "strongswan"):
            before = ike_net.udp_counts(lab, net.ours.namespace)
            running = Flood(net, program, ike_offers.NARROW, FLOOD_RATE, FLOOD_SECONDS)
            time.sleep(3.0)  # queues are as full as they will be
            if peer == "xdpsec":
                said = station.ask("call", side="ours", first=sizes.some, count=HONEST, window=HONEST)
                connected, seconds = said["up"], said["seconds"]
            else:
                guest = Theirs(net, guests, papers, "guests", calls=net.ours)
                guest.start()
                connected, seconds = guest.connect(guests)
            rekeyed = station.ask("rekey", side="ours", first=0, count=HONEST)
            sent = running.sent()
            after = ike_net.udp_counts(lab, net.ours.namespace)
            row = {
                "name": "flood",
                "peer": peer,
                "honest": HONEST,
                "connected": connected,
                "slowest_s": round(max(seconds, default=math.inf), 3),
                "rekeyed": rekeyed["rekeyed"],
                "offered": sent,
                "answered": after["OutDatagrams"] - before["OutDatagrams"],
                "buffer_errors": after["RcvbufErrors"] - before["RcvbufErrors"],
            }
            rows.append(row)
            told(f"flood: {row}")
    return rows


# --- slow keys --


def stall(sizes: Sizes, told: Told) -> list[Row]:
    """RSA-4096 and MODP-8192 handshakes all at once; how long established peers wait for signs of life meanwhile."""
    watched = 10
    with Lab() as lab:
        net = ike_net.build(lab)
        known, slow = people(watched), people(sizes.slow, watched)
        secrets, certificates = Papers(lab.directory / "psk", "psk"), Papers(lab.directory / "rsa", "rsa4096")
        secrets.write(known)
        certificates.write(slow)
        ours = Ours(net, known, secrets, more=[(slow, certificates, "aes256gcm16-prfsha256-modp8192")])
        ours.start()
        groups = [group(0, watched, secrets, ike_offers.NARROW, dpd=0.01)]
        station = Station(net, [*groups, group(watched, sizes.slow, certificates, ike_offers.SLOW)])
        _reach(station, 0, watched)
        said = station.ask("call_watched", side="ours", first=watched, count=sizes.slow, watched=watched)
        took = sorted(said["waits"])
        p99 = 1000 * took[math.ceil(0.99 * len(took)) - 1] if took else math.inf
        told(f"stall: {said['up']} of {sizes.slow} up in {said['took']:.1f} s, {len(took)} answers, p99 {p99:.1f} ms")
        if said["why"]:
            told(f"stall: {said['why']}")
    return [{"name": "stall", "p99_ms": round(p99, 2), "answers": len(took), "slow": sizes.slow, "up": said["up"]}]


def rekey(sizes: Sizes, told: Told, program: Path) -> list[Row]:
    rows = []
    for start, rate in ((None, REKEY_RATE), (ike_sides.rekeyed, REKEY_RATE // 10)):
        rows.append(ike_rekey.measure(program, start, rate, sizes.rekeys))
        told(f"rekey: {rows[-1]}")
    return rows


def parse(told: Told) -> list[Row]:
    worst, name = ike_parse.measure()
    told(f"parse: {worst:.3f} ms for {name}")
    return [{"name": "parse", "worst_ms": round(worst, 4), "shape": name}]


def everything(sizes: Sizes, told: Told, programs: Path, only: Sequence[str]) -> list[Row]:
    parts: dict[str, Callable[[], list[Row]]] = {
        **{
            name: lambda name=name: handshakes(name, sizes, told)  # type: ignore[misc]
            for name in ("psk-x25519", "ecdsa-p256", "psk-x25519-wide-offer")
        },
        "crowd": lambda: crowd(sizes, told),
        "flood": lambda: flood(sizes, told, programs / "bench-flood"),
        "rekey": lambda: rekey(sizes, told, programs / "bench-seqflow"),
        "stall": lambda: stall(sizes, told),
        "parse": lambda: parse(told),
    }
    return [row for name, part in parts.items() if not only or name in only for row in part()]
