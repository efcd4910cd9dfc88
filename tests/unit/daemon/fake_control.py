"""A control that does what its test says: words that arrive on the operator's socket go to the supervisor, and back.

It greets the test with Ready and the door's maps. `Ready(status, _)` from the test is the one word it keeps: exit with
that status. After Stop it exits 0.
"""

from __future__ import annotations

import os
import select
import socket
import sys

from xdpsec.channel.framing import ChannelClosed, Wire, close_all
from xdpsec.channel.messages import Message, Ready, Stop
from xdpsec.channel.start import ControlStart
from xdpsec.net.door import CONTROL_MAPS
from xdpsec.workers.native import check, lib


def main(start: ControlStart) -> int:
    check(lib.xs_guard_parent(start.parent), "the supervisor is gone")
    if not os.read(start.config_fd, 1):
        return 4  # every control reads the configuration from its beginning
    above = Wire.from_descriptor(start.channel_fd)
    listener = socket.socket(fileno=start.operator_fd)
    poll = select.poll()
    for end in (above, listener):
        poll.register(end, select.POLLIN)
    test: Wire | None = None
    early: list[Message] = []  # what was said before the test came
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == listener.fileno():
                test = Wire(listener.accept()[0])
                poll.register(test, select.POLLIN)
                test.send(Ready(0, os.getpid()), tuple(start.maps[name] for name in CONTROL_MAPS))
                for word in early:
                    test.send(word)
                continue
            source, target = (above, test) if descriptor == above.fileno() else (test, above)
            assert source is not None
            while (received := source.receive()) is not None:
                if isinstance(received.message, Ready):
                    return received.message.worker
                if target is None:
                    early.append(received.message)
                else:
                    target.send(received.message, received.descriptors)
                close_all(received.descriptors)
                if isinstance(received.message, Stop):
                    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(ControlStart.from_json(sys.argv[1])))
    except ChannelClosed:
        sys.exit(1)
