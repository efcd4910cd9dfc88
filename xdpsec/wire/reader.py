"""A cursor over bytes from a stranger that refuses to read past the end and to leave anything behind.

Knows nothing of IKE but how to name what it reads in a refusal.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

from xdpsec.errors import PeerError
from xdpsec.numbers import NotifyType


class Malformed(PeerError):
    """The bytes do not follow the layout or exceed our limits (RFC 7296 sec. 2.21, 3.10.1)."""

    notify = NotifyType.INVALID_SYNTAX


class Reader:
    """Reads from `at` up to `stop`, which its owner may set anew; `what` names the bytes in refusals: "SA payload"."""

    __slots__ = ("at", "data", "stop", "what")

    def __init__(self, data: bytes, what: str) -> None:
        self.data, self.what, self.at, self.stop = data, what, 0, len(data)

    def unpack(self, layout: Struct) -> tuple[Any, ...]:
        """The next fields. Malformed when fewer bytes are left than they take."""
        at = self.at
        end = at + layout.size
        if end > self.stop:
            raise Malformed(f"{self.what} is {end - self.stop} bytes too short")
        self.at = end
        return layout.unpack_from(self.data, at)

    def take(self, count: int) -> bytes:
        """The next `count` bytes, Malformed when there are fewer."""
        end = self.at + count
        if end > self.stop:
            raise Malformed(f"{self.what} is {end - self.stop} bytes too short")
        found = self.data[self.at : end]
        self.at = end
        return found

    def rest(self) -> bytes:
        """All that is left, perhaps nothing."""
        found = self.data[self.at : self.stop]
        self.at = self.stop
        return found

    def left(self) -> int:
        return self.stop - self.at

    def end(self) -> None:
        """Malformed when bytes are left that nothing explains."""
        if self.at != self.stop:
            raise Malformed(f"{self.what} has {self.stop - self.at} bytes too many")
