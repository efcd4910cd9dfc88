"""The XDP program on its ports (Door, privileged), and its maps by their descriptors (DoorMaps, no privilege needed).

Layout of keys and values: bpf/shared.h. Knows no SA; what a frame meets is decided in bpf/steer.bpf.c.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xdpsec.errors import LocalError
from xdpsec.net.values import Link
from xdpsec.workers.native import check, door_verdict_names, ffi, lib

CONTROL_MAPS = ("buckets", "addresses", "local_prefixes", "remote_prefixes", "verdicts")
MODES = {"native": lib.XS_XDP_NATIVE, "generic": lib.XS_XDP_GENERIC}
#: The kernel's two words for "another XDP program is on this interface".
TAKEN = (errno.EBUSY, errno.EEXIST)


def object_file() -> Path:
    """The compiled program, installed beside this package."""
    spec = find_spec("xdpsec.net")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "steer.bpf.o"
        if path.exists():
            return path
    raise LocalError("steer.bpf.o is missing from the installation; run `make build`")


def mapped(address: str) -> bytes:
    """16 bytes; IPv4 as ::ffff:a.b.c.d, as the maps want it."""
    return _mapped(ipaddress.ip_address(address))


def _mapped(value: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    return value.packed if value.version == 6 else bytes(10) + b"\xff\xff" + value.packed


def prefix_key(prefix: str) -> bytes:
    """A struct xs_prefix_key. ValueError when host bits are set."""
    network = ipaddress.ip_network(prefix)
    key = ffi.new("struct xs_prefix_key *")
    key.bits = network.prefixlen + (96 if network.version == 4 else 0)
    ffi.memmove(key.addr, _mapped(network.network_address), 16)
    return bytes(ffi.buffer(key))


def prefix_value(policies: int, workers: Sequence[int] = ()) -> bytes:
    """A struct xs_prefix_value."""
    value = ffi.new("struct xs_prefix_value *")
    value.policies, value.worker_count = policies, len(workers)
    value.workers[0 : len(workers)] = list(workers)
    return bytes(ffi.buffer(value))


class DoorMaps:
    """Updates and reads by descriptors alone. `descriptors`: name -> fd, each of CONTROL_MAPS; the caller owns them."""

    def __init__(self, descriptors: Mapping[str, int]) -> None:
        self._fds = {name: descriptors[name] for name in CONTROL_MAPS}
        self._own: tuple[str, ...] = ()
        self._remote: dict[bytes, bytes] = {}

    def set_buckets(self, owners: Sequence[int | None]) -> None:
        """One owner for each of the 256 buckets; None = nobody, its frames are counted drops."""
        if len(owners) != lib.XS_BUCKETS:
            raise ValueError(f"{len(owners)} buckets, not {lib.XS_BUCKETS}")
        for bucket, owner in enumerate(owners):
            self._put("buckets", _u32(bucket), _u32(lib.XS_MAX_WORKERS if owner is None else owner))

    def set_addresses(self, addresses: Iterable[str]) -> None:
        """The gateway's own addresses. What a host inside sends to one is for the kernel, even where a remote prefix
        holds it as 0.0.0.0/0 does: who asks the gateway something is not to be tunnelled."""
        self._own = tuple(addresses)
        self._replace("addresses", 16, {mapped(address): _u32(1) for address in self._own})
        self._put_remote()

    def set_prefixes(self, local: Mapping[str, int], remote: Mapping[str, tuple[int, Sequence[int]]]) -> None:
        """prefix -> policy bits, and prefix -> (policy bits, workers). New entries stand before old ones go."""
        size = ffi.sizeof("struct xs_prefix_key")
        self._replace("local_prefixes", size, {prefix_key(net): prefix_value(bits) for net, bits in local.items()})
        self._remote = {prefix_key(net): prefix_value(bits, workers) for net, (bits, workers) in remote.items()}
        self._put_remote()

    def _put_remote(self) -> None:
        own = {prefix_key(address): prefix_value(0) for address in self._own}  # the longest prefix decides
        self._replace("remote_prefixes", ffi.sizeof("struct xs_prefix_key"), own | self._remote)

    def verdicts(self) -> tuple[tuple[int, ...], ...]:
        """[port][verdict] in frames, summed over CPUs; names by native.door_verdict_names()."""
        cpus = check(lib.xs_cpu_count(), "CPUs")
        values = ffi.new("uint64_t[]", cpus)

        def read(index: int) -> int:
            check(lib.xs_map_lookup(self._fds["verdicts"], _u32(index), values), "verdicts of the door")
            return sum(values)

        count = lib.XS_DOOR_COUNT
        return tuple(tuple(read(port * count + v) for v in range(count)) for port in range(lib.XS_MAX_PORTS))

    def totals(self) -> dict[str, int]:
        """Verdict name -> frames, over all ports."""
        columns = zip(*self.verdicts(), strict=True)
        return dict(zip(door_verdict_names(), map(sum, columns), strict=True))

    def _put(self, name: str, key: bytes, value: bytes) -> None:
        result = lib.xs_map_update(self._fds[name], key, value)
        if result in (-errno.ENOSPC, -errno.E2BIG):
            raise LocalError(f"the door's table {name} is full; configure fewer or wider prefixes and addresses")
        check(result, f"door map {name}")

    def _replace(self, name: str, key_size: int, rows: Mapping[bytes, bytes]) -> None:
        old = self._keys(name, key_size)
        for key, value in rows.items():
            self._put(name, key, value)
        for key in old - rows.keys():
            check(lib.xs_map_delete(self._fds[name], key), f"door map {name}")

    def _keys(self, name: str, size: int) -> set[bytes]:
        """Only we write the map, so that a walk meets each key once."""
        found: set[bytes] = set()
        key, at = ffi.new("uint8_t[]", size), ffi.NULL
        while (result := lib.xs_map_next_key(self._fds[name], at, key)) == 0:
            at = ffi.new("uint8_t[]", bytes(ffi.buffer(key)))
            found.add(bytes(ffi.buffer(key)))
        if result != -errno.ENOENT:
            check(result, f"door map {name}")
        return found


class Door:
    """The loaded program. It is on an interface while we live: links are descriptors, nothing is pinned."""

    def __init__(self, path: Path | None = None) -> None:
        error = ffi.new("int *")
        handle = lib.xs_door_load(str(path or object_file()).encode(), error)
        if handle == ffi.NULL:
            why = os.strerror(error[0])
            raise LocalError(f"the kernel refuses the XDP program: {why}; it needs root and kernel 6.1 or newer")
        self._handle: Any = handle
        self._links: dict[int, int] = {}
        # nobody serves any bucket until told so: an array map starts with zeroes, which would name worker 0
        DoorMaps(self.maps()).set_buckets([None] * lib.XS_BUCKETS)

    @property
    def program(self) -> int:
        """Descriptor of the program, for test runs."""
        return int(lib.xs_door_program_fd(self._handle))

    def attach(self, port: int, link: Link, outside: bool, mode: str = "auto") -> str:
        """Known to the maps first, then attached; "native" or "generic". LocalError when another program is there."""
        self._name_port(port, link, outside)
        error = 0
        for name in MODES if mode == "auto" else (mode,):
            result = lib.xs_door_attach(self._handle, link.ifindex, MODES[name])
            if result >= 0:
                self._links[port] = result
                return name
            error = -result
            if error in TAKEN:
                break
        self._forget_port(port, link)
        raise LocalError(_refusal(link, mode, error))

    def attached(self, port: int) -> bool:
        """Is the program on the port still? False once somebody took it off, or the interface is gone."""
        return bool(check(lib.xs_door_attached(self._links[port]), f"XDP link of port {port}"))

    def attach_again(self, port: int, link: Link, mode: str) -> None:
        """After somebody took it off; sockets and maps are as they were. LocalError as `attach` has it."""
        result = lib.xs_door_attach(self._handle, link.ifindex, MODES[mode])
        if result < 0:
            raise LocalError(_refusal(link, mode, -result))
        os.close(self._links[port])  # a link that lost its interface cannot get it back
        self._links[port] = result

    def detach(self, port: int, link: Link) -> None:
        """Take the program off a port: its frames are the kernel's again."""
        os.close(self._links.pop(port))
        self._forget_port(port, link)

    def maps(self) -> Mapping[str, int]:
        """Descriptors of CONTROL_MAPS, to hand to control."""
        return {name: self._map(name) for name in CONTROL_MAPS}

    def serve(self, port: int, queue: int, worker: int, socket: int) -> None:
        """Redirect to the socket from now on."""
        check(lib.xs_map_update(self._map("sockets"), _slot(port, queue, worker), _u32(socket)), "XSKMAP")

    def clear(self, worker: int, ports: Sequence[tuple[int, int]]) -> None:
        """Take the worker's sockets on every (port, queue) out of the XSKMAP: its frames are counted drops."""
        for port, queue in ports:
            result = lib.xs_map_delete(self._map("sockets"), _slot(port, queue, worker))
            if result != -errno.ENOENT:
                check(result, "XSKMAP")

    def close(self) -> None:
        """Detach everything; safe to call twice."""
        links, self._links = self._links, {}
        for link in links.values():
            with contextlib.suppress(OSError):
                os.close(link)
        handle, self._handle = self._handle, ffi.NULL
        lib.xs_door_close(handle)

    def _name_port(self, port: int, link: Link, outside: bool) -> None:
        role = lib.XS_ROLE_OUTSIDE if outside else lib.XS_ROLE_INSIDE
        value = ffi.new("struct xs_door_port *", {"ifindex": link.ifindex, "mac": list(link.mac), "role": role})
        check(lib.xs_map_update(self._map("ports"), _u32(port), value), f"port {port}")
        check(lib.xs_map_update(self._map("port_of"), _u32(link.ifindex), _u32(port)), f"port {port}")

    def _forget_port(self, port: int, link: Link) -> None:
        lib.xs_map_delete(self._map("port_of"), _u32(link.ifindex))
        lib.xs_map_update(self._map("ports"), _u32(port), ffi.new("struct xs_door_port *"))

    def _map(self, name: str) -> int:
        return check(lib.xs_door_map_fd(self._handle, name.encode()), f"door map {name}")


def _refusal(link: Link, mode: str, error: int) -> str:
    what = f"XDP cannot be attached to interface {link.ifindex} ({mode} mode)"
    if error in TAKEN:
        return f"{what}: another XDP program is on it; stop its owner (`bpftool net` shows it)"
    if link.ifindex not in (index for index, _ in socket.if_nameindex()):  # the kernel's word for it is EINVAL
        return f"{what}: the interface is gone"
    return f'{what}: {os.strerror(error)}; try `mode = "generic"`, or a smaller MTU'


def _u32(value: int) -> bytes:
    return bytes(ffi.buffer(ffi.new("uint32_t *", value)))


def _slot(port: int, queue: int, worker: int) -> bytes:
    return _u32(check(lib.xs_door_slot(port, queue, worker), f"socket of port {port}, queue {queue}, worker {worker}"))
