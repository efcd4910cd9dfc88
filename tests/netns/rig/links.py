"""Detach XDP programs under a running gateway, by the bpf system call: its links are descriptors of the supervisor."""

from __future__ import annotations

import ctypes
import os
import re
import struct
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
SYS_BPF = 321  # x86_64
BPF_LINK_GET_FD_BY_ID, BPF_LINK_DETACH = 30, 34  # enum bpf_cmd of <linux/bpf.h>
ATTR_SIZE = 128


def xdp_links(pid: int) -> dict[int, int]:
    """ifindex -> link id, of the XDP links that the process holds."""
    found = {}
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            text = path.read_text()
        except FileNotFoundError:
            continue  # the descriptor that listed the others
        if re.search(r"^link_type:\s*xdp$", text, re.MULTILINE):
            fields = dict(re.findall(r"^(\w+):\s*(\d+)$", text, re.MULTILINE))
            found[int(fields["ifindex"])] = int(fields["link_id"])
    return found


def detach(link: int) -> None:
    """The program is off its interface; the link's holder is not told."""
    descriptor = _bpf(BPF_LINK_GET_FD_BY_ID, link)
    try:
        _bpf(BPF_LINK_DETACH, descriptor)
    finally:
        os.close(descriptor)


def _bpf(command: int, number: int) -> int:
    attr = ctypes.create_string_buffer(struct.pack("I", number), ATTR_SIZE)
    result = int(LIBC.syscall(SYS_BPF, command, attr, ATTR_SIZE))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf command {command}")
    return result
