"""Every verdict is caused by some test: by the fuzzers, which fail when one of theirs is never hit, or by the test that
verdicts.tsv names. A new verdict without either is refused here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_door_frames import BY_BYTES as DOOR_BY_BYTES

from xdpsec.workers.native import door_verdict_names, verdict_names

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).parent / "verdicts.tsv"
ROWS = [line.split("\t") for line in LIST.read_text().splitlines() if not line.startswith("#")]


def fuzzed() -> set[str]:
    """What the packet fuzzer must hit before it succeeds (BY_BYTES of fuzz_main.c)."""
    source = (ROOT / "tests/fuzz/fuzz_main.c").read_text()
    table = re.search(r"BY_BYTES\[\] = \{(.*?)\};", source, re.DOTALL)
    assert table is not None
    return set(re.findall(r"XS_V_(\w+)", table[1]))


@pytest.mark.parametrize(
    ("who", "all_names", "by_bytes"),
    [("worker", set(verdict_names()), fuzzed()), ("door", set(door_verdict_names()), DOOR_BY_BYTES)],
    ids=["worker", "door"],
)
def test_each_verdict_has_one_place(who: str, all_names: set[str], by_bytes: set[str]) -> None:
    listed = {row[1] for row in ROWS if row[0] == who}
    assert listed | by_bytes == all_names
    assert not listed & by_bytes


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1])
def test_the_named_test_exists_and_names_the_verdict(row: list[str]) -> None:
    _, verdict, file, case, why = row
    text = (ROOT / file).read_text()
    body = re.search(
        rf"^(?:static void|def) {case}\(.*?(?=^\S*(?:static|def|int|@)|\Z)", text, re.DOTALL | re.MULTILINE
    )
    assert body is not None, f"{file} has no {case}"
    assert verdict in body[0]
    assert file.endswith(".py") or f'{{"{case}", {case}}}' in text, "the case is never run"
    assert why
