"""Messages as bytes, and bytes over a SOCK_SEQPACKET pair: strict both ways, descriptors beside them.

A frame is msgpack (id, seq, fields). It travels as packets of at most PACKET_SIZE, each led by one byte that says
whether more follow, so that a table of any size up to FRAME_SIZE crosses a socket buffer. Descriptors (SCM_RIGHTS)
ride on the last packet. Knows no asyncio and no meaning of any message. Numbers: msgpack specification; unix(7).
"""

from __future__ import annotations

import array
import contextlib
import dataclasses
import functools
import operator
import os
import select
import socket
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgpack

from xdpsec.channel.messages import TABLE, Message

PACKET_SIZE = 60_000  # well below the default socket buffer of 212,992 bytes
FRAME_SIZE = 64 << 20  # a snapshot table of 100,000 rows is about 10 MiB
MAX_DESCRIPTORS = 253  # SCM_MAX_FD of the kernel
#: A peer that leaves its end full for so long is stuck; whoever waits for it gives up and is replaced.
SEND_SECONDS = 5.0

_RIGHTS_SPACE = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
#: As plain numbers: the socket module's own are enumerations, which take longer to combine than a message to read.
_CLOEXEC, _NOSIGNAL = int(socket.MSG_CMSG_CLOEXEC), int(socket.MSG_NOSIGNAL)
_CUT = int(socket.MSG_TRUNC) | int(socket.MSG_CTRUNC)
_MORE, _LAST = b"\x00", b"\x01"
_IDS: dict[type, int] = {cls: number for number, cls in TABLE.items()}


class FramingError(Exception):
    """Bytes from our own process that are not in the vocabulary: a bug, never something to work around."""


class ChannelClosed(Exception):
    """The process at the other end is gone."""


# --- values ---------------------------------------------------------------------------------------------------


@functools.cache
def _field_types(cls: type) -> tuple[tuple[str, Any], ...]:
    hints = typing.get_type_hints(cls)
    return tuple((field.name, hints[field.name]) for field in dataclasses.fields(cls))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [_plain(getattr(value, name)) for name, _ in _field_types(value.__class__)]
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _build(kind: Any, plain: Any, where: str) -> Any:
    """The typed value of `plain`; FramingError when anything differs from the annotation `kind`."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        fields = _field_types(kind)
        if type(plain) is not list or len(plain) != len(fields):
            raise FramingError(f"{where}: {kind.__name__} wants {len(fields)} fields")
        pairs = zip(fields, plain, strict=True)
        return kind(*[_build(hint, item, f"{where}.{name}") for (name, hint), item in pairs])
    if typing.get_origin(kind) is tuple:
        return _build_tuple(typing.get_args(kind), plain, where)
    # bool is an int to Python, not to us
    if isinstance(kind, types.GenericAlias) or type(plain) is not kind:
        raise FramingError(f"{where}: {type(plain).__name__} where {kind} belongs")
    return plain


def _build_tuple(kinds: tuple[Any, ...], plain: Any, where: str) -> tuple[Any, ...]:
    if type(plain) is not list:
        raise FramingError(f"{where}: {type(plain).__name__} where a sequence belongs")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(plain)
    if len(kinds) != len(plain):
        raise FramingError(f"{where}: {len(plain)} values where {len(kinds)} belong")
    return tuple(_build(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, plain, strict=True)))


class _Wrong(Exception):
    """Something differs from its annotation; `_build` finds the place and the sentence."""


def _kinds(hints: Sequence[Any]) -> list[type]:
    """What msgpack makes of them: scalars are themselves, all else is a list."""
    return [hint if hint in _SCALARS else list for hint in hints]


@functools.cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    """As `_build`, put together once for each annotation: words are many, and nearly all are right."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _fixed_reader(kind, [hint for _, hint in _field_types(kind)], lambda values: kind(*values))
    args = typing.get_args(kind)
    if len(args) == 2 and args[1] is Ellipsis:
        inner = _reader(args[0])

        def read(plain: Any) -> tuple[Any, ...]:
            if type(plain) is not list:
                raise _Wrong
            return tuple(map(inner, plain))

        return read
    if typing.get_origin(kind) is tuple:
        return _fixed_reader(kind, args, tuple)

    def scalar(plain: Any) -> Any:
        if type(plain) is not kind:
            raise _Wrong
        return plain

    return scalar


