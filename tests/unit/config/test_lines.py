"""Line numbers of keys, against tomllib's own idea of which keys there are."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from xdpsec.config.lines import key_lines, line_of

TEXT = '''\
# "quoted" = [ { in a comment
title = """two
lines = 1 # no comment"""
a.b."c d" = 1.5   # three
[t]
when = 1979-05-27 07:32:00.5Z
list = [
  1,
  { x = "}", y = [ 2, 3 ] }, # ]
  'literal \\',
]
[[rows]]
k = "\\""
[[rows]]
k = 2
[rows.deep]
z = { }
last = -1.5e+3
'''


def paths(value: Any, base: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path for key, inner in items for path in ({(*base, key)} | paths(inner, (*base, key)))}


def test_every_key_has_its_line() -> None:
    lines = key_lines(TEXT)
    assert set(lines) == paths(tomllib.loads(TEXT))
    expected = {
        ("title",): 2,
        ("a", "b", "c d"): 4,
        ("t", "when"): 6,
        ("t", "list", 1, "y", 1): 9,
        ("t", "list", 2): 10,
    }
    assert expected.items() <= lines.items()
    assert (lines["rows", 0, "k"], lines["rows", 1, "k"], lines["rows", 1, "deep", "z"]) == (13, 15, 17)
    assert lines["rows", 1, "deep", "last"] == 18


def test_what_is_not_there_has_the_line_of_what_holds_it() -> None:
    assert line_of(key_lines(TEXT), ("t", "absent")) == 5
    assert line_of(key_lines(TEXT), ("absent",)) == 0


@given(st.text(alphabet="a.b\"'[]{}=,#\n 1\\", max_size=60))
def test_any_text_ends(text: str) -> None:
    """Text that is not TOML may give lines or none, but it ends; text that is gives exactly its keys."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert paths(tree) <= set(key_lines(text))
