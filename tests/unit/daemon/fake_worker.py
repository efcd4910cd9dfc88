"""A worker that says Ready and ends with its channel. Its record must be whole and every descriptor in it open."""

from __future__ import annotations

import os
import select
import sys

from xdpsec.channel.framing import ChannelClosed, Wire
from xdpsec.channel.messages import Ready
from xdpsec.channel.start import WorkerStart
from xdpsec.workers.native import check, lib

text = sys.stdin.readline() if sys.argv[1] == "-" else sys.argv[1]
if not text:
    sys.exit(0)  # one in reserve that nobody wanted
start = WorkerStart.from_json(text)
for descriptor in start.descriptors():
    os.fstat(descriptor)
check(lib.xs_guard_parent(start.parent), "the supervisor is gone")
wire = Wire.from_descriptor(start.channel_fd)
wire.send(Ready(start.worker, os.getpid()))
try:
    while select.select([wire], [], []):
        if wire.receive():
            sys.exit(0)
except ChannelClosed:
    sys.exit(1)
