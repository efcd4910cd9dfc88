"""What can go wrong, by whose fault: the peer's, the caller's, the configuration's. Imports nobody.

`str` of each is one sentence for a person and never contains key material.
"""

from __future__ import annotations


def one_line(text: str) -> str:
    """What a terminal or a log may be sent: a name in a file can hold line breaks and escape sequences."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class XdpsecError(Exception):
    """Root of the errors that are meant for people."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class PeerError(XdpsecError):
    """The peer sent what we refuse. `notify` is the number to answer with (RFC 7296 sec. 3.10.1), 0 = silence; `data`
    is what that notify carries, if anything: the group we want, the payload we do not know."""

    notify = 0

    def __init__(self, text: str, notify: int | None = None, data: bytes = b"") -> None:
        super().__init__(text)
        if notify is not None:
            self.notify = notify
        self.data = data


class LocalError(XdpsecError):
    """This machine, its files or its caller are not as we need them; the sentence says how to mend that."""


class ConfigError(XdpsecError):
    """The configuration is refused: where (file, line, key; line 0 = no line), what is wrong, how to fix it."""

    def __init__(self, file: str, line: int, key: str, text: str, fix: str) -> None:
        self.file, self.line, self.key, self.text, self.fix = file, line, key, text, fix
        place = f"{file}:{line}" if line else file
        super().__init__(f"{place}: {key}: {text}; {fix}" if key else f"{place}: {text}; {fix}")
