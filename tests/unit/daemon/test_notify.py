"""A word to the service manager: sd_notify(3)."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

import pytest

from xdpsec.daemon.notify import notify


@pytest.mark.parametrize("abstract", [False, True])
def test_the_word_arrives_at_a_path_and_at_an_abstract_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    name = f"xs-{secrets.token_hex(8)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
        notify("READY=1")
        assert manager.recv(100, socket.MSG_DONTWAIT) == b"READY=1"


@pytest.mark.parametrize("address", [None, "", "relative", "/nonexistent/notify"])
def test_nobody_who_listens_is_no_error(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")
