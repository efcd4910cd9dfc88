"""Rows for people: a line as each is measured, a table at the end, and the figures in docs/performance.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

import veth
from rich.console import Console
from rich.table import Table
from values import Row

HEADS = ("name", "size", "workers", "ours", "theirs", "ratio", "overhead", "loss")
STAGES = ("rx", "parse", "crypto", "finish", "tx")
BEGIN, END = "<!-- figures: tests/bench/run.py --docs -->", "<!-- end of figures -->"


def progress(console: Console, row: Row) -> None:
    what = f"{row.name} {row.size} B, {row.workers} worker{'s' if row.workers > 1 else ''}"
    console.print(f"{what}: {row.ours_ns:.1f} ns against {row.theirs_ns:.1f} ns, lost {row.loss}")


def _cells(row: Row) -> tuple[str, ...]:
    numbers = (f"{row.ours_ns:.1f}", f"{row.theirs_ns:.1f}", f"{row.ratio:.3f}", f"{row.overhead_ns:.1f}")
    return (row.name, str(row.size), str(row.workers), *numbers, str(row.loss))


def steady(run: veth.Steady) -> str:
    """The run at a rate that must cost nothing, as a sentence."""
    worker = "worker" if run.workers == 1 else "workers"
    name = {"gateway": "The gateway", "forward": "The bare forwarder"}[run.kind]
    reasons = ", ".join(f"{reason} {frames}" for reason, frames in run.reasons.items())
    return (
        f"{name} at 80 % of its own output ({run.rate} packets a second of {run.size} B, {run.workers} {worker}), "
        f"receive rings of {run.depth}, for {run.seconds:.0f} s: {run.offered} in, {run.dropped} dropped"
        f"{reasons and f' ({reasons})'}. The {worker} ran for {run.ran:.1f} s of it and waited {run.waited:.2f} s for "
        "a core that something else had."
    )


def placings(row: Row) -> str:
    """The ratio of each placing, as a sentence."""
    ratios = row.more.get("ratios")
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios) if isinstance(ratios, list) else "none"
    return f"{row.name} at {row.size} B, {row.workers} worker{'s' if row.workers > 1 else ''}, by placing: {each}."


def idle(percent: float, seconds: float) -> str:
    """The gateway without traffic, as a sentence."""
    return f"Idle for {seconds:.0f} s a gateway, all its processes together, used {percent:.2f} % of a core."


def table(console: Console, rows: Sequence[Row], sentences: Sequence[str]) -> None:
    out = Table(title="ns a packet, medians of one run")
    for name in HEADS:
        out.add_column(name, justify="left" if name == "name" else "right")
    for row in rows:
        out.add_row(*_cells(row))
    if rows:
        console.print(out)
    for sentence in sentences:
        console.print(sentence)


def machine() -> str:
    """One sentence: processor, cores, kernel."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}"


def _markdown(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    heads = list(heads)
    body = [heads, ["---"] + ["---:"] * (len(heads) - 1), *map(list, rows)]
    return ["| " + " | ".join(line) + " |" for line in body]


def _stages(row: Row) -> list[str]:
    cycles = row.more.get("cycles")
    found = cycles if isinstance(cycles, dict) else {}
    return [row.name, str(row.size), str(row.workers), *(f"{found[stage]:.0f}" for stage in STAGES if stage in found)]


def write_docs(path: Path, rows: Sequence[Row], sentences: Sequence[str]) -> None:
    """Replace what stands between the two marks; the reading around them is a person's."""
    text = path.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    figures = [
        f"Machine: {machine()}.",
        "",
        *_markdown(HEADS, map(_cells, rows)),
        "",
        *(line for sentence in sentences for line in (sentence, "")),
        "Cycles (of the time-stamp counter) a packet, by the worker's own count:",
        "",
        *_markdown(
            ("name", "size", "workers", *STAGES),
            (_stages(row) for row in rows if row.name not in (veth.SEALER, veth.NAMES["testpmd"])),
        ),
    ]
    path.write_text(before + BEGIN + "\n" + "\n".join(figures) + "\n" + END + after)
