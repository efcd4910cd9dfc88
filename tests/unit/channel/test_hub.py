"""Calls and answers between two ends in one loop; a full socket, a dead peer, a word that may not arrive."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from xdpsec.channel import hub, messages
from xdpsec.channel.framing import ChannelClosed, FramingError, Received, Wire, close_all
from xdpsec.channel.hub import Peer, Refused

TO_WORKER = frozenset({messages.Go, messages.PolicyReplace, messages.SaQuery})
TO_CONTROL = frozenset({messages.Ack, messages.Ready, messages.SaEngines, messages.Done})


class End:
    """One end that keeps what arrives."""

    def __init__(self, wire: Wire, accepts: frozenset[type]) -> None:
        self.messages: asyncio.Queue[Received] = asyncio.Queue()
        self.closed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self.peer = Peer(wire, accepts, self.messages.put_nowait, self.closed.set_result)


def with_ends(test: Callable[[End, End], Awaitable[None]]) -> None:
    async def run() -> None:
        left, right = Wire.pair()
        control, worker = End(left, TO_CONTROL), End(right, TO_WORKER)
        try:
            await asyncio.wait_for(test(control, worker), 30)
        finally:
            control.peer.close()
            worker.peer.close()

    asyncio.run(run())


def test_answers_find_their_calls_in_any_order() -> None:
    async def test(control: End, worker: End) -> None:
        calls = [control.peer.post(messages.Go()) for _ in range(3)]
        requests = [await worker.messages.get() for _ in calls]
        for request in reversed(requests):
            worker.peer.tell(messages.Ack(request.seq))
        replies = [await control.peer.answer(call, hub.ACK_SECONDS) for call in calls]
        assert [reply.message.seq for reply in replies] == [request.seq for request in requests]

    with_ends(test)


def test_a_refusal_carries_its_sentence() -> None:
    async def test(control: End, worker: End) -> None:
        call = control.peer.post(messages.Go())
        worker.peer.tell(messages.Ack((await worker.messages.get()).seq, "no such slot"))
        with pytest.raises(Refused, match="no such slot"):
            await control.peer.answer(call, hub.ACK_SECONDS)

    with_ends(test)


def test_given_descriptors_are_closed_once_they_are_sent_and_when_they_cannot_be() -> None:
    async def test(control: End, worker: End) -> None:
        def end_of_file(reader: int) -> bool:
            return os.read(reader, 1) == b""

        (first, sent), (second, never), (third, late) = os.pipe(), os.pipe(), os.pipe()
        worker.peer.tell(messages.Ready(0, 1), [sent], give=True)
        close_all((await control.messages.get()).descriptors)
        assert end_of_file(first)

        for _ in range(10_000):  # until nobody reads and the socket is full: what follows waits in the queue
            worker.peer.tell(messages.Done(2, "x" * 50_000))
            if worker.peer._queue:
                break
        worker.peer.tell(messages.Done(3), [never], give=True)
        worker.peer.close()
        assert end_of_file(second)
        with pytest.raises(ChannelClosed):
            worker.peer.tell(messages.Done(4), [late], give=True)
        assert end_of_file(third)
        close_all((first, second, third))

    with_ends(test)


def test_descriptors_come_with_the_answer() -> None:
    async def test(control: End, worker: End) -> None:
        reader, writer = os.pipe()
        call = control.peer.post(messages.Go())
        worker.peer.tell(messages.Done((await worker.messages.get()).seq), [writer])
        reply = await control.peer.answer(call, hub.ACK_SECONDS)
        os.write(reply.descriptors[0], b"x")
        assert os.read(reader, 1) == b"x"
        close_all([reader, writer, *reply.descriptors])

    with_ends(test)


def test_a_table_larger_than_the_socket_buffer_waits_for_room() -> None:
    selector = messages.Selector("10.1.0.0/16", "10.2.0.0/16")
    table = messages.PolicyReplace(tuple(messages.Policy(selector, i, 0) for i in range(30_000)))

    async def test(control: End, worker: End) -> None:
        call = control.peer.post(table)
        received = await worker.messages.get()
        assert received.message == table
        worker.peer.tell(messages.Ack(received.seq))
        await control.peer.answer(call, hub.ACK_SECONDS)

    with_ends(test)


def test_the_death_of_the_other_end_fails_every_call() -> None:
    async def test(control: End, worker: End) -> None:
        call = control.peer.post(messages.Go())
        worker.peer.close()
        with pytest.raises(ChannelClosed):
            await control.peer.answer(call, hub.ACK_SECONDS)
        assert isinstance(await control.closed, ChannelClosed)
        with pytest.raises(ChannelClosed):
            control.peer.tell(messages.Go())

    with_ends(test)


def test_a_word_of_the_other_direction_ends_the_channel() -> None:
    async def test(control: End, worker: End) -> None:
        worker.peer.tell(messages.Go())
        assert isinstance(await control.closed, FramingError)

    with_ends(test)


def test_an_answer_that_nobody_waits_for_is_let_go() -> None:
    async def test(control: End, worker: End) -> None:
        call = control.peer.post(messages.Go())
        with pytest.raises(TimeoutError):
            await control.peer.answer(call, 0)
        worker.peer.tell(messages.Ack((await worker.messages.get()).seq))
        worker.peer.tell(messages.Ready(0, 1))
        assert (await control.messages.get()).message == messages.Ready(0, 1)

    with_ends(test)


def test_an_end_that_never_stops_talking_keeps_nothing_else_from_being_done() -> None:
    """A process that was taken over may speak as fast as it is heard."""

    async def run() -> tuple[int, int]:
        left, right = Wire.pair()
        heard = 0

        def hear(_: Received) -> None:
            nonlocal heard
            heard += 1
            if heard < 1000:
                right.send(messages.Ready(0, heard))

        control = Peer(left, TO_CONTROL, hear, lambda reason: None)
        right.send(messages.Ready(0, 0))
        while not heard:
            await asyncio.sleep(0)
        first = heard
        while heard < 1000:
            await asyncio.sleep(0)
        control.close()
        right.close()
        return first, heard

    first, heard = asyncio.run(asyncio.wait_for(run(), 30))
    assert first < heard == 1000
