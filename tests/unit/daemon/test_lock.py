"""One gateway for each run_dir: who holds the lock, what a dead holder leaves, and how the holder is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from xdpsec.daemon import lock
from xdpsec.errors import LocalError
from xdpsec.net.fence import Fence

HOLD = """
import signal, sys
from pathlib import Path
from xdpsec.daemon.lock import Lock
if "deaf" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
held = Lock(Path(sys.argv[1]))
print("held", flush=True)
signal.pause()
"""


@contextmanager
def holding(directory: Path, *how: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the lock."""
    argv = [sys.executable, "-I", "-c", HOLD, str(directory), *how]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            yield other
        finally:
            other.kill()


def test_the_holder_is_named_and_its_death_frees_the_lock(tmp_path: Path) -> None:
    assert lock.holder(tmp_path) == 0
    with holding(tmp_path) as other:
        assert lock.holder(tmp_path) == other.pid
        with pytest.raises(
            LocalError, match=rf"another xdpsec \(process {other.pid}\) runs with run_dir {tmp_path}; stop"
        ):
            lock.Lock(tmp_path)
        other.kill()
        other.wait()
    assert (tmp_path / lock.NAME).read_text() == f"{other.pid}\n", "what lies there names nobody"
    assert lock.holder(tmp_path) == 0
    ours = lock.Lock(tmp_path)
    assert (tmp_path / lock.NAME).read_text() == f"{os.getpid()}\n"
    ours.close()


def test_a_refused_lock_leaves_the_holders_name(tmp_path: Path) -> None:
    with holding(tmp_path) as other:
        with pytest.raises(LocalError):
            lock.Lock(tmp_path)
        assert (tmp_path / lock.NAME).read_text() == f"{other.pid}\n"
        assert lock.holder(tmp_path) == other.pid


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / lock.NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        lock.Lock(tmp_path)


@pytest.mark.usefixtures("namespace")
def test_stop_ends_the_holder_and_keeps_the_fence_unless_told(tmp_path: Path) -> None:
    assert not lock.stop(tmp_path / "none", open_fence=False), "no run_dir, no gateway"
    Fence().protect([("10.1.0.0/16", "10.2.0.0/16")], [])
    with holding(tmp_path) as other:
        assert lock.stop(tmp_path, open_fence=False)
        assert other.wait(0) == -signal.SIGTERM, "it is over when stop returns"
    assert Fence().stands()
    assert not lock.stop(tmp_path, open_fence=True)
    assert not Fence().stands()


def test_stop_says_when_the_holder_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "STOP_SECONDS", 0.1)
    with (
        holding(tmp_path, "deaf") as other,
        pytest.raises(LocalError, match=f"did not end within 0 s; end it by kill -9 {other.pid}"),
    ):
        lock.stop(tmp_path, open_fence=False)
