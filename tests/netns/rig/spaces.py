"""Sockets and calls inside a named network namespace. A socket stays where it was made, whoever uses it later."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
CLONE_NEWNET = 0x40000000  # <linux/sched.h>
ETH_P_ALL = 0x0003  # <linux/if_ether.h>
LIBC = ctypes.CDLL(None, use_errno=True)


def inside(namespace: str, work: Callable[[], T]) -> T:
    """Run `work` in a thread that has entered the namespace, and ends in it."""

    def enter() -> T:
        descriptor = os.open(Path("/run/netns", namespace), os.O_RDONLY)
        try:
            if LIBC.setns(descriptor, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
        finally:
            os.close(descriptor)
        return work()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(enter).result()


def udp(namespace: str, address: str, port: int) -> socket.socket:
    """A UDP socket bound inside the namespace."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((address, port))
        return made

    return inside(namespace, make)


def packet(namespace: str, interface: str = "") -> socket.socket:
    """A packet socket on an interface of the namespace, without one on all: whole frames, as they cross."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        if interface:
            made.bind((interface, ETH_P_ALL))
        return made

    return inside(namespace, make)
