"""The endpoint answers, and keeps answering whatever else is connected to it."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import socket
import time
import urllib.request
from collections.abc import Iterator

import pytest

from xdpsec.metrics import serve as room

SECONDS = 60.0


@pytest.fixture(params=["127.0.0.1", "::1"])
def where(request: pytest.FixtureRequest) -> tuple[str, int]:
    host = str(request.param)
    return host, room.serve(numbers, host, 0)


def numbers(seconds: float) -> bytes:
    return b"seven 7.0\n"


def scrape(where: tuple[str, int]) -> str:
    """A place is free a moment after its client saw the end: who comes in between is closed, and asks again."""
    until = time.monotonic() + SECONDS
    while True:
        try:
            return ask(where)
        except (OSError, http.client.HTTPException):
            if time.monotonic() > until:
                raise


def ask(where: tuple[str, int]) -> str:
    host = f"[{where[0]}]" if ":" in where[0] else where[0]
    with urllib.request.urlopen(f"http://{host}:{where[1]}/metrics", timeout=SECONDS) as answer:
        return str(answer.read().decode())


@contextlib.contextmanager
def crowd(where: tuple[str, int], count: int) -> Iterator[list[socket.socket]]:
    """So many connections that say nothing."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(where, SECONDS)) for _ in range(count)]


def test_it_answers(where: tuple[str, int]) -> None:
    assert "seven 7.0" in scrape(where)


def test_more_than_its_share_is_closed_at_once(where: tuple[str, int]) -> None:
    with crowd(where, room.MAX_CONNECTIONS + 20) as silent:
        assert [one.recv(1) for one in silent[room.MAX_CONNECTIONS :]] == [b""] * 20


def test_who_says_nothing_is_gone_after_a_while(where: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room._Handler, "timeout", 0.2)
    with crowd(where, room.MAX_CONNECTIONS) as silent:
        assert [one.recv(1) for one in silent] == [b""] * room.MAX_CONNECTIONS
        assert "seven 7.0" in scrape(where)


def test_who_leaves_at_once_makes_place(where: tuple[str, int]) -> None:
    for _ in range(3 * room.MAX_CONNECTIONS):
        with crowd(where, 1):
            pass
    assert "seven 7.0" in scrape(where)


def test_a_taken_port_is_an_error(where: tuple[str, int]) -> None:
    with pytest.raises(OSError, match="in use"):
        room.serve(numbers, *where)


def test_it_asks_no_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway's question for a name would leave it in the clear, and its start would wait for the answer."""

    def ask_dns(*given: object) -> str:
        raise AssertionError(f"a name was asked for: {given}")

    for question in ("getfqdn", "gethostbyaddr", "gethostbyname", "getnameinfo"):
        monkeypatch.setattr(socket, question, ask_dns)
    port = room.serve(numbers, "127.0.0.1", 0)
    assert "seven 7.0" in scrape(("127.0.0.1", port))


def head(where: tuple[str, int], method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(*where, timeout=SECONDS)
    connection.request(method, "/metrics", headers=headers)
    return connection.getresponse()


def test_what_is_said_is_packed_where_that_is_asked_for(where: tuple[str, int]) -> None:
    plain, packed = head(where), head(where, **{"Accept-Encoding": "gzip"})
    assert plain.getheader("Content-Type") == packed.getheader("Content-Type") == room.TEXT
    assert plain.getheader("Content-Encoding") is None
    assert packed.getheader("Content-Encoding") == "gzip"
    assert plain.read() == gzip.decompress(packed.read()) == numbers(0.0)


def test_it_is_only_read(where: tuple[str, int]) -> None:
    assert head(where, "POST").status == 405


@pytest.mark.parametrize("error", [TimeoutError(), RuntimeError("the loop is closed")])
def test_what_cannot_be_had_just_now_is_unavailable(error: Exception) -> None:
    def make(seconds: float) -> bytes:
        raise error

    port = room.serve(make, "127.0.0.1", 0)
    assert head(("127.0.0.1", port)).status == 503
