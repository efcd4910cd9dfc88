"""Children: what they inherit, how their end is told, by any loop and however they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import pytest
import uvloop

from xdpsec.daemon.spawn import Child

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("code", "status"), [("pass", 0), ("import sys; sys.exit(3)", 3), ("import os; os.abort()", -signal.SIGABRT)]
)
def test_the_end_is_told_once_with_its_status(loop: object, code: str, status: int) -> None:
    told: list[int] = []

    async def run() -> None:
        child = Child([sys.executable, "-I", "-c", code], (), told.append)
        assert child.alive
        assert await asyncio.wait_for(child.exited, 60) == status
        assert not child.alive
        child.kill()  # safe after its end
        with pytest.raises(ChildProcessError):
            os.waitpid(child.pid, os.WNOHANG)

    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        runner.run(run())
    assert told == [status]


def test_a_killed_child_is_reaped() -> None:
    async def run() -> None:
        before = len(os.listdir("/proc/self/fd"))
        child = Child([sys.executable, "-I", "-c", "import signal; signal.pause()"], ())
        child.kill()
        assert await asyncio.wait_for(child.exited, 60) == -signal.SIGKILL
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(run())


def test_a_child_has_its_descriptors_a_session_and_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    code = """
import json, os, sys
fds = [int(fd) for fd in os.listdir("/proc/self/fd")]
fds = [fd for fd in fds if os.path.exists(f"/proc/self/fd/{fd}")]
word = json.dumps([fds, dict(os.environ), os.getsid(0) == os.getpid(), os.getcwd(), os.readlink("/proc/self/fd/0")])
os.write(int(sys.argv[1]), word.encode())
"""
    reader, writer = os.pipe()
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)

    async def run() -> None:
        child = Child([sys.executable, "-I", "-c", code, str(writer)], (writer,))
        assert await asyncio.wait_for(child.exited, 60) == 0

    asyncio.run(run())
    fds, environment, leads, folder, source = json.loads(os.read(reader, 65536))
    assert set(fds) - {0, 1, 2} == {writer}
    assert environment.keys() - {"LC_CTYPE"} == {"PATH", "LC_ALL"}
    assert (leads, folder, source) == (True, "/", "/dev/null")
    for descriptor in (reader, writer, leak):
        os.close(descriptor)


def test_a_program_that_is_not_there_raises_at_once() -> None:
    async def run() -> None:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(FileNotFoundError):
            Child(["/nonexistent"], ())
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(run())
