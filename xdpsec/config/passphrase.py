"""Passphrases of private keys: from a prompt, a systemd credential, a descriptor or a file; and files that are secret.

A source is what `passphrase` of auth says: "prompt", "credential:NAME", "fd:N" or a path. No error repeats a secret.
"""

from __future__ import annotations

import getpass
import os
import stat
import warnings
from collections.abc import Callable, Mapping

from xdpsec.config.keys import check_owner
from xdpsec.errors import LocalError

MAX_SIZE, MAX_KEY = 4096, 64 << 10
CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd.exec(5)

Ask = Callable[[str], str]


def obtain(source: str, key_file: str, environment: Mapping[str, str], ask: Ask = getpass.getpass) -> bytes:
    """The passphrase of `key_file` from `source`. LocalError with the way out when it cannot be had."""
    if source == "prompt":
        return _asked(f"passphrase of {key_file}: ", ask)
    if source.startswith("fd:"):
        return _clean(_from_descriptor(int(source[3:])), source)
    if source.startswith("credential:"):
        folder = environment.get(CREDENTIALS)
        if folder is None:
            fix = "add LoadCredential= or LoadCredentialEncrypted= to the unit, or start it by systemd"
            raise LocalError(f"{source} of {key_file}: systemd handed over no credentials; {fix}")
        return _clean(_from_file(os.path.join(folder, source.removeprefix("credential:")), owned=False), source)
    return _clean(_from_file(source, owned=True), source)


def invent(source: str, key_file: str, environment: Mapping[str, str], ask: Ask = getpass.getpass) -> bytes:
    """The passphrase for a key that is to be made: at a prompt it is asked for twice."""
    first = obtain(source, key_file, environment, ask)
    if source == "prompt" and _asked("again: ", ask) != first:
        raise LocalError("the two passphrases differ; try again")
    return first


def _asked(text: str, ask: Ask) -> bytes:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # where there is no terminal it would be shown
            return _clean(ask(text).encode(), "prompt")
    except (EOFError, OSError, getpass.GetPassWarning):
        fix = "start it from a terminal, or name a credential, a descriptor or a file"
        raise LocalError(f"nobody is there to ask for the {text.rstrip(': ')}; {fix}") from None


def _clean(raw: bytes, source: str) -> bytes:
    passphrase = raw.removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase:
        raise LocalError(f"the passphrase from {source} is empty; an encrypted key has one")
    if len(passphrase) >= MAX_SIZE:
        raise LocalError(f"the passphrase from {source} is longer than {MAX_SIZE} bytes; name the right source")
    return passphrase


def _from_descriptor(number: int) -> bytes:
    """Read to its end and closed: what comes after us should not find it open."""
    parts, size = [], 0
    try:
        while size < MAX_SIZE and (part := os.read(number, MAX_SIZE)):
            parts.append(part)
            size += len(part)
        os.close(number)
    except OSError as error:
        raise LocalError(f"descriptor {number} cannot be read ({error.strerror}); open one for us") from None
    return b"".join(parts)


def _from_file(path: str, owned: bool) -> bytes:
    """ConfigError when the file must be root's alone and is not; systemd guards its own."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise LocalError(f"{path} cannot be read ({error.strerror}); name a file with the passphrase") from None
    try:
        if owned:
            check_owner(os.fstat(descriptor), path)
        elif not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise LocalError(f"{path} is no file; name a credential of the unit")
        return os.pread(descriptor, MAX_SIZE, 0)
    finally:
        os.close(descriptor)


def write_private(path: str, raw: bytes) -> None:
    """A new file, mode 0600 from its first moment. LocalError when there is one already."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise LocalError(f"{path} exists; remove it or name another file") from None
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)  # whatever the umask
        file.write(raw)


def read_private(path: str) -> bytes:
    """A key file of ours. LocalError unless it is a file that its owner alone can read, and the owner is we or root."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise LocalError(f"{path} cannot be read ({error.strerror}); name a private key") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o177:
            raise LocalError(f"{path} is open to others; run chown {os.geteuid()} and chmod 0600 on it")
        return file.read(MAX_KEY + 1)
