"""A tap: every frame that comes in at the interfaces of a namespace, kept in order.

Interfaces of a namespace without XDP show all that crosses the cable. Knows Ethernet, IPv4, UDP and ESP by their
headers, nothing of keys.
"""

from __future__ import annotations

import ipaddress
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from netns.rig.spaces import packet

#: So much may wait when the machine is busy: some ten thousand frames.
BUFFER = 64 << 20
SO_RCVBUFFORCE, SOL_PACKET, PACKET_STATISTICS = 33, 263, 6  # <asm/socket.h>, <linux/if_packet.h>
ETHERTYPE_IP, ETHERTYPE_VLAN = 0x0800, 0x8100
ESP, UDP = 50, 17
NATT = 4500
#: Frames larger than the MTU do not cross; the rest is their link header.
FRAME = 4096


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: where, when (CLOCK_MONOTONIC, seconds), and its bytes from the Ethernet header on."""

    interface: str
    at: float
    raw: bytes

    @property
    def ip(self) -> bytes:
        """The IPv4 packet, empty when it is none."""
        kind, start = struct.unpack_from("!H", self.raw, 12)[0], 14
        while kind == ETHERTYPE_VLAN and len(self.raw) >= start + 4:
            kind, start = struct.unpack_from("!H", self.raw, start + 2)[0], start + 4
        return self.raw[start:] if kind == ETHERTYPE_IP and len(self.raw) >= start + 20 else b""

    @property
    def addresses(self) -> tuple[str, str]:
        """Source and destination of the IPv4 packet."""
        return str(ipaddress.IPv4Address(self.ip[12:16])), str(ipaddress.IPv4Address(self.ip[16:20]))

    @property
    def esp(self) -> bytes:
        """The ESP packet from its SPI on, with or without UDP around it (RFC 3948), else empty."""
        ip = self.ip
        if not ip:
            return b""
        body = ip[(ip[0] & 15) * 4 : int.from_bytes(ip[2:4], "big")]
        if ip[9] == ESP:
            return body
        if ip[9] == UDP and NATT in struct.unpack_from("!HH", body) and body[8:12] not in (b"", bytes(4)):
            return body[8:]
        return b""


class Tap:
    """Collects from its making to `close`. Frames that this namespace sends itself are left out."""

    def __init__(self, namespace: str, interface: str = "") -> None:
        self._frames: list[Frame] = []
        self._grown = threading.Condition()
        self._socket = packet(namespace, interface)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self._end, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._collect, name=f"tap {namespace}")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._thread.is_alive():
            os.write(self._stop, b"!")
            self._thread.join()
            self._socket.close()
            os.close(self._end)
            os.close(self._stop)

    def frames(self, since: float = 0.0) -> list[Frame]:
        """What crossed since then, in order."""
        with self._grown:
            return [frame for frame in self._frames if frame.at >= since]

    def wait(self, wanted: Callable[[Frame], bool], seconds: float, since: float = 0.0) -> Frame:
        """The first wanted frame since then. TimeoutError when none comes."""
        until, seen = time.monotonic() + seconds, 0
        with self._grown:
            while True:
                for frame in self._frames[seen:]:
                    if frame.at >= since and wanted(frame):
                        return frame
                seen = len(self._frames)
                if not self._grown.wait(until - time.monotonic()):
                    raise TimeoutError(f"no such frame within {seconds:.0f} s; {seen} others")

    def lost(self) -> int:
        """Frames that the kernel could not hand over since the last call: any, and the tap proves nothing."""
        _, dropped = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        return int(dropped)

    def _collect(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._end, select.POLLIN)
        while True:
            if any(descriptor == self._end for descriptor, _ in poll.poll()):
                return
            raw, (interface, _, kind, *_) = self._socket.recvfrom(FRAME)
            if kind != socket.PACKET_OUTGOING and interface != "lo":
                with self._grown:
                    self._frames.append(Frame(interface, time.monotonic(), raw))
                    self._grown.notify_all()
