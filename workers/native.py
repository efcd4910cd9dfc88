"""The C core under its own names: thin calls with Python values, errors as exceptions. No policy, no messages.

Second floor of the C seam (cdef.h, this, its users). Addresses are text, "" means unset; everything else is as conf.h
says. Calls that fail raise NativeError with the errno.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xdpsec.workers._native import ffi as ffi
from xdpsec.workers._native import lib as lib

CIPHERS = {
    "aes-cbc": lib.XS_AES_CBC,
    "aes-gcm": lib.XS_AES_GCM,
    "aes-ccm": lib.XS_AES_CCM,
    "aes-ctr": lib.XS_AES_CTR,
    "chacha20-poly1305": lib.XS_CHACHA20_POLY1305,
    "null": lib.XS_NULL,
    "3des-cbc": lib.XS_3DES_CBC,
    "aes-gmac": lib.XS_AES_GMAC,
}
AUTHS = {
    "": lib.XS_AUTH_NONE,
    "sha1": lib.XS_HMAC_SHA1_96,
    "sha256": lib.XS_HMAC_SHA256_128,
    "sha384": lib.XS_HMAC_SHA384_192,
    "sha512": lib.XS_HMAC_SHA512_256,
    "xcbc": lib.XS_AES_XCBC_96,
    "cmac": lib.XS_AES_CMAC_96,
}
ENGINES = {"auto": lib.XS_ENGINE_AUTO, "ipsec-mb": lib.XS_ENGINE_IPSEC_MB, "openssl": lib.XS_ENGINE_OPENSSL}
DF = {"copy": lib.XS_DF_COPY, "set": lib.XS_DF_SET, "clear": lib.XS_DF_CLEAR}


#: Each millisecond that a worker waits for its core is frames in its rings, and control's is numbers that it lacks.
NICENESS = -10
#: The kernel takes one such write in 100 ms from all of us together.
AUTOGROUP, AUTOGROUP_TRIES, AUTOGROUP_PAUSE = Path("/proc/self/autogroup"), 5, 0.1


class NativeError(OSError):
    """A call into the core failed; `errno` and one sentence."""


def check(result: int, what: str) -> int:
    """The result of a call that returns 0 or more, or a negative errno."""
    if result < 0:
        raise NativeError(-result, f"{what}: {os.strerror(-result)}")
    return result


def wipe(data: bytes) -> None:
    """Overwrite a bytes object that held a key and that nobody else uses; one byte or none is left alone, since
    Python shares those."""
    if len(data) > 1:
        ffi.memmove(ffi.from_buffer(data), bytes(len(data)), len(data))


def prefer() -> None:
    """This process before ordinary ones, as far as it may. Where sessions share the processor as groups (autogroup,
    sched(7)), niceness alone counts only within our own."""
    if os.getpriority(os.PRIO_PROCESS, 0) > NICENESS:  # who started us may have given more
        with contextlib.suppress(OSError):  # a container without CAP_SYS_NICE
            os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    for _ in range(AUTOGROUP_TRIES):
        try:
            words = AUTOGROUP.read_text().split()  # "/autogroup-17 nice 0"; empty where the session is in no group
            if words and int(words[-1]) > NICENESS:
                AUTOGROUP.write_text(str(NICENESS))
            return
        except BlockingIOError:
            time.sleep(AUTOGROUP_PAUSE)
        except OSError:
            return  # no such kernel, or not allowed


@functools.cache
def verdict_names() -> tuple[str, ...]:
    return tuple(ffi.string(lib.xs_verdict_name(i)).decode() for i in range(lib.XS_V_COUNT))


@functools.cache
def door_verdict_names() -> tuple[str, ...]:
    return tuple(ffi.string(lib.xs_door_verdict_name(i)).decode() for i in range(lib.XS_DOOR_COUNT))


def verdict_help(verdict: int) -> str:
    return str(ffi.string(lib.xs_verdict_help(verdict)).decode())


def door_verdict_help(verdict: int) -> str:
    return str(ffi.string(lib.xs_door_verdict_help(verdict)).decode())


def engine_proved(choice: str) -> str:
    """Name of the engine behind one of ENGINES when it gave its known answers on this machine, else empty."""
    name = lib.xs_engine_proved(ENGINES[choice])
    return "" if name == ffi.NULL else str(ffi.string(name).decode())


def bucket_of(spi: int) -> int:
    """The steering bucket of an SPI, 0 to 255."""
    return int(lib.xs_bucket_of(spi))


# --- values ---------------------------------------------------------------------------------------------------


def set_address(target: Any, text: str) -> None:
    """Fill a struct xs_addr."""
    if not text:
        target.family = 0
        return
    address = ipaddress.ip_address(text)
    target.family = address.version
    ffi.memmove(target.bytes, address.packed, len(address.packed))


def set_prefix(target: Any, text: str) -> None:
    """Fill a struct xs_prefix."""
    network = ipaddress.ip_network(text)
    set_address(ffi.addressof(target, "addr"), str(network.network_address))
    target.bits = network.prefixlen


def address_text(source: Any) -> str:
    if source.family == 0:
        return ""
    return str(ipaddress.ip_address(bytes(ffi.buffer(source.bytes, 4 if source.family == 4 else 16))))


class Selector(NamedTuple):
    local: str
    remote: str
    protocol: int
    local_ports: tuple[int, int]
    remote_ports: tuple[int, int]


def set_selector(target: Any, selector: Selector) -> None:
    """Fill a struct xs_selector."""
    set_prefix(target.local, selector.local)
    set_prefix(target.remote, selector.remote)
    target.protocol = selector.protocol
    target.local_port_lo, target.local_port_hi = selector.local_ports
    target.remote_port_lo, target.remote_port_hi = selector.remote_ports


#: Selector, child, owner.
Policy = tuple[Selector, int, int]


def _policies(rows: Sequence[Policy]) -> Any:
    table = ffi.new("struct xs_policy[]", max(len(rows), 1))
    for row, (selector, child, owner) in zip(table, rows, strict=False):
        set_selector(row.selector, selector)
        row.child, row.owner = child, owner
    return table


class Event(NamedTuple):
    """What C wants Python to tell control; the fields that count depend on the kind."""

    kind: int
    slot: int
    child: int
    port: int
    number: int
    addr: str


# --- the worker -------------------------------------------------------------------------------------------------


class Worker:
    """One struct xs_worker. Memory handed in must outlive it; `keep` holds Python's side of that."""

    def __init__(self, conf: Any, keep: Sequence[Any] = ()) -> None:
        self._keep = [conf, *keep]
        self._handle = lib.xs_worker_new(conf)
        if self._handle == ffi.NULL:
            raise NativeError(22, "the core refused the worker's configuration")

    def free(self) -> None:
        """Wipes every key."""
        handle, self._handle = self._handle, ffi.NULL
        lib.xs_worker_free(handle)
        self._keep.clear()

    def add_port(self, index: int, role: int, kind: int, mac: bytes, mtu: int, addr4: str, addr6: str) -> None:
        conf = ffi.new("struct xs_port_conf *", {"index": index, "role": role, "kind": kind, "mtu": mtu})
        ffi.memmove(conf.mac, mac, 6)
        set_address(conf.addr4, addr4)
        set_address(conf.addr6, addr6)
        check(lib.xs_worker_add_port(self._handle, conf), f"port {index}")

    def add_queue(self, **fields: int) -> None:
        conf = ffi.new("struct xs_queue_conf *", fields)
        check(lib.xs_worker_add_queue(self._handle, conf), f"queue {fields['queue']} of port {fields['port']}")

    def start(self) -> None:
        check(lib.xs_worker_start(self._handle), "start")

    def sa_install(self, conf: Any) -> None:
        """`conf` is a struct xs_sa_conf *, wiped here whatever happens: C keeps its own copy of the keys."""
        try:
            check(lib.xs_sa_install(self._handle, conf), f"SA {conf.spi:#x}")
        finally:
            ffi.memmove(conf, bytes(ffi.sizeof("struct xs_sa_conf")), ffi.sizeof("struct xs_sa_conf"))

    def sa_remove(self, slot: int) -> None:
        check(lib.xs_sa_remove(self._handle, slot), f"slot {slot}")

    def sa_use(self, child: int, slot: int) -> None:
        check(lib.xs_sa_use(self._handle, child, slot), f"child {child}")

    def sa_move(self, slot: int, local: str, remote: str, encap: tuple[int, int]) -> None:
        """`encap`: our UDP port and the peer's, 0 = none."""
        ours, theirs = ffi.new("struct xs_addr *"), ffi.new("struct xs_addr *")
        set_address(ours, local)
        set_address(theirs, remote)
        check(lib.xs_sa_move(self._handle, slot, ours, theirs, *encap), f"moving slot {slot}")

    def sa_grant(self, slot: int, mark: int) -> None:
        check(lib.xs_sa_grant(self._handle, slot, mark), f"grant for slot {slot}")

    def sa_path_mtu(self, child: int, mtu: int) -> None:
        check(lib.xs_sa_path_mtu(self._handle, child, mtu), f"path MTU of child {child}")

    def sa_engine(self, slot: int) -> str:
        name = lib.xs_sa_engine(self._handle, slot)
        return "" if name == ffi.NULL else str(ffi.string(name).decode())

    def policy_replace(self, rows: Sequence[Policy]) -> None:
        check(lib.xs_policy_replace(self._handle, _policies(rows), len(rows)), "policies")

    def policy_first(self, child: int, rows: Sequence[Policy]) -> None:
        check(lib.xs_policy_first(self._handle, child, _policies(rows), len(rows)), "policies of a child")

    def route_replace(self, rows: Sequence[tuple[str, str, int]]) -> None:
        table = ffi.new("struct xs_route[]", max(len(rows), 1))
        for row, (prefix, via, port) in zip(table, rows, strict=False):
            set_prefix(row.prefix, prefix)
            set_address(row.via, via)
            row.port = port
        check(lib.xs_route_replace(self._handle, table, len(rows)), "routes")

    def neighbour_set(self, port: int, addr: str, mac: bytes, vlan: int) -> None:
        row = ffi.new("struct xs_neighbour *", {"port": port, "tagged": vlan >= 0, "vlan": max(vlan, 0)})
        set_address(row.addr, addr)
        ffi.memmove(row.mac, mac, 6)
        check(lib.xs_neighbour_set(self._handle, row), f"neighbour {addr}")

    def neighbour_remove(self, port: int, addr: str) -> None:
        row = ffi.new("struct xs_addr *")
        set_address(row, addr)
        lib.xs_neighbour_remove(self._handle, port, row)

    def run(self, channel_fd: int, max_ms: int) -> int:
        """Breathes until Python is wanted; one of XS_RUN_*."""
        return check(lib.xs_worker_run(self._handle, channel_fd, max_ms), "run")

    def event(self) -> Event | None:
        """The oldest event, if there is one."""
        event = ffi.new("struct xs_event *")
        if not lib.xs_worker_event(self._handle, event):
            return None
        return Event(event.kind, event.slot, event.child, event.port, event.number, address_text(event.addr))
