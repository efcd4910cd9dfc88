"""What a process gives up, seen by the kernel: /proc/PID/status, limits, and system calls tried in a child.

Expectations: capabilities(7), prctl(2), seccomp(2), proc(5)."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

UID = GID = 65534
PRELUDE = """
import ctypes, errno, os, resource, signal, sys, time
from xdpsec.workers.native import check, ffi, lib
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(ctypes.c_long(number), *arguments)
    return -ctypes.get_errno() if result < 0 else result
def status():
    rows = (line.split(":", 1) for line in open("/proc/self/status"))
    return {name: value.strip() for name, value in rows}
"""
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def child(code: str, **more: object) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter that can call the core."""
    argv = [sys.executable, "-I", "-c", PRELUDE + code]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, **more)  # type: ignore[call-overload,no-any-return]


def said(code: str, **more: object) -> str:
    done = child(code, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- identity ----------------------------------------------------------------------------------------------------


def test_a_dropped_process_has_no_capability_group_or_way_back() -> None:
    rows = said(f"""
os.setgroups([4, 27])
check(lib.xs_guard_drop({UID}, {GID}), "drop")
found = status()
for name in {CAPABILITIES}: print(int(found[name], 16))
print(found["NoNewPrivs"], found["Uid"].split(), found["Gid"].split(), found["Groups"].split())
print(call(117, 0, 0, 0))  # setresuid
""").splitlines()
    assert rows[:5] == ["0"] * 5
    assert rows[5] == f"1 {['65534'] * 4} {['65534'] * 4} []"
    assert int(rows[6]) == -errno.EPERM


@pytest.mark.parametrize(("uid", "gid"), [(0, GID), (UID, 0), (2**32 - 1, GID), (UID, 2**32 - 1)])
def test_root_and_no_change_are_refused(uid: int, gid: int) -> None:
    assert said(f"print(lib.xs_guard_drop({uid}, {gid}), os.getuid())") == f"{-errno.EINVAL} 0"


def test_another_thread_would_keep_its_capabilities() -> None:
    answer = said(f"""
import threading
over = threading.Event()
other = threading.Thread(target=over.wait); other.start()
print(lib.xs_guard_drop({UID}, {GID}), os.getuid())
over.set()
""")
    assert answer == f"{-errno.EBUSY} 0"


def test_who_has_no_privilege_to_give_up_is_told() -> None:
    answer = said(f"os.setresuid({UID}, {UID}, {UID})\nprint(lib.xs_guard_drop({UID}, {GID}))")
    assert int(answer) == -errno.EPERM


# --- life and memory -----------------------------------------------------------------------------------------------


def test_the_parents_death_is_ours_after_the_drop() -> None:
    """The child arms itself and waits for ever; its parent dies by SIGKILL; end of file says that the child went."""
    reader, writer = os.pipe()
    parent = subprocess.Popen(
        [
            sys.executable, "-I", "-c", PRELUDE + f"""
parent = os.getpid()
if os.fork() == 0:
    check(lib.xs_guard_drop({UID}, {GID}), "drop")
    check(lib.xs_guard_parent(parent), "parent")
    os.write({writer}, b"armed")
    signal.pause()
os.close({writer})
signal.pause()
""",
        ],
        pass_fds=(writer,),
    )  # fmt: skip
    os.close(writer)
    assert os.read(reader, 5) == b"armed"
    parent.kill()
    parent.wait()
    assert os.read(reader, 1) == b"", "end of file comes when the grandchild is gone"
    os.close(reader)


def test_a_parent_that_is_gone_already_is_noticed() -> None:
    assert int(said("print(lib.xs_guard_parent(os.getpid()))")) == -errno.ESRCH


def test_an_undumpable_process_belongs_to_root_in_proc() -> None:
    """proc(5): files of a process that is not dumpable belong to root."""
    answer = said(f"""
check(lib.xs_guard_drop({UID}, {GID}), "drop")
before = os.stat("/proc/self/environ").st_uid
check(libc.prctl(4, 1, 0, 0, 0), "dumpable")
dumpable = os.stat("/proc/self/environ").st_uid
check(lib.xs_guard_undumpable(), "undumpable")
print(dumpable, os.stat("/proc/self/environ").st_uid, libc.prctl(3, 0, 0, 0, 0))
""")
    assert answer == f"{UID} 0 0"


LOCK = """
result = lib.xs_guard_memory()
found = status()
print(result, found["VmLck"].split()[0], resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_memory_is_locked_as_far_as_the_limit_allows_and_core_files_are_off() -> None:
    """Who has no CAP_SYS_RESOURCE (some containers) cannot raise a finite limit: there the answer is ENOMEM."""
    highest = "resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.getrlimit(resource.RLIMIT_MEMLOCK)[1],) * 2)\n"
    result, locked, cores = said(highest + LOCK).split(" ", 2)
    unlimited = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] == resource.RLIM_INFINITY
    assert int(result) == (0 if unlimited else -errno.ENOMEM)
    assert (int(locked) > 0) == unlimited
    assert cores == "(0, 0)"


def test_a_finite_limit_locks_nothing_and_kills_nothing() -> None:
    finite = "resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 20, 1 << 20))\n"
    more = "check(lib.xs_guard_drop(65534, 65534), 'drop'); print(len(bytearray(64 << 20)))"
    first, second = said(finite + LOCK + more).splitlines()
    assert first == f"{-errno.ENOMEM} 0 (0, 0)"
    assert int(second) == 64 << 20


# --- the filter --------------------------------------------------------------------------------------------------

FILTERED = f"check(lib.xs_guard_drop({UID}, {GID}), 'drop')\n"
ON = "check(lib.xs_guard_seccomp(), 'filter')\n"


@pytest.mark.parametrize(
    ("name", "number", "arguments"),
    [
        ("execve", 59, '"/bin/true", None, None'),
        ("socket", 41, "1, 1, 0"),
        ("ptrace", 101, "0, 0, 0, 0"),
        ("process_vm_readv", 310, "1, 0, 0, 0, 0, 0"),
        ("process_vm_writev", 311, "1, 0, 0, 0, 0, 0"),
        ("bpf", 321, "0, 0, 0"),
        ("setresuid", 117, "0, 0, 0"),
        ("io_uring_setup", 425, "1, 0"),
    ],
)
def test_calls_that_only_an_intruder_makes_are_death(name: str, number: int, arguments: str) -> None:
    done = child(FILTERED + ON + f"call({number}, {arguments}); print('alive')")
    assert (done.returncode, done.stdout) == (-signal.SIGSYS, ""), name


@pytest.mark.parametrize(
    ("name", "number", "arguments"),
    [
        ("openat", 257, '-100, b"/etc/passwd", 0, 0'),
        ("kill", 62, "os.getppid(), 0"),
        ("tgkill of another", 234, "os.getppid(), os.getppid(), 0"),
        ("prctl", 157, "4, 1, 0, 0, 0"),
        ("setrlimit", 160, "4, None"),
        ("fcntl", 72, "0, 1, 0"),
        ("mmap to run", 9, "None, 4096, 5, 34, -1, 0"),
        ("mprotect to run", 10, "None, 4096, 4"),
    ],
)
def test_other_calls_are_refused(name: str, number: int, arguments: str) -> None:
    setup = "page = ffi.new('char[]', 8192)\n"
    assert int(said(FILTERED + "parent = os.getppid(); os.getppid = lambda: parent\n" + setup + ON
                    + f"print(call({number}, {arguments}))")) == -errno.EPERM, name  # fmt: skip


def test_what_a_worker_does_is_allowed() -> None:
    """Every kind of call that the loop, the channel, malloc and CPython make."""
    answer = said(
        "import select, socket, traceback\n"
        + """
left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
left.setblocking(False)
wake = os.eventfd(0, os.EFD_NONBLOCK)
poll = select.epoll()
"""
        + FILTERED
        + ON
        + """
poll.register(wake, select.EPOLLIN); poll.register(left, select.EPOLLIN)
os.eventfd_write(wake, 1)
assert [fd for fd, _ in poll.poll(1)] == [wake]
os.eventfd_read(wake)
right.sendmsg([b"word"]); assert select.select([left], [], [], 1)[0]
assert left.recvmsg(100, 100)[0] == b"word"
right.send(b"frame"); assert left.recv(10) == b"frame"
blocks = [bytearray(size) for size in (100, 1 << 14, 1 << 20, 1 << 24)]
blocks[-1].extend(bytes(1 << 24)); del blocks
assert len(os.urandom(16)) == 16
time.sleep(0.001); time.monotonic()
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
try: open("/etc/passwd")
except PermissionError: traceback.print_exc()
wake = os.close(wake)
print("served", os.getpid() > 0)
"""
    )
    assert answer == "served True"


#: Cipher, MAC, their keys' lengths, ICV: each cipher and MAC; the last two are one engine's alone.
SUITES = (
    ("aes-gcm", "", 20, 0, 16), ("aes-cbc", "sha256", 32, 32, 16), ("aes-ccm", "", 35, 0, 8),
    ("aes-ctr", "cmac", 20, 16, 12), ("chacha20-poly1305", "", 36, 0, 16), ("null", "sha512", 0, 64, 32),
    ("3des-cbc", "sha1", 24, 20, 12), ("aes-gmac", "", 20, 0, 16),
    ("aes-cbc", "sha384", 24, 48, 24), ("aes-cbc", "xcbc", 16, 16, 12), ("aes-ccm", "", 27, 0, 12),
)  # fmt: skip


@pytest.mark.parametrize("engine", ["ipsec-mb", "openssl"])
def test_the_engines_take_keys_behind_the_filter(engine: str) -> None:
    """A worker gets its SAs after it is confined: key set-up must need no file and no further call."""
    answer = said(
        """
from xdpsec.channel.messages import Selector, SaInstall
from xdpsec.workers import apply, native, worker
from xdpsec.daemon import regions
from pathlib import Path
import tempfile
path = Path(tempfile.mkdtemp()) / "sa_state"
state, slots = regions.open_state(path, 16, b"boot")
made = regions.make(1, 256, 2048, state, slots)
from xdpsec.channel.start import WorkerStart
start = WorkerStart(0, 1, -1, 65534, 65534, os.getppid(), -1, made.umem, made.umem_size, 2048, made.pool, made.state,
                    made.state_size, made.counters, made.handoff, made.wake, 64, 0, 64, ())
w = worker.build(start)
path.unlink(); path.parent.rmdir()
"""
        + "worker.confine(start)\n"
        + f"""
for slot, (cipher, auth, key, auth_key, icv) in enumerate({SUITES}):
    spi = 0x1001 + slot
    m = SaInstall(spi, False, 0, slot, cipher, auth, os.urandom(key), os.urandom(auth_key), icv, True, 4096,
                  "10.0.0.1", "10.0.0.2", 0, 0, 1500, (Selector("10.1.0.0/16", "10.2.0.0/16"),), "{engine}")
    conf, keep = apply.sa_conf(m)
    w.sa_install(conf)
    print(w.sa_engine(slot))
w.start()
w.run(made.wake[0], 20)
w.free()
"""
    )
    assert answer.split() == [engine] * (len(SUITES) - 2) + ["ipsec-mb", "openssl"]


def test_a_failed_assertion_still_ends_the_process_by_abort() -> None:
    assert child(FILTERED + ON + "libc.abort()").returncode == -signal.SIGABRT


# --- priority ----------------------------------------------------------------------------------------------------


def test_a_preferred_process_goes_before_its_session_and_its_session_before_others() -> None:
    rows = said(
        """
from xdpsec.workers import native
grouped = native.AUTOGROUP.exists() and native.AUTOGROUP.read_text()
native.prefer()
print(os.getpriority(os.PRIO_PROCESS, 0))
if grouped: print(native.AUTOGROUP.read_text().split()[-1])
""",
        start_new_session=True,
    ).split()
    assert set(rows) == {"-10"}


def test_a_process_that_was_given_more_keeps_it() -> None:
    rows = said(
        """
from xdpsec.workers import native
os.setpriority(os.PRIO_PROCESS, 0, -15)
grouped = native.AUTOGROUP.exists() and native.AUTOGROUP.read_text()
if grouped: native.AUTOGROUP.write_text("-15")
native.prefer()
print(os.getpriority(os.PRIO_PROCESS, 0))
if grouped: print(native.AUTOGROUP.read_text().split()[-1])
""",
        start_new_session=True,
    ).split()
    assert set(rows) == {"-15"}


def test_a_session_in_no_group_is_no_obstacle(tmp_path: Path) -> None:
    """A process of the root group has the file, and nothing in it."""
    empty = tmp_path / "autogroup"
    empty.touch()
    assert (
        said(f"""
from pathlib import Path
from xdpsec.workers import native
native.AUTOGROUP = Path("{empty}")
native.prefer()
print(os.getpriority(os.PRIO_PROCESS, 0))
""")
        == "-10"
    )
    assert not empty.read_text()


def test_a_process_that_may_not_be_preferred_goes_on() -> None:
    assert (
        said(f"""
from xdpsec.workers import native
check(lib.xs_guard_drop({UID}, {GID}), "drop")
native.prefer()
print(os.getpriority(os.PRIO_PROCESS, 0) > -10)
""")
        == "True"
    )
