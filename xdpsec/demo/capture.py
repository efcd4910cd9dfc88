"""A capture of everything that crosses the wan, on interfaces without XDP, with a beginning and an end that show.

tcpdump hands frames over one by one, from all interfaces in one queue. A mark is a ping on the wan's own loopback,
which crosses no cable: once it is seen, so is every frame before it. Knows no IPsec.
"""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

from xdpsec.demo.lab import Lab, LabError
from xdpsec.demo.waiting import Lines

#: A mark comes after every frame that still waits in the kernel's buffer. Where that is full, the mark is lost as well:
#: what waits is read meanwhile, and the next one finds room.
MARK_SECONDS, MARK_TRIES = 5.0, 3
#: tcpdump starts in a few milliseconds on an idle machine.
START_SECONDS = 10.0
#: Bytes of a frame; an MTU of 1500 and the cooked header fit.
SNAP_LENGTH = 2048
#: KiB of kernel buffer: a second of pings many times over.
BUFFER_KIB = 32768


class Capture:
    """Frames on every interface of a namespace that match `wanted` (pcap-filter(7)), printed and kept in `file`."""

    def __init__(self, lab: Lab, namespace: str, file: Path, wanted: str = "") -> None:
        self._lab, self._namespace, self._marks = lab, namespace, 0
        options = ["-i", "any", "-n", "-t", "-q", "-l", "--print", "--immediate-mode", "-Z", "root"]
        sizes = ["-s", str(SNAP_LENGTH), "-B", str(BUFFER_KIB)]
        argv = ["tcpdump", *options, *sizes, "-U", "-w", str(file), wanted]
        self._process = lab.start(namespace, argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._frames = Lines(self._process.stdout, "tcpdump")
        self._words = Lines(self._process.stderr, "tcpdump")
        self._words.until(lambda line: "listening on" in line, START_SECONDS)

    def mark(self) -> list[str]:
        """The frames that crossed a cable since the last mark: interface, direction and what tcpdump makes of it."""
        self._marks += 1
        answer = f"echo reply, id {self._marks},"
        lines: list[str] = []
        for _ in range(MARK_TRIES):
            self._lab.inside(self._namespace, "ping", "-q", "-c", "1", "-e", str(self._marks), "127.0.0.1")
            more, came = self._frames.take(lambda line: line.startswith("lo ") and answer in line, MARK_SECONDS)
            lines += more
            if came:
                return [line for line in lines if not line.startswith("lo ")]
        raise LabError("tcpdump: did not see a ping on the wan's loopback, so nothing that it says counts")

    def stop(self) -> int:
        """End it and return how many frames the kernel could not hand over. Mark first: what waits is not drained."""
        self._process.send_signal(signal.SIGINT)
        lost = self._words.until(lambda line: "dropped by kernel" in line, START_SECONDS)[-1]
        self._process.wait(START_SECONDS)
        found = re.match(r"(\d+) packets? dropped by kernel", lost)
        if not found:
            raise LabError(f"tcpdump said {lost!r} instead of how many packets were dropped")
        return int(found[1])
