"""What several rooms' tests share: a network namespace of their own, gone with its last user."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from shell import sh

if TYPE_CHECKING:
    from desk import Ran

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


@pytest.fixture
def namespace() -> Iterator[None]:
    """This thread, and what it starts, in a fresh namespace with loopback up."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    _check(LIBC.unshare(CLONE_NEWNET))
    try:
        sh("ip link set lo up")
        yield
    finally:
        _check(LIBC.setns(home, CLONE_NEWNET))
        os.close(home)


@pytest.fixture
def veths(namespace: None) -> tuple[str, str]:
    """Two veth pairs, out0-out1 and in0-in1, all up, two queues each; the names of the gateway's ends."""
    for name in ("out", "in"):
        many = "numrxqueues 2 numtxqueues 2"
        sh(f"ip link add {name}0 {many} type veth peer name {name}1 {many}")
        for end in "01":
            Path(f"/proc/sys/net/ipv6/conf/{name}{end}/disable_ipv6").write_text("1")
            sh(f"ip link set {name}{end} up")
    return "out0", "in0"


@pytest.fixture
def xdpsec(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """xdpsec("status", "--json") runs that command."""
    from desk import run  # the command line loads everything: only its own tests wait for that

    return lambda *words: run(capsys, monkeypatch, *words)
