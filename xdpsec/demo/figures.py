"""A gateway's own counters, read as the demo needs them: each worker's share, drops by reason, cycles a packet.

Reads what `xdpsec status --json` and `xdpsec drops --json` print, and judges it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: Each worker carries at least this share of the packets of each direction.
LEAST_SHARE = 0.25
#: At most this share crosses from one worker to another.
MOST_HANDED_OVER = 0.01
#: Direction -> the verdict that counts its packets.
DIRECTIONS = {"in": "DECRYPTED", "out": "ENCRYPTED"}
#: Verdicts that say a packet got nowhere begin so.
DROP = "DROP_"
#: XDP_STATISTICS that count lost frames; the others count moments at which a ring was empty.
SOCKET_DROPS = ("rx_dropped", "rx_ring_full", "rx_invalid_descs", "tx_invalid_descs")


@dataclass(frozen=True, slots=True)
class Worker:
    """`packets`: direction -> packets carried. `cycles`: stage -> TSC cycles for a packet that it carried."""

    index: int
    core: int
    packets: Mapping[str, int]
    shares: Mapping[str, float]
    handed_over: int
    cycles: Mapping[str, float]

    @property
    def carried(self) -> int:
        return sum(self.packets.values())


@dataclass(frozen=True, slots=True)
class Figures:
    """One gateway. `state` as status says it, `restarts` of all its workers; `drops`: (where, reason) -> packets,
    without what is zero."""

    letter: str
    state: str
    restarts: int
    mode: str
    workers: tuple[Worker, ...]
    drops: Mapping[tuple[str, str], int]

    @property
    def handed_over(self) -> float:
        """Share of the packets that crossed from one worker to another."""
        carried = sum(worker.carried for worker in self.workers)
        return sum(worker.handed_over for worker in self.workers) / carried if carried else 0.0

    def faults(self) -> list[str]:
        """What is wrong with them, in sentences."""
        name = f"gateway {self.letter.upper()}"
        found = [
            f"{name}: worker {worker.index} carried {share:.1%} of the packets {way}, less than {LEAST_SHARE:.0%}"
            for worker in self.workers
            for way, share in worker.shares.items()
            if share < LEAST_SHARE
        ]
        if self.state != "serving":
            found.append(f"{name}: it is {self.state}")
        if self.restarts:
            found.append(f"{name}: {self.restarts} of its workers died and were replaced")
        if self.handed_over > MOST_HANDED_OVER:
            found.append(
                f"{name}: {self.handed_over:.1%} of the packets were handed over, more than {MOST_HANDED_OVER:.0%}"
            )
        return found


def read(letter: str, status: Any, drops: Any) -> Figures:
    """From the two commands' JSON."""
    verdicts = {int(worker): counts for worker, counts in drops["workers"].items()}
    totals = {way: sum(counts[name] for counts in verdicts.values()) for way, name in DIRECTIONS.items()}
    return Figures(
        letter=letter,
        state=status["state"],
        restarts=sum(row["restarts"] for row in status["workers"]),
        mode=", ".join(sorted({f"{port['mode']} XDP, {port['bind']}" for port in status["ports"]})),
        workers=tuple(_worker(row, verdicts[row["index"]], totals) for row in status["workers"]),
        drops={where: count for where, count in _drops(drops) if count},
    )


def _worker(row: Any, verdicts: Mapping[str, int], totals: Mapping[str, int]) -> Worker:
    packets = {way: verdicts[name] for way, name in DIRECTIONS.items()}
    carried = sum(packets.values())
    return Worker(
        index=row["index"],
        core=row["core"],
        packets=packets,
        shares={way: count / totals[way] if totals[way] else 0.0 for way, count in packets.items()},
        handed_over=row["handoff_sent"],
        cycles={stage: count / carried if carried else 0.0 for stage, count in row["cycles"].items()},
    )


def _drops(drops: Any) -> Iterable[tuple[tuple[str, str], int]]:
    for port, counts in drops["door"].items():
        yield from (((f"door {port}", reason), count) for reason, count in counts.items() if reason.startswith(DROP))
    for worker, counts in drops["workers"].items():
        yield from (((f"worker {worker}", name), count) for name, count in counts.items() if name.startswith(DROP))
    for port, queues in drops["sockets"].items():
        for queue, workers in queues.items():
            for worker, counts in workers.items():
                place = f"socket of {port}, queue {queue}, worker {worker}"
                yield from (((place, name), counts[name]) for name in SOCKET_DROPS)
