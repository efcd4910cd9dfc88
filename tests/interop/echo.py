"""TCP both ways over one connection: what a client sends comes back, and the client checks it.

Standard library alone, since it runs in namespaces and inside a guest kernel too: `echo.py serve ADDRESS PORT`,
`echo.py ask ADDRESS PORT SOURCE BYTES`.
"""

from __future__ import annotations

import hashlib
import socket
import sys
import threading

#: A lost segment is sent again within seconds; a tunnel that carries nothing is known after this.
SECONDS = 20.0
CHUNK = 16384


def payload(size: int) -> bytes:
    """Bytes that differ at every place, so that what is swapped or repeated shows."""
    blocks = (hashlib.sha256(number.to_bytes(8, "big")).digest() for number in range(size // 32 + 1))
    return b"".join(blocks)[:size]


def listen(address: str, port: int) -> socket.socket:
    """A socket that accepts."""
    return socket.create_server((address, port))


def serve(listener: socket.socket) -> None:
    """Send back whatever comes, each connection to its end. Returns when the listener is closed."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    connection.settimeout(SECONDS)
    with connection:
        try:
            while data := connection.recv(CHUNK):
                connection.sendall(data)
        except OSError:
            return  # the client sees it and tells


def ask(address: str, port: int, source: str, size: int) -> None:
    """Send `size` bytes and get them back. OSError or ValueError when that fails."""
    data = payload(size)
    with socket.create_connection((address, port), SECONDS, (source, 0)) as connection:
        sender = threading.Thread(target=_send, args=(connection, data), daemon=True)
        sender.start()
        back = bytearray()
        while part := connection.recv(CHUNK):
            back += part
        sender.join()
    if bytes(back) != data:
        raise ValueError(f"{len(back)} bytes came back, not the {size} that were sent")


def _send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the reader fails for the same reason and tells


def main(words: list[str]) -> None:
    if words[0] == "serve":
        listener = listen(words[1], int(words[2]))
        print("listening", flush=True)
        serve(listener)
    else:
        ask(words[1], int(words[2]), words[3], int(words[4]))


if __name__ == "__main__":
    main(sys.argv[1:])
