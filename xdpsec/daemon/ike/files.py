"""The files that peers name, read once at start through the supervisor: secrets, keys, certificates, revocation lists.

Only their bytes; what they mean is for those who asked. A secret is wiped from here by being forgotten, no better.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from xdpsec.channel import messages as words
from xdpsec.channel.framing import close_all
from xdpsec.channel.hub import PRIVILEGED_SECONDS, Peer
from xdpsec.config.values import Config
from xdpsec.errors import ConfigError

MAX_SIZE = 16 << 20  # revocation lists can be long
#: Files that are asked for, and open, at once.
AT_ONCE = 128
Files = Mapping[str, bytes]


def named(config: Config) -> tuple[str, ...]:
    """Every file that some peer names, each once."""
    files = [file for _, ike in config.ike_peers for file in (*ike.secrets, *ike.auth.public)]
    return tuple(dict.fromkeys(files))


async def read_all(config: Config, supervisor: Peer) -> dict[str, bytes]:
    """File -> its bytes. Refused with the supervisor's sentence, ConfigError when a file is too long. Many are asked
    for at once: there may be thousands, and each way to the supervisor and back takes its time."""
    found: dict[str, bytes] = {}
    for paths in _batches(named(config)):
        descriptors = (await supervisor.call(words.OpenFiles(paths), PRIVILEGED_SECONDS)).descriptors
        try:
            found |= {path: read(descriptor, path) for path, descriptor in zip(paths, descriptors, strict=True)}
        finally:
            close_all(descriptors)
    return found


def _batches(files: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (files[at : at + AT_ONCE] for at in range(0, len(files), AT_ONCE))


async def read_passphrases(config: Config, supervisor: Peer) -> dict[str, bytes]:
    """Key file -> its passphrase, of those that have one."""
    keys = dict.fromkeys(ike.auth.key for _, ike in config.ike_peers if ike.auth.passphrase)
    return {key: await _ask(words.OpenPassphrase(key), key, supervisor) for key in keys}


async def read_again(file: str, supervisor: Peer) -> bytes:
    """One of them as it is now."""
    return await _read(file, supervisor)


async def _read(file: str, supervisor: Peer) -> bytes:
    return await _ask(words.OpenFiles((file,)), file, supervisor)


async def _ask(message: words.Message, file: str, supervisor: Peer) -> bytes:
    (descriptor,) = (await supervisor.call(message, PRIVILEGED_SECONDS)).descriptors
    try:
        return read(descriptor, file)
    finally:
        close_all((descriptor,))


def read(descriptor: int, file: str) -> bytes:
    """The file behind the descriptor; `file` is what errors call it."""
    parts: list[bytes] = []
    size = 0
    while part := os.pread(descriptor, 1 << 20, size):
        size += len(part)
        if size > MAX_SIZE:
            raise ConfigError(file, 0, "", "is larger than 16 MiB", "name another file")
        parts.append(part)
    return b"".join(parts)
