"""`python -m xdpsec.daemon.control RECORD`: the control process. It gives up everything, then runs the gateway.

What needs privilege it asks of the supervisor. Exit status: 0 after Stop, 2 when a person must act (one sentence on
stderr), 1 when the supervisor is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import encodings.idna  # noqa: F401 (getaddrinfo wants it; once confined we may not be able to read it)
import gc
import os
import signal
import sys
from collections.abc import Callable

import cryptography.hazmat.backends.openssl.backend  # noqa: F401 (imported at the first key else; as above)
import structlog
import uvloop

from xdpsec.channel import messages as words
from xdpsec.channel.framing import ChannelClosed, Received, Wire, close_all
from xdpsec.channel.hub import Peer, Refused
from xdpsec.channel.start import ControlStart
from xdpsec.config.loader import MAX_SIZE, parse_bytes
from xdpsec.config.places import placed
from xdpsec.config.values import Config
from xdpsec.daemon import log as logging
from xdpsec.daemon import setup
from xdpsec.daemon.gateway import Gateway
from xdpsec.daemon.ike.desk import Desk
from xdpsec.daemon.ike.start import prepare
from xdpsec.daemon.lines import Lines
from xdpsec.daemon.operator import OperatorServer
from xdpsec.daemon.slots import Slots
from xdpsec.errors import ConfigError, LocalError
from xdpsec.metrics.collector import Collector
from xdpsec.metrics.exposition import Scrapes
from xdpsec.metrics.serve import Make, serve
from xdpsec.metrics.shared import Reader
from xdpsec.metrics.values import MetricsView
from xdpsec.net.afxdp import statistics
from xdpsec.net.door import DoorMaps
from xdpsec.net.routes import Watcher
from xdpsec.workers import native
from xdpsec.workers.native import lib

DONE, GONE, ACT = 0, 1, 2

log = structlog.get_logger()


def confine(start: ControlStart) -> None:
    """Root until here, a process without privilege from here on."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # the supervisor decides when we end
    native.prefer()
    lib.xs_guard_memory()  # where the limits do not allow it, keys may be swapped: doctor says so
    native.check(lib.xs_guard_drop(start.uid, start.gid), "giving up privileges")
    if lib.xs_guard_parent(start.parent):
        raise ChannelClosed("the supervisor is gone")
    native.check(lib.xs_guard_undumpable(), "closing /proc")


class Control:
    """From the first word to the supervisor to the last."""

    def __init__(self, start: ControlStart, config: Config, wire: Wire) -> None:
        self._start, self._config = start, config
        self._stop = asyncio.Event()
        self._lines = Lines()
        self._gone = False
        self._breaches: dict[int, words.Breach] = {}
        self._on_death: Callable[[int, int], None] = lambda worker, status: None  # there are no workers yet
        accepts = frozenset({words.Done, words.PortAttached, words.WorkerDied, words.Breach, words.Stop})
        self._supervisor = Peer(wire, accepts, self._hear, self._lost)

    def _hear(self, received: Received) -> None:
        close_all(received.descriptors)
        match received.message:
            case words.WorkerDied(worker, status):
                self._on_death(worker, status)
            case words.Breach(port):
                self._breaches[port] = received.message
            case words.Stop():
                self._stop.set()

    def _lost(self, reason: Exception) -> None:
        log.error("the supervisor is gone", error=str(reason))
        self._gone = True
        self._stop.set()

    async def run(self) -> int:
        """The exit status. ConfigError, LocalError and Refused when a person must act."""
        start, config, supervisor = self._start, self._config, self._supervisor
        loop = asyncio.get_running_loop()
        now = loop.time()
        logging.configure("control", lambda line: _share(loop, self._lines, line))
        slots, maps = Slots(start.state_fd, start.state_size), DoorMaps(start.maps)
        prepared = await prepare(config, supervisor)
        keys = await setup.open_keys(config, supervisor)
        security = await asyncio.to_thread(setup.seat, config, keys, slots, now)
        setup.set_door(maps, config, security.table, security.owners)
        ports = await setup.attach(config, supervisor)
        watcher = Watcher({port.ifindex: port.index for port in ports})
        gateway = Gateway(config, supervisor, maps, slots, security, ports, watcher, now, prepared)
        gateway.breaches = self._breaches
        self._on_death = gateway.fleet.died
        source = self._source(gateway, maps)
        desk = Desk(config, gateway.ike, self._lines, loop.time)
        operator = OperatorServer(start.operator_fd, source, desk)
        metrics = asyncio.create_task(self._serve_metrics(gateway, source))
        gc.enable()
        try:
            await gateway.run(self._stop)
        finally:
            await metrics
            operator.close()
            watcher.close()
        return GONE if self._gone else DONE

    async def _serve_metrics(self, gateway: Gateway, source: Reader) -> None:
        """In a thread: the server asks for the name of its address, which may wait for DNS."""
        scrapes = Scrapes(Collector(source).steps)
        gateway.metrics = await asyncio.to_thread(serve_metrics, self._config, scrapes.ask)

    def _source(self, gateway: Gateway, maps: DoorMaps) -> Reader:
        start = self._start
        return Reader(
            view=gateway.view,
            workers=self._config.gateway.workers,
            counters_fd=start.counters_fd,
            state_fd=start.state_fd,
            state_size=start.state_size,
            pool_fd=start.pool_fd,
            pool_size=start.pool_size,
            verdicts=maps.verdicts,
            sockets=gateway.sockets,
            statistics=statistics,
        )


def _share(loop: asyncio.AbstractEventLoop, lines: Lines, line: str) -> None:
    """Threads log too."""
    with contextlib.suppress(RuntimeError):  # the loop has ended: nobody asks any more
        loop.call_soon_threadsafe(lines.add, line)


def serve_metrics(config: Config, make: Make) -> MetricsView:
    """Answers Prometheus in a thread of its own. That nobody can listen there stops no packet."""
    host, port = config.gateway.metrics_host, config.gateway.metrics_port
    try:
        serve(make, host, port)
    except OSError as error:
        log.error("metrics are not served", address=host, port=port, error=error.strerror, fix="set gateway.metrics")
        return MetricsView(host, port, f"cannot listen on {host} port {port}: {error.strerror}; set gateway.metrics")
    return MetricsView(host, port)


def main(start: ControlStart, wire: Wire) -> int:
    """The exit status; the sentence that goes with it is on stderr."""
    logging.configure("control")
    try:
        raw = os.pread(start.config_fd, MAX_SIZE, 0)
        gc.disable()  # until everything that stays is made
        config = parse_bytes(raw, start.config_file, start.cores)
        len(config.lines)  # now: `explain` names them, and nobody should wait for that then
        confine(start)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run(start, config, wire))
    except (ConfigError, LocalError, Refused) as error:
        print(f"xdpsec: {error}", file=sys.stderr, flush=True)
        return ACT
    except ChannelClosed:
        return GONE


async def _run(start: ControlStart, config: Config, wire: Wire) -> int:
    try:
        return await Control(start, config, wire).run()
    except (ConfigError, LocalError, Refused) as error:
        raise LocalError(placed(config, str(error))) from None


if __name__ == "__main__":
    record = ControlStart.from_json(sys.argv[1])
    channel = Wire.from_descriptor(record.channel_fd)
    # not sys.exit: to the supervisor a closed channel is a death, and Python closes it before the process has ended
    os._exit(main(record, channel))
