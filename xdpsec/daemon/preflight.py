"""What must be so before anything starts: who runs us, whose account is used, which directories and limits there are.

Every refusal is one sentence that says how to mend it. Changes nothing but the directories and limits it names.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import stat
from dataclasses import dataclass
from pathlib import Path

from xdpsec.config.values import Config
from xdpsec.errors import ConfigError, LocalError
from xdpsec.net.routes import Links
from xdpsec.net.values import Link

MOUNTS = Path("/proc/self/mountinfo")
MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs", "devtmpfs")


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int


def check_root() -> None:
    if os.geteuid() != 0:
        raise LocalError("xdpsec run needs root to attach XDP and open sockets; its other processes give root up")


def account(config: Config) -> Account:
    """The account of control and workers."""
    name = config.gateway.user
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        fix = f"make it with `useradd --system {name}`, or name another"
        raise _wrong_user(config, f"there is no account {name!r}", fix) from None
    if entry.pw_uid == 0 or entry.pw_gid == 0:
        text = f"the account {name!r} is root or in its group"
        raise _wrong_user(config, text, "name an account without privileges")
    return Account(entry.pw_uid, entry.pw_gid)


def _wrong_user(config: Config, text: str, fix: str) -> ConfigError:
    return ConfigError(config.file, config.line(("gateway", "user")), "gateway.user", text, fix)


def find_link(config: Config, links: Links, interface: str) -> Link:
    """The interface that the configuration names so."""
    side = "outside" if interface in config.gateway.outside else "inside"
    try:
        link = links.find(interface)
    except LookupError as error:
        text, fix = str(error), "name one of this network namespace (`ip link` lists them)"
    else:
        if len(link.mac) == 6:
            return link
        text, fix = f"{interface} is no Ethernet interface", "name one that has a MAC address"
    raise ConfigError(config.file, config.line(("gateway", side)), f"gateway.{side}", text, fix)


def run_directory(path: Path) -> Path:
    """Made if it is missing; root's alone to write."""
    _refuse_run_dir(path, _directory(path, "run_dir", 0o755))
    return path


def _refuse_run_dir(path: Path, status: os.stat_result) -> None:
    if status.st_uid != 0 or status.st_mode & 0o022:
        raise LocalError(f"run_dir {path} can be written by others; run chown root {path} && chmod 0755 {path}")


def state_directory(path: Path, owner: Account, name: str) -> None:
    """Made for the account `name` if it is missing; an empty one of root's is given to it, another's is refused."""
    status = _directory(path, "state_dir", 0o700)
    if status.st_uid == 0 and not any(path.iterdir()):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchown(descriptor, owner.uid, owner.gid)
            os.fchmod(descriptor, 0o700)
        finally:
            os.close(descriptor)
    else:
        _refuse_state_dir(path, status, owner, name)


def _refuse_state_dir(path: Path, status: os.stat_result, owner: Account, name: str) -> None:
    if status.st_uid != owner.uid or status.st_mode & 0o077:
        fix = f"name a directory of its own, or run chown {name} {path} && chmod 0700 {path}"
        raise LocalError(f"state_dir {path} is not the account {name}'s alone; {fix}")


def look_at_directories(config: Config, owner: Account) -> None:
    """The same refusals, of those that are there; nothing is made."""
    gateway = config.gateway
    run_dir, state_dir = Path(gateway.run_dir), Path(gateway.state_dir)
    with contextlib.suppress(FileNotFoundError):
        _refuse_run_dir(run_dir, _status(run_dir, "run_dir"))
    with contextlib.suppress(FileNotFoundError):
        status = _status(state_dir, "state_dir")
        if status.st_uid != 0 or any(state_dir.iterdir()):
            _refuse_state_dir(state_dir, status, owner, gateway.user)


def _directory(path: Path, key: str, mode: int) -> os.stat_result:
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=mode, parents=True)
            path.chmod(mode)  # whatever the umask said
    except OSError as error:
        raise _unusable(path, key, error) from None
    return _status(path, key)


def _unusable(path: Path, key: str, error: OSError) -> LocalError:
    return LocalError(f"{key} {path} cannot be used ({error.strerror}); name a directory that root may write")


def _status(path: Path, key: str) -> os.stat_result:
    """Of a directory; FileNotFoundError when nothing is there."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unusable(path, key, error) from None
    if not stat.S_ISDIR(status.st_mode):
        raise LocalError(f"{key} {path} is no directory; name one")
    return status


def in_memory(path: Path) -> bool:
    """Is `path` on a file system that a reboot empties and no disk slows down?"""
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in MOUNTS.read_text().splitlines():  # proc(5): id parent major:minor ... - type source options
        mount, _, kind = line.partition(" - ")
        if mount.split()[2] == number:
            return kind.split()[0] in MEMORY_FILE_SYSTEMS
    return False


def raise_limits() -> bool:
    """Locked memory without limit, no core files, and as many open files as are allowed: for us and our children.
    False when locked memory stays limited (a container without CAP_SYS_RESOURCE)."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    everything = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, everything)
    return resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY
