"""A lab leaves nothing: not what ignores its end, not what was half made, not what was kept and then removed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from xdpsec.demo import lab as labs
from xdpsec.demo.capture import Capture
from xdpsec.demo.lab import Lab, LabError
from xdpsec.demo.waiting import Lines, Notification

#: Says that it is in its namespace, which `ip netns exec` enters a moment after its start.
ASLEEP = ["sh", "-c", "echo inside; exec sleep 60"]
DEAF = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


def left(lab: Lab) -> list[Path]:
    return [*Path("/run/netns").glob(f"{lab.name}*"), *(path for path in (lab.directory,) if path.exists())]


def test_a_process_that_ignores_its_end_is_killed(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> None:
    monkeypatch.setattr(labs, "STOP_SECONDS", 0.2)
    process = lab.start(lab.namespace("a"), ["python3", "-c", DEAF], stdout=subprocess.PIPE)
    Lines(process.stdout, "python3").until(lambda line: line == "deaf", 60)
    lab.close()
    assert process.returncode == -9
    assert left(lab) == []


def test_what_nobody_wrote_down_is_removed_too(lab: Lab) -> None:
    """As after a signal between making something and noting it."""
    subprocess.run(["ip", "netns", "add", f"{lab.name}-x"], check=True)
    argv = ["ip", "netns", "exec", f"{lab.name}-x", *ASLEEP]
    stray = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True)
    Lines(stray.stdout, "sh").until(lambda line: line == "inside", 60)
    (lab.directory / "deep").mkdir()
    lab.close()
    assert stray.wait(60) == -15
    assert left(lab) == []


def test_a_kept_lab_stays_until_it_is_removed_by_name(lab: Lab) -> None:
    process = lab.start(lab.namespace("a"), ASLEEP, stdout=subprocess.PIPE)
    Lines(process.stdout, "sh").until(lambda line: line == "inside", 60)
    lab.leave_running()
    lab.close()
    assert process.poll() is None
    assert len(left(lab)) == 2
    assert labs.remove(lab.name)
    assert process.wait(60) == -15
    assert left(lab) == []
    assert not labs.remove(lab.name)


@pytest.mark.parametrize("name", ["", "xs-", "xs-12345", "xs-12345g", "../xs-123456", "xs-123456/.."])
def test_only_a_labs_name_is_removed(name: str) -> None:
    with pytest.raises(LabError, match="no name of a lab"):
        labs.remove(name)


def test_an_error_says_which_command_and_why(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"link show nothing: .*does not exist"):
        lab.ip(lab.namespace("a"), "link", "show", "nothing")


def test_a_line_that_never_comes(lab: Lab) -> None:
    namespace = lab.namespace("a")
    silent = Lines(lab.start(namespace, ["sleep", "60"], stdout=subprocess.PIPE).stdout, "sleep")
    with pytest.raises(LabError, match="within 0 s"):
        silent.until(lambda line: True, 0.05)
    ended = Lines(lab.start(namespace, ["sh", "-c", "echo some last words"], stdout=subprocess.PIPE).stdout, "sh")
    with pytest.raises(LabError, match="ended too early; its last word was: some last words"):
        ended.until(lambda line: line == "other", 60)


@pytest.mark.parametrize(
    ("program", "came"), [("s.sendto(b'STATUS=x', a); s.sendto(b'STATUS=up\\nREADY=1', a)", True), ("pass", False)]
)
def test_ready_or_dead_whichever_comes_first(lab: Lab, program: str, came: bool) -> None:
    notification = Notification(lab.directory / "notify")
    head = "import os, socket; a = os.environ['NOTIFY_SOCKET']; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
    argv = ["python3", "-c", head + program]
    process = lab.start(lab.namespace("a"), argv, env=notification.environment)
    assert notification.wait(process, 60) is came


def test_a_capture_sees_everything_up_to_its_mark(lab: Lab) -> None:
    namespaces = [lab.namespace(role) for role in "ab"]
    lab.cable((namespaces[0], "x0"), (namespaces[1], "x1"))
    for number, (namespace, interface) in enumerate(zip(namespaces, ("x0", "x1"), strict=True), start=1):
        lab.ip(namespace, "address", "add", f"10.99.0.{number}/24", "dev", interface)
    capture = Capture(lab, namespaces[1], lab.directory / "all.pcap", "not arp")
    for _ in range(3):
        lab.inside(namespaces[0], "ping", "-q", "-c", "5", "-i", "0.01", "10.99.0.2")
        seen = capture.mark()
        assert [line.split()[:2] for line in seen] == [["x1", way] for _ in range(5) for way in ("In", "Out")]
    assert capture.mark() == []
    assert capture.stop() == 0
