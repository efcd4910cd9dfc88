"""Channels in asyncio: calls that wait for their answers, words that need none, requests handed to the owner.

An answer is a message with a field `seq` that names the call. Only the words that an end `accepts` may arrive;
anything else is our own bug and ends the channel. Knows no meaning of any message.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from xdpsec.channel.framing import ChannelClosed, FramingError, Received, Wire, close_all, encode, split
from xdpsec.channel.messages import Ack, AttachPort, Done, Message, PortAttached, SaEngines, SaQuery

#: A worker acks within a pause, which a burst delays by microseconds; a snapshot of 100,000 SAs takes seconds.
ACK_SECONDS = 30.0
#: The supervisor attaches XDP, opens sockets (EBUSY is retried) and starts processes within this time.
PRIVILEGED_SECONDS = 60.0
#: Words heard in one turn of the loop: an end that never stops talking must not keep it from everybody else.
WORDS_PER_TURN = 64

Answer = Ack | Done | PortAttached | SaEngines
#: What answers a call that wants more than a yes or a no.
ANSWERS: dict[type, tuple[type, ...]] = {SaQuery: (SaEngines,), AttachPort: (PortAttached, Done)}


class Refused(Exception):
    """The other process answered with an error; the text is its sentence."""


class Reply(NamedTuple):
    message: Answer
    descriptors: tuple[int, ...]


class Peer:
    """The process at the other end of a channel.

    `on_message` gets what is not an answer and owns its descriptors; `on_close` is called once, with the reason.
    """

    def __init__(
        self,
        wire: Wire,
        accepts: frozenset[type],
        on_message: Callable[[Received], None],
        on_close: Callable[[Exception], None],
    ) -> None:
        self._wire = wire
        self._accepts = accepts
        self._on_message = on_message
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        #: number of a call -> its class, whoever waits
        self._calls: dict[int, tuple[type, asyncio.Future[Reply]]] = {}
        #: packet, its descriptors, those of them to close once it is sent
        self._queue: deque[tuple[bytes, Sequence[int], Sequence[int]]] = deque()
        self._waits = False  # for room
        self.closed = False
        self._loop.add_reader(wire.fileno(), self._readable)

    # --- words out ---------------------------------------------------------------------------------------------

    def tell(self, message: Message, descriptors: Sequence[int] = (), give: bool = False) -> int:
        """Queue a message; its number. The descriptors stay the caller's and must live until they are sent; with
        `give` they are ours from here on, whatever happens, and closed once they are sent."""
        given = descriptors if give else ()
        try:
            if self.closed:
                raise ChannelClosed("the channel is closed")
            seq = self._wire.number()
            frame = encode(message, seq)
            packets = list(split(frame))
            self._wire.wipe(frame)
        except Exception:
            close_all(given)
            raise
        for i, packet in enumerate(packets):
            last = i == len(packets) - 1
            self._queue.append((packet, descriptors, given) if last else (packet, (), ()))
        self._writable()
        return seq

    async def call(self, message: Message, timeout: float, descriptors: Sequence[int] = ()) -> Reply:
        """Send and wait for the answer. Refused with the other end's sentence, TimeoutError, ChannelClosed."""
        return await self.answer(self.post(message, descriptors), timeout)

    def post(self, message: Message, descriptors: Sequence[int] = ()) -> asyncio.Future[Reply]:
        """Send now, wait later: many calls can be under way at once."""
        future: asyncio.Future[Reply] = self._loop.create_future()
        seq = self.tell(message, descriptors)
        if self.closed:  # the write itself met the end of the channel
            raise ChannelClosed("the channel is closed")
        self._calls[seq] = type(message), future
        future.add_done_callback(lambda _: self._calls.pop(seq, None))
        return future

    async def answer(self, future: asyncio.Future[Reply], timeout: float) -> Reply:
        async with asyncio.timeout(timeout):  # wait_for of Python 3.11 may swallow a cancellation
            reply = await future
        error = getattr(reply.message, "error", "")
        if error:
            close_all(reply.descriptors)
            raise Refused(error)
        return reply

    @property
    def unsent(self) -> int:
        """Packets that the other end has not taken yet."""
        return len(self._queue)

    def _writable(self) -> None:
        try:
            while self._queue:
                packet, descriptors, _ = self._queue[0]
                if not self._wire.send_packet(packet, descriptors):
                    self._waits = True
                    self._loop.add_writer(self._wire.fileno(), self._writable)
                    return
                self._done_with(*self._queue.popleft())
        except ChannelClosed as error:
            self._end(error)
            return
        if self._waits:
            self._waits = False
            self._loop.remove_writer(self._wire.fileno())

    def _done_with(self, packet: bytes, _: Sequence[int], given: Sequence[int]) -> None:
        self._wire.wipe(packet)
        close_all(given)

    # --- words in ----------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            for _ in range(WORDS_PER_TURN):  # what is left wakes the loop again
                if self.closed or (received := self._wire.receive()) is None:
                    return
                self._dispatch(received)
        except (ChannelClosed, FramingError) as error:
            self._end(error)

    def _dispatch(self, received: Received) -> None:
        message = received.message
        if type(message) not in self._accepts:
            close_all(received.descriptors)
            raise FramingError(f"{type(message).__name__} may not arrive on this channel")
        if not isinstance(message, Answer):
            self._on_message(received)
            return
        kind, future = self._calls.get(message.seq, (None, None))
        if kind is None or future is None or future.done():  # its caller gave up
            close_all(received.descriptors)
            return
        if type(message) not in ANSWERS.get(kind, (Ack, Done)):
            close_all(received.descriptors)
            raise FramingError(f"{type(message).__name__} answers no {kind.__name__}")
        future.set_result(Reply(message, received.descriptors))

    # --- the end -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close from this side; `on_close` is not called."""
        if not self.closed:
            self._shut(ChannelClosed("closed by this end"))

    def _end(self, reason: Exception) -> None:
        if not self.closed:
            self._shut(reason)
            self._on_close(reason)

    def _shut(self, reason: Exception) -> None:
        self.closed = True
        self._loop.remove_reader(self._wire.fileno())
        self._loop.remove_writer(self._wire.fileno())
        self._wire.close()
        while self._queue:
            self._done_with(*self._queue.popleft())
        for _, future in list(self._calls.values()):
            if not future.done():
                future.set_exception(reason if isinstance(reason, ChannelClosed) else ChannelClosed(str(reason)))
        self._calls.clear()