def _fixed_reader(kind: Any, hints: Sequence[Any], make: Callable[[list[Any]], Any]) -> Callable[[Any], Any]:
    kinds = _kinds(hints)
    deep = [(i, _reader(hint)) for i, hint in enumerate(hints) if hint not in _SCALARS]

    def read(plain: Any) -> Any:
        if type(plain) is not list or list(map(type, plain)) != kinds:
            raise _Wrong
        values = list(plain)
        for i, reader in deep:
            values[i] = reader(values[i])
        return make(values)

    return read


@functools.cache
def _writer(kind: Any) -> Callable[[Any], Any]:
    """As `_plain`, and as strict as `_reader` in one go."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        fields = _field_types(kind)
        get = _getter([name for name, _ in fields])
        fill = _fixed_writer([hint for _, hint in fields])

        def write(value: Any) -> Any:
            if type(value) is not kind:
                raise _Wrong
            return fill(get(value))

        return write
    args = typing.get_args(kind)
    if len(args) == 2 and args[1] is Ellipsis:
        return _row_writer(args[0])
    if typing.get_origin(kind) is tuple:
        return _fixed_writer(args)
    raise TypeError(f"{kind} has no place in a message")


def _getter(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _fixed_writer(hints: Sequence[Any]) -> Callable[[Any], list[Any]]:
    kinds = _kinds(hints)
    deep = [(i, _writer(hint)) for i, hint in enumerate(hints) if hint not in _SCALARS]

    def write(values: Any) -> list[Any]:
        plain = list(values) if isinstance(values, tuple) else []
        if len(plain) == len(kinds):
            for i, writer in deep:
                plain[i] = writer(plain[i])
        if list(map(type, plain)) != kinds:
            raise _Wrong
        return plain

    return write


def _row_writer(hint: Any) -> Callable[[Any], list[Any]]:
    inner = None if hint in _SCALARS else _writer(hint)

    def write(values: Any) -> list[Any]:
        if not isinstance(values, tuple):
            raise _Wrong
        if inner is not None:
            return list(map(inner, values))
        if values and set(map(type, values)) != {hint}:
            raise _Wrong
        return list(values)

    return write


_SCALARS = (int, str, bytes, bool)


def encode(message: Message, seq: int) -> bytes:
    """One frame. Values that are not what their annotations say raise FramingError here, not at the receiver."""
    cls = type(message)
    number = _IDS.get(cls)
    if number is None:
        raise FramingError(f"{cls.__name__} is not in the table of messages")
    try:
        kind: Any = cls
        fields = _writer(kind)(message)
    except (_Wrong, TypeError):
        _build(cls, _plain(message), cls.__name__)
        raise FramingError(f"{cls.__name__} holds a value of another class") from None
    return typing.cast(bytes, msgpack.packb((number, seq, fields), use_bin_type=True))


def decode(frame: bytes) -> tuple[int, Message]:
    """(seq, message) of one frame; FramingError on anything short, left over, unknown or of the wrong type."""
    try:
        parts = msgpack.unpackb(frame, raw=False, strict_map_key=True)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise FramingError(f"not a frame: {error}") from error
    if type(parts) is not list or len(parts) != 3 or type(parts[0]) is not int or type(parts[1]) is not int:
        raise FramingError("a frame is (id, seq, fields)")
    cls = TABLE.get(parts[0])
    if cls is None:
        raise FramingError(f"no message has the id {parts[0]}")
    try:
        return parts[1], _reader(cls)(parts[2])
    except _Wrong:
        return parts[1], _build(cls, parts[2], cls.__name__)


# --- packets --------------------------------------------------------------------------------------------------


def split(frame: bytes) -> Iterator[bytes]:
    """The packets of a frame, in order."""
    if len(frame) > FRAME_SIZE:
        raise FramingError(f"a frame of {len(frame)} bytes is larger than {FRAME_SIZE}")
    for at in range(0, len(frame), PACKET_SIZE):
        yield (_LAST if at + PACKET_SIZE >= len(frame) else _MORE) + frame[at : at + PACKET_SIZE]


class Joiner:
    """Packets back to frames."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, packet: bytes) -> bytes | None:
        """The frame that this packet completes, if it does."""
        flag, piece = packet[:1], packet[1:]
        self._size += len(piece)
        whole = len(piece) == PACKET_SIZE if flag == _MORE else flag == _LAST and piece
        if not whole or self._size > FRAME_SIZE:
            raise FramingError("a packet is a flag and a piece of a frame, full when more follow")
        self._pieces.append(piece)
        if flag == _MORE:
            return None
        frame = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        return frame


