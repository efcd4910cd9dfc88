"""What control may ask of the privileged side: each request checked against the configuration, then done and answered.

Control is not trusted here: it may name only ports, key files, prefixes and workers that the configuration has. Every
refusal is one sentence in the answer. Knows no process; starting workers is handed in.
"""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import os
from collections.abc import Awaitable, Callable
from typing import Any

from xdpsec.channel import messages as words
from xdpsec.channel.framing import MAX_DESCRIPTORS, Received, close_all
from xdpsec.config.keys import check_owner, check_place, check_public
from xdpsec.config.values import Config
from xdpsec.daemon.durable import SUFFIX
from xdpsec.daemon.holdings import Holdings
from xdpsec.daemon.rooms import Fence
from xdpsec.errors import ConfigError, LocalError, XdpsecError
from xdpsec.net import udp

#: An answer and the descriptors that go with it, for good.
Answer = tuple[words.PortAttached | words.Done, list[int]]

#: A control whose supervisor was killed is ended by the kernel, which may take a moment; then the marker is free.
MARKER_SECONDS, MARKER_PAUSE = 3.0, 0.05


def pairs(config: Config) -> tuple[tuple[str, str], ...]:
    """Every (local, remote) prefix pair of the configuration, for the fence."""
    return tuple((local, remote) for child in config.children for local in child.local for remote in child.remote)


def spare(config: Config) -> tuple[str, ...]:
    """The peers' outer addresses, which the fence must never close."""
    return tuple(peer.remote for peer in config.peers if peer.remote)


class Requests:
    """`spawn` starts (or replaces) a worker and gives the descriptors of its answer; `serves` tells of one that may
    take frames."""

    def __init__(
        self,
        config: Config,
        holdings: Holdings,
        fence: Fence,
        spawn: Callable[[int], Awaitable[list[int]]],
        serves: Callable[[int], None],
    ) -> None:
        self._config, self._holdings, self._fence = config, holdings, fence
        self._spawn, self._serves = spawn, serves
        self._key_files = frozenset(manual.key_file for _, manual in config.manual)
        self._secrets = frozenset(file for _, ike in config.ike_peers for file in ike.secrets)
        public = frozenset(file for _, ike in config.ike_peers for file in ike.auth.public)
        self._files = self._secrets | public
        self._handlers: dict[type, Callable[[int, Any], Awaitable[Answer]]] = {
            words.AttachPort: self._attach_port,
            words.OpenKeyFile: self._open_key_file,
            words.OpenFiles: self._open_files,
            words.OpenPassphrase: self._open_passphrase,
            words.OpenSocket: self._open_socket,
            words.SetNeighbour: self._set_neighbour,
            words.SetFence: self._set_fence,
            words.SpawnWorker: self._spawn_worker,
            words.WorkerServes: self._worker_serves,
        }
        #: The words that may arrive.
        self.accepts = frozenset(self._handlers)

    async def answer(self, received: Received) -> Answer:
        close_all(received.descriptors)
        try:
            return await self._handlers[type(received.message)](received.seq, received.message)
        except (XdpsecError, OSError) as error:
            return words.Done(received.seq, str(error)), []

    # --- one each ------------------------------------------------------------------------------------------------

    async def _attach_port(self, seq: int, m: words.AttachPort) -> Answer:
        if not 0 <= m.port < len(self._holdings.interfaces):
            raise LocalError(f"the configuration has no port {m.port}")
        port = self._holdings.attach(m.port)
        link = port.link
        return words.PortAttached(
            seq, m.port, link.ifindex, link.mac, link.mtu, link.queues, port.mode, port.sockets.bind
        ), []

    async def _open_key_file(self, seq: int, m: words.OpenKeyFile) -> Answer:
        if m.path not in self._key_files:
            raise LocalError(f"the configuration names no key file {m.path}")
        opened = open_key_file(m.path)
        try:
            await lock_marker(opened[1], m.path)
        except BaseException:
            close_all(opened)
            raise
        return words.Done(seq), opened

    async def _open_files(self, seq: int, m: words.OpenFiles) -> Answer:
        if len(m.paths) > MAX_DESCRIPTORS:
            raise LocalError(f"{len(m.paths)} files at once, more than {MAX_DESCRIPTORS}")
        opened: list[int] = []
        try:
            for path in m.paths:
                if path not in self._files:
                    raise LocalError(f"the configuration names no file {path}")
                opened.append(_open(path, os.O_RDONLY))
                (check_owner if path in self._secrets else check_public)(os.fstat(opened[-1]), path)
        except BaseException:
            close_all(opened)
            raise
        return words.Done(seq), opened

    async def _open_passphrase(self, seq: int, m: words.OpenPassphrase) -> Answer:
        if m.key not in self._holdings.passphrases:
            raise LocalError(f"the configuration names no passphrase for {m.key}")
        return words.Done(seq), [os.dup(self._holdings.passphrases[m.key])]

    async def _open_socket(self, seq: int, m: words.OpenSocket) -> Answer:
        families = {address: family for family, address in udp.ANY.items()}
        if not self._config.ike_peers or m.address not in families or m.port not in udp.PORTS:
            raise LocalError(f"no peer of the configuration is spoken to by UDP from {m.address} port {m.port}")
        return words.Done(seq), [udp.open_socket(families[m.address], m.port).detach()]

    async def _set_neighbour(self, seq: int, m: words.SetNeighbour) -> Answer:
        if m.port not in self._holdings.attached:
            raise LocalError(f"port {m.port} is not attached")
        try:
            address = ipaddress.ip_address(m.addr)
        except ValueError:
            raise LocalError(f"{m.addr!r} is no address") from None
        if address.is_multicast or address.is_unspecified or address.is_loopback:
            raise LocalError(f"{m.addr} is nobody's neighbour")
        self._holdings.links.keep_neighbour(self._holdings.attached[m.port].link.ifindex, m.addr)
        return words.Done(seq), []

    async def _set_fence(self, seq: int, m: words.SetFence) -> Answer:
        if m.open:
            raise LocalError("only `xdpsec stop --open` opens the fence")
        if not set(m.pairs) <= set(pairs(self._config)) or not set(m.spare) <= set(spare(self._config)):
            raise LocalError("the fence closes the configuration's prefixes and spares its peers, no others")
        self._fence.protect(m.pairs, m.spare)
        return words.Done(seq), []

    async def _spawn_worker(self, seq: int, m: words.SpawnWorker) -> Answer:
        self._check_worker(m.worker)
        missing = len(self._holdings.interfaces) - len(self._holdings.attached)
        if missing:
            raise LocalError(f"{missing} ports are not attached: a worker serves them all")
        return words.Done(seq), await self._spawn(m.worker)

    async def _worker_serves(self, seq: int, m: words.WorkerServes) -> Answer:
        self._check_worker(m.worker)
        self._serves(m.worker)
        return words.Done(seq), []

    def _check_worker(self, worker: int) -> None:
        if not 0 <= worker < self._config.gateway.workers:
            raise LocalError(f"the configuration has no worker {worker}")


