"""What control may ask and what not: each request to a real supervisor, with the kernel's word for what it did."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from shell import sh
from stage import Supervisor, write_config

from xdpsec.channel.framing import close_all
from xdpsec.channel.messages import (
    AttachPort,
    OpenFiles,
    OpenKeyFile,
    OpenPassphrase,
    OpenSocket,
    SetFence,
    SetNeighbour,
    SpawnWorker,
    WorkerServes,
)
from xdpsec.daemon import requests
from xdpsec.daemon.requests import lock_marker, open_key_file
from xdpsec.errors import ConfigError

PAIR = ("10.1.0.0/16", "10.2.0.0/16")
PEER = "10.9.0.2"


@pytest.mark.usefixtures("veths")
def test_control_may_ask_for_what_the_configuration_has_and_for_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "lan.keys").touch(0o600)
    (tmp_path / "other.keys").touch(0o600)
    with Supervisor(write_config(tmp_path)) as gateway:
        gateway.wait_event("control started")
        gateway.meet()
        for request, sentence in (
            (AttachPort(2), "no port 2"),
            (AttachPort(-1), "no port -1"),
            (OpenKeyFile(str(tmp_path / "other.keys")), "names no key file"),
            (OpenKeyFile("/etc/shadow"), "names no key file"),
            (OpenKeyFile(str(tmp_path / "." / "lan.keys") + "/"), "names no key file"),
            (SetNeighbour(0, PEER), "port 0 is not attached"),
            (SpawnWorker(0), "2 ports are not attached"),
            (SpawnWorker(2), "no worker 2"),
            (SpawnWorker(-1), "no worker -1"),
            (WorkerServes(0), "worker 0 does not run"),
            (WorkerServes(32), "no worker 32"),
            (SetFence((), (), open=True), "only `xdpsec stop --open`"),
            (SetFence((("10.1.0.0/16", "10.3.0.0/16"),), ()), "no others"),
            (SetFence((), ("10.2.0.1",)), "no others"),
        ):
            assert sentence in gateway.refusal(request), request
        keys, marker = gateway.do(OpenKeyFile(str(tmp_path / "lan.keys")))
        assert os.readlink(f"/proc/self/fd/{keys}") == str(tmp_path / "lan.keys")
        assert os.readlink(f"/proc/self/fd/{marker}") == str(tmp_path / "lan.keys.used")
        close_all((keys, marker))
        gateway.do(SetFence((PAIR,), (PEER,)))
        check_neighbours(gateway)


IKE = """
[peers.site]
remote = "10.9.0.3"
local_id = "hq"
remote_id = "site"
auth = {{ certificate = "{folder}/hq.pem", key = "{folder}/hq.key", ca = ["{folder}/ca.pem"], \
passphrase = "{folder}/passphrase" }}
children.net = {{ local = ["10.1.0.0/16"], remote = ["10.4.0.0/16"] }}
"""


def opened(descriptor: int) -> str:
    """The file behind a descriptor, which is closed."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        close_all((descriptor,))


@pytest.mark.usefixtures("veths")
def test_what_ike_asks_for(tmp_path: Path) -> None:
    """Files that its peers name, the passphrase of a key, two ports; no others."""
    config = write_config(tmp_path)
    config.write_text(config.read_text() + IKE.format(folder=tmp_path))
    for name in ("hq.pem", "ca.pem"):
        (tmp_path / name).touch(0o644)
    for name in ("hq.key", "passphrase", "other"):
        (tmp_path / name).touch(0o600)
    (tmp_path / "passphrase").write_text("open sesame\n")
    with Supervisor(config) as gateway:
        gateway.wait_event("control started")
        gateway.meet()
        for name in ("hq.pem", "ca.pem", "hq.key"):
            (descriptor,) = gateway.do(OpenFiles((str(tmp_path / name),)))
            assert opened(descriptor) == str(tmp_path / name)
        paths = tuple(str(tmp_path / name) for name in ("hq.key", "ca.pem", "hq.pem"))
        assert tuple(map(opened, gateway.do(OpenFiles(paths)))) == paths
        (tmp_path / "hq.key").chmod(0o640)
        (tmp_path / "ca.pem").chmod(0o664)
        for request, sentence in (
            (OpenFiles((str(tmp_path / "hq.key"),)), "0640"),
            (OpenFiles((str(tmp_path / "ca.pem"),)), "others may change it"),
            (OpenFiles((str(tmp_path / "other"),)), "names no file"),
            (OpenFiles((str(tmp_path / "passphrase"),)), "names no file"),
            (OpenFiles(("/etc/shadow",)), "names no file"),
            (OpenFiles((str(tmp_path / "hq.pem"), "/etc/shadow")), "names no file"),
            (OpenFiles((str(tmp_path / "hq.pem"),) * 254), "more than 253"),
            (OpenPassphrase("/etc/shadow"), "names no passphrase"),
            (OpenSocket("0.0.0.0", 22), "no peer"),
            (OpenSocket("10.9.0.1", 500), "no peer"),
        ):
            assert sentence in gateway.refusal(request), request
        (passphrase,) = gateway.do(OpenPassphrase(str(tmp_path / "hq.key")))
        assert os.pread(passphrase, 100, 0) == b"open sesame"
        close_all((passphrase,))
        sockets = [gateway.do(OpenSocket(address, port))[0] for address in ("0.0.0.0", "::") for port in (500, 4500)]
        assert all(opened(one).startswith("socket:") for one in sockets)


