"""Files with a shared secret: one line of text, hexadecimal digits after 0x, or base64 after 0s.

No sentence made here contains any of it. Who may own such a file: keys.check_owner.
"""

from __future__ import annotations

import base64
import binascii
import codecs

from xdpsec.errors import ConfigError

MAX_SIZE = 4096
#: Fewer bytes than these can be guessed offline by whoever plays the responder (RFC 7296 sec. 2.15).
SHORT = 16


def parse_secret(raw: bytes, file: str) -> bytes:
    """The secret in `raw`. ConfigError for what is none; `file` is what errors call it."""
    if len(raw) > MAX_SIZE:
        raise ConfigError(file, 0, "", "is larger than 4 KiB", "name a file with one secret")
    if raw.startswith(codecs.BOM_UTF8):
        raise ConfigError(file, 0, "", "begins with a byte order mark", "save it as UTF-8 without one")
    text = raw.removesuffix(b"\n").removesuffix(b"\r")
    if b"\n" in text:
        raise ConfigError(file, 0, "", "has more than one line", "keep one secret in a file")
    try:
        if text[:2] == b"0x":
            secret = binascii.unhexlify(text[2:])
        elif text[:2] == b"0s":
            secret = base64.b64decode(text[2:], validate=True)
        else:
            secret = text
    except (binascii.Error, ValueError):
        kind = "hexadecimal" if text[:2] == b"0x" else "base64"
        fix = "write whole bytes, or text that does not begin with 0x or 0s"
        raise ConfigError(file, 0, "", f"is not {kind} after its first two letters", fix) from None
    if not secret:
        raise ConfigError(file, 0, "", "is empty", "write a long random secret, such as `openssl rand -hex 32` prints")
    return secret
