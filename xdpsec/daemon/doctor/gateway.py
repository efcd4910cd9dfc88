"""Doctor on what the configuration asks of this machine: account, directories, boot id, workers, legacy choices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from xdpsec.config.values import Config, Gateway
from xdpsec.daemon import preflight
from xdpsec.daemon.doctor.finding import FAIL, NOTE, OK, WARN, Finding
from xdpsec.daemon.regions import HEADER_SIZE, STATE_MAGIC, boot_id
from xdpsec.errors import XdpsecError
from xdpsec.workers.native import ffi

STATE_FILE = "sa_state"


def findings(config: Config) -> Iterator[Finding]:
    """Every look at a configuration that is right in itself."""
    gateway = config.gateway
    yield workers(gateway, sorted(os.sched_getaffinity(0)))
    yield _account(config)
    yield _run_dir(Path(gateway.run_dir))
    yield _boot(Path(gateway.run_dir) / STATE_FILE)
    yield from legacy(config)


def workers(gateway: Gateway, cores: list[int]) -> Finding:
    placed = ", ".join(map(str, gateway.cores))
    text = f"{gateway.workers} on core{'s' if gateway.workers > 1 else ''} {placed}"
    if len(set(gateway.cores)) < gateway.workers:
        return Finding("workers", WARN, f"{text}: some share a core; more workers than cores cost speed")
    if set(cores) <= set(gateway.cores) and len(cores) > 1:
        return Finding("workers", NOTE, f"{text}: none is left for control and the kernel")
    return Finding("workers", OK, text)


def _account(config: Config) -> Finding:
    try:
        found = preflight.account(config)
    except XdpsecError as error:
        return Finding("account", FAIL, str(error))
    return Finding("account", OK, f"{config.gateway.user} (uid {found.uid}): control and workers run as it")


def _run_dir(path: Path) -> Finding:
    place = next(folder for folder in (path, *path.parents) if folder.exists())
    if preflight.in_memory(place):
        return Finding("run_dir", OK, f"{path} is in memory: sequence numbers survive a crash and cost no disk")
    return Finding("run_dir", WARN, f"{path} is on a disk: each packet writes there; mount a tmpfs at {path}")


def _boot(state: Path) -> Finding:
    """Whether the sequence numbers in memory are of this boot: a reboot falls back on those of the disk."""
    now = boot_id().decode()
    topic, said = "boot", f"boot id {now}"
    try:
        raw = state.read_bytes()[:HEADER_SIZE]
    except FileNotFoundError:
        return Finding(topic, OK, f"{said}; no sa_state yet: numbers begin at those of the disk")
    except OSError as error:
        return Finding(topic, NOTE, f"{said}; {state} cannot be read ({error.strerror})")
    header = ffi.new("struct xs_state_header *")
    ffi.memmove(header, raw.ljust(HEADER_SIZE, b"\0"), HEADER_SIZE)
    if header.magic != STATE_MAGIC:
        return Finding(topic, WARN, f"{said}; {state} is not ours: it will be started anew")
    if ffi.string(header.boot_id).decode(errors="replace") == now:
        return Finding(topic, OK, f"{said}; sa_state is of this boot: numbers go on where they were")
    return Finding(topic, NOTE, f"{said}; sa_state is of another boot: numbers go on beyond those of the disk")


def legacy(config: Config) -> Iterator[Finding]:
    """What was chosen although something safer is there."""
    if config.gateway.allow_manual_counter_modes:
        text = "allow_manual_counter_modes is on: a nonce that repeats gives both packets away (RFC 8221 sec. 3)"
        yield Finding("legacy", WARN, text)
    named = {child.label: manual for child, manual in config.manual}
    for text, labels in (
        ("HMAC-SHA1", [label for label, manual in named.items() if manual.suite.auth == "sha1"]),
        ("sequence numbers of 32 bits, used up after 4 billion packets", [n for n, m in named.items() if not m.esn]),
    ):
        if labels:
            more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
            yield Finding("legacy", NOTE, f"{text}: {', '.join(labels[:3])}{more}")
