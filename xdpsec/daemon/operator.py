"""The operator socket: answers the CLI's questions about the gateway, on control's event loop.

Only root and control's own user may ask (SO_PEERCRED; the socket's mode says the same). A connection that says
anything but its vocabulary, or does not take its answers, is closed; no other notices. Knows no SA and no worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import structlog

from xdpsec.channel import negotiation
from xdpsec.channel import operator as words
from xdpsec.channel.framing import ChannelClosed, Received, Wire, close_all
from xdpsec.channel.hub import Peer
from xdpsec.daemon import answers
from xdpsec.metrics.values import Source

#: A person and a few scripts; each connection costs a descriptor and a frame's memory.
MAX_CONNECTIONS = 16
#: Packets that may wait for one connection when it asks again: more is somebody who asks and does not read.
MAX_UNSENT = 64
#: Questions of one connection that may wait for their answers: one is what the command line asks.
MAX_WAITING = 4
#: How long a page waits before it looks again whether the one before it was taken.
PAUSE = 0.002
_QUESTIONS = frozenset(
    (words.Hello, words.StatusQuery, words.SasQuery, words.DropsQuery, *negotiation.QUESTIONS.values())
)
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid

Reply = words.Answer | asyncio.Future[Any] | Iterator[Any]

log = structlog.get_logger()


class Desk(Protocol):
    """Who answers what operators ask of peers and IKE (daemon/ike/desk.py)."""

    def answer(self, question: Any, seq: int, connection: object) -> Reply: ...

    def gone(self, connection: object) -> None: ...


class OperatorServer:
    """Serves from the moment it is made, inside a running loop; takes over the listening descriptor."""

    def __init__(
        self, listener_fd: int, source: Source, desk: Desk, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source, self._desk, self._clock = source, desk, clock
        self._listener = socket.socket(fileno=listener_fd)
        self._listener.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._connections: set[_Connection] = set()
        self._loop.add_reader(self._listener.fileno(), self._accept)

    @property
    def connections(self) -> int:
        return len(self._connections)

    def close(self) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        for connection in list(self._connections):
            connection.close()
        self._connections.clear()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            sock, _ = self._listener.accept()
            refusal = self._refusal(sock)
            if refusal:
                log.warning("operator refused", reason=refusal)
                sock.close()
                return
            self._connections.add(_Connection(sock, self._answer, self._ended))

    def _ended(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        self._desk.gone(connection)

    def _refusal(self, sock: socket.socket) -> str:
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(credentials)
        if uid not in (0, os.getuid()):
            return f"user {uid} may not ask"
        if len(self._connections) >= MAX_CONNECTIONS:
            return f"{MAX_CONNECTIONS} connections are open already"
        return ""

    def _answer(self, question: object, seq: int, connection: _Connection) -> Reply:
        if isinstance(question, words.StatusQuery):
            return answers.status(self._source, seq, self._clock())
        if isinstance(question, words.SasQuery):
            return answers.sas(self._source, seq, self._clock())
        if isinstance(question, words.DropsQuery):
            return answers.drops(self._source, seq)
        if isinstance(question, words.Hello):
            return words.Welcome(seq, words.VERSION, self._source.view().version)
        return self._desk.answer(question, seq, connection)


class _Connection:
    """One operator: Hello first, then questions."""

    def __init__(
        self,
        sock: socket.socket,
        answer: Callable[[object, int, _Connection], Reply],
        on_end: Callable[[_Connection], None],
    ) -> None:
        self._answer, self._on_end = answer, on_end
        self._greeted, self._paging = False, False
        self._waiting: set[asyncio.Future[Any]] = set()
        self._peer = Peer(Wire(sock), _QUESTIONS, self._on_message, self._on_close)

    def close(self) -> None:
        self._peer.close()
        self._call_off()

    def _call_off(self) -> None:
        for waiting in list(self._waiting):
            waiting.cancel()

    def _on_message(self, received: Received) -> None:
        close_all(received.descriptors)  # nobody was asked for any
        question = received.message
        if isinstance(question, words.Hello) == self._greeted:
            self._end("Hello comes first, and once")
            return
        if self._peer.unsent > MAX_UNSENT or len(self._waiting) > MAX_WAITING or self._paging:
            self._end("answers are not taken")
            return
        reply = self._answer(question, received.seq, self)
        if isinstance(reply, asyncio.Future):
            self._waiting.add(reply)
            reply.add_done_callback(self._late)
        elif isinstance(reply, Iterator):
            self._paging = True
            self._next_page(reply)
        else:
            self._tell(reply)
        if isinstance(question, words.Hello):
            self._greeted = True
            if question.version != words.VERSION:
                self._end(f"version {question.version} of the vocabulary is not ours")

    def _next_page(self, pages: Iterator[Any]) -> None:
        """One a turn of the loop, and none ahead of what is taken: thousands of rows keep nobody else waiting."""
        if self._peer.closed:
            return
        loop = asyncio.get_running_loop()
        if self._peer.unsent:
            loop.call_later(PAUSE, self._next_page, pages)
            return
        page = next(pages, None)
        self._paging = page is not None and page.more
        if page is not None:
            self._tell(page)
        if self._paging:
            loop.call_soon(self._next_page, pages)

    def _tell(self, answer: words.Answer) -> None:
        with contextlib.suppress(ChannelClosed):
            self._peer.tell(answer)

    def _late(self, reply: asyncio.Future[Any]) -> None:
        self._waiting.discard(reply)
        if not reply.cancelled():
            self._tell(reply.result())

    def _end(self, reason: str) -> None:
        log.warning("operator refused", reason=reason)
        self.close()
        self._on_end(self)

    def _on_close(self, reason: Exception) -> None:
        if not isinstance(reason, ChannelClosed):
            log.warning("operator refused", reason=str(reason))
        self._call_off()
        self._on_end(self)
