"""What keeps the gateway closed while it runs, watched: the fence and the doors. Who takes one off is noticed, logged
and counted, and it is put back; each covers for the other meanwhile.

An nft transaction rings, and so does a link; a program that is taken off an interface by its bpf_link need not (seen:
veth says so, by a change of its features), so that doors are looked at once a second, too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from xdpsec.channel.messages import Breach
from xdpsec.daemon.holdings import Holdings
from xdpsec.daemon.rooms import Fence
from xdpsec.errors import LocalError
from xdpsec.ike.throttle import Bucket
from xdpsec.net.alarm import Alarm
from xdpsec.net.values import Link

#: Between two looks at the doors, and between two tries to put back what could not be.
LOOK_SECONDS = 1.0
#: Looks at a fence that was touched, tries at a door that is off: so many at once, as a firewall that is loaded again
#: may need (our own transactions ring, too), then one in LOOK_SECONDS. A look at the fence starts nft, and what is put
#: back is a line in the log: a program that takes a barrier off whenever it is back must not get a core and the disk.
AT_ONCE = 10
#: For so long an interface that was made anew must stay as it is: who makes it gives it MTU and addresses after that,
#: and one that comes and goes must not start us again and again (systemd gives up after five times in ten seconds).
SETTLED_SECONDS = 3.0
FENCE = -1  # beside the numbers of the ports

events = structlog.get_logger()


class Barriers:
    """`tell(word)` hears of each change."""

    def __init__(self, fence: Fence, holdings: Holdings, tell: Callable[[Breach], None]) -> None:
        self._fence, self._holdings, self._tell = fence, holdings, tell
        self._found: dict[int, Breach] = {}
        barriers = FENCE, *range(len(holdings.interfaces))
        self._pace = {barrier: Bucket(1 / LOOK_SECONDS, AT_ONCE) for barrier in barriers}
        self._rang = asyncio.Event()
        self._anew: dict[int, tuple[Link | None, float]] = {}  # port -> its name's new interface, and since when

    def told(self) -> tuple[Breach, ...]:
        """What a new control must hear."""
        return tuple(self._found.values())

    async def run(self) -> int:
        """Until cancelled, or a port's interface was made anew: the port, for which only a new start helps. What was
        touched before the alarm was there is seen by a first look."""
        loop, alarm = asyncio.get_running_loop(), Alarm()
        loop.add_reader(alarm.fileno(), self._rang.set)
        touched = True
        try:
            while True:
                if touched and self._pace[FENCE].take(loop.time()):
                    touched = False
                    await self._look_at_fence()
                self._look_at_doors(loop.time())
                for port, (link, since) in self._anew.items():
                    settled = link and loop.time() - since >= SETTLED_SECONDS
                    if settled and self._holdings.made_anew(port) == link:
                        return port
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):  # wait_for forgets a cancel that comes with a ring
                        await self._rang.wait()
                self._rang.clear()
                touched |= alarm.drain()[0] or self._open(FENCE)
        finally:
            loop.remove_reader(alarm.fileno())
            alarm.close()

    async def _look_at_fence(self) -> None:
        """In a thread: nft may take its time, and children die meanwhile."""
        try:
            if await asyncio.to_thread(self._fence.mend):
                self._note(FENCE, "")
        except LocalError as error:
            self._note(FENCE, str(error))

    def _look_at_doors(self, now: float) -> None:
        for port in self._holdings.open_doors():
            if not self._pace[port].take(now):
                continue
            try:
                self._holdings.close_door(port)
                self._note(port, "")
            except LocalError as error:
                self._note(port, str(error))
                link = self._holdings.made_anew(port)
                if link != self._anew.get(port, (None, now))[0]:
                    self._anew[port] = link, now

    def _open(self, barrier: int) -> bool:
        return barrier in self._found and bool(self._found[barrier].error)

    def _note(self, barrier: int, error: str) -> None:
        """A barrier that was found gone; `error` when it cannot be put back, which is the same breach at each try."""
        before = self._found.get(barrier, Breach(barrier, 0, ""))
        found = Breach(barrier, before.times + (not before.error), error)
        if found == before:
            return
        what = "fence" if barrier == FENCE else f"door of {self._holdings.interfaces[barrier]}"
        if error:
            events.error("barrier taken off", barrier=what, times=found.times, error=error)
        else:
            events.error("barrier taken off and put back", barrier=what, times=found.times)
        self._found[barrier] = found
        self._tell(found)
