"""Stateless cookies (RFC 7296 sec. 2.6): a peer proves that it gets what is sent to its address; we remember nothing.

A cookie is the number of a secret that we alone know and change often, and an HMAC under it of nonce, address and SPI.
Reads generic payload headers only: under a flood this is all the work that a message gets.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from struct import Struct

from xdpsec.numbers import NotifyType, PayloadType

SECRET = 32  # bytes
TAG = 24  # bytes of HMAC-SHA2-256
COOKIE = 1 + TAG  # the secret's number stands in front
ROTATE = 60.0  # seconds; the secret before the present one is still good
MOST = 64  # payloads looked at

_GENERIC = Struct("!BBH")
_NOTIFY = Struct("!BBH")
_HEADER, _FIRST = 28, 16  # length of the header, offset of its "next payload"


def find(data: bytes) -> tuple[bytes, bytes]:
    """(nonce, cookie) of a message in the clear; empty where there is none. Never raises: what is wrong with the
    message is found out later, if it gets that far."""
    nonce = cookie = b""
    kind, at, size = data[_FIRST], _HEADER, len(data)
    for _ in range(MOST):
        if not kind or at + _GENERIC.size > size:
            break
        following, _flags, length = _GENERIC.unpack_from(data, at)
        end = at + length
        if length < _GENERIC.size or end > size:
            break
        if kind == PayloadType.NONCE:
            nonce = data[at + _GENERIC.size : end]
        elif kind == PayloadType.NOTIFY and not cookie and length >= _GENERIC.size + _NOTIFY.size:
            _protocol, spi, what = _NOTIFY.unpack_from(data, at + _GENERIC.size)
            if what == NotifyType.COOKIE and not spi:
                cookie = data[at + _GENERIC.size + _NOTIFY.size : end]
        kind, at = following, end
    return nonce, cookie


class Cookies:
    """The secrets, the present one first; made when they are first needed."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self.random = random
        self.secrets: tuple[tuple[int, bytes, float], ...] = ()  # number, secret, since when

    def make(self, nonce: bytes, address: str, spi: bytes, now: float) -> bytes:
        number, secret, _ = self._current(now)[0]
        return bytes((number,)) + _tag(secret, nonce, address, spi)

    def proves(self, cookie: bytes, nonce: bytes, address: str, spi: bytes, now: float) -> bool:
        """Did we give this cookie, to this address, for this nonce and SPI, not long ago?"""
        for number, secret, _ in self._current(now):
            if cookie[:1] == bytes((number,)):
                return hmac.compare_digest(cookie[1:], _tag(secret, nonce, address, spi))
        return False

    def _current(self, now: float) -> tuple[tuple[int, bytes, float], ...]:
        if not self.secrets or now - self.secrets[0][2] >= ROTATE:
            number = (self.secrets[0][0] + 1) % 256 if self.secrets else 0
            still_good = tuple(one for one in self.secrets[:1] if now - one[2] < 2 * ROTATE)
            self.secrets = ((number, self.random(SECRET), now), *still_good)
        return self.secrets


def _tag(secret: bytes, nonce: bytes, address: str, spi: bytes) -> bytes:
    return hmac.digest(secret, spi + len(nonce).to_bytes(2, "big") + nonce + address.encode(), "sha256")[:TAG]
