"""The supervisor's life in a process of its own: starts and refusals, deaths of each of its children, its own, stops.

The kernel is real (namespace, veths, XDP, AF_XDP, nft); control is played by the test, workers are fake or real."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from netns.rig.links import detach, xdp_links
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from shell import sh
from stage import Supervisor, wait_gone, write_config

from xdpsec.channel.framing import Wire, close_all
from xdpsec.channel.messages import (
    AttachPort,
    Breach,
    Done,
    PortAttached,
    Ready,
    SpawnWorker,
    Stop,
    WorkerDied,
    WorkerServes,
)
from xdpsec.net.afxdp import Sockets
from xdpsec.net.door import CONTROL_MAPS, Door, DoorMaps
from xdpsec.net.fence import Fence
from xdpsec.net.values import Link, Rings
from xdpsec.workers.native import lib

SUPERVISOR = "xdpsec.daemon.supervisor."
LOOK = "xdpsec.daemon.barriers.LOOK_SECONDS"
#: From the start of a process until its command line shows.
TAKE_UP_SECONDS = 60.0
DEAF = ("-c", "import signal; signal.pause()")
PIDFD_GETFD = 438  # pidfd_getfd(2)
DROP, REDIRECT = 1, 4  # enum xdp_action, <linux/bpf.h>

pytestmark = pytest.mark.usefixtures("veths")


def serve(gateway: Supervisor, workers: int = 2) -> list[tuple[Wire, int]]:
    """What control does: ports, workers, and each serves. (channel, pid) of each worker."""
    gateway.wait_event("control started")
    gateway.meet()
    for port in (0, 1):
        gateway.ask(AttachPort(port))
    return [start_worker(gateway, worker) for worker in range(workers)]


def start_worker(gateway: Supervisor, worker: int) -> tuple[Wire, int]:
    channel, *sockets = gateway.do(SpawnWorker(worker))
    assert len(sockets) == 4, "two ports of two queues"
    close_all(sockets)
    wire = Wire.from_descriptor(channel)
    wire.socket.setblocking(True)
    while (ready := wire.receive()) is None:
        pass
    assert isinstance(ready.message, Ready)
    assert ready.message.worker == worker
    gateway.do(WorkerServes(worker))
    return wire, ready.message.pid


def descriptors(pid: int) -> dict[int, str]:
    folder = Path(f"/proc/{pid}/fd")
    return {int(entry.name): os.readlink(entry) for entry in folder.iterdir()}


def try_frame(gateway: Supervisor, worker: int, queue: int = 0) -> int:
    """XDP's action for a frame on the inside port that `worker` is to have, by the supervisor's own program."""
    DoorMaps(gateway.maps).set_prefixes({"10.1.0.0/16": 1}, {"10.2.0.0/16": (1, [worker])})
    found = [fd for fd, name in descriptors(gateway.process.pid).items() if name == "anon_inode:bpf-prog"]
    pidfd = os.pidfd_open(gateway.process.pid)
    program = ctypes.CDLL(None).syscall(PIDFD_GETFD, pidfd, found[0], 0)
    frame = bytes(Ether(dst=sh("ip -br link show in0").split()[2]) / IP(src="10.1.0.1", dst="10.2.0.1") / UDP())
    try:
        return int(lib.xs_door_try(program, frame, len(frame), socket.if_nametoindex("in0"), queue))
    finally:
        close_all((pidfd, program))


def xdp_on(interface: str) -> bool:
    return "xdp" in sh(f"ip link show {interface}")


# --- starting ------------------------------------------------------------------------------------------------------


def test_a_gateway_serves_stops_and_leaves_the_fence(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        with Supervisor(write_config(tmp_path), environment={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as gateway:
            gateway.wait_event("fence closed")
            workers = serve(gateway)
            gateway.wait_event("ready")
            assert manager.recv(100) == b"READY=1"
            assert xdp_on("out0")
            assert xdp_on("in0")
            gateway.signal()
            assert isinstance(gateway.hear().message, Stop)
            assert gateway.end()[0] == 0
            assert manager.recv(100) == b"STOPPING=1"
        wait_gone([pid for _, pid in workers])
        for wire, _ in workers:
            wire.close()
    assert Fence().stands()
    assert not xdp_on("out0")
    assert (tmp_path / "run" / "sa_state").stat().st_size > 0


def test_what_a_port_is_comes_with_the_answer(tmp_path: Path) -> None:
    with Supervisor(write_config(tmp_path)) as gateway:
        gateway.wait_event("control started")
        gateway.meet()
        answer = gateway.ask(AttachPort(1)).message
        assert isinstance(answer, PortAttached)
        assert answer.mac.hex(":") == sh("ip -br link show in0").split()[2]
        assert (answer.port, answer.ifindex) == (1, socket.if_nametoindex("in0"))
        assert (answer.mtu, answer.queues, answer.mode, answer.bind) == (1500, 2, "native", "copy")
        assert gateway.ask(AttachPort(1)).message == PortAttached(2, *_fields(answer)), "attached already: the same"


def _fields(m: PortAttached) -> tuple[int, int, bytes, int, int, str, str]:
    return m.port, m.ifindex, m.mac, m.mtu, m.queues, m.mode, m.bind


def refused(config: Path) -> str:
    """The one sentence of a start that is refused with status 2."""
    with Supervisor(config) as gateway:
        status, said = gateway.end()
    assert status == 2
    assert "Traceback" not in said
    return said.splitlines()[-1]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"out0"', '"gone0"', ":3: gateway.outside: there is no interface gone0; name one of this network namespace"),
        ('"nobody"', '"no_such_user"', "gateway.user: there is no account 'no_such_user'; make it with `useradd"),
        ('"nobody"', '"root"', "gateway.user: the account 'root' is root or in its group; name an account"),
        ("/run\"", "/file\"", "run_dir"),
        ("workers = 2", "workres = 2", "workres"),
    ],
)  # fmt: skip
def test_a_start_that_cannot_be_says_why_and_how_to_mend_it(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    (tmp_path / "file").write_text("")
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace(old, new))
    assert sentence in refused(config)


def test_an_unreadable_configuration_is_one_sentence(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory); name a readable file" in refused(tmp_path / "none.toml")


def test_the_fence_stands_although_a_later_step_failed(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace("in0", "gone0"))
    assert not Fence().stands()
    refused(config)
    assert Fence().stands()


def test_a_second_gateway_on_the_same_run_dir_is_refused(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with Supervisor(config) as gateway:
        gateway.wait_event("control started")
        said = refused(config)
        assert f"another xdpsec (process {gateway.process.pid}) runs with run_dir {tmp_path}/run; stop it" in said
        gateway.meet()  # the first serves on


def test_a_second_gateway_on_the_same_interface_is_refused(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    with Supervisor(write_config(tmp_path / "a")) as one, Supervisor(write_config(tmp_path / "b")) as two:
        serve(one)
        two.wait_event("control started")
        two.meet()
        said = two.refusal(AttachPort(0))
        assert said.startswith("out0: XDP cannot be attached to interface")
        assert "another XDP program is on it; stop its owner" in said
        two.control_exits(2)
        assert two.end()[0] == 2
        assert xdp_on("out0")


def test_sockets_that_cannot_be_opened_leave_no_program_behind(tmp_path: Path) -> None:
    """A queue that another program holds takes XDP but no socket; the next try must not meet our own program."""
    umem = os.memfd_create("other")
    os.ftruncate(umem, 64 * 2048)
    link = Link(socket.if_nametoindex("out0"), bytes(6), 1500, 1)
    ((held,),) = Sockets(umem, 64 * 2048, 2048, Rings(64, 64, 64, 64)).open_port(link, 1).own
    with Supervisor(write_config(tmp_path), constants={"xdpsec.net.afxdp.BUSY_TRIES": 2}) as gateway:
        gateway.wait_event("control started")
        gateway.meet()
        assert "another program holds this queue; stop it first" in gateway.refusal(AttachPort(0))
        assert not xdp_on("out0")
        close_all((held, umem))
        while isinstance(gateway.ask(AttachPort(0)).message, Done):
            pass  # the kernel frees the queue from a work queue, and tells nobody
        assert xdp_on("out0")


# --- deaths ----------------------------------------------------------------------------------------------------------


def test_a_dead_worker_is_cleared_told_and_replaced(tmp_path: Path) -> None:
    with Supervisor(write_config(tmp_path)) as gateway:
        (one, pid), (other, other_pid) = serve(gateway)
        assert {try_frame(gateway, worker, queue) for worker in (0, 1) for queue in (0, 1)} == {REDIRECT}
        os.kill(pid, signal.SIGKILL)
        assert gateway.hear().message == WorkerDied(0, -signal.SIGKILL)
        assert {try_frame(gateway, 0, queue) for queue in (0, 1)} == {DROP}
        assert try_frame(gateway, 1) == REDIRECT
        one.close()
        again, new_pid = start_worker(gateway, 0)
        assert try_frame(gateway, 0) == REDIRECT
        assert new_pid != pid
        os.kill(other_pid, 0)
        again.close()
        other.close()


def test_control_may_replace_a_worker_that_lives(tmp_path: Path) -> None:
    with Supervisor(write_config(tmp_path)) as gateway:
        (one, pid), (other, _) = serve(gateway)
        again, _ = start_worker(gateway, 0)  # answered without a WorkerDied between
        wait_gone([pid])
        for wire in (one, other, again):
            wire.close()


def test_of_those_that_are_asked_for_at_once_one_worker_lives(tmp_path: Path) -> None:
    """Two processes on one worker's rings would send from the same frames."""
    with Supervisor(write_config(tmp_path)) as gateway:
        (one, pid), (other, _) = serve(gateway)
        gateway.wait_event("ready")
        for _ in range(3):
            gateway.say(SpawnWorker(0))
        answers = [gateway.hear() for _ in range(3)]
        assert [getattr(answer.message, "error", None) for answer in answers] == [""] * 3
        *gone, last = [int(gateway.wait_event("worker started")["pid"]) for _ in answers]
        wait_gone([pid, *gone])
        os.kill(last, 0)
        for answer in answers:
            close_all(answer.descriptors)
        one.close()
        other.close()


