"""What a start checks before it changes anything: account, directories, file system, limits."""

from __future__ import annotations

import os
import pwd
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from stage import write_config

from xdpsec.config.loader import load
from xdpsec.config.values import Config
from xdpsec.daemon import preflight
from xdpsec.daemon.preflight import Account
from xdpsec.errors import ConfigError, LocalError

NOBODY = Account(65534, 65534)


def config_of(folder: Path, user: str) -> Config:
    config = load(str(write_config(folder)))
    return replace(config, gateway=replace(config.gateway, user=user))


def test_the_account_is_the_one_of_the_password_file(tmp_path: Path) -> None:
    entry = pwd.getpwnam("nobody")
    assert preflight.account(config_of(tmp_path, "nobody")) == Account(entry.pw_uid, entry.pw_gid)


@pytest.mark.parametrize(("user", "what"), [("no_such_user", "no account"), ("root", "is root or in its group")])
def test_an_account_that_will_not_do_is_refused(tmp_path: Path, user: str, what: str) -> None:
    with pytest.raises(ConfigError, match=f"gateway.user: .*{what}"):
        preflight.account(config_of(tmp_path, user))


# --- run_dir ---------------------------------------------------------------------------------------------------------


def test_a_missing_run_dir_is_made_and_others_may_not_write_it(tmp_path: Path) -> None:
    path = preflight.run_directory(tmp_path / "a" / "run")
    assert path.stat().st_mode & 0o777 == 0o755
    assert preflight.run_directory(path) == path


def test_a_run_dir_that_others_could_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    path.chmod(0o777)
    with pytest.raises(LocalError, match=f"run_dir {path} can be written by others; run chown root"):
        preflight.run_directory(path)
    path.chmod(0o755)
    os.chown(path, NOBODY.uid, NOBODY.gid)
    with pytest.raises(LocalError, match="can be written by others"):
        preflight.run_directory(path)


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("/tmp")])
def test_what_is_no_directory_is_refused(tmp_path: Path, make: object) -> None:
    make(tmp_path / "run")  # type: ignore[operator]
    with pytest.raises(LocalError, match="is no directory; name one"):
        preflight.run_directory(tmp_path / "run")
    with pytest.raises(LocalError, match="cannot be used"):
        preflight.run_directory(Path("/proc/none/run"))


# --- state_dir -------------------------------------------------------------------------------------------------------


def test_a_missing_or_empty_state_dir_becomes_the_accounts(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o755)
    for name in ("fresh", "empty", "fresh"):
        preflight.state_directory(tmp_path / name, NOBODY, "nobody")
        status = (tmp_path / name).stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (NOBODY.uid, NOBODY.gid, 0o700)


def test_a_state_dir_with_anothers_files_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "var"
    path.mkdir(mode=0o755)
    (path / "other").touch()
    with pytest.raises(
        LocalError, match=f"state_dir {path} is not the account nobody's alone; name a directory of its"
    ):
        preflight.state_directory(path, NOBODY, "nobody")
    assert path.stat().st_uid == 0


def test_a_state_dir_open_to_others_is_refused(tmp_path: Path) -> None:
    preflight.state_directory(tmp_path / "state", NOBODY, "nobody")
    (tmp_path / "state").chmod(0o750)
    with pytest.raises(LocalError, match="chmod 0700"):
        preflight.state_directory(tmp_path / "state", NOBODY, "nobody")


# --- machine ---------------------------------------------------------------------------------------------------------


def test_memory_file_systems_are_told_from_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert preflight.in_memory(Path("/dev/shm"))
    assert not preflight.in_memory(Path("/proc"))
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    monkeypatch.setattr(preflight, "MOUNTS", mounts)
    number = f"{os.major(device)}:{os.minor(device)}"
    # proc(5): optional fields, none or several, stand before the hyphen
    for kind, answer in (("tmpfs", True), ("ext4", False)):
        mounts.write_text(
            f"25 1 0:999 / /x rw - ext4 none rw\n26 1 {number} / /y rw shared:1 master:2 - {kind} none rw\n"
        )
        assert preflight.in_memory(tmp_path) is answer


def test_limits_are_raised_as_far_as_they_go() -> None:
    """In a process of its own: limits cannot be raised again once they are lowered."""
    code = """
import resource
from xdpsec.daemon import preflight
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
print(preflight.raise_limits(), resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE))
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    unlimited = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] == resource.RLIM_INFINITY
    answer, rest = done.stdout.strip().split(" ", 1)
    assert rest == "(4096, 4096) (0, 0)"
    assert answer == "True" or not unlimited


def test_only_root_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    preflight.check_root()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LocalError, match="xdpsec run needs root"):
        preflight.check_root()
