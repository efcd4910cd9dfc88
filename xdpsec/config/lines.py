"""Where each key of a TOML text stands: a walk over text that tomllib has already accepted, for error messages only.

Values are skipped, not read; tomllib alone says what they mean. Source: the TOML 1.0 grammar.
"""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property

Path = tuple[str | int, ...]

_TOKEN = re.compile(
    r"""[ \t\r]* (?:\#[^\n]*)? (?:
        (?P<string>\"\"\"(?:\\.|[^\\])*?\"{3,5}|'''.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
      | (?P<newline>\n)
      | (?P<mark>[][{}=,.])
      | (?P<word>[^][{}=,.\s\#"']+)
      | (?P<end>\Z))""",
    re.VERBOSE | re.DOTALL,
)


class _LostError(Exception):
    """The walk met what it does not expect: the lines found so far must do."""


class _Walk:
    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._tokens: list[tuple[str, str, int]] = []
        self._at = 0
        self._counts: dict[Path, int] = {}
        line = 1
        for match in _TOKEN.finditer(text):
            kind = str(match.lastgroup)
            token = match[kind]
            self._tokens.append((kind, token, line))
            if kind in ("newline", "string"):
                line += token.count("\n")

    def _peek(self) -> str:
        return self._tokens[self._at][1]

    def _next(self) -> tuple[str, str, int]:
        token = self._tokens[self._at]
        if token[0] == "end":
            raise _LostError
        self._at += 1
        return token

    def _note(self, path: Path, line: int) -> None:
        """What it lies in was noted before it."""
        self.lines.setdefault(path, line)

    def _key(self, base: Path) -> Path:
        """A dotted key below `base`; an array of tables continues in its newest table."""
        path = base
        while True:
            kind, text, line = self._next()
            name = next(iter(tomllib.loads(f"{text} = 0"))) if kind == "string" else text
            path = (*path, name)
            self._note(path, line)
            if self._peek() != ".":
                return path
            self._next()
            if path in self._counts:
                path = (*path, self._counts[path] - 1)

    def document(self) -> None:
        table: Path = ()
        while self._tokens[self._at][0] != "end":
            if self._tokens[self._at][0] == "newline":
                self._next()
            elif self._peek() == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        line = self._next()[2]
        array = self._peek() == "["
        if array:
            self._next()
        path = self._key(())
        self._next()
        if array:
            self._next()
            number = self._counts.get(path, 0)
            self._counts[path] = number + 1
            path = (*path, number)
            self._note(path, line)
        elif path in self._counts:
            path = (*path, self._counts[path] - 1)
        return path

    def _pair(self, base: Path) -> None:
        path = self._key(base)
        self._next()  # "="
        self._value(path)

    def _value(self, path: Path) -> None:
        if self._peek() == "{":
            self._inline(path)
        elif self._peek() == "[":
            self._array(path)
        else:
            self._next()
            while self._tokens[self._at][0] == "word" or self._peek() == ".":  # 1.5 is three tokens
                self._next()

    def _inline(self, path: Path) -> None:
        self._next()
        while self._peek() != "}":
            if self._peek() == ",":
                self._next()
            self._pair(path)
        self._next()

    def _array(self, path: Path) -> None:
        self._next()
        number = 0
        while self._peek() != "]":
            if self._peek() in (",", "\n"):
                self._next()
                continue
            self._note((*path, number), self._tokens[self._at][2])
            self._value((*path, number))
            number += 1
        self._next()


def key_lines(text: str) -> dict[Path, int]:
    """Line (from 1) of every key, table and array item of `text`, which must be valid TOML."""
    walk = _Walk(text)
    with contextlib.suppress(_LostError):
        walk.document()
    return walk.lines


class KeyLines(Mapping[Path, int]):
    """`key_lines` of a text, walked when somebody asks first: thousands of peers take a second, and nobody may ask."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def found(self) -> Mapping[Path, int]:
        text, self._text = self._text, ""
        return key_lines(text)

    def __getitem__(self, path: Path) -> int:
        return self.found[path]

    def __iter__(self) -> Iterator[Path]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def __contains__(self, path: object) -> bool:
        return path in self.found


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """The line of `path` or of the nearest table around it; 0 when there is none."""
    for depth in range(len(path), 0, -1):
        if path[:depth] in lines:
            return lines[path[:depth]]
    return 0