def test_a_dead_control_takes_the_workers_with_it_and_is_started_anew(tmp_path: Path) -> None:
    with Supervisor(write_config(tmp_path)) as gateway:
        workers = serve(gateway)
        pid = gateway.control_pid
        os.kill(pid, signal.SIGKILL)
        assert gateway.wait_event("control ended")["status"] == "-9"
        wait_gone([pid, *(worker for _, worker in workers)])
        for wire, _ in workers:
            wire.close()
        assert xdp_on("out0"), "ports stay attached: their frames are counted drops, not the kernel's"
        assert {try_frame(gateway, worker) for worker in (0, 1)} == {DROP}
        for wire, _ in serve(gateway):
            wire.close()
        assert not any("worker ended" in line for line in gateway.so_far())  # it was not by themselves


def test_the_pause_before_a_new_control_is_short_again_after_one_that_served(tmp_path: Path) -> None:
    with Supervisor(write_config(tmp_path, workers=1)) as gateway:
        pauses = []
        for served in (False, False, True, True, False):
            if served:
                for wire, _ in serve(gateway, workers=1):
                    wire.close()
            else:
                gateway.wait_event("control started")
                gateway.meet()
            gateway.control_exits(1)
            pauses.append(float(gateway.wait_event("control ended")["again_in_s"]))
        assert pauses == [0.05, 0.1, 0.05, 0.05, 0.1]


