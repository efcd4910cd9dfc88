"""GET of one small file by HTTP, for revocation lists and OCSP: bounded in time and size, never to where it may not go.

The URL stands in a stranger's certificate. What a name resolves to is checked, and that very address is connected to; a
redirect is checked the same way. HTTP/1.0, so that an answer ends with its connection. Knows nothing of certificates.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from xdpsec.errors import LocalError

SECONDS, MAX_BODY, MAX_HEAD, MAX_URL, MAX_REDIRECTS = 10.0, 1 << 20, 16 << 10, 4096, 3
AT_ONCE, WAITING = 8, 64
#: Seconds for which a server is left alone that took no connection, and how many such are remembered.
SILENT, MOST_SILENT = 30.0, 64
_PORTS = {"http": 80, "https": 443}
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |$)")

Forbidden = Callable[[str], bool]


class Busy(LocalError):
    """It was not tried: more wait already than may, or its server took no connection a moment ago."""


@dataclass(frozen=True, slots=True)
class _Target:
    """A URL taken apart."""

    host: str
    port: int
    secure: bool
    path: str

    @property
    def server(self) -> tuple[str, int, bool]:
        return self.host, self.port, self.secure


def forbidden_in(prefixes: Iterable[str]) -> Forbidden:
    """Tells addresses that nobody outside may make us talk to: ourselves, the link, `prefixes`, and no single host."""
    networks = [ipaddress.ip_network(prefix) for prefix in set(prefixes)]

    def forbidden(address: str) -> bool:
        parsed = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(parsed, ipaddress.IPv6Address):
            parsed = parsed.ipv4_mapped or parsed.sixtofour or _translated(parsed) or parsed
        if parsed.is_loopback or parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified:
            return True
        if parsed in ipaddress.ip_network("0.0.0.0/8") or parsed.is_reserved:
            return True
        return any(parsed in network for network in networks) or _ours(str(parsed), parsed.version)

    return forbidden


def _ours(address: str, version: int) -> bool:
    """An address of this machine is reached from itself. Sends nothing."""
    with suppress(OSError), socket.socket(_FAMILIES[version], socket.SOCK_DGRAM) as probe:
        probe.connect((address, _PORTS["http"]))
        return bool(probe.getsockname()[0] == address)
    return False


def _translated(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address behind NAT64 (RFC 6052)."""
    inside = address in ipaddress.IPv6Network("64:ff9b::/96")
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if inside else None


