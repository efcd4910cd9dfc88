"""Where passphrases come from, each source with each way to be missing, and that no error repeats one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from xdpsec.config.passphrase import MAX_SIZE, invent, obtain, read_private, write_private
from xdpsec.errors import ConfigError, LocalError

WORD = b"open sesame"
FILE = "/etc/xdpsec/gw.key"


def asks(*answers: str) -> Callable[[str], str]:
    left = list(answers)

    def ask(text: str) -> str:
        if not left:
            raise EOFError
        return left.pop(0)

    return ask


def test_prompt() -> None:
    asked = []

    def ask(text: str) -> str:
        asked.append(text)
        return "pässword"

    assert obtain("prompt", FILE, {}, ask) == "pässword".encode()
    assert asked == [f"passphrase of {FILE}: "]
    with pytest.raises(LocalError, match=r"nobody is there to ask .* start it from a terminal"):
        obtain("prompt", FILE, {}, asks())
    with pytest.raises(LocalError, match="passphrase from prompt is empty"):
        obtain("prompt", FILE, {}, asks(""))


def test_a_new_one_is_asked_for_twice(tmp_path: Path) -> None:
    assert invent("prompt", FILE, {}, asks("a b", "a b")) == b"a b"
    with pytest.raises(LocalError, match="differ") as caught:
        invent("prompt", FILE, {}, asks("first", "second"))
    assert not re.search("first|second", str(caught.value))
    kept = private(tmp_path / "word", WORD)
    assert invent(str(kept), FILE, {}, asks()) == WORD


def private(path: Path, raw: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(raw)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n"])
def test_descriptor(tail: bytes) -> None:
    read, write = os.pipe()
    os.write(write, WORD + tail)
    os.close(write)
    assert obtain(f"fd:{read}", FILE, {}) == WORD
    with pytest.raises(LocalError, match=f"descriptor {read} cannot be read"):  # it was closed
        obtain(f"fd:{read}", FILE, {})


def test_credential(tmp_path: Path) -> None:
    private(tmp_path / "gw", WORD + b"\n", 0o440)
    assert obtain("credential:gw", FILE, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == WORD
    with pytest.raises(LocalError, match="LoadCredential"):
        obtain("credential:gw", FILE, {})
    with pytest.raises(LocalError, match="other cannot be read"):
        obtain("credential:other", FILE, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    (tmp_path / "folder").mkdir()
    with pytest.raises(LocalError, match="is no file"):
        obtain("credential:folder", FILE, {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_file(tmp_path: Path) -> None:
    kept = private(tmp_path / "word", WORD + b"\n")
    assert obtain(str(kept), FILE, {}) == WORD
    kept.chmod(0o640)
    with pytest.raises(ConfigError, match="0640"):
        obtain(str(kept), FILE, {})
    kept.chmod(0o600)
    (tmp_path / "link").symlink_to(kept)
    with pytest.raises(LocalError, match="link cannot be read"):
        obtain(str(tmp_path / "link"), FILE, {})
    for raw, sentence in ((b"", "is empty"), (b"\n", "is empty"), (b"x" * MAX_SIZE, "longer than")):
        with pytest.raises(LocalError, match=sentence) as caught:
            obtain(str(private(kept, raw)), FILE, {})
        assert "xxx" not in str(caught.value)


def test_key_files_are_private(tmp_path: Path) -> None:
    made = tmp_path / "key"
    before = os.umask(0o277)
    try:
        write_private(str(made), b"the key")
    finally:
        os.umask(before)
    assert made.stat().st_mode & 0o7777 == 0o600
    assert read_private(str(made)) == b"the key"
    with pytest.raises(LocalError, match="exists"):
        write_private(str(made), b"another")
    assert made.read_bytes() == b"the key"
    for mode in (0o640, 0o604, 0o700):
        made.chmod(mode)
        with pytest.raises(LocalError, match=r"open to others; run chown .* chmod 0600"):
            read_private(str(made))
    made.chmod(0o600)
    os.chown(made, 65534, 0)
    with pytest.raises(LocalError, match="open to others"):
        read_private(str(made))
    with pytest.raises(LocalError, match="cannot be read"):
        read_private(str(tmp_path / "none"))