def test_a_door_that_is_taken_off_is_put_back_and_told(tmp_path: Path) -> None:
    """Its sockets stand where they stood; control hears of it, and so does the next one."""
    with Supervisor(write_config(tmp_path, workers=1)) as gateway:
        ((wire, _),) = serve(gateway, workers=1)
        detach(xdp_links(gateway.process.pid)[socket.if_nametoindex("in0")])
        assert gateway.hear().message == Breach(1, 1, "")
        assert gateway.wait_event("barrier taken off and put back")["times"] == "1"
        assert xdp_on("in0")
        assert try_frame(gateway, 0) == REDIRECT
        detach(xdp_links(gateway.process.pid)[socket.if_nametoindex("in0")])
        assert gateway.hear().message == Breach(1, 2, "")
        gateway.control_exits(1)
        gateway.wait_event("control ended")
        wire.close()
        gateway.wait_event("control started")
        gateway.meet()
        assert gateway.hear().message == Breach(1, 2, "")


def test_a_door_whose_place_was_taken_is_an_error_until_it_is_free(tmp_path: Path) -> None:
    """One breach, tried again and again."""
    other = Door()
    try:
        with Supervisor(write_config(tmp_path, workers=1), constants={LOOK: 0.2}) as gateway:
            ((wire, _),) = serve(gateway, workers=1)
            link = Link(socket.if_nametoindex("out0"), bytes(6), 1500, 2)
            with gateway.standing_still():  # it would put its own back before another can come
                detach(xdp_links(gateway.process.pid)[link.ifindex])
                other.attach(0, link, True)
            told = gateway.hear().message
            assert isinstance(told, Breach)
            assert (told.port, told.times) == (0, 1)
            assert "another XDP program is on it; stop its owner" in told.error
            other.close()
            assert gateway.hear().message == Breach(0, 1, "")
            gateway.wait_event("barrier taken off and put back")  # its line may come behind the word
            assert sum("barrier taken off" in line for line in gateway.so_far()) == 2
            assert try_frame(gateway, 0) == REDIRECT
            wire.close()
    finally:
        other.close()


