"""Answers Prometheus over HTTP in threads of its own, few of them and none for long: whoever connects a thousand times,
or sends nothing, costs nobody else anything.
"""

from __future__ import annotations

import socket
import threading
import zlib
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

#: Prometheus holds one connection, a pair of them two; a person with curl comes on top.
MAX_CONNECTIONS = 8
#: A client that neither sends nor takes anything for so long is gone.
SILENCE_SECONDS = 5.0
#: What a scrape may take to be made; Prometheus itself waits ten seconds unless told otherwise.
MADE_SECONDS = 30.0
TEXT = "text/plain; version=0.0.4; charset=utf-8"
GZIP = 31  # wbits of zlib: a gzip header and trailer

#: Gives what there is to tell, within so many seconds; TimeoutError or RuntimeError where it cannot be had.
Make = Callable[[float], bytes]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, *given: Any) -> None:
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(*given)

    def server_bind(self) -> None:
        """HTTPServer's own looks up the name of its address: a question in the clear, a start that waits for DNS."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in mid-sentence is no news."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = SILENCE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Every scrape would be a line."""


def _app(make: Make) -> Callable[[dict[str, Any], Callable[..., object]], Iterable[bytes]]:
    """Every path is /metrics."""

    def app(environ: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET":
            start("405 Method Not Allowed", [("Allow", "GET")])
            return [b""]
        try:
            body = make(MADE_SECONDS)
        except (TimeoutError, RuntimeError):  # control is at its end, or has no time for this
            start("503 Service Unavailable", [])
            return [b""]
        headers = [("Content-Type", TEXT)]
        if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
            headers.append(("Content-Encoding", "gzip"))
            body = zlib.compress(body, 1, GZIP)  # others run meanwhile
        start("200 OK", headers)
        return [body]

    return app


def serve(make: Make, host: str, port: int) -> int:
    """Listen from now on; the port, which the kernel chooses when `port` is 0. `make` is called in threads. OSError
    when the port cannot be had."""
    kind = _Server6 if ":" in host else _Server
    server = make_server(host, port, _app(make), kind, _Handler)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return int(server.server_port)
