"""What pydantic found wrong, as one sentence with file, line, key and fix."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from xdpsec.config import hints
from xdpsec.config.lines import Path, line_of
from xdpsec.config.schema import FileTable
from xdpsec.errors import ConfigError

_ELSEWHERE = {
    "auth": "it goes to the peer: [peers.NAME]",
    "tun": "there is no tun port yet; name interfaces in inside",
}
_TYPES = {
    "string_type": "a string in quotes",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list in brackets",
    "dict_type": "a table",
    "model_type": "a table",
}
_PATTERNS = {
    "outside": "an interface name of 1 to 15 characters, such as eth0",
    "inside": "an interface name of 1 to 15 characters, such as eth1",
    "user": "the name of an account, such as xdpsec",
    "passphrase": '"prompt", "credential:NAME", "fd:N", or a file that begins with /',
    "signature": '"auto", or "pss", "pkcs1" or "ecdsa", each with or without a hash as in "pss-sha384"',
    "local_id": "a text of one line",
    "remote_id": "a text of one line",
}

#: So many keys of a table a refusal can name.
FEW = 3
#: More characters than a key or a value of ours has; what is longer is cut in the middle.
LONG = 400


def dotted(path: Path) -> str:
    """peers.branch.children.lan, or gateway.inside[1]."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def refusal(file: str, lines: Mapping[Path, int], errors: list[ErrorDetails]) -> ConfigError:
    """The refusal that comes first in the file; what is missing comes last, since it may only be misspelt."""
    rows = [(_path(error, lines), error) for error in errors]
    path, error = min(rows, key=lambda row: (row[1]["type"] == "missing", line_of(lines, row[0]), len(row[0])))
    text, fix = _sentence(path, error)
    return ConfigError(file, line_of(lines, path), _short(dotted(path)), _short(text), fix)


def _short(text: str) -> str:
    """Both ends of what somebody pasted by mistake."""
    return text if len(text) <= LONG else f"{text[: LONG // 2]}...{text[-LONG // 2 :]}"


def _path(error: ErrorDetails, lines: Mapping[Path, int]) -> Path:
    """Pydantic's location without what is not in the file: union members and "[key]"."""
    path: Path = ()
    for part in error["loc"]:
        missing = error["type"] == "missing" and part == error["loc"][-1]
        if (*path, part) in lines or missing:
            path = (*path, part)
    return path


def _sentence(path: Path, error: ErrorDetails) -> tuple[str, str]:
    kind, context = error["type"], error.get("ctx", {})
    key = str(path[-1]) if path else ""
    if kind == "value_error":
        text, _, fix = str(context["error"]).partition("; ")
        return text, fix
    if kind == "extra_forbidden":
        return "unknown key", _nearest(path)
    if kind == "missing":
        return "is missing", f"add {_example(path)}"
    if kind in _TYPES:
        return f"is {_called(error['input'])}", f"write {_TYPES[kind]}"
    if kind == "literal_error":
        return f"{_shown(error['input'])} is not a choice", _choices(path, str(context["expected"]))
    if kind == "string_pattern_mismatch":
        name = next((part for part in reversed(path) if isinstance(part, str)), "")
        if name == "passphrase":  # what stands there may be one
            return "is not where a passphrase is", f"write {_PATTERNS[name]}"
        return f"{error['input']!r} is no name we can use", f"write {_PATTERNS.get(name, _NAME)}"
    if kind in ("greater_than_equal", "less_than_equal", "multiple_of"):
        return f"{error['input']} is out of range", _bound(key, kind, context)
    if kind.endswith(("too_long", "too_short")):
        bound = f"most {context['max_length']}" if kind.endswith("long") else f"least {context['min_length']}"
        unit = "characters" if kind.startswith("string") else "entries"
        return f"has {len(error['input'])} {unit}", f"write at {bound}"
    return error["msg"], "see the configuration reference"


_NAME = "letters, digits, _, . and -, 64 at most"


def _bound(key: str, kind: str, context: dict[str, Any]) -> str:
    if key in ("spi_in", "spi_out"):
        return "write an SPI from 256 to 0xffffffff (1 to 255 are reserved)"
    words = {"greater_than_equal": ("at least", "ge"), "less_than_equal": ("at most", "le")}
    word, bound = words.get(kind, ("a multiple of", "multiple_of"))
    return f"write {word} {context[bound]}"


def _choices(path: Path, expected: str) -> str:
    return "write 0, or 576 to 65535" if path[-1] == "fragmentation" else f"write {expected}"


def _shown(value: Any) -> str:
    """As it stands in the file."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _called(value: Any) -> str:
    names = {bool: "true or false", int: "a number", float: "a number with a point", str: "a string", list: "a list"}
    return names.get(type(value), "a table" if isinstance(value, dict) else "a date or time")


def _example(path: Path) -> str:
    examples = {
        "gateway": 'a table [gateway] with outside = ["eth0"] and inside = ["eth1"]',
        "peers": "a table [peers.NAME] with remote and children",
        "children": 'children.NAME = { local = ["10.1.0.0/16"], remote = ["10.2.0.0/16"] }',
    }
    return examples.get(str(path[-1]), f"{path[-1]} = ... (docs/config.md says what)")


def _nearest(path: Path) -> str:
    name = str(path[-1])
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    known = _keys_around(path)
    few = f"write {hints.any_of(known)}, or remove it" if len(known) <= FEW else ""
    return hints.meant(name, known, hints.KEYS) or few or "remove it (docs/config.md lists the keys of each table)"


def _keys_around(path: Path) -> list[str]:
    """The keys that may stand beside the last part of `path`."""
    kind: Any = FileTable
    for part in path[:-1]:
        kind = _inner(kind.model_fields[str(part)].annotation if _is_table(kind) else typing.get_args(kind)[1])
    return list(kind.model_fields) if _is_table(kind) else []


def _inner(kind: Any) -> Any:
    """Without Annotated and "or None"."""
    while True:
        if typing.get_origin(kind) is not typing.Annotated and not isinstance(kind, types.UnionType):
            return kind
        kind = typing.get_args(kind)[0]


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