def test_a_fence_that_is_flushed_stands_again(tmp_path: Path) -> None:
    """With a child of an earlier configuration, which only the kernel knew."""
    Fence().protect([("10.5.0.0/16", "10.6.0.0/16")], [])
    with Supervisor(write_config(tmp_path)) as gateway:
        gateway.wait_event("control started")
        gateway.meet()
        before = sh("nft -s list ruleset")
        assert "10.6.0.0" in before
        sh("nft flush ruleset")
        assert gateway.hear().message == Breach(-1, 1, "")
        assert sh("nft -s list ruleset") == before
        gateway.wait_event("barrier taken off and put back")


def test_a_fence_that_cannot_be_put_back_is_tried_again(tmp_path: Path) -> None:
    """Somebody's nft that refuses everything, for a while."""
    fake = tmp_path / "bin" / "nft"
    fake.parent.mkdir()
    path = {"PATH": f"{fake.parent}:{os.environ['PATH']}"}
    with Supervisor(write_config(tmp_path), environment=path, constants={LOOK: 0.2}) as gateway:
        gateway.wait_event("control started")
        gateway.meet()
        fake.write_text("#!/bin/sh\necho no nft today >&2\nexit 1\n")
        fake.chmod(0o755)
        sh("nft flush ruleset")
        told = gateway.hear().message
        assert isinstance(told, Breach)
        assert (told.port, told.times) == (-1, 1)
        assert "no nft today" in told.error
        assert not Fence().stands()
        fake.unlink()
        assert gateway.hear().message == Breach(-1, 1, "")
        assert Fence().stands()


def test_a_worker_that_served_and_died_does_not_count_as_ready(tmp_path: Path) -> None:
    with Supervisor(write_config(tmp_path)) as gateway:
        one, pid = serve(gateway, workers=1)[0]
        os.kill(pid, signal.SIGKILL)
        assert gateway.hear().message == WorkerDied(0, -signal.SIGKILL)
        other, _ = start_worker(gateway, 1)
        gateway.do(AttachPort(0))
        assert not any("event=ready" in line for line in gateway.so_far())
        again, _ = start_worker(gateway, 0)
        gateway.wait_event("ready")
        for wire in (one, other, again):
            wire.close()


