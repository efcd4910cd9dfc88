"""Fetching by URL from a server of the test: what arrives, every bound, and everywhere that it refuses to go."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from shell import sh

from xdpsec.errors import LocalError
from xdpsec.net import fetch
from xdpsec.net.fetch import Fetcher, forbidden_in

BODY = b"0\x82 a list \0" * 5000
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def anywhere(address: str) -> bool:
    return False


def served(*answers: bytes, held: asyncio.Event | None = None) -> tuple[Handler, list[bytes]]:
    """A handler that gives one answer to each connection in turn, not before `held`, and the requests that it saw."""
    seen: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        if held:
            await held.wait()
        writer.write(answers[min(len(seen), len(answers)) - 1])
        try:
            await writer.drain()
            writer.close()
        except ConnectionError:
            pass

    return handle, seen


def run(handler: Handler, work: Callable[[int], Awaitable[object]], context: ssl.SSLContext | None = None) -> object:
    """`work(port)` while `handler` serves 127.0.0.1."""

    async def within() -> object:
        server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
        async with server:
            return await work(server.sockets[0].getsockname()[1])

    return asyncio.run(within())


def get(
    *answers: bytes,
    path: str = "/ca.crl",
    forbidden: fetch.Forbidden = anywhere,
    seconds: float = 60.0,
) -> tuple[object, list[bytes]]:
    handler, seen = served(*answers)

    async def work(port: int) -> object:
        fetcher = Fetcher(forbidden, seconds)
        try:
            return await fetcher.get(f"http://localhost:{port}{path}")
        except LocalError as error:
            return str(error)
        finally:
            await fetcher.close()

    # Where localhost has ::1 too, the test's server is not there: IPv4 is asked for by its own name below.
    return run(handler, work), seen


@pytest.fixture(autouse=True)
def only_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """localhost is 127.0.0.1 here, whatever /etc/hosts says."""
    real = asyncio.base_events.BaseEventLoop.getaddrinfo

    async def getaddrinfo(self: asyncio.BaseEventLoop, host: str, port: int, **words: int) -> object:
        return await real(self, "127.0.0.1" if host == "localhost" else host, port, **words)

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/pkix-crl\r\n"


def test_a_file_comes_whole() -> None:
    sized = OK + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
    for answer in (sized, sized + b"and more", OK + b"\r\n" + BODY, OK.replace(b"1.1", b"1.0") + b"\r\n" + BODY):
        body, (request,) = get(answer, path="/a%2Fb?x=1")
        assert body == BODY
        assert request.startswith(b"GET /a%2Fb?x=1 HTTP/1.0\r\nHost: localhost:")
    assert get(OK + b"Content-Length: 0\r\n\r\n")[0] == b""


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "status 404"),
        (b"HTTP/1.1 301 Moved\r\n\r\n", "status 301"),
        (b"SSH-2.0-x\r\n\r\n", "speaks no HTTP"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "speaks no HTTP"),
        (b"", "cannot be fetched"),
        (b"HTTP/1.1 200 OK\r\n", "cannot be fetched"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * fetch.MAX_HEAD * 2 + b"\r\n\r\n", "cannot be fetched"),
        (OK + b"Content-Length: 10\r\n\r\nshort", "cut short"),
        (OK + b"Content-Length: 1048577\r\n\r\n", "larger than 1 MiB"),
        (OK + b"Content-Length: 99999999999999999999\r\n\r\n", "larger than 1 MiB"),
        (OK + b"\r\n" + b"x" * (fetch.MAX_BODY + 1), "larger than 1 MiB"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "in chunks"),
    ],
)
def test_answers_that_are_none(answer: bytes, sentence: str) -> None:
    said, _ = get(answer)
    assert sentence in str(said)


def test_the_largest_that_is_taken() -> None:
    assert get(OK + b"\r\n" + b"x" * fetch.MAX_BODY)[0] == b"x" * fetch.MAX_BODY


def test_time_runs_out() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # all that the client has to say, and its end
        writer.close()

    async def work(port: int) -> None:
        with pytest.raises(LocalError, match="did not answer in"):
            await Fetcher(anywhere, 0.2).get(f"http://127.0.0.1:{port}/")

    run(handle, work)


def test_drops_that_trickle_run_out_of_time_too() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.02)

    async def work(port: int) -> None:
        with pytest.raises(LocalError, match="did not answer"):
            await Fetcher(anywhere, 0.3).get(f"http://127.0.0.1:{port}/")

    run(handle, work)


# --- where it does not go ---


def test_redirects() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n"
    body, seen = get(moved, OK + b"\r\n" + BODY)
    assert body == BODY
    assert seen[1].startswith(b"GET /there HTTP/1.0")
    said, seen = get(moved)
    assert "more than 3 redirects" in str(said)
    assert len(seen) == 4


@pytest.mark.parametrize(
    "place",
    ["ftp://127.0.0.1/", "file:///etc/passwd", "http://user:word@127.0.0.1/", "gopher://x", "http://[::1"],
)
def test_redirects_to_what_is_not_fetched(place: str) -> None:
    said, seen = get(b"HTTP/1.1 301 Moved\r\nLocation: " + place.encode() + b"\r\n\r\n", OK + b"\r\n")
    assert "fetched" in str(said) or "no URL" in str(said)
    assert len(seen) == 1


def test_a_redirect_to_a_forbidden_address() -> None:
    asked: list[str] = []

    def forbidden(address: str) -> bool:
        asked.append(address)
        return address == "127.0.0.2"

    said, seen = get(b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.2:1/\r\n\r\n", forbidden=forbidden)
    assert "127.0.0.2, where nobody may send us" in str(said)
    assert asked == ["127.0.0.1", "127.0.0.2"]
    assert len(seen) == 1


def test_the_address_is_checked_and_not_the_name() -> None:
    said, seen = get(OK + b"\r\n", forbidden=forbidden_in([]))
    assert "localhost is 127.0.0.1, where nobody may send us" in str(said)
    assert seen == []


def test_one_forbidden_address_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    async def two(self: asyncio.BaseEventLoop, host: str, port: int, **words: int) -> object:
        return [(0, 0, 0, "", ("127.0.0.1", port)), (0, 0, 0, "", ("10.0.0.1", port))]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", two)
    said, seen = get(OK + b"\r\n", forbidden=lambda address: address == "10.0.0.1")
    assert "where nobody may send us" in str(said)
    assert seen == []


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True), ("127.255.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("0.0.0.0", True),
        ("0.1.2.3", True), ("::", True), ("169.254.169.254", True), ("fe80::1", True), ("fe80::1%eth0", True),
        ("224.0.0.1", True), ("ff02::1", True), ("255.255.255.255", True), ("::ffff:169.254.1.1", True),
        ("64:ff9b::7f00:1", True), ("64:ff9b::a01:203", True), ("2002:7f00:1::", True),
        ("10.1.2.3", True), ("fd00:1::5", True), ("::ffff:10.1.2.3", True),
        ("10.2.0.1", False), ("192.168.1.1", False), ("203.0.113.7", False), ("2001:db8::1", False),
    ],
)  # fmt: skip
def test_forbidden_addresses(address: str, expected: bool) -> None:
    assert forbidden_in(["10.1.0.0/16", "fd00:1::/32"])(address) is expected


def test_our_own_addresses_are_forbidden(namespace: None) -> None:
    """What listens on the gateway is for others than whoever writes URLs."""
    sh("ip link add own type veth peer name other")
    sh("ip addr add 10.7.7.7/24 dev own")
    sh("ip addr add 2001:db8:7::7/64 dev own nodad")
    sh("ip link set own up")
    sh("ip link set other up")
    forbidden = forbidden_in([])
    assert all(map(forbidden, ("10.7.7.7", "::ffff:10.7.7.7", "2001:db8:7::7")))
    assert not any(map(forbidden, ("10.7.7.8", "2001:db8:7::8", "203.0.113.7")))


NO_URLS = (
    *("ftp://h/x", "http://", "http:///x", "//h/x", "", "http://h/\r\nX: y", "http://h/a b", "http://h:99999/"),
    *("http://ü.example/", "http://u@h/", "http://h/" + "x" * 5000, "http://[::1", f"http://{'h' * 64}/"),
)


@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_url(url: str) -> None:
    async def work() -> None:
        with pytest.raises(LocalError) as caught:
            await Fetcher(anywhere).get(url)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 250

    asyncio.run(work())


# --- many ---


async def until(seen: list[bytes], count: int) -> None:
    """So many requests have come."""
    while len(seen) < count:
        await asyncio.sleep(0.001)


def test_the_same_is_fetched_once_and_not_too_much_waits() -> None:
    held = asyncio.Event()
    handler, seen = served(OK + b"\r\nx", held=held)

    async def work(port: int) -> None:
        fetcher = Fetcher(anywhere)
        same = [asyncio.ensure_future(fetcher.get(f"http://127.0.0.1:{port}/same")) for _ in range(5)]
        await until(seen, 1)
        held.set()
        assert await asyncio.gather(*same) == [b"x"] * 5
        assert len(seen) == 1
        held.clear()
        many = [asyncio.ensure_future(fetcher.get(f"http://127.0.0.1:{port}/{at}")) for at in range(fetch.WAITING + 1)]
        await until(seen, 1 + fetch.AT_ONCE)
        with pytest.raises(fetch.Busy, match="too many"):
            await many[-1]
        await fetcher.close()
        await asyncio.gather(*many, return_exceptions=True)
        assert len(seen) == 1 + fetch.AT_ONCE

    run(handler, work)


def test_nobody_who_waits_ends_it_for_the_others() -> None:
    held = asyncio.Event()
    handler, seen = served(OK + b"\r\nx", held=held)

    async def work(port: int) -> None:
        fetcher = Fetcher(anywhere)
        first, second = (asyncio.ensure_future(fetcher.get(f"http://127.0.0.1:{port}/")) for _ in range(2))
        await until(seen, 1)
        first.cancel()
        held.set()
        assert await second == b"x"

    run(handler, work)


def test_a_server_that_takes_no_connection_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each certificate's own URL there is waited for, a few at a time, by thousands of peers."""
    with socket.socket() as one, socket.socket() as other:
        for closed in (one, other):
            closed.bind(("127.0.0.1", 0))
        first, second = (f"http://127.0.0.1:{closed.getsockname()[1]}" for closed in (one, other))

        async def work() -> list[type[Exception]]:
            fetcher, kinds = Fetcher(anywhere), list[type[Exception]]()
            for url in (f"{first}/1", f"{first}/2", f"{second}/1"):
                with pytest.raises(LocalError) as caught:
                    await fetcher.get(url)
                kinds.append(caught.type)
            return kinds

        assert asyncio.run(work()) == [LocalError, fetch.Busy, LocalError]
        monkeypatch.setattr(fetch, "SILENT", 0.0)
        assert asyncio.run(work()) == [LocalError] * 3


