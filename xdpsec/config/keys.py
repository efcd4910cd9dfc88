"""Key files of manual SAs: who may own them, what stands in them, and that no key serves twice.

No sentence and no repr made here contains key material, not even a misspelt name from a key file. For an AEAD the
salt follows the key in `encryption` (RFC 4106 sec. 8.1, as `ip xfrm` has it).
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xdpsec.config.lines import key_lines, line_of
from xdpsec.config.suites import Suite
from xdpsec.errors import ConfigError

MAX_SIZE = 64 << 10
SA_ID_SIZE = 16  # XS_SA_ID_SIZE of bpf/shared.h
_DIRECTIONS = ("inbound", "outbound")


@dataclass(frozen=True, slots=True)
class SaKey:
    """Keys of one SA in one direction. `encryption` ends with the salt and is empty where nothing is encrypted;
    `integrity` is empty for an AEAD."""

    encryption: bytes = field(repr=False)
    integrity: bytes = field(repr=False)

    @property
    def sa_id(self) -> bytes:
        """16 bytes that name the key material without revealing it."""
        return hashlib.sha256(self.encryption + self.integrity).digest()[:SA_ID_SIZE]


@dataclass(frozen=True, slots=True)
class KeyPair:
    """What one key file holds."""

    inbound: SaKey
    outbound: SaKey


def check_owner(status: os.stat_result, file: str) -> None:
    """ConfigError unless `status` (from fstat, so that nobody can swap the file) is a file that only root can read."""
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(file, 0, "", "is not a regular file", "put the keys into a file")
    if status.st_uid != 0:
        raise ConfigError(file, 0, "", "does not belong to root", f"run chown root {file}")
    if status.st_mode & 0o177:
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError(file, 0, "", f"has mode {mode:04o}, open to others", f"run chmod 0600 {file}")


def check_place(file: str) -> None:
    """ConfigError unless root alone decides what lies under this name: in a directory of control's account a link could
    lead to any file that is root's. OSError where there is none."""
    status = os.stat(os.path.dirname(file))
    if status.st_uid != 0 or (status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX):
        text = "lies where others than root may put files"
        raise ConfigError(file, 0, "", text, "keep it where root alone may write")


def check_public(status: os.stat_result, file: str) -> None:
    """ConfigError unless it is a file that only root can write: anybody may read a certificate."""
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(file, 0, "", "is not a regular file", "name a file with certificates")
    if status.st_uid != 0:
        raise ConfigError(file, 0, "", "does not belong to root", f"run chown root {file}")
    if status.st_mode & 0o022:
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError(file, 0, "", f"has mode {mode:04o}: others may change it", f"run chmod 0644 {file}")


def read_keys(descriptor: int, file: str, suite: Suite) -> KeyPair:
    """The keys in the file behind `descriptor`, from its beginning; `file` is what errors call it."""
    raw = os.pread(descriptor, MAX_SIZE + 1, 0)
    return parse_keys(raw, file, suite)


def parse_keys(raw: bytes, file: str, suite: Suite) -> KeyPair:
    """The keys that `raw`, TOML, holds for `suite`. ConfigError for everything that is wrong with it."""
    if len(raw) > MAX_SIZE:
        raise ConfigError(file, 0, "", "is larger than 64 KiB", "name a key file")
    try:
        text = raw.removeprefix(codecs.BOM_UTF8).decode().replace("\r\n", "\n")
        tree = tomllib.loads(text)
    except UnicodeDecodeError:
        raise ConfigError(file, 0, "", "is not UTF-8", "write it as text") from None
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)$", str(error))
        line = int(found[1]) if found else 0
        raise ConfigError(file, line, "", "is not TOML", 'write inbound = { encryption = "hex" }') from None
    except RecursionError:
        raise ConfigError(file, 0, "", "is not TOML", 'write inbound = { encryption = "hex" }') from None
    return _Reader(file, suite, tree, key_lines(text)).pair()


class _Reader:
    def __init__(self, file: str, suite: Suite, tree: dict[str, Any], lines: dict[tuple[str | int, ...], int]) -> None:
        self._file, self._suite, self._tree, self._lines = file, suite, tree, lines

    def pair(self) -> KeyPair:
        for name in self._tree:
            if name not in _DIRECTIONS:
                raise self._error((name,), "is neither inbound nor outbound", "keep these two", hide=True)
        pair = KeyPair(self._sa("inbound"), self._sa("outbound"))
        check_distinct({self._file: pair})
        return pair

    def _error(self, path: tuple[str, ...], text: str, fix: str, hide: bool = False) -> ConfigError:
        """With `hide` the last name is not repeated: it may be a key in the wrong place."""
        shown = (*path[:-1], "a name there") if hide else path
        return ConfigError(self._file, line_of(self._lines, path), ".".join(shown), text, fix)

    def _sa(self, direction: str) -> SaKey:
        table = self._tree.get(direction)
        if not isinstance(table, dict):
            raise self._error((direction,), "is missing" if table is None else "is no table", self._form(direction))
        for name in table:
            if name not in ("encryption", "integrity"):
                raise self._error((direction, name), "is not known", "keep encryption and integrity", hide=True)
        suite = self._suite
        salt, name = suite.salt_len, "nonce" if suite.auth_len else "salt"
        parts = f"{suite.key_len - salt} of the key and {salt} of the {name}" if salt else "of the key"
        encryption = self._key(table, direction, "encryption", suite.key_len, parts, "encrypts nothing")
        same = "protects integrity with the same key"
        return SaKey(encryption, self._key(table, direction, "integrity", suite.auth_len, "of the key", same))

    def _key(self, table: dict[str, Any], direction: str, name: str, size: int, parts: str, without: str) -> bytes:
        """One of the two keys; empty, and refused when it is there, for a suite that has none of its kind."""
        if size:
            return self._bytes(table, direction, name, size, parts)
        if name in table:
            raise self._error((direction, name), f"has no place: {self._suite.name} {without}", "remove it")
        return b""

    def _form(self, direction: str) -> str:
        wanted = (("encryption", self._suite.key_len), ("integrity", self._suite.auth_len))
        return f"add {direction} = {{ " + ", ".join(f'{name} = "hex"' for name, size in wanted if size) + " }"

    def _bytes(self, table: dict[str, Any], direction: str, name: str, size: int, parts: str) -> bytes:
        path = (direction, name)
        value = table.get(name)
        write = f"write {size * 2} hexadecimal digits: {size} bytes {parts}"
        if value is None:
            raise self._error(path, f"is missing for {self._suite.name}", write)
        digits = value.removeprefix("0x") if isinstance(value, str) else ""
        if not re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", digits):
            raise self._error(path, "is not a string of whole hexadecimal bytes", write)
        if len(digits) != size * 2:
            raise self._error(path, f"has {len(digits) // 2} bytes, {self._suite.name} wants {size}", write)
        return bytes.fromhex(digits)


def check_distinct(pairs: Mapping[str, KeyPair]) -> None:
    """ConfigError when any key (an AEAD's with its salt) stands twice in `pairs`, key file -> keys."""
    seen: dict[bytes, tuple[str, str]] = {}
    for file, pair in pairs.items():
        for direction, key in zip(_DIRECTIONS, (pair.inbound, pair.outbound), strict=True):
            for name, value in (("encryption", key.encryption), ("integrity", key.integrity)):
                here = f"{direction}.{name}"
                if value and value in seen:
                    there, where = seen[value]
                    text = f"is the same key as {where}" + ("" if there == file else f" of {there}")
                    raise ConfigError(file, 0, here, text, "make a fresh key for each use")
                seen[value] = (file, here)
