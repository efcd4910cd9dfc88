"""One contender in its own namespace, the generator and the meter around it.

`station.py KIND WORKERS PROGRAMS DIR DEPTH`, the depth that of the receive rings. Asked over standard input, one JSON
object a line, and answers each with one. `in1` feeds `in0`, `out0` ends in `out1`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import contenders

#: From the generator's start until its first frames have gone through: it loads its program and attaches it.
LEAD_SECONDS = 0.15
#: Two looks at the counters this far apart that agree are rest; nothing is in flight for longer.
REST_SECONDS = 0.05
#: What a generator of ten million frames a second would need for its longest turn.
FRAMES_PER_MS = 10_000
SETTLE_LOOKS = 100
#: What else runs on the machine disturbs all three alike, and less.
NICE = -15
#: Where it exists, nice counts only inside a session; the file is the session's, and empty for one in no group.
AUTOGROUP = Path("/proc/self/autogroup")


def sunk() -> int:
    """Frames that came out at the sink."""
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "out1":
            return int(numbers.split()[1])
    raise SystemExit("bench: out1 is gone")


class Station:
    def __init__(self, kind: str, workers: int, programs: Path, directory: Path, depth: int) -> None:
        cores = sorted(os.sched_getaffinity(0))
        if kind == "gateway":
            self.contender: contenders.Contender = contenders.Gateway(workers, cores, directory, depth)
        elif kind in ("forward", "cipher"):
            program = programs / "bench-forward"
            self.contender = contenders.Forward(workers, cores, directory, program, depth, kind == "cipher")
        else:
            self.contender = contenders.Testpmd(workers, cores, directory / f"testpmd-{workers}.log")
        self._cores = cores[-workers:]
        self._programs = programs

    def blast(self, size: int, ms: int, rate: int) -> dict[str, Any]:
        """`size`-byte packets for `ms`, at `rate` a second in all (0 = all that goes); output over the middle part."""
        mac = Path("/sys/class/net/in0/address").read_text().strip()
        self.contender.wake()
        before = sunk()
        argv = [
            self._programs / "bench-generate", self._programs / "generate.bpf.o", "in1", mac, size,
            ",".join(map(str, self._cores)), ms * FRAMES_PER_MS, ms, rate // len(self._cores),
        ]  # fmt: skip
        generator = subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE, text=True)
        time.sleep(LEAD_SECONDS)
        first, at_first, (ran, waited) = sunk(), time.monotonic(), self.contender.times()
        time.sleep(max(ms / 1000 - LEAD_SECONDS - REST_SECONDS, REST_SECONDS))
        last, at_last, (ran_then, waited_then) = sunk(), time.monotonic(), self.contender.times()
        offered = int(generator.communicate()[0] or 0)
        if generator.returncode != 0:
            raise SystemExit("bench: the generator failed")
        self._settle()
        self.contender.rest()
        return {
            "offered": offered,
            "rate": (last - first) / (at_last - at_first),
            "ran_ns": ran_then - ran,
            "waited_ns": waited_then - waited,
            "sunk": sunk() - before,
        }

    def _settle(self) -> None:
        seen = None
        for _ in range(SETTLE_LOOKS):
            now = sunk()
            if now == seen:
                return
            seen = now
            time.sleep(REST_SECONDS)

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["do"] == "blast":
            return self.blast(asked["size"], asked["ms"], asked["rate"])
        return self.contender.counts()


def main(kind: str, workers: str, programs: str, directory: str, depth: str) -> int:
    os.nice(NICE)
    if AUTOGROUP.exists() and AUTOGROUP.read_text():
        AUTOGROUP.write_text(str(NICE))
    station = Station(kind, int(workers), Path(programs), Path(directory), int(depth))
    try:
        print(json.dumps({"ready": True}), flush=True)
        for line in sys.stdin:
            print(json.dumps(station.answer(json.loads(line))), flush=True)
    finally:
        station.contender.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