# --- key files -----------------------------------------------------------------------------------------------------


def open_key_file(path: str) -> list[int]:
    """[key file (read), marker beside it (read, write)]; the marker is made empty when there is none. Both are files
    that only root can read, else ConfigError."""
    opened = [_open(path, os.O_RDONLY)]
    try:
        check_owner(os.fstat(opened[0]), path)
        marker = path + SUFFIX
        new = not os.path.lexists(marker)
        opened.append(_open(marker, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW))
        check_owner(os.fstat(opened[1]), marker)
        if new:
            _sync_directory(os.path.dirname(marker))
    except BaseException:
        close_all(opened)
        raise
    return opened


async def lock_marker(descriptor: int, key_file: str) -> None:
    """The keys are for whoever holds the marker, and for as long: two gateways would use each number twice, whatever
    their run_dir. ConfigError when another keeps it."""
    for _ in range(round(MARKER_SECONDS / MARKER_PAUSE)):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(MARKER_PAUSE)  # flock(2) has no event, and one that waits cannot be called off
    raise ConfigError(key_file, 0, "", "is in use by another gateway", "stop that one, or make keys for this one")


def _open(path: str, flags: int) -> int:
    try:
        check_place(path)
        return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, 0o600)  # a FIFO must not hold us up
    except OSError as error:
        what = "read" if flags == os.O_RDONLY else "made or written beside its key file"
        fix = "name a file that is there" if flags == os.O_RDONLY else "keep key files where root may write"
        raise ConfigError(path, 0, "", f"cannot be {what} ({error.strerror})", fix) from None


def _sync_directory(path: str) -> None:
    """The marker's name must survive a crash as its content does."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
