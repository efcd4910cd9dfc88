#!/usr/bin/env python3
"""Fuzzes what strangers send, guided by coverage: `guided.py TARGET [--seconds N] [--plant] [--keep]`.

Starts from the corpus that the repository keeps (corpus/TARGET.txt, one input a line in hex; with `--keep` what was
learned goes back into it, reduced), prints executions, coverage and corpus size, and says how to repeat a finding.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from xdpsec.numbers import ConfigAttribute, Encr, Ke, NotifyType

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CHILD = HERE / "ike_child.py"
TARGETS = ("ike_codec", "ike_gate", "ike_proofs")
#: Where the search for a planted bug begins: INFORMATIONAL with a delete of the IKE SA. All else must be learned.
START = bytes.fromhex("04 03 09 00 04 01000000")
LONGEST = 4096  # bytes of an input
#: For one input, on a machine that others may have: who comes to it hangs. ike_child.py finds the slow by CPU time.
HANG_SECONDS = 120


@dataclass(frozen=True)
class Result:
    """`coverage`: edges of our code that some input took. `finding`: the file with the input that broke it."""

    executions: int
    coverage: int
    corpus: int
    finding: Path | None
    output: str

    def __str__(self) -> str:
        return f"{self.executions} executions, {self.coverage} edges covered, {self.corpus} inputs in the corpus"


def kept(target: str) -> Path:
    return HERE / "corpus" / f"{target}.txt"


def unpack(inputs: Iterable[bytes], folder: Path) -> None:
    """A corpus as files, which is how libFuzzer wants it."""
    folder.mkdir(parents=True)
    for data in inputs:
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def words(file: Path) -> Path:
    """The numbers of the registries as libFuzzer's dictionary: chance alone takes long to meet two bytes."""
    values = {int(number) for registry in (NotifyType, ConfigAttribute, Ke, Encr) for number in registry}
    file.write_text("".join(f'"\\x{value >> 8:02x}\\x{value & 255:02x}"\n' for value in sorted(values)))
    return file


def child(target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHILD), target, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def fuzz(target: str, work: Path, *, runs: int = -1, seconds: int = 0, seed: int = 1, plant: bool = False) -> Result:
    """So many inputs, or for so long, or until something breaks. `work` is emptied first. With a planted bug it begins
    with a single input, so that what leads to the bug must be learned."""
    shutil.rmtree(work, ignore_errors=True)
    inputs = [bytes.fromhex(line) for line in kept(target).read_text().split()]
    unpack([START] if plant else inputs, work / "corpus")
    ran = child(
        *(target, *(["--plant"] if plant else []), str(work / "corpus"), f"-artifact_prefix={work}/finding-"),
        *(f"-runs={runs}", f"-max_total_time={seconds}", f"-seed={seed}"),
        *(f"-max_len={LONGEST}", f"-timeout={HANG_SECONDS}"),
        *(f"-dict={words(work / 'words')}", "-rss_limit_mb=1024", "-print_final_stats=1"),
    )
    found = next(iter(sorted(work.glob("finding-*"))), None)
    text = ran.stdout + ran.stderr
    coverage = [int(number) for number in re.findall(r"\bcov: (\d+)", text)]
    executions = re.search(r"stat::number_of_executed_units: *(\d+)", text)
    pulses = [int(number) for number in re.findall(r"^#(\d+)", text, re.MULTILINE)]
    if (ran.returncode != 0) != (found is not None):
        raise RuntimeError(f"the fuzzer ended with {ran.returncode} and {found}:\n{text[-4000:]}")
    return Result(
        int(executions[1]) if executions else max(pulses, default=0),
        max(coverage, default=0),
        sum(1 for _ in (work / "corpus").iterdir()),
        found,
        text,
    )


def keep(target: str, work: Path) -> int:
    """The smallest set of inputs that covers what all of them cover becomes the kept corpus."""
    less = work / "less"
    less.mkdir()
    done = child(target, "-merge=1", f"-max_len={LONGEST}", str(less), str(work / "corpus"))
    inputs = sorted((path.read_bytes() for path in less.iterdir()), key=lambda data: (len(data), data))
    if not inputs:
        raise RuntimeError(f"nothing is left of the corpus:\n{done.stderr[-2000:]}")
    kept(target).write_text("".join(data.hex() + "\n" for data in inputs))
    return len(inputs)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plant", action="store_true", help="with a bug that must be found")
    parser.add_argument("--keep", action="store_true", help="write what was learned into the kept corpus")
    asked = parser.parse_args()
    work = ROOT / "build" / "fuzz-ike" / asked.target
    result = fuzz(asked.target, work, seconds=asked.seconds, seed=asked.seed, plant=asked.plant)
    print(f"{asked.target}: {result}")
    if result.finding:
        print(result.output[-3000:])
        plant = " --plant" if asked.plant else ""
        print(f"repeat it with: {sys.executable} {CHILD} {asked.target}{plant} {result.finding}")
        return 1
    if asked.keep:
        print(f"{asked.target}: {keep(asked.target, work)} inputs kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
