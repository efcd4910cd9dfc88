"""Writes docs/seen.md, what a gateway shows of itself: metrics by the collector that makes them, the operator socket's
words by the dataclasses that are them (`make docs`). `generate_seen.py --check` fails when the file is not current."""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

from xdpsec.channel import operator
from xdpsec.metrics.collector import Collector
from xdpsec.metrics.values import Counters, IkeView, MetricsView, PoolUse, Slot, SocketCounts, View
from xdpsec.workers.native import (
    door_verdict_help,
    door_verdict_names,
    verdict_help,
    verdict_names,
)

TARGET = Path(__file__).resolve().parent / "seen.md"
HEAD = """# What a gateway shows

<!-- Written by docs/generate_seen.py from xdpsec/metrics and xdpsec/channel/operator.py; `make docs` renews it. -->

Prometheus asks `http://ADDRESS:PORT/metrics` (`metrics` in `[gateway]`). Everything is read from shared memory when it
asks. Labels are bounded; an SPI is never one. A child's packets and bytes do not fall back while the machine is up and
its keys stay: not when a worker is replaced, not when the gateway is. `xdpsec_child_drops_total` has a reason from its
first drop on. Metrics of IKE (`xdpsec_ike_*`) are there where a peer negotiates.

## Metrics

| metric | type | labels | meaning |
| --- | --- | --- | --- |
"""
SOCKET = f"""
## The operator socket

`RUN_DIR/control.sock` is a Unix socket of type SOCK_SEQPACKET, mode 0600; only root and the gateway's own account are
served (SO_PEERCRED). The words below have version {operator.VERSION}.

A packet is one byte (0: more packets follow, 1: the last) and a piece of a frame of at most 60,000 bytes; a frame is
msgpack `[id, seq, [fields in order]]`. A connection opens with `Hello`; each question gets one answer, whose field
`seq` is the question's. Whoever says anything else is disconnected. `xdpsec status`, `list-sas` and `drops` are its
users; their `--json` has the same values by name.
"""


class _Nothing:
    """A Source of a gateway that has nothing, but may negotiate: the families remain."""

    def view(self) -> View:
        ike = IkeView((), {}, (), (0,), 0.0, {}, 0, {}, {}, {})
        return View("", "", 0.0, (), (), (), (), MetricsView("", 0), ike=ike)

    def counters(self) -> tuple[Counters, ...]:
        return ()

    def slot(self, slot: int) -> Slot:
        raise IndexError(slot)

    def door(self) -> tuple[tuple[int, ...], ...]:
        return ()

    def sockets(self) -> tuple[SocketCounts, ...]:
        return ()

    def pool(self) -> PoolUse:
        return PoolUse(0, 0, 0, ())


def _metrics() -> Iterator[str]:
    suffixes = {"counter": "_total", "info": "_info"}
    for family in Collector(_Nothing()).collect():
        labels = ", ".join(family._labelnames) or ("version" if family.type == "info" else "")
        name = family.name + suffixes.get(family.type, "")
        yield f"| `{name}` | {family.type} | {labels} | {family.documentation} |"


def _verdicts() -> Iterator[str]:
    for title, names, text in (
        ("Verdicts of the door (XDP)", door_verdict_names(), door_verdict_help),
        ("Verdicts of a worker", verdict_names(), verdict_help),
    ):
        yield f"\n### {title}\n\n| verdict | meaning |\n| --- | --- |"
        yield from (f"| `{name}` | {text(number)} |" for number, name in enumerate(names))


def _kind(kind: object) -> str:
    """A field's type in words: int, text, list of Count."""
    if typing.get_origin(kind) is tuple:
        first, *rest = typing.get_args(kind)
        return f"list of {_kind(first)}" if rest == [Ellipsis] else f"[{', '.join(map(_kind, (first, *rest)))}]"
    assert isinstance(kind, type)
    return "text" if kind is str else kind.__name__


def _word(cls: type) -> str:
    hints = typing.get_type_hints(cls)
    fields = ", ".join(f"`{field.name}`: {_kind(hints[field.name])}" for field in dataclasses.fields(cls))
    meaning = " ".join((cls.__doc__ or "").split())
    return f"| `{cls.__name__}` | {fields} | {meaning} |"


def _words() -> Iterator[str]:
    yield "\n| id | word | fields | meaning |\n| --- | --- | --- | --- |"
    yield from (f"| {number} {_word(cls)}" for number, cls in operator.TABLE.items())
    yield "\nValues inside answers, each a list of its fields:\n\n| value | fields | meaning |\n| --- | --- | --- |"
    words = set(operator.TABLE.values())
    named = [cls for cls in vars(operator).values() if isinstance(cls, type) and dataclasses.is_dataclass(cls)]
    yield from (_word(cls) for cls in named if cls not in words)


def text() -> str:
    """The whole of docs/seen.md."""
    return HEAD + "\n".join((*_metrics(), *_verdicts())) + "\n" + SOCKET + "\n".join(_words()) + "\n"


def main(argv: list[str]) -> int:
    if argv != ["--check"]:
        TARGET.write_text(text())
    elif not TARGET.exists() or TARGET.read_text() != text():
        print("docs/seen.md is not current; run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