def test_when_the_supervisor_is_killed_all_is_gone_and_the_next_one_serves(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with Supervisor(config) as gateway:
        workers = serve(gateway)
        pids = [gateway.control_pid, *(pid for _, pid in workers)]
        state = tmp_path / "run" / "sa_state"
        with state.open("r+b") as file:
            file.seek(-8, os.SEEK_END)
            file.write(b"survives")
        gateway.process.kill()
        gateway.end()
        for wire, _ in workers:
            wire.close()
        wait_gone(pids)
    assert not xdp_on("out0")
    assert Fence().stands()
    with Supervisor(config) as gateway:
        for wire, _ in serve(gateway):
            wire.close()
    assert state.read_bytes()[-8:] == b"survives"


@pytest.mark.parametrize("served", [False, True])
def test_control_that_needs_a_person_ends_a_first_start_only(tmp_path: Path, served: bool) -> None:
    with Supervisor(write_config(tmp_path)) as gateway:
        if served:
            for wire, _ in serve(gateway):
                wire.close()
        else:
            gateway.wait_event("control started")
            gateway.meet()
        gateway.control_exits(2)
        if served:
            assert gateway.wait_event("control ended")["status"] == "2"
            gateway.wait_event("control started")
        else:
            assert gateway.end()[0] == 2
    assert Fence().stands()


def test_control_that_fails_again_and_again_is_started_ever_more_slowly(tmp_path: Path) -> None:
    with Supervisor(write_config(tmp_path), control=("-c", "import sys; sys.exit(3)")) as gateway:
        pauses = [float(gateway.wait_event("control ended")["again_in_s"]) for _ in range(4)]
        assert pauses == [0.05, 0.1, 0.2, 0.4]
        gateway.signal()
        assert gateway.end()[0] == 0


def test_control_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    """A control that never reads its channel: killed after STOP_SECONDS, and the status says so."""
    with Supervisor(write_config(tmp_path), control=DEAF, constants={SUPERVISOR + "STOP_SECONDS": 0.5}) as gateway:
        gateway.wait_event("control started")
        gateway.signal(signal.SIGINT)
        gateway.wait_event("stopping")
        status, said = gateway.end()
        assert status == 1
        assert "control does not stop" in said


# --- one in reserve --------------------------------------------------------------------------------------------------


def in_reserve(gateway: Supervisor, *told: int) -> list[int]:
    """Children of the supervisor that were not told which worker they are when they began, nor later (`told`)."""
    listed = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text().split()
    return [int(pid) for pid in listed if is_later(int(pid), told)]


def is_later(pid: int, told: tuple[int, ...]) -> bool:
    return pid not in told and words(pid).endswith(b"\0-\0")


def words(pid: int) -> bytes:
    """The command line; a process that is just taking it up shows none for a moment, and no event says when it does.
    Who is dead has none, reaped or not."""
    until, process = time.monotonic() + TAKE_UP_SECONDS, Path(f"/proc/{pid}")
    try:
        while not (found := (process / "cmdline").read_bytes()) and time.monotonic() < until:
            if process.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "Z":
                break
            time.sleep(0.01)
    except (FileNotFoundError, ProcessLookupError):
        return b""
    return found


def test_the_one_in_reserve_takes_the_place_of_the_dead_and_another_takes_its(tmp_path: Path) -> None:
    with Supervisor(write_config(tmp_path)) as gateway:
        alone = serve(gateway, workers=1)
        assert in_reserve(gateway) == [], "not before every worker serves: it would be in their way"
        pairs = [*alone, start_worker(gateway, 1)]
        for worker in (1, 0):
            (wire, pid), (reserve,) = pairs[worker], in_reserve(gateway, *(pid for _, pid in pairs))
            os.kill(pid, signal.SIGKILL)
            assert gateway.hear().message == WorkerDied(worker, -signal.SIGKILL)
            wire.close()
            pairs[worker] = start_worker(gateway, worker)
            assert pairs[worker][1] == reserve
            assert try_frame(gateway, worker) == REDIRECT
            assert len(in_reserve(gateway, *(pid for _, pid in pairs))) == 1
        os.kill(pairs[0][1], signal.SIGKILL)
        assert gateway.hear().message == WorkerDied(0, -signal.SIGKILL), "its end is told as any other's"
        for wire, _ in pairs:
            wire.close()


def test_a_reserve_that_died_is_not_missed(tmp_path: Path) -> None:
    with Supervisor(write_config(tmp_path, workers=1)) as gateway:
        ((wire, pid),) = serve(gateway, workers=1)
        (reserve,) = in_reserve(gateway)
        for victim in (reserve, pid):
            os.kill(victim, signal.SIGKILL)
            wait_gone([victim])
        assert gateway.hear().message == WorkerDied(0, -signal.SIGKILL)
        wire.close()
        wire, again = start_worker(gateway, 0)
        assert len(in_reserve(gateway, again)) == 1
        wire.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_one_in_reserve_ends_with_the_supervisor(tmp_path: Path, how: signal.Signals) -> None:
    with Supervisor(write_config(tmp_path, workers=1)) as gateway:
        ((wire, _),) = serve(gateway, workers=1)
        reserve = in_reserve(gateway)
        assert len(reserve) == 1
        gateway.process.send_signal(how)
        gateway.end()
        wait_gone(reserve)
        wire.close()


def test_who_was_in_reserve_keeps_what_is_its_own_and_nothing_else(tmp_path: Path) -> None:
    """Two workers of this project: the one started as worker 1, and one in its place that could have been any."""

    def held(pid: int) -> list[str]:
        names = [name for fd, name in descriptors(pid).items() if fd > 2]
        return sorted(name.partition(":[")[0] for name in names)

    with Supervisor(write_config(tmp_path), worker=("-m", "xdpsec.workers")) as gateway:
        (first, _), (wire, pid) = serve(gateway)
        before, (reserve,) = held(pid), in_reserve(gateway)
        os.kill(pid, signal.SIGKILL)
        assert gateway.hear().message == WorkerDied(1, -signal.SIGKILL)
        wire.close()
        again, pid = start_worker(gateway, 1)
        assert pid == reserve
        assert held(pid) == before
        rows = Path(f"/proc/{pid}/status").read_text()
        assert "Seccomp:\t2\n" in rows
        assert "CapEff:\t0000000000000000\n" in rows
        for channel in (first, again):
            channel.close()


# --- what children get -----------------------------------------------------------------------------------------------


def test_children_inherit_what_they_are_given_and_nothing_else(tmp_path: Path) -> None:
    with Supervisor(write_config(tmp_path)) as gateway:
        workers = serve(gateway)
        for wire, pid in workers:
            links = descriptors(pid)
            assert sorted(links)[:3] == [0, 1, 2]
            named = sorted(name.partition(" ")[0] for fd, name in links.items() if fd > 2)
            expected = ["/memfd:xdpsec-counters", "/memfd:xdpsec-handoff", "/memfd:xdpsec-pool", "/memfd:xdpsec-umem"]
            assert [name for name in named if name.startswith("/memfd")] == expected
            # channel, 4 sockets of its own, and for worker 1 the first of each queue
            sockets = [name for name in named if name.startswith("socket:")]
            assert len(sockets) == (5 if pid == workers[0][1] else 9)
            assert [name for name in named if "bpf" in name] == []
            assert named.count(str(tmp_path / "run" / "sa_state")) == 1
            wire.close()
        links = descriptors(gateway.control_pid)
        assert sum("bpf-map" in name for name in links.values()) == len(CONTROL_MAPS)
        assert [name for name in links.values() if "bpf-prog" in name or "bpf_link" in name or "umem" in name] == []


def test_a_real_worker_is_confined(tmp_path: Path) -> None:
    """The worker of this project under this supervisor, as the kernel sees it: proc(5), capabilities(7)."""
    with Supervisor(write_config(tmp_path, workers=1), worker=("-m", "xdpsec.workers")) as gateway:
        ((wire, pid),) = serve(gateway, workers=1)
        rows = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
        )
        assert {int(rows[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert (rows["NoNewPrivs"], rows["Seccomp"], rows["Groups"].strip()) == ("1", "2", "")
        assert set(rows["Uid"].split()) == {"65534"}
        assert Path(f"/proc/{pid}/environ").stat().st_uid == 0, "not dumpable: proc(5)"
        wire.send(Stop())
        assert gateway.hear().message == WorkerDied(0, 0)
        wire.close()


def test_words_that_are_no_request_end_control(tmp_path: Path) -> None:
    with Supervisor(write_config(tmp_path)) as gateway:
        gateway.wait_event("control started")
        gateway.meet()
        gateway.say(Done(1))
        gateway.wait_event("control sent nonsense")
        gateway.wait_event("control started")
