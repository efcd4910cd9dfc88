"""What certificates need while the gateway runs: revocation lists read again, and OCSP responses about our own; ends
told ahead, old answers forgotten.

A revocation list in a file is replaced by whoever publishes it; what was read at start would only grow old. A file that
cannot be read any more leaves what is known, and says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from xdpsec.daemon.credentials import Credentials
from xdpsec.daemon.ike import doubts
from xdpsec.errors import XdpsecError

log = structlog.get_logger()

READ_SECONDS, TELL_SECONDS = 600.0, 86400.0
Read = Callable[[str], Awaitable[bytes]]


class Upkeep:
    """`crls` and `staples` are files, `read` gets the bytes of one."""

    def __init__(
        self,
        credentials: Credentials,
        crls: Sequence[str],
        staples: Sequence[str],
        read: Read,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._credentials, self._read, self._wall = credentials, read, wall
        self._crls, self._staples = tuple(dict.fromkeys(crls)), tuple(dict.fromkeys(staples))
        #: File, name and end (seconds since 1970) of each certificate of ours and of the authorities.
        self.ends = credentials.ends()
        self._told = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """On a running loop; what ends soon is told at once, and every day."""
        self.tell()
        self._task = asyncio.create_task(self._run())

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(READ_SECONDS)
            await self.renew()
            if self._wall() - self._told >= TELL_SECONDS:
                self.tell()

    def tell(self) -> None:
        """A log line for each certificate that ends within a month."""
        self._told = now = self._wall()
        for sentence, fields in doubts.ends(self._credentials, now):
            log.warning(sentence, **fields)

    async def renew(self) -> None:
        """Read the lists again, and the responses about our own certificates; one that is broken is its own affair."""
        for file, raw in (await self._read_all(self._crls, "revocation list")).items():
            try:
                self._credentials.renew_crls({file: raw})
            except XdpsecError as error:
                log.warning("revocation list is refused; what it said before stays", why=str(error))
        for file, raw in (await self._read_all(self._staples, "OCSP response")).items():
            try:
                self._credentials.renew_staples({file: raw})
            except XdpsecError as error:
                log.warning("OCSP response is refused; the one before stays", why=str(error))
        self._credentials.known.expire(self._wall())

    async def _read_all(self, files: Sequence[str], what: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for file in files:
            try:
                found[file] = await self._read(file)
            except (XdpsecError, OSError) as error:
                log.warning(f"{what} cannot be read again", file=file, why=str(error))
        return found
