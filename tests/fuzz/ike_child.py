"""The process that fuzzes: imports one target with its coverage counted, then hands itself over to libFuzzer.

`ike_child.py TARGET [--plant] LIBFUZZER-ARGUMENTS`. `--plant` puts a bug into the codec that only coverage leads to.
"""

from __future__ import annotations

import importlib
import sys
import time
from dataclasses import replace
from pathlib import Path

import atheris

# Our modules from the tree itself: atheris counts only what Python's own finder loads, and an editable install has its
# own one before that.
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in type(finder).__module__]
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

with atheris.instrument_imports(include=["xdpsec", "ike_codec", "ike_gate", "ike_proofs"]):
    target = importlib.import_module(sys.argv[1])
    from xdpsec.numbers import PayloadType
    from xdpsec.wire.payloads.notices import Notify, parse_notify
    from xdpsec.wire.payloads.table import BY_KIND, STANDING, STANDING_ANYWHERE
    from xdpsec.wire.reader import Reader

#: Seconds of CPU for one input; the slowest of the kept ones takes a tenth of one.
SLOWEST = 5.0


def in_time(data: bytes) -> None:
    """One input, which may not keep the gateway busy either."""
    began = time.process_time()
    target.one_input(data)
    took = time.process_time() - began
    assert took < SLOWEST, f"{took:.1f} s for one input"


def planted(reader: Reader) -> Notify:
    """Wrong only when four bytes are high, one chance in 65,536; each of them that is high is new coverage."""
    value = parse_notify(reader)
    data = value.data
    if len(data) > 3 and data[0] >= 0xF0 and data[1] >= 0xF0 and data[2] >= 0xF0 and data[3] >= 0xF0:
        raise IndexError("the planted bug")
    return value


def main(arguments: list[str]) -> None:
    if "--plant" in arguments:
        arguments.remove("--plant")
        kind = int(PayloadType.NOTIFY)
        bad = replace(BY_KIND[kind], parse=atheris.instrument_func(planted))
        for rows in (*STANDING.values(), STANDING_ANYWHERE):
            rows[kind] = bad
    # libFuzzer starts itself again, through a shell, to reduce a corpus.
    itself = f"{sys.executable} {Path(__file__).resolve()} {sys.argv[1]}"
    atheris.Setup([itself, *arguments], in_time)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[2:])
