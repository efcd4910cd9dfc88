"""What the demo found: tables for a person, one JSON object for a program, and whether it was good."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from xdpsec.demo.figures import DIRECTIONS, LEAST_SHARE, Figures
from xdpsec.demo.negotiated import Rekeys
from xdpsec.demo.proof import Reading
from xdpsec.demo.traffic import Stream

#: Strangers that are printed; a leak may have millions.
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that was measured. `strangers` are frames on the wan of a kind that has no business there, as tcpdump
    prints them; `uncaptured` frames that the capture lost; `crossed` all frames that the wan's interfaces received;
    `rekeys` where keys are negotiated, and the least that were wanted of each kind."""

    name: str
    seconds: float
    pings: int
    wanted: int
    streams: tuple[Stream, ...]
    crossed: int
    strangers: tuple[str, ...]
    uncaptured: int
    reading: Reading
    gateways: tuple[Figures, ...]
    rekeys: Rekeys | None = None
    least_rekeys: int = 0

    def faults(self) -> list[str]:
        """All that is wrong, in sentences; nothing when the demo is good."""
        found = [fault for gateway in self.gateways for fault in gateway.faults()]
        if self.strangers:
            found.append(
                f"{len(self.strangers)} frames crossed the wan that are neither ESP nor UDP 4500 nor IKE nor ARP: "
                + "; ".join(self.strangers[:SHOWN])
            )
        if self.uncaptured:
            found.append(f"the capture lost {self.uncaptured} frames, so that it proves nothing")
        found += [f"the decrypted capture: {fault}" for fault in self.reading.faults(self.wanted)]
        if self.rekeys:
            found += self.rekeys.faults(self.least_rekeys)
        found += [f"nothing arrived by {one.protocol} {_way(one)}" for one in self.streams if not one.bits_per_second]
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values. Neither keys nor payloads."""
        return {
            "name": self.name,
            "good": not self.faults(),
            "faults": self.faults(),
            "seconds": round(self.seconds, 1),
            "pings": self.pings,
            "streams": [dataclasses.asdict(one) for one in self.streams],
            "wan": {
                "frames": self.crossed,
                "strangers": len(self.strangers),
                "uncaptured": self.uncaptured,
                "kinds": dict(self.reading.kinds),
            },
            "decrypted": [
                {
                    "spi": one.sa.spi,
                    "suite": one.sa.suite.name,
                    "udp": one.sa.udp,
                    "frames": one.frames,
                    "known": one.known,
                }
                for one in self.reading.opened
            ],
            "rekeys": dataclasses.asdict(self.rekeys) if self.rekeys else None,
            "gateways": [_gateway(one) for one in self.gateways],
        }

    def print(self, console: Console) -> None:
        """Tables, what is proven, what is wrong, and one last word."""
        for table in (_throughput(self), _packets(self.gateways), _cycles(self.gateways), _drops(self.gateways)):
            console.print(table)
            console.print()
        faults = self.faults()
        lines = [f"[red]wrong[/red] {escape(fault)}" for fault in faults] or [
            f"[green]proven[/green] {self.crossed:,} frames entered the wan, none but ESP, UDP 4500, IKE, ARP and "
            "neighbour discovery",
            f"[green]proven[/green] tshark opened what each of {len(self.reading.opened)} SAs was sent, with its key",
            *_rekeyed(self.rekeys),
        ]
        word = "[red]not as it should be[/red]" if faults else "[green]good[/green]"
        for line in (*lines, f"{word}, in {self.seconds:.0f} s"):
            console.print(line, highlight=False, soft_wrap=True)


def _rekeyed(done: Rekeys | None) -> list[str]:
    if done is None:
        return []
    what = f"{done.ike} IKE SAs and {done.children} children were rekeyed under load"
    return [f"[green]proven[/green] {what}, {done.lost} of {done.sent:,} datagrams lost"]


def _gateway(figures: Figures) -> dict[str, Any]:
    return {
        "gateway": figures.letter,
        "state": figures.state,
        "restarts": figures.restarts,
        "mode": figures.mode,
        "handed_over": figures.handed_over,
        "workers": [{**dataclasses.asdict(one), "carried": one.carried} for one in figures.workers],
        "drops": [{"where": where, "reason": reason, "packets": n} for (where, reason), n in figures.drops.items()],
    }


def _way(stream: Stream) -> str:
    return f"{stream.sender.upper()} to {stream.receiver.upper()}"


def _table(title: str, *columns: str) -> Table:
    """All columns but the first hold numbers. Narrow enough for 80 characters."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _throughput(summary: Summary) -> Table:
    table = _table("Throughput, Mbit/s of payload", "", "all children", "slowest", "fastest", "lost")
    for one in summary.streams:
        rates = (f"{bits / 1e6:,.1f}" for bits in (one.bits_per_second, one.slowest, one.fastest))
        table.add_row(f"{one.protocol} {_way(one)}", *rates, f"{one.lost:.2%}" if one.protocol == "UDP" else "-")
    return table


def _packets(gateways: Sequence[Figures]) -> Table:
    columns = [word for way in DIRECTIONS for word in (f"packets {way}", "share")]
    modes = "; ".join(sorted({gateway.mode for gateway in gateways}))
    table = _table(f"Packets by the workers' own counters ({modes})", "gateway and worker", *columns, "handed over")
    for gateway in gateways:
        for worker in gateway.workers:
            cells = [cell for way in DIRECTIONS for cell in (f"{worker.packets[way]:,}", _share(worker.shares[way]))]
            name = f"{gateway.letter.upper()} {worker.index}, core {worker.core}"
            table.add_row(name, *cells, f"{worker.handed_over:,}")
    return table


def _share(share: float) -> str:
    colour = "red" if share < LEAST_SHARE else "green"
    return f"[{colour}]{share:.1%}[/{colour}]"


def _cycles(gateways: Sequence[Figures]) -> Table:
    stages = list(gateways[0].workers[0].cycles)
    table = _table("Cycles a packet by stage", "gateway and worker", *stages, "sum")
    for gateway in gateways:
        for worker in gateway.workers:
            cells = [f"{worker.cycles[stage]:,.0f}" for stage in stages]
            name = f"{gateway.letter.upper()} {worker.index}"
            table.add_row(name, *cells, f"{sum(worker.cycles.values()):,.0f}")
    return table


def _drops(gateways: Sequence[Figures]) -> Table:
    """By reason; where exactly is in the JSON."""
    table = _table("Drops by reason", "gateway and reason", "packets")
    for gateway in gateways:
        reasons: Counter[str] = Counter()
        for (_, reason), count in gateway.drops.items():
            reasons[reason] += count
        for reason, count in reasons.most_common():
            table.add_row(f"{gateway.letter.upper()} {reason}", f"{count:,}")
        if not reasons:
            table.add_row(f"{gateway.letter.upper()} none", "0")
    return table
