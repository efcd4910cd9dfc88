"""`xdpsec drops`: where frames ended that did not come through, and what each reason means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xdpsec.channel import operator as words
from xdpsec.cli import shapes
from xdpsec.cli.client import Client, run_dir
from xdpsec.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, print_json, show, table
from xdpsec.workers.native import (
    door_verdict_help,
    door_verdict_names,
    verdict_help,
    verdict_names,
)  # fmt: skip

SOCKET_HELP = {
    "rx_dropped": "frame that the kernel could not put into the receive ring",
    "rx_ring_full": "receive ring full: the worker is too slow",
    "rx_invalid_descs": "descriptor of the fill ring refused by the kernel",
    "tx_invalid_descs": "descriptor of the transmit ring refused by the kernel",
}


def drops(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Show dropped frames by place and reason.

    --json has every verdict, those that are no drop too."""
    with Client(run_dir(config)) as client:
        answer = shapes.drops(client.ask(words.DropsQuery(), words.Drops))
    if as_json:
        print_json(answer)
        return
    made = table("", "where", ">frames", "reason", "meaning")
    for row in _rows(answer):
        made.add_row(*row)
    if made.rows:
        show(made)
    else:
        print("nothing was dropped")


def _rows(answer: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    door = dict(zip(door_verdict_names(), map(door_verdict_help, range(len(door_verdict_names()))), strict=True))
    worker = dict(zip(verdict_names(), map(verdict_help, range(len(verdict_names()))), strict=True))
    for port, verdicts in answer["door"].items():
        yield from _nonzero(f"door of {port}", verdicts, door)
    for port, queues in answer["sockets"].items():
        for queue, workers in queues.items():
            for number, counts in workers.items():
                lost = {name: count for name, count in counts.items() if name in SOCKET_HELP}
                yield from _nonzero(f"socket of {port}, queue {queue}, worker {number}", lost, SOCKET_HELP)
    for number, verdicts in answer["workers"].items():
        yield from _nonzero(f"worker {number}", verdicts, worker)
    for label, directions in answer["sas"].items():
        for direction, reasons in directions.items():
            yield from _nonzero(f"SA {label} {direction}", reasons, worker)


def _nonzero(where: str, counts: dict[str, int], meaning: dict[str, str]) -> Iterator[tuple[str, str, str, str]]:
    for name, count in counts.items():
        if count and (name.startswith("DROP_") or name in SOCKET_HELP):
            yield where, str(count), name, meaning.get(name, "")
