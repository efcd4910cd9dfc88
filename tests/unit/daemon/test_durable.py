"""The files of the durable state: whole or refused, whatever was cut off, and on disk before the call returns."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xdpsec.daemon.durable import AREA, Damaged, Marker, StateFile, decode, encode
from xdpsec.errors import LocalError
from xdpsec.policy.sequence import Saved

ONE, TWO = bytes(range(16)), bytes(range(16, 32))
ROWS = {ONE: Saved(True, 4097, 0, "branch/lan"), TWO: Saved(False, (1 << 64) - 1, 4096, "branch/lan")}
MORE = {ONE: Saved(True, 9000, 0, "branch/lan"), TWO: ROWS[TWO]}


def test_a_document_says_what_it_was_told() -> None:
    assert decode(encode(ROWS, 7)) == (7, ROWS)
    assert decode(encode(ROWS, 7) + b"anything") == (7, ROWS)
    assert decode(encode({})) == (0, {})


def test_every_cut_and_every_flipped_bit_is_seen() -> None:
    whole = encode(ROWS, 7)
    for size in range(len(whole)):
        with pytest.raises(Damaged):
            decode(whole[:size])
    head = whole.index(b"\n")
    for at in range(len(whole)):
        broken = bytearray(whole)
        broken[at] ^= 1
        try:
            generation, rows = decode(bytes(broken))
        except Damaged:
            continue
        # the generation alone is not under the checksum: it only says which copy is newer
        assert at < head
        assert rows == ROWS or generation != 7


def test_a_newer_version_is_named() -> None:
    with pytest.raises(Damaged, match="version 2, this xdpsec knows 1"):
        decode(encode(ROWS).replace(b"sequence 1 ", b"sequence 2 ", 1))


# --- the state file ---------------------------------------------------------------------------------------------------


def test_the_state_file_is_replaced_whole_and_closed_to_others(tmp_path: Path) -> None:
    file = StateFile(str(tmp_path))
    assert file.read() == {}
    file.write(ROWS)
    file.write(MORE)
    assert StateFile(str(tmp_path)).read() == MORE
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["sequence"]


def test_a_write_that_was_interrupted_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = StateFile(str(tmp_path))
    file.write(ROWS)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    for name in ("pwrite", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(OSError, match="No space"):
                file.write(MORE)
        assert file.read() == ROWS
    file.write(MORE)  # the leftover is in nobody's way
    assert file.read() == MORE


def test_data_is_on_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor: int) -> None:
        said.append("directory" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def noted_rename(path: Path, target: Path) -> Path:
        said.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    StateFile(str(tmp_path)).write(ROWS)
    assert said == ["file", "rename", "directory"]


def pipe_at(path: Path) -> None:
    """Who opens it for reading waits for a writer, unless told not to."""
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b""), "is damaged: it does not begin as one"),
        (lambda path: path.write_bytes(path.read_bytes()[:-3]), "is damaged: it is cut off"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"4097", b"4096")), "its checksum is wrong"),
        (lambda path: path.chmod(0o644), r"has mode 0644, open to others; run chmod 0600 .*/sequence"),
        (lambda path: os.chown(path, 12345, 0), r"belongs to uid 12345, not to 0; run chown 0 .*/sequence"),
        (lambda path: (path.rename(path.with_name("x")), path.symlink_to("x")), "cannot be opened"),
        (lambda path: (path.unlink(), path.mkdir()), "is not a regular file"),
        (pipe_at, "is not a regular file"),
    ],
)
def test_a_state_file_that_cannot_be_trusted_is_refused_in_one_sentence(
    tmp_path: Path, spoil: object, said: str
) -> None:
    file = StateFile(str(tmp_path))
    file.write(ROWS)
    spoil(file.path)  # type: ignore[operator]
    with pytest.raises(LocalError, match=said) as refusal:
        file.read()
    assert str(file.path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


# --- markers ----------------------------------------------------------------------------------------------------------


def marker(path: Path) -> Marker:
    return Marker(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "/etc/xdpsec/lan.keys")


def test_a_marker_keeps_the_last_of_its_copies(tmp_path: Path) -> None:
    first = marker(tmp_path / "m")
    assert first.read(False) == {}
    for end in range(2, 7):
        first.write({ONE: Saved(True, end)}, {ONE})
        assert marker(tmp_path / "m").read(False) == {ONE: Saved(True, end)}
    again = marker(tmp_path / "m")
    again.read(True)
    again.write(MORE, set(MORE))
    assert marker(tmp_path / "m").read(False) == MORE


def test_a_marker_cut_off_anywhere_while_written_says_the_old_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "m"
    writer = marker(path)
    writer.write(ROWS, set(ROWS))
    writer.write(ROWS, set(ROWS))
    before = path.read_bytes()
    writer.write(MORE, set(MORE))
    after = path.read_bytes()
    for cut in (*range(400), AREA - 1, AREA, AREA + 1, 2 * AREA):
        path.write_bytes(after[:cut] + before[cut:])
        assert marker(path).read(True) in (ROWS, MORE)


def test_the_very_first_save_cut_off_counts_only_when_the_state_file_knows_the_key(tmp_path: Path) -> None:
    path = tmp_path / "m"
    marker(path).write(ROWS, set(ROWS))
    whole = path.read_bytes()
    for cut in (1, 10, 50, 150):
        path.write_bytes(whole[:cut])
        assert marker(path).read(known=True) == {}
        with pytest.raises(LocalError, match=r"marker .*lan\.keys\.used is damaged; make new keys in /etc/xdpsec/lan"):
            marker(path).read(known=False)


def test_a_damaged_marker_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m"
    writer = marker(path)
    writer.write(ROWS, set(ROWS))
    writer.write(ROWS, set(ROWS))
    path.write_bytes(b"\0" * 2 * AREA)
    with pytest.raises(LocalError, match="damaged"):
        marker(path).read(known=True)


def test_a_marker_that_is_full_forgets_old_keys_first(tmp_path: Path) -> None:
    rows = {bytes([i]) * 16: Saved(True, 10_000 + i, 0, "branch/" + "x" * 60) for i in range(100)}
    rows[TWO] = Saved(True, 2)
    writer = marker(tmp_path / "m")
    writer.write(rows, {TWO})
    kept = marker(tmp_path / "m").read(True)
    assert TWO in kept
    assert 10 < len(kept) < len(rows)
