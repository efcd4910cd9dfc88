"""strongSwan's control protocol, version 1: a request with a message, a stream of events, an answer.

A message is a dict of text, lists of text and further dicts. Standard library alone, since it runs inside a guest
kernel too. Knows nothing of what the commands mean. Source: strongSwan's src/libcharon/plugins/vici/README.md.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

COMMAND, ANSWER, UNKNOWN, REGISTER, CONFIRM, EVENT = 0, 1, 2, 3, 5, 7
SECTION, SECTION_END, VALUE, LIST, ITEM, LIST_END = 1, 2, 3, 4, 5, 6
#: Values are bytes; keys and certificates in PEM, names and numbers are all ASCII, and this loses nothing of the rest.
CODING = "latin-1"

Message = dict[str, Any]


class ViciError(Exception):
    """The daemon said no, or nothing; the text says what to which command."""


def _name(text: str) -> bytes:
    data = text.encode(CODING)
    return bytes([len(data)]) + data


def _value(text: str) -> bytes:
    data = text.encode(CODING)
    return struct.pack("!H", len(data)) + data


def encode(message: Message) -> bytes:
    out = b""
    for key, value in message.items():
        if isinstance(value, dict):
            out += bytes([SECTION]) + _name(key) + encode(value) + bytes([SECTION_END])
        elif isinstance(value, (list, tuple)):
            items = b"".join(bytes([ITEM]) + _value(str(item)) for item in value)
            out += bytes([LIST]) + _name(key) + items + bytes([LIST_END])
        else:
            out += bytes([VALUE]) + _name(key) + _value(str(value))
    return out


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        self._at += count
        return found

    def name(self) -> str:
        return self.take(self.take(1)[0]).decode(CODING)

    def value(self) -> str:
        return self.take(struct.unpack("!H", self.take(2))[0]).decode(CODING)

    def message(self) -> Message:
        """Up to the end of the section, or of the data."""
        found: Message = {}
        while (kind := self.take(1)) and kind[0] != SECTION_END:
            key = self.name()
            if kind[0] == SECTION:
                found[key] = self.message()
            elif kind[0] == VALUE:
                found[key] = self.value()
            else:
                found[key] = items = []
                while self.take(1)[0] == ITEM:
                    items.append(self.value())
        return found


def decode(data: bytes) -> Message:
    return _Reader(data).message()


def ask(path: str, command: str, message: Message, event: str = "", timeout: float = 30.0) -> list[Message]:
    """Events of that name in their order, then the answer. ViciError when the answer has success = no."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(timeout)
        try:
            line.connect(path)
            if event:
                _send(line, bytes([REGISTER]) + _name(event))
                _receive(line, CONFIRM, command)
            _send(line, bytes([COMMAND]) + _name(command) + encode(message))
            return _answers(line, command)
        except OSError as error:
            raise ViciError(f"{command}: {error}") from None


def _answers(line: socket.socket, command: str) -> list[Message]:
    found = []
    while True:
        kind, data = _packet(line)
        if kind == EVENT:
            found.append(decode(data[1 + data[0] :]))
        elif kind == ANSWER:
            found.append(decode(data))
            break
        else:
            raise ViciError(f"{command}: the daemon does not know it")
    if found[-1].get("success", "yes") != "yes":
        raise ViciError(f"{command}: {found[-1].get('errmsg', 'failed')}")
    return found


def _receive(line: socket.socket, wanted: int, command: str) -> None:
    if _packet(line)[0] != wanted:
        raise ViciError(f"{command}: the daemon does not know its event")


def _packet(line: socket.socket) -> tuple[int, bytes]:
    data = _exactly(line, struct.unpack("!I", _exactly(line, 4))[0])
    return data[0], data[1:]


def _exactly(line: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = line.recv(count - len(data))
        if not part:
            raise ViciError("the daemon closed its control socket")
        data += part
    return data


def _send(line: socket.socket, packet: bytes) -> None:
    line.sendall(struct.pack("!I", len(packet)) + packet)
