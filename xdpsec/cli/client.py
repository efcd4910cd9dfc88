"""The asking end of the operator socket: connect, greet, ask, one answer each."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import select
import socket
import time
import tomllib
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from xdpsec.channel import operator as words
from xdpsec.channel.framing import ChannelClosed, FramingError, Wire
from xdpsec.config.defaults import RUN_DIR
from xdpsec.errors import ConfigError, LocalError

SOCKET = "control.sock"
#: Control answers within a turn of its loop. While it starts anew nobody does, for a second or two.
ANSWER_SECONDS = 10.0
#: The table's own lines: up to the next header.
_GATEWAY = re.compile(r"^[ \t]*\[[ \t]*gateway[ \t]*\][^\n]*\n(?:(?![ \t]*\[)[^\n]*\n?)*", re.MULTILINE)
_NAME_MAX = 107  # sun_path of unix(7), without the closing zero

A = TypeVar("A", bound=words.Answer)


class NotRunning(LocalError):
    """No gateway listens there."""


def run_dir(config: Path) -> Path:
    """Where the gateway of the file `config` keeps its socket. Nothing else of the file need be right: whoever runs was
    started from what stood there then."""
    try:
        tree = _gateway_table(config.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(str(config), 0, "", "does not exist", "name the gateway's file with --config") from None
    except OSError as error:
        fix = "run this as root" if isinstance(error, PermissionError) else "name a readable file"
        raise ConfigError(str(config), 0, "", f"cannot be read ({error.strerror})", fix) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise ConfigError(str(config), 0, "", "is not TOML", "`xdpsec check` says where") from None
    gateway = tree.get("gateway")
    found = gateway.get("run_dir") if isinstance(gateway, dict) else None
    return Path(found if isinstance(found, str) else RUN_DIR)


def _gateway_table(text: str) -> dict[str, Any]:
    """The file, of which only [gateway] matters here: thousands of peers take seconds to parse. Where it is not plain
    which lines are its, all are parsed."""
    found = _GATEWAY.findall(text)
    if len(found) == 1 and not any(quotes in text for quotes in ('"""', "'''")):
        with contextlib.suppress(tomllib.TOMLDecodeError):
            return tomllib.loads(found[0])
    return tomllib.loads(text)


class Client:
    """One connection to the gateway whose run_dir is given. NotRunning, or LocalError, with one sentence."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / SOCKET
        self._wire = Wire(self._connect())
        try:
            welcome = self.ask(words.Hello(words.VERSION), words.Welcome)
        except BaseException:
            self._wire.close()
            raise
        if welcome.version != words.VERSION:
            self._wire.close()
            raise LocalError(
                f"the gateway is xdpsec {welcome.gateway} and speaks version {welcome.version} of the operator's "
                f"words, this command speaks {words.VERSION}; use the command that came with the gateway, or restart it"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wire.close()

    def _connect(self) -> socket.socket:
        if len(str(self._path).encode()) > _NAME_MAX:
            raise LocalError(f"{self._path} is too long for a socket's name; choose a shorter run_dir")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            sock.connect(str(self._path))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            sock.close()
            raise NotRunning(f"no gateway runs with run_dir {self._path.parent}; `xdpsec run` starts one") from None
        except PermissionError:
            sock.close()
            raise LocalError(f"{self._path} may not be opened by this user; run this as root") from None
        except OSError:
            sock.close()
            raise
        return sock

    def ask(self, question: words.Question, kind: type[A], patient: bool = False) -> A:
        """The answer, which must be of `kind`; `patient`: it may take for ever."""
        try:
            self._wire.send(question)
            answer = self._whole(None if patient else ANSWER_SECONDS)
        except ChannelClosed:
            raise LocalError("the gateway closed the connection: it ends, or too many ask at once; try again") from None
        except FramingError as error:
            raise LocalError(f"the gateway answered in words of another version ({error}); restart it") from None
        if not isinstance(answer, kind):
            raise LocalError(f"the gateway answered {type(answer).__name__} where {kind.__name__} belongs; restart it")
        return answer

    def _whole(self, within: float | None) -> object:
        """The answer; of one that comes in pages, all of them."""
        first = self._receive(within)
        field = words.PAGED.get(type(first))
        if field is None:
            return first
        page: Any = first
        rows = list(getattr(page, field))
        while page.more:
            page = self._receive(within)
            rows += getattr(page, field)
        return dataclasses.replace(page, more=False, **{field: tuple(rows)})

    def _receive(self, within: float | None) -> object:
        deadline = time.monotonic() + (within or 0.0)
        while (received := self._wire.receive()) is None:
            left = None if within is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._wire], [], [], left)[0]:
                raise LocalError(
                    f"the gateway did not answer within {ANSWER_SECONDS:.0f} s; it is starting, or its log says more"
                )
        return received.message
