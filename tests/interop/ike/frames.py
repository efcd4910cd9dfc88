"""IKE messages among the frames of a tap: by ports and marker alone (RFC 7296 sec. 2.23, RFC 3948)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from netns.rig.tap import NATT, UDP, Frame

IKE = 500
HEADER = 28


def ike_messages(frames: Sequence[Frame]) -> Iterator[tuple[str, str, bytes]]:
    """Source, destination and message, header first, of each datagram that came whole."""
    for frame in frames:
        ip = frame.ip
        if not ip or ip[9] != UDP or int.from_bytes(ip[6:8], "big") & 0x3FFF:
            continue
        body = ip[(ip[0] & 15) * 4 : int.from_bytes(ip[2:4], "big")]
        ports = struct.unpack_from("!HH", body)
        data = body[8:]
        if NATT in ports and data[:4] == bytes(4):
            data = data[4:]
        elif IKE not in ports:
            continue
        if len(data) >= HEADER:
            yield (*frame.addresses, data)
