"""What a benchmark yields, as plain values. Knows no rig."""

from __future__ import annotations

from dataclasses import dataclass, field

SIZES = (64, 256, 512, 1408)  # bytes of the inner packet


@dataclass(frozen=True, slots=True)
class Row:
    """One line of build/bench.json: ns a packet, ours and theirs, medians of alternations in one run; `loss` in
    packets that neither came out nor were counted, memory-*: that did not come out. `more` is for the report."""

    name: str
    size: int
    workers: int
    ours_ns: float
    theirs_ns: float
    loss: int
    more: dict[str, object] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return self.ours_ns / self.theirs_ns

    @property
    def overhead_ns(self) -> float:
        return self.ours_ns - self.theirs_ns

    def record(self) -> dict[str, object]:
        return {
            "name": self.name,
            "size": self.size,
            "workers": self.workers,
            "ours_ns": round(self.ours_ns, 2),
            "theirs_ns": round(self.theirs_ns, 2),
            "ratio": round(self.ratio, 4),
            "overhead_ns": round(self.overhead_ns, 2),
            "loss": self.loss,
        }
