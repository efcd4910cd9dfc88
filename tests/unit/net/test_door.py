"""Attaching the door to real interfaces, and its maps as a process without privilege uses them."""

from __future__ import annotations

import os
import socket
import traceback
from pathlib import Path

import pytest
from netns.rig.links import detach, xdp_links
from shell import sh

from xdpsec.errors import LocalError
from xdpsec.net import afxdp
from xdpsec.net.afxdp import Sockets, statistics
from xdpsec.net.door import CONTROL_MAPS, Door, DoorMaps
from xdpsec.net.values import Link, Rings
from xdpsec.workers.native import NativeError, door_verdict_names, lib

NOBODY = 65534
RINGS = Rings(64, 64, 64, 64)


def link_of(name: str) -> Link:
    return Link(socket.if_nametoindex(name), bytes(6), 1500, lib.xs_xsk_queues(name.encode()))


def memory(chunks: int = 64) -> int:
    umem = os.memfd_create("test-umem")
    os.ftruncate(umem, chunks * 2048)
    return umem


@pytest.mark.parametrize(("mode", "expected"), [("auto", "native"), ("native", "native"), ("generic", "generic")])
def test_attach_says_its_mode(veths: tuple[str, str], mode: str, expected: str) -> None:
    door = Door()
    try:
        assert door.attach(0, link_of("out0"), True, mode) == expected
    finally:
        door.close()


def test_auto_falls_back_to_generic(namespace: None) -> None:
    """Loopback has no native XDP."""
    door = Door()
    try:
        assert door.attach(0, link_of("lo"), True) == "generic"
        with pytest.raises(LocalError, match="native mode"):
            door.attach(1, Link(999999, bytes(6), 1500, 1), True, "native")
    finally:
        door.close()


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_a_program_that_was_taken_off_is_noticed_and_put_back(veths: tuple[str, str], mode: str) -> None:
    door, link = Door(), link_of("out0")
    try:
        door.attach(0, link, True, mode)
        assert door.attached(0)
        (number,) = xdp_links(os.getpid()).values()
        detach(number)
        assert not door.attached(0)
        assert "xdp" not in sh("ip link show out0")
        door.attach_again(0, link, mode)
        assert door.attached(0)
        assert "xdp" in sh("ip link show out0")
        assert len(xdp_links(os.getpid())) == 1, "the old link is let go"
    finally:
        door.close()


def test_an_interface_that_is_gone_says_so(veths: tuple[str, str]) -> None:
    door, link = Door(), link_of("out0")
    try:
        door.attach(0, link, True)
        sh("ip link del out0")
        assert not door.attached(0)
        with pytest.raises(LocalError, match="interface is gone"):
            door.attach_again(0, link, "native")
    finally:
        door.close()


@pytest.mark.parametrize("first", ["native", "generic"])
def test_second_attach_is_refused_until_the_first_is_gone(veths: tuple[str, str], first: str) -> None:
    one, two = Door(), Door()
    try:
        one.attach(0, link_of("out0"), True, first)
        with pytest.raises(LocalError, match="another XDP program is on it"):
            two.attach(0, link_of("out0"), True)
        one.close()
        assert two.attach(0, link_of("out0"), True) == "native"
    finally:
        one.close()
        two.close()


def test_a_detached_port_is_free_for_others(veths: tuple[str, str]) -> None:
    one, two = Door(), Door()
    try:
        one.attach(0, link_of("out0"), True)
        one.attach(1, link_of("in0"), False)
        one.detach(0, link_of("out0"))
        assert two.attach(0, link_of("out0"), True) == "native"
        with pytest.raises(LocalError, match="another XDP program is on it"):
            two.attach(1, link_of("in0"), False)
    finally:
        one.close()
        two.close()


def test_object_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "bad.o").write_bytes(b"not an object")
    with pytest.raises(LocalError, match="the kernel refuses the XDP program"):
        Door(tmp_path / "bad.o")


def test_maps_need_no_privilege() -> None:
    """A child as nobody, with descriptors alone, replaces every table; the parent sees what it wrote."""
    door = Door()
    try:
        descriptors = dict(door.maps())
        assert set(descriptors) == set(CONTROL_MAPS)
        child = os.fork()
        if child == 0:
            _exit_with(lambda: _as_nobody(descriptors))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        maps = DoorMaps(descriptors)
        assert len(maps._keys("addresses", 16)) == 1
        assert len(maps._keys("remote_prefixes", 20)) == 3, "two prefixes, and the own address"
        assert maps._keys("local_prefixes", 20) == set()
        assert set(maps.totals()) == set(door_verdict_names())
        assert sum(maps.totals().values()) == 0
    finally:
        door.close()


def _exit_with(work: object) -> None:
    status = 1
    try:
        work()  # type: ignore[operator]
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _as_nobody(descriptors: dict[str, int]) -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    maps = DoorMaps(descriptors)
    maps.set_buckets([1] * 256)
    maps.set_addresses(["10.0.0.1", "fd00::1"])
    maps.set_addresses(["10.0.0.2"])
    maps.set_prefixes({"10.1.0.0/16": 1}, {"10.2.0.0/16": (1, [0])})
    maps.set_prefixes({}, {"10.3.0.0/16": (1, [0, 1]), "::/0": (2, [])})
    maps.verdicts()


def test_wrong_values_are_refused() -> None:
    door = Door()
    try:
        maps = DoorMaps(door.maps())
        with pytest.raises(ValueError, match="buckets"):
            maps.set_buckets([0])
        with pytest.raises(ValueError, match="host bits"):
            maps.set_prefixes({"10.1.0.1/16": 1}, {})
        with pytest.raises(NativeError):
            door.serve(lib.XS_MAX_PORTS, 0, 0, 0)
        door.clear(0, [(0, 0)])  # nothing there: nothing to do
    finally:
        door.close()


def test_sockets_of_two_ports_share_one_umem(veths: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    umem = memory()
    sockets = Sockets(umem, 64 * 2048, 2048, RINGS)
    opened = [sockets.open_port(link_of(name), 3) for name in veths]
    try:
        assert [(len(port.own), {len(row) for row in port.own}, port.bind) for port in opened] == [(2, {3}, "copy")] * 2
        assert set(statistics(opened[0].own[0][0]).values()) == {0}
        # the same queue again, while it is held, by another gateway
        with monkeypatch.context() as held:
            held.setattr(afxdp, "BUSY_TRIES", 2)  # it is held for good: no use in waiting
            with pytest.raises(LocalError, match="another program holds this queue"):
                Sockets(umem, 64 * 2048, 2048, RINGS).open_port(link_of("out0"), 1)
    finally:
        for descriptor in (fd for port in opened for row in port.own for fd in row):
            os.close(descriptor)
    again = Sockets(umem, 64 * 2048, 2048, RINGS).open_port(link_of("out0"), 1)  # freed again, a little later
    for descriptor in (fd for row in again.own for fd in row):
        os.close(descriptor)
    os.close(umem)


def test_zero_copy_where_there_is_none(veths: tuple[str, str]) -> None:
    umem = memory()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(LocalError, match="bind"):
        Sockets(umem, 64 * 2048, 2048, RINGS).open_port(link_of("out0"), 1, "zero-copy")
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(umem)