class Received(NamedTuple):
    """A message, its number, and the descriptors that came with it (the receiver closes them)."""

    seq: int
    message: Message
    descriptors: tuple[int, ...]


def _keep(_: bytes) -> None:
    """What is read need not be wiped."""


class Wire:
    """One end of a channel, non-blocking. Both the worker's pauses and the asyncio hub stand on it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.socket = sock
        #: called with the bytes of every frame once it is read or sent: they may have held keys
        self.wipe: Callable[[bytes], None] = _keep
        self._joiner = Joiner()
        self._sequence = 0

    @classmethod
    def pair(cls) -> tuple[Wire, Wire]:
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        return cls(left), cls(right)

    @classmethod
    def from_descriptor(cls, descriptor: int) -> Wire:
        """Takes over an inherited descriptor."""
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()

    def number(self) -> int:
        """The number of the next message from this end: 1, 2, ..."""
        self._sequence += 1
        return self._sequence

    def send_packet(self, packet: bytes, descriptors: Sequence[int] = ()) -> bool:
        """False when the socket is full just now."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self.socket.sendmsg([packet], rights, _NOSIGNAL)
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChannelClosed(str(error)) from error
        return True

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> int:
        """Send now, waiting at most SEND_SECONDS for room; the message's number."""
        seq = self.number()
        packets = list(split(encode(message, seq)))
        for i, packet in enumerate(packets):
            rights = descriptors if i == len(packets) - 1 else ()
            while not self.send_packet(packet, rights):
                if not select.select([], [self.socket], [], SEND_SECONDS)[1]:
                    raise ChannelClosed(f"the other end took nothing for {SEND_SECONDS:.0f} s")
        return seq

    def receive(self) -> Received | None:
        """The next message, or None when nothing (more) has arrived. ChannelClosed at end of file."""
        while True:
            try:
                packet, rights, flags, _ = self.socket.recvmsg(PACKET_SIZE + 1, _RIGHTS_SPACE, _CLOEXEC)
            except BlockingIOError:
                return None
            except ConnectionResetError as error:
                raise ChannelClosed(str(error)) from error
            descriptors = _descriptors(rights) if rights else ()
            try:
                received = self._take(packet, descriptors, flags)
            except Exception:
                close_all(descriptors)
                raise
            if received is not None:
                return received

    def _take(self, packet: bytes, descriptors: tuple[int, ...], flags: int) -> Received | None:
        if not packet:
            raise ChannelClosed("end of file")
        if flags & _CUT:
            raise FramingError("packet or descriptors cut off by the kernel")
        frame = self._joiner.add(packet)
        if frame is None:
            if descriptors:
                raise FramingError("descriptors ride on the last packet of a frame")
            return None
        received = Received(*decode(frame), descriptors)
        self.wipe(packet)
        self.wipe(frame)
        return received


def _descriptors(rights: list[tuple[int, int, bytes]]) -> tuple[int, ...]:
    found = array.array("i")
    for level, kind, data in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return tuple(found)


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors that nobody wants; one that is closed already is no error."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
