"""The files of the durable sequence state: the state file, replaced whole, and the markers beside the key files.

Every save is on disk when it returns. What is damaged, foreign or of another version is refused with one sentence,
never guessed. The rules about the numbers: policy/sequence.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

from xdpsec.errors import LocalError
from xdpsec.policy.sequence import Saved

MAGIC, VERSION = "xdpsec-sequence", 1
STATE_NAME = "sequence"
SUFFIX = ".used"  # a marker's name is its key file's with this behind
#: Bytes of each of a marker's two copies: about 90 SAs, the keys that one file ever held.
AREA = 8192
MAX_SIZE = 64 << 20

Rows = Mapping[bytes, Saved]


class Damaged(Exception):
    """Bytes that are not a whole document of ours; the text says what is wrong with them."""


# --- one document -----------------------------------------------------------------------------------------------


def encode(rows: Rows, generation: int = 0) -> bytes:
    """A line with version, generation, length and SHA-256, then one line of JSON per SA."""
    lines = [
        json.dumps([sa_id.hex(), "out" if row.outbound else "in", row.end, row.window, row.label])
        for sa_id, row in sorted(rows.items())
    ]
    body = "".join(f"{line}\n" for line in lines).encode()
    return f"{MAGIC} {VERSION} {generation} {len(body)} {hashlib.sha256(body).hexdigest()}\n".encode() + body


def decode(raw: bytes) -> tuple[int, dict[bytes, Saved]]:
    """(generation, rows); anything may follow the document. Damaged when it is not whole."""
    head, newline, rest = raw.partition(b"\n")
    words = head.split()
    if not newline or len(words) != 5 or words[0] != MAGIC.encode():
        raise Damaged("it does not begin as one")
    if words[1] != str(VERSION).encode():
        raise Damaged(f"it has version {words[1].decode(errors='replace')[:20]}, this xdpsec knows {VERSION}")
    try:
        generation, length = int(words[2]), int(words[3])
    except ValueError:
        raise Damaged("its first line is not numbers") from None
    body = rest[:length] if length >= 0 else b""
    if len(body) != length:
        raise Damaged("it is cut off")
    if hashlib.sha256(body).hexdigest().encode() != words[4]:
        raise Damaged("its checksum is wrong")
    return generation, dict(_row(line) for line in body.splitlines())


def _row(line: bytes) -> tuple[bytes, Saved]:
    name, side, end, window, label = json.loads(line)
    return bytes.fromhex(name), Saved(side == "out", end, window, label)


# --- the state file ---------------------------------------------------------------------------------------------


class StateFile:
    """`directory` belongs to us. The file is replaced by rename, so that it is always one whole document."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self.path = self._directory / STATE_NAME

    def read(self) -> dict[bytes, Saved]:
        """What stands on disk, nothing when there is no file. LocalError when it cannot be trusted."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._refusal(f"cannot be opened ({error.strerror})", self._give()) from None
        try:
            self._check(os.fstat(descriptor))
            with open(descriptor, "rb", closefd=False) as file:
                raw = file.read(MAX_SIZE)
        finally:
            os.close(descriptor)
        try:
            return decode(raw)[1]
        except (Damaged, ValueError) as error:
            text = f"is damaged: {error}" if isinstance(error, Damaged) else "is damaged"
            fix = f"make new keys for all manual SAs, on both gateways, then remove {self.path}"
            raise self._refusal(text, fix) from None

    def _check(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise self._refusal("is not a regular file", "put the file that was there back")
        if status.st_uid != os.geteuid():
            raise self._refusal(f"belongs to uid {status.st_uid}, not to {os.geteuid()}", self._give())
        if status.st_mode & 0o077:
            mode = f"{stat.S_IMODE(status.st_mode):04o}"
            raise self._refusal(f"has mode {mode}, open to others", f"run chmod 0600 {self.path}")

    def _give(self) -> str:
        return f"run chown {os.geteuid()} {self.path} if it is the one that this gateway wrote last"

    def _refusal(self, text: str, fix: str) -> LocalError:
        return LocalError(f"the sequence state {self.path} {text}; {fix}")

    def write(self, rows: Rows) -> None:
        """On disk when this returns, name and all. OSError when not: then the old one stands."""
        fresh = self.path.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(fresh, flags, 0o600), "wb", buffering=0) as file:
            _write(file.fileno(), encode(rows), 0)
            os.fsync(file.fileno())
        fresh.rename(self.path)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


# --- markers ----------------------------------------------------------------------------------------------------


class Marker:
    """What one key file was used for, behind a descriptor that root opened. Two copies take turns, so that whoever
    dies while writing one leaves the other whole."""

    def __init__(self, descriptor: int, key_file: str) -> None:
        self._descriptor = descriptor
        self._key_file = key_file
        self.file = key_file + SUFFIX
        self._generation = 0

    def read(self, known: bool) -> dict[bytes, Saved]:
        """What it says. `known`: the state file has SAs of this key file. LocalError when it is damaged."""
        raw = os.pread(self._descriptor, 2 * AREA + 1, 0)
        whole = []
        for area in (raw[:AREA], raw[AREA : 2 * AREA]):
            with contextlib.suppress(Damaged, ValueError):
                whole.append(decode(area))
        if whole:
            self._generation, rows = max(whole, key=lambda copy: copy[0])
            return rows
        # cut off in its very first save, which follows that of the state file: nothing was granted on its word
        if not raw or (known and len(raw) <= AREA):
            return {}
        keys = f"make new keys in {self._key_file}, on both gateways"
        raise LocalError(f"the sequence marker {self.file} is damaged; {keys}, then remove {self.file}")

    def write(self, rows: Rows, current: Collection[bytes]) -> None:
        """On disk when this returns. Of more SAs than fit, those that are not `current` and have used the least are
        left out: the state file has them still."""
        self._generation += 1
        kept = dict(rows)
        document = encode(kept, self._generation)
        while len(document) > AREA:
            del kept[min(kept.keys() - current, key=lambda sa_id: kept[sa_id].end)]
            document = encode(kept, self._generation)
        _write(self._descriptor, document.ljust(AREA, b"\n"), (self._generation - 1) % 2 * AREA)
        os.fsync(self._descriptor)


def _write(descriptor: int, data: bytes, at: int) -> None:
    while data:
        done = os.pwrite(descriptor, data, at)
        data, at = data[done:], at + done
