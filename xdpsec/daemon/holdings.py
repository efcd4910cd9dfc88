"""What the supervisor holds for the gateway's whole life: memory, the door, sockets, the operator's listener.

Control and workers come and go; the descriptors here stay, so that a successor finds rings, counters and numbers as
they were left. Ports and workers are numbers here; requests.py checks who asks for them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from xdpsec.channel.framing import close_all
from xdpsec.channel.start import ControlStart, PortStart, QueueStart, WorkerStart
from xdpsec.config.passphrase import obtain
from xdpsec.config.values import Config
from xdpsec.daemon import regions
from xdpsec.daemon.preflight import Account, find_link
from xdpsec.daemon.shares import slots_of_all
from xdpsec.errors import LocalError
from xdpsec.net.afxdp import Sockets
from xdpsec.net.door import Door
from xdpsec.net.routes import Links
from xdpsec.net.values import Link, PortSockets, Rings
from xdpsec.workers.native import lib

OPERATOR_SOCKET = "control.sock"
#: A worker's answer carries its channel and a socket for each queue in one message (SCM_MAX_FD is 253).
MAX_QUEUES = 252
MIN_SLOTS = 64


@dataclass(frozen=True, slots=True)
class Attached:
    """A port that frames come through; `mode` "native" or "generic"."""

    link: Link
    mode: str
    sockets: PortSockets


class Holdings:
    """Made in order, each step an error that a person can act on; `close` gives everything back, the fence aside."""

    def __init__(self, config: Config, raw: bytes, cores: tuple[int, ...], account: Account) -> None:
        self._config, self._cores, self._account = config, cores, account
        self._rings = Rings.of_depth(config.gateway.rx_ring)
        gateway = config.gateway
        self.interfaces = (*gateway.outside, *gateway.inside)
        self.attached: dict[int, Attached] = {}
        self.passphrases: dict[str, int] = {}  # key file -> descriptor
        self._opened = contextlib.ExitStack()
        try:
            self.links = Links()
            self._opened.callback(self.links.close)
            self._found = tuple(find_link(self._config, self.links, interface) for interface in self.interfaces)
            self._regions = self._memory(Path(gateway.run_dir))
            self._config_fd = self._keep(_sealed(raw))
            self._ask_passphrases()
            self._listener = self._keep(_listen(Path(gateway.run_dir) / OPERATOR_SOCKET))
            self._door = Door()
            self._opened.callback(self._door.close)
            self._sockets = Sockets(self._regions.umem, self._regions.umem_size, self._regions.chunk_size, self._rings)
        except BaseException:
            self._opened.close()
            raise

    def close(self) -> None:
        """Detach, and let go of memory and sockets. sa_state stays as a file."""
        for port in self.attached.values():
            close_all([fd for row in port.sockets.own for fd in row])
        self._opened.close()

    @property
    def packets(self) -> tuple[int, bool]:
        """Bytes of the UMEM, and whether it lies in huge pages."""
        return self._regions.umem_size, self._regions.umem_huge

    # --- making --------------------------------------------------------------------------------------------------

    def _keep(self, descriptor: int) -> int:
        self._opened.callback(close_all, [descriptor])
        return descriptor

    def _memory(self, directory: Path) -> regions.Regions:
        workers, queues = self._config.gateway.workers, sum(link.queues for link in self._found)
        if queues > MAX_QUEUES:
            raise LocalError(f"the interfaces have {queues} queues, more than {MAX_QUEUES}; `ethtool -L` lowers that")
        slots = max(MIN_SLOTS, sum(slots_of_all(peer, workers) for peer in self._config.peers))
        state, slots = regions.open_state(directory / "sa_state", slots, regions.boot_id())
        self._keep(state)
        size = regions.chunk_size(link.mtu for link in self._found)
        made = regions.make(workers, regions.chunk_count(workers, queues, self._rings), size, state, slots)
        for descriptor in (made.umem, made.pool, made.counters, made.handoff, *made.wake):
            self._keep(descriptor)
        return made

    def _ask_passphrases(self) -> None:
        """Once for each key: a person is not asked again when control is replaced."""
        for _, ike in self._config.ike_peers:
            auth = ike.auth
            if auth.passphrase and auth.key not in self.passphrases:
                self.passphrases[auth.key] = self._keep(_sealed(obtain(auth.passphrase, auth.key, os.environ)))

    # --- ports ---------------------------------------------------------------------------------------------------

    def attach(self, port: int) -> Attached:
        """The port with XDP on it and its sockets open; a port that is attached already stays as it is."""
        if port not in self.attached:
            try:
                self.attached[port] = self._attach(port, self._found[port])
            except LocalError as error:
                raise LocalError(f"{self.interfaces[port]}: {error}") from None
        return self.attached[port]

    def _attach(self, port: int, link: Link) -> Attached:
        gateway = self._config.gateway
        mode = self._door.attach(port, link, port < len(gateway.outside), gateway.xdp)
        try:
            return Attached(link, mode, self._sockets.open_port(link, gateway.workers))
        except LocalError:
            self._door.detach(port, link)  # else the next try would meet our own program
            raise

    def open_doors(self) -> list[int]:
        """Attached ports that somebody took the program off."""
        return [port for port in sorted(self.attached) if not self._door.attached(port)]

    def close_door(self, port: int) -> None:
        """The program on it again. LocalError when it cannot be."""
        attached = self.attached[port]
        self._door.attach_again(port, attached.link, attached.mode)

    def made_anew(self, port: int) -> Link | None:
        """The interface that has the port's name now, when it is another one and has addresses as the first one had."""
        old = self.attached[port].link
        try:
            new = self.links.find(self.interfaces[port])
        except (LookupError, NetlinkError, OSError):
            return None  # gone, or going just now
        whole = bool(new.addr4) >= bool(old.addr4) and bool(new.addr6) >= bool(old.addr6)
        return new if new.ifindex != old.ifindex and whole else None

    def serve(self, worker: int) -> None:
        """Let frames go to the worker's sockets."""
        for port, queue, own in self._queues(worker):
            self._door.serve(port, queue, worker, own)

    def clear(self, worker: int) -> None:
        """Frames for the worker are counted drops from now on."""
        self._door.clear(worker, [(port, queue) for port, queue, _ in self._queues(worker)])

    def sockets_of(self, worker: int) -> list[int]:
        """The worker's sockets by port and queue."""
        return [own for _, _, own in self._queues(worker)]

    def _queues(self, worker: int) -> Iterator[tuple[int, int, int]]:
        for port, attached in sorted(self.attached.items()):
            for queue, row in enumerate(attached.sockets.own):
                yield port, queue, row[worker]

    # --- births --------------------------------------------------------------------------------------------------

    def control_start(self, channel: int) -> ControlStart:
        """What a new control is told; it reads the configuration from the beginning."""
        os.lseek(self._config_fd, 0, os.SEEK_SET)
        held = self._regions
        return ControlStart(
            uid=self._account.uid,
            gid=self._account.gid,
            parent=os.getpid(),
            boot_id=regions.boot_id().decode(),
            channel_fd=channel,
            config_fd=self._config_fd,
            config_file=self._config.file,
            cores=self._cores,
            state_fd=held.state,
            state_size=held.state_size,
            counters_fd=held.counters,
            pool_fd=held.pool,
            pool_size=os.fstat(held.pool).st_size,
            maps=self._door.maps(),
            operator_fd=self._listener,
        )

    def worker_start(self, worker: int, channel: int) -> WorkerStart:
        gateway, held = self._config.gateway, self._regions
        return WorkerStart(
            worker=worker,
            workers=gateway.workers,
            core=gateway.cores[worker],
            uid=self._account.uid,
            gid=self._account.gid,
            parent=os.getpid(),
            channel_fd=channel,
            umem_fd=held.umem,
            umem_size=held.umem_size,
            chunk_size=held.chunk_size,
            pool_fd=held.pool,
            state_fd=held.state,
            state_size=held.state_size,
            counters_fd=held.counters,
            handoff_fd=held.handoff,
            wake_fds=held.wake if gateway.workers > 1 else (),
            burst=gateway.burst,
            spin_us=gateway.spin_us,
            hold=gateway.hold_frames,
            ports=tuple(self._port_start(worker, port) for port in sorted(self.attached)),
        )

    def _port_start(self, worker: int, port: int) -> PortStart:
        attached, rings = self.attached[port], self._rings
        link = attached.link
        queues = tuple(
            QueueStart(queue, row[worker], row[0], rings.rx, rings.tx, rings.fill, rings.completion)
            for queue, row in enumerate(attached.sockets.own)
        )
        role = lib.XS_ROLE_OUTSIDE if port < len(self._config.gateway.outside) else lib.XS_ROLE_INSIDE
        return PortStart(port, role, link.mac.hex(), link.mtu, link.addr4, link.addr6, queues)


def _sealed(raw: bytes) -> int:
    """A memfd that nobody can change: what control parses is what was checked here."""
    descriptor = os.memfd_create("xdpsec", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, raw)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def _listen(path: Path) -> int:
    """The operator's socket, root's alone. One that lies there was left by a gateway that is gone: we hold the lock."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as listener:
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        except OSError as error:
            if len(os.fsencode(path)) > 107:  # sun_path, unix(7)
                raise LocalError(
                    f"run_dir: {path} is longer than the 107 bytes of a socket's name; shorten it"
                ) from None
            raise LocalError(f"{path} cannot be made ({error.strerror or error}); see run_dir") from None
        finally:
            os.umask(before)
        listener.listen()
        return listener.detach()