def test_where_we_may_not_go_is_no_silence() -> None:
    async def work() -> None:
        fetcher = Fetcher(forbidden_in([]))
        for _ in range(2):
            with pytest.raises(LocalError, match="where nobody may send us"):
                await fetcher.get("http://127.0.0.1:1/")

    asyncio.run(work())


def test_a_server_that_answers_nonsense_is_not_left_alone() -> None:
    """Whoever names one of its URLs could else keep us from the others."""
    handler, _ = served(b"nonsense\r\n\r\n", OK + b"\r\nx")

    async def work(port: int) -> None:
        fetcher = Fetcher(anywhere)
        with pytest.raises(LocalError, match="speaks no HTTP"):
            await fetcher.get(f"http://127.0.0.1:{port}/one")
        assert await fetcher.get(f"http://127.0.0.1:{port}/two") == b"x"

    run(handler, work)


def test_https_wants_a_certificate_that_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [
        "openssl",
        "req",
        "-x509",
        *["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost"],
    ]
    files = ("-keyout", tmp_path / "key", "-out", tmp_path / "cert", "-addext", "subjectAltName=DNS:localhost")
    subprocess.run([*made, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    handler, _ = served(OK + b"\r\n" + BODY)

    async def work(port: int) -> bytes:
        return await Fetcher(anywhere).get(f"https://localhost:{port}/")

    with pytest.raises(LocalError, match="certificate verify failed"):
        run(handler, work, context)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert"))
    assert run(handler, work, context) == BODY