@pytest.mark.usefixtures("veths")
def test_no_socket_where_no_peer_negotiates(tmp_path: Path) -> None:
    with Supervisor(write_config(tmp_path)) as gateway:
        gateway.wait_event("control started")
        gateway.meet()
        assert "no peer" in gateway.refusal(OpenSocket("0.0.0.0", 500))


def check_neighbours(gateway: Supervisor) -> None:
    gateway.ask(AttachPort(0))
    for address in ("none", "224.0.0.1", "0.0.0.0", "127.0.0.1", "::"):
        assert address in gateway.refusal(SetNeighbour(0, address))
    gateway.do(SetNeighbour(0, "10.9.0.7"))
    (row,) = json.loads(sh("ip -json neigh show dev out0 10.9.0.7"))
    assert row["dst"] == "10.9.0.7"


# --- key files -------------------------------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "lan.keys"
    path.touch(0o600)
    path.write_text("inbound = {}")
    return path


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_key_file_comes_with_its_marker(keys: Path) -> None:
    """The marker is made once, root's alone, and never emptied."""
    read, marker = open_key_file(str(keys))
    assert os.pread(read, 100, 0) == b"inbound = {}"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(read, b"x")
    os.write(marker, b"used")
    close_all((read, marker))
    status = keys.with_name("lan.keys.used").stat()
    assert (status.st_uid, status.st_mode & 0o7777) == (0, 0o600)
    read, marker = open_key_file(str(keys))
    assert os.read(marker, 100) == b"used"
    close_all((read, marker))


def test_a_key_file_may_be_a_link_to_one(keys: Path) -> None:
    """As container platforms mount secrets; what counts is the file behind it."""
    link = keys.with_name("link.keys")
    link.symlink_to(keys)
    close_all(open_key_file(str(link)))


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.chmod(0o640), "has mode 0640, open to others; run chmod 0600"),
        (lambda path: os.chown(path, 65534, 0), "does not belong to root; run chown root"),
        (lambda path: path.unlink(), "cannot be read (No such file or directory); name a file that is there"),
        (lambda path: [path.unlink(), path.mkdir()], "is not a regular file"),
        (_fifo, "is not a regular file"),
        (
            lambda path: path.with_name("lan.keys.used").symlink_to("/etc/motd"),
            "lan.keys.used: cannot be made or written",
        ),
        (lambda path: path.with_name("lan.keys.used").touch(0o644), "lan.keys.used: has mode 0644, open to others"),
        (lambda path: path.with_name("lan.keys.used").mkdir(), "lan.keys.used: cannot be made or written"),
    ],
)
def test_a_key_file_that_others_could_have_is_refused(
    keys: Path, spoil: Callable[[Path], object], sentence: str
) -> None:
    spoil(keys)
    before = open_files()
    with pytest.raises(ConfigError) as caught:
        open_key_file(str(keys))
    assert sentence in str(caught.value)
    assert open_files() == before


@pytest.mark.parametrize("spoil", [lambda place: os.chown(place, 65534, 65534), lambda place: place.chmod(0o777)])
def test_a_key_file_where_others_may_put_another_is_refused(keys: Path, spoil: Callable[[Path], object]) -> None:
    """Control's account may write state_dir: a link there leads to any file of root's, and control would get it."""
    place = keys.with_name("state")
    place.mkdir(0o755)
    (place / "lan.keys").symlink_to(keys)
    close_all(open_key_file(str(place / "lan.keys")))
    spoil(place)
    before = open_files()
    with pytest.raises(ConfigError, match="others than root may put files; keep it where root alone may write"):
        open_key_file(str(place / "lan.keys"))
    assert open_files() == before


def test_one_gateway_at_a_time_uses_a_key_file(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another run_dir two would run on the same keys and numbers (RFC 4303 sec. 3.3.3). The lock goes with the
    last copy of the descriptor, as control has one."""
    monkeypatch.setattr(requests, "MARKER_SECONDS", 0.2)
    first, second = open_key_file(str(keys)), open_key_file(str(keys))
    asyncio.run(lock_marker(first[1], str(keys)))
    copy = os.dup(first[1])
    close_all(first)
    with pytest.raises(ConfigError, match="is in use by another gateway; stop that one"):
        asyncio.run(lock_marker(second[1], str(keys)))
    os.close(copy)
    asyncio.run(lock_marker(second[1], str(keys)))
    close_all(second)
