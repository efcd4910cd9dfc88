"""The helper process: results, errors and its death come back to whoever asked."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from crew import run

from xdpsec.daemon.ike.helper import AHEAD, Helper
from xdpsec.daemon.ike.service import Ike
from xdpsec.errors import PeerError
from xdpsec.ike.events import WorkWanted


@dataclass(frozen=True)
class Where:
    slow = True

    def run(self) -> int:
        return os.getpid()


@dataclass(frozen=True)
class Bad:
    slow = True

    def run(self) -> int:
        raise PeerError("no point of the curve", 17)


@dataclass(frozen=True)
class Long:
    size: int
    slow = True

    def run(self) -> bytes:
        return bytes(self.size)


@dataclass(frozen=True)
class Once:
    """Ends its process the first time."""

    mark: str
    slow = True

    def run(self) -> str:
        if not os.path.exists(self.mark):
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "done"


@dataclass(frozen=True)
class Held:
    """Runs until somebody has written to this named pipe."""

    pipe: str
    slow = True

    def run(self) -> str:
        return Path(self.pipe).read_text()


async def results(helper: Helper, *jobs: object) -> list[object]:
    found: list[object] = []
    done = asyncio.Event()

    def hear(result: object) -> None:
        found.append(result)
        if len(found) == len(jobs):
            done.set()

    for job in jobs:
        helper.run(job, hear)  # type: ignore[arg-type]
    await done.wait()
    return found


def test_jobs_run_elsewhere_and_in_order() -> None:
    async def test() -> None:
        helper = Helper()
        first, error, second, long = await results(helper, Where(), Bad(), Where(), Long(3 << 20))
        assert first == second == helper.pid != os.getpid()
        assert isinstance(error, PeerError)
        assert (str(error), error.notify) == ("no point of the curve", 17)
        assert long == bytes(3 << 20)
        helper.close()

    run(test)


def test_the_loop_goes_on_while_a_job_runs(tmp_path: Path) -> None:
    async def test() -> None:
        helper = Helper()
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)

        async def let_go() -> None:
            while True:
                with suppress(OSError):  # ENXIO: the job has not come so far
                    descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
                    break
                await asyncio.sleep(0.001)
            os.write(descriptor, b"the loop")
            os.close(descriptor)

        letting = asyncio.create_task(let_go())
        assert await results(helper, Held(str(pipe))) == ["the loop"]
        await letting
        helper.close()

    run(test)


def test_its_death_is_survived(tmp_path: Path) -> None:
    async def test() -> None:
        helper = Helper()
        first = helper.pid
        done, where = await results(helper, Once(str(tmp_path / "mark")), Where())
        assert done == "done"
        assert where == helper.pid != first
        helper.close()

    run(test)


@dataclass(frozen=True)
class Touch:
    path: str
    slow = True

    def run(self) -> None:
        Path(self.path).touch()


def test_what_nobody_wants_any_more_is_not_done(tmp_path: Path) -> None:
    """Asked as a job's turn comes; those that went ahead are done, and those behind it."""

    async def test() -> None:
        helper, gone = Helper(), False
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        for number in range(AHEAD):
            helper.run(Touch(str(tmp_path / f"ahead{number}")), lambda result: None)
        helper.run(Touch(str(tmp_path / "stale")), done.set_result, lambda: not gone)
        helper.run(Touch(str(tmp_path / "behind")), done.set_result, lambda: True)
        gone = True
        await done
        assert {path.name for path in tmp_path.iterdir()} == {"behind", *(f"ahead{number}" for number in range(AHEAD))}
        assert helper.dropped == 1
        helper.close()

    run(test)


def test_work_is_wanted_while_its_machine_waits_for_it() -> None:
    """What Ike asks the gate as the job's turn comes, with the numbers of the event."""
    asked = {(7, 3)}
    kept: list[Callable[[], bool]] = []
    ike = SimpleNamespace(
        gate=SimpleNamespace(awaits=lambda *numbers: numbers in asked),
        _helper=SimpleNamespace(run=lambda job, done, wanted: kept.append(wanted)),
    )
    Ike._work(ike, WorkWanted(7, 3, Where()), 0.0)  # type: ignore[arg-type]
    assert kept[0]()
    asked.clear()
    assert not kept[0]()


def test_what_waits_behind_its_death_is_asked_for_too(tmp_path: Path) -> None:
    async def test() -> None:
        helper, gone = Helper(), False
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        helper.run(Deadly(), lambda result: None)
        helper.run(Where(), lambda result: None)
        helper.run(Touch(str(tmp_path / "stale")), done.set_result, lambda: not gone)
        helper.run(Touch(str(tmp_path / "behind")), done.set_result)
        gone = True
        await done
        assert [path.name for path in tmp_path.iterdir()] == ["behind"]
        helper.close()

    run(test)


@dataclass(frozen=True)
class Deadly:
    slow = True

    def run(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_job_that_it_dies_of_is_given_up() -> None:
    async def test() -> None:
        helper = Helper()
        deadly, where = await results(helper, Deadly(), Where())
        assert isinstance(deadly, PeerError)
        assert where == helper.pid
        helper.close()

    run(test)


def test_it_keeps_no_descriptor_of_ours(tmp_path: Path) -> None:
    async def test() -> None:
        with (tmp_path / "open").open("w"):
            helper = Helper()
            (names,) = await results(helper, Descriptors())
            assert isinstance(names, list)
            assert not [name for name in names if str(tmp_path) in name]
            helper.close()

    run(test)


@dataclass(frozen=True)
class Descriptors:
    slow = True

    def run(self) -> list[str]:
        return [os.readlink(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd") if _there(one)]


def _there(descriptor: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{descriptor}")