class Fetcher:
    """Fetches for all peers: a URL that is wanted twice is fetched once, few at a time, and not without bound."""

    def __init__(self, forbidden: Forbidden, seconds: float = SECONDS) -> None:
        self._forbidden, self._seconds = forbidden, seconds
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[str, asyncio.Task[bytes]] = {}
        self._silent: dict[tuple[str, int, bool], float] = {}  # servers, and until when

    async def get(self, url: str) -> bytes:
        """The body; LocalError, a sentence, when it cannot or may not be had, Busy when it was not tried."""
        task = self._tasks.get(url)
        if task is None:
            if len(self._tasks) >= WAITING:
                raise Busy("too many fetches are waiting; try later")
            task = asyncio.create_task(self._timed(url))
            self._tasks[url] = task
            task.add_done_callback(lambda done: self._ended(url, done))
        return await asyncio.shield(task)

    def _ended(self, url: str, task: asyncio.Task[bytes]) -> None:
        self._tasks.pop(url, None)
        if not task.cancelled():
            task.exception()  # looked at, also when nobody waits any more

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _timed(self, url: str) -> bytes:
        shown = _shown(url)
        async with self._room:
            try:
                async with asyncio.timeout(self._seconds):
                    return await self._follow(url)
            except TimeoutError:
                raise LocalError(
                    f"{shown} did not answer in {self._seconds:.0f} s; see that it can be reached"
                ) from None
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                raise LocalError(f"{shown} cannot be fetched ({error}); see that it can be reached") from None

    async def _follow(self, url: str) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            target = _parse(url)
            status, head, body = await self._exchange(target)
            if status == 200:
                return body
            place = head.get(b"location", b"").decode("latin-1")
            if status not in _REDIRECTS or not place:
                raise LocalError(f"{_shown(url)} answers with status {status}; see that the file is there")
            url = _joined(url, place)
        raise LocalError(f"{_shown(url)} is reached only by more than {MAX_REDIRECTS} redirects; mend that")

    async def _exchange(self, target: _Target) -> tuple[int, dict[bytes, bytes], bytes]:
        reader, writer = await self._reach(target)
        try:
            host = f"[{target.host}]" if ":" in target.host else target.host
            port = "" if target.port in _PORTS.values() else f":{target.port}"
            writer.write(f"GET {target.path} HTTP/1.0\r\nHost: {host}{port}\r\nAccept: */*\r\n\r\n".encode("ascii"))
            await writer.drain()
            status, head = _head(await reader.readuntil(b"\r\n\r\n"))
            return status, head, await _body(reader, head) if status == 200 else b""
        finally:
            writer.transport.abort()

    async def _reach(self, target: _Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection. Each certificate has its own URL: where one of them waits in vain, thousands would."""
        loop = asyncio.get_running_loop()
        if self._silent.get(target.server, 0.0) > loop.time():
            raise Busy(f"{target.host} took no connection a moment ago; see that it can be reached")
        try:
            address = await self._resolve(target)
            # reading the machine's authorities takes long
            context = await loop.run_in_executor(None, ssl.create_default_context) if target.secure else None
            name = target.host if target.secure else None
            ends = await asyncio.open_connection(
                address, target.port, ssl=context, server_hostname=name, limit=MAX_HEAD
            )
        except LocalError:  # not a server's silence
            raise
        except BaseException:  # also when its time ran out
            self._silent.pop(target.server, None)
            while len(self._silent) >= MOST_SILENT:
                del self._silent[next(iter(self._silent))]
            self._silent[target.server] = loop.time() + SILENT
            raise
        self._silent.pop(target.server, None)
        return ends

    async def _resolve(self, target: _Target) -> str:
        """The first address, when none of those that the name has is forbidden: a name with one such is a trap."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except UnicodeError:  # a label of more than 63 characters, and no OSError
            raise LocalError(f"{_shown(target.host)} can be no host's name; mend the URL") from None
        addresses = [str(address[0]) for *_, address in found]
        for address in addresses:
            if self._forbidden(address):
                raise LocalError(f"{target.host} is {address}, where nobody may send us; name a server elsewhere")
        return addresses[0]


def _parse(url: str) -> _Target:
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise LocalError(f"{_shown(url)} is no URL that we fetch; write printable ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        raise LocalError(f"{_shown(url)} is no URL; write one like http://pki.example.org/ca.crl") from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
        raise LocalError(f"{_shown(url)} is not fetched; http and https without a user are")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Target(parts.hostname, port, parts.scheme == "https", path)


def _joined(url: str, place: str) -> str:
    try:
        return urljoin(url, place)
    except ValueError:
        raise LocalError(f"{_shown(url)} leads to what is no URL; mend that redirect") from None


def _shown(url: str) -> str:
    """The URL for a log line."""
    return "".join(char if char.isprintable() else "?" for char in url[:128])


def _head(raw: bytes) -> tuple[int, dict[bytes, bytes]]:
    first, *lines = raw.split(b"\r\n")
    found = _STATUS.match(first)
    if found is None:
        raise LocalError("what answers speaks no HTTP; see that the URL is right")
    fields = (line.partition(b":") for line in lines if line)
    return int(found[1]), {name.strip().lower(): value.strip() for name, _, value in fields}


async def _body(reader: asyncio.StreamReader, head: dict[bytes, bytes]) -> bytes:
    """To the end of the connection, or as long as it was said to be."""
    if b"transfer-encoding" in head:
        raise LocalError("the server answers HTTP/1.0 in chunks; see that it speaks HTTP")
    said = head.get(b"content-length", b"")
    size = int(said) if said.isdigit() and len(said) < 10 else MAX_BODY + 1
    if said and size > MAX_BODY:
        raise LocalError("the answer is larger than 1 MiB; publish a smaller one")
    parts, left = [], size
    while left and (part := await reader.read(min(left, 1 << 16))):
        parts.append(part)
        left -= len(part)
    body = b"".join(parts)
    if len(body) > MAX_BODY:
        raise LocalError("the answer is larger than 1 MiB; publish a smaller one")
    if said and left:
        raise LocalError("the answer was cut short; see that the server is well")
    return body
