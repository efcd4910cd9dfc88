"""Messages cut into encrypted fragments and put together again (RFC 7383). Each fragment is sealed on its own.

Only what has been opened is kept, one message at a time, and never more than limits.py says.
"""

from __future__ import annotations

from collections.abc import Callable

from xdpsec.errors import LocalError
from xdpsec.wire import limits
from xdpsec.wire.header import LENGTH, Header, build_header
from xdpsec.wire.message import FRAGMENT, GENERIC, SKF, Envelope, Seal
from xdpsec.wire.reader import Malformed

PART = 128  # bytes of memory that a part takes beside its text
OVERHEAD = LENGTH + GENERIC.size + FRAGMENT.size


def split(
    header: Header, first: int, plaintext: bytes, seal: Seal, overhead: Callable[[int], int], largest: int
) -> list[bytes]:
    """The message as fragments of at most `largest` bytes of UDP payload each; arguments as of build_sealed."""
    room = _room(overhead, largest)
    total = -(-len(plaintext) // room) or 1
    if total > limits.FRAGMENTS:
        raise LocalError(f"a message of {len(plaintext)} bytes needs {total} fragments, more than {limits.FRAGMENTS}")
    fragments = []
    for number in range(1, total + 1):
        part = plaintext[(number - 1) * room : number * room]
        size = overhead(len(part))
        length = GENERIC.size + FRAGMENT.size + size
        aad = build_header(header, SKF, LENGTH + length)
        aad += GENERIC.pack(first if number == 1 else 0, 0, length) + FRAGMENT.pack(number, total)
        body = seal(aad, part)
        if len(body) != size:
            raise LocalError(f"sealed {len(part)} bytes to {len(body)}, not {size}")
        fragments.append(aad + body)
    return fragments


def _room(overhead: Callable[[int], int], largest: int) -> int:
    """How much plaintext a fragment of `largest` bytes holds: block ciphers grow in steps."""
    room = largest - OVERHEAD
    while room > 0 and OVERHEAD + overhead(room) > largest:
        room -= 1
    if room <= 0:
        raise LocalError(f"a fragment of {largest} bytes holds nothing")
    return room


class Reassembly:
    """What one IKE SA receives. Another message starts it anew: another ID, or an answer with the ID of a request."""

    __slots__ = ("_first", "_message", "_parts", "_total", "size")

    def __init__(self) -> None:
        self._message = (False, -1)
        self.drop()

    def drop(self) -> None:
        """Forget what was collected."""
        self._total, self._first, self.size = 0, 0, 0
        self._parts: dict[int, bytes] = {}

    @property
    def cost(self) -> int:
        """Bytes of memory, roughly: each part is an object of its own."""
        return self.size + PART * len(self._parts)

    def wants(self, fragment: Envelope) -> bool:
        """False for what we have, or what was cut into fewer pieces than the last try: not worth opening."""
        if _message_of(fragment) != self._message:
            return True
        return fragment.total > self._total or (fragment.total == self._total and fragment.number not in self._parts)

    def add(self, fragment: Envelope, plaintext: bytes) -> tuple[int, bytes] | None:
        """First payload type and plaintext of the whole message once all its fragments were added, then it forgets.

        Malformed when they hold more than a message may; what was collected is dropped then.
        """
        if not self.wants(fragment):
            return None
        if _message_of(fragment) != self._message or fragment.total > self._total:
            self.drop()
            self._message, self._total = _message_of(fragment), fragment.total
        self._parts[fragment.number] = plaintext
        self.size += len(plaintext)
        if fragment.number == 1:
            self._first = fragment.first
        if self.size > limits.MESSAGE:
            self.drop()
            raise Malformed(f"fragments of a message of more than {limits.MESSAGE} bytes")
        if len(self._parts) < self._total:
            return None
        whole = self._first, b"".join([self._parts[number] for number in range(1, self._total + 1)])
        self.drop()
        return whole


def _message_of(fragment: Envelope) -> tuple[bool, int]:
    """Both sides count their requests by themselves: an answer may have the ID of a request."""
    return fragment.header.response, fragment.header.message_id
