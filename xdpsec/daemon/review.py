"""A configuration looked through before it runs: the file, and as root the key files, the account, the interfaces and
the saved sequence numbers. The same rules as at start; nothing is made, locked or changed.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from xdpsec.config import loader, passphrase
from xdpsec.config.keys import KeyPair, check_owner, check_place, check_public, read_keys
from xdpsec.config.places import placed
from xdpsec.config.values import Config
from xdpsec.daemon import durable, preflight
from xdpsec.daemon.credentials import Credentials
from xdpsec.daemon.grants import want_of
from xdpsec.daemon.ike import doubts, files, peers
from xdpsec.daemon.ike.start import route as local_of
from xdpsec.daemon.ledger import Ledger
from xdpsec.daemon.regions import HEADER_SIZE, SLOT_SIZE, STATE_MAGIC, boot_id
from xdpsec.daemon.slots import Slots
from xdpsec.errors import ConfigError, LocalError
from xdpsec.net.routes import Links
from xdpsec.policy import placement, sequence
from xdpsec.policy.manual import manual_sas
from xdpsec.policy.sequence import Numbers, Saved
from xdpsec.workers.native import bucket_of, ffi


@dataclass(frozen=True, slots=True)
class Review:
    """`owners`: child index -> worker. `numbers`: (child index, outbound) -> the sequence number it would go on with.
    `doubts`: what works and should not stay so. `whole` False: what only root can look at was left out."""

    config: Config
    owners: Mapping[int, int]
    numbers: Mapping[tuple[int, bool], int]
    doubts: tuple[doubts.Doubt, ...]
    whole: bool


def review(path: str, as_root: bool) -> Review:
    """ConfigError or LocalError for the first thing that would keep this configuration from running."""
    config = loader.load(path)
    table = placement.deal([manual.spi_in for _, manual in config.manual], config.gateway.workers, bucket_of)
    given = {child.index: placement.owner_of(manual.spi_in, table, bucket_of) for child, manual in config.manual}
    owners = placement.homes(given, [child.index for child in config.children], config.gateway.workers)
    if not as_root:
        return Review(config, owners, {}, (), whole=False)
    try:
        preflight.look_at_directories(config, preflight.account(config))
        _interfaces(config)
        doubtful = tuple(_negotiating(config))
        return Review(config, owners, _numbers(config, _keys(config)), doubtful, whole=True)
    except (ConfigError, LocalError) as error:
        raise LocalError(placed(config, str(error))) from None


def _interfaces(config: Config) -> None:
    with contextlib.closing(Links()) as links:
        for name in (*config.gateway.outside, *config.gateway.inside):
            preflight.find_link(config, links, name)


def _negotiating(config: Config) -> Iterator[doubts.Doubt]:
    """Peers that negotiate: every file they name, and what stands in it. Nobody is asked for a passphrase: what one
    locks that is not in a file is taken to be right. What works and should not stay so."""
    found: dict[str, bytes] = {}
    secrets = {file for _, ike in config.ike_peers for file in ike.secrets}
    for file in files.named(config):
        with _opened(file) as descriptor:
            (check_owner if file in secrets else check_public)(os.fstat(descriptor), file)
            found[file] = files.read(descriptor, file)
    credentials = Credentials(found, _passphrases(config))
    credentials.load_crls(file for _, ike in config.ike_peers for file in ike.auth.crl)
    for peer, ike in config.ike_peers:
        peers.identities_of(config, peer, ike, local_of)
        peers.secrets_of(ike, found)
        credentials.inspect(ike.auth)
    yield from doubts.found(config, found, credentials, local_of)
    yield from doubts.ends(credentials, time.time())


def _passphrases(config: Config) -> dict[str, bytes]:
    """Key file -> passphrase, of those that are in files."""
    auths = [ike.auth for _, ike in config.ike_peers if ike.auth.passphrase.startswith("/")]
    return {auth.key: passphrase.obtain(auth.passphrase, auth.key, {}) for auth in auths}


# --- keys ----------------------------------------------------------------------------------------------------


def _keys(config: Config) -> dict[str, KeyPair]:
    """Every key file: owner, mode, lengths. That no key stands in two of them is manual_sas's to see."""
    pairs: dict[str, KeyPair] = {}
    for _, manual in config.manual:
        name = manual.key_file
        with _opened(name) as descriptor:
            check_owner(os.fstat(descriptor), name)
            pairs[name] = read_keys(descriptor, name, manual.suite)
    return pairs


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    try:
        check_place(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise ConfigError(path, 0, "", f"cannot be read ({error.strerror})", "name a file that is there") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


# --- saved sequence numbers ----------------------------------------------------------------------------------


class _ReadState:
    """The state file, read whoever owns it: root looks, the account writes."""

    def __init__(self, directory: str) -> None:
        self._path = Path(directory) / durable.STATE_NAME

    def read(self) -> dict[bytes, Saved]:
        try:
            with _regular(self._path) as file:
                return durable.decode(file.read(durable.MAX_SIZE))[1]
        except FileNotFoundError:
            return {}
        except (durable.Damaged, ValueError, OSError) as error:
            fix = f"make new keys for all manual SAs, on both gateways, then remove {self._path}"
            raise LocalError(f"the sequence state {self._path} cannot be trusted ({error}); {fix}") from None

    def write(self, rows: Mapping[bytes, Saved]) -> None:
        raise AssertionError("a review writes nothing")


def _regular(path: Path) -> BinaryIO:
    """The directory is the account's: what lies there must not make root wait, nor read something else."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    file = open(os.open(path, flags), "rb")  # noqa: SIM115 (the caller closes it)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise durable.Damaged("it is not a regular file")
    return file


class _ReadMarker:
    """The marker beside a key file, if there is one."""

    def __init__(self, key_file: str) -> None:
        self._key_file = key_file

    def read(self, known: bool) -> dict[bytes, Saved]:
        name = self._key_file + durable.SUFFIX
        if not os.path.lexists(name):
            return {}
        with _opened(name) as descriptor:
            check_owner(os.fstat(descriptor), name)
            return durable.Marker(descriptor, self._key_file).read(known)

    def write(self, rows: Mapping[bytes, Saved], current: Collection[bytes]) -> None:
        raise AssertionError("a review writes nothing")


def _numbers(config: Config, keys: Mapping[str, KeyPair]) -> dict[tuple[int, bool], int]:
    """What each SA would go on with, by the rules of a start. UnsafeState when it may not."""
    sas = manual_sas(config, keys, lambda remote: remote)
    wants = [want_of(sa) for sa in sas]
    ledger = Ledger(_ReadState(config.gateway.state_dir), {file: _ReadMarker(file) for file in keys}, wants)
    held = _held(Path(config.gateway.run_dir) / "sa_state")
    numbers: dict[tuple[int, bool], int] = {}
    for sa, want in zip(sas, wants, strict=True):
        saved, marked = ledger.saved(want.sa_id), ledger.marked(want.sa_id)
        numbers[sa.child, sa.outbound] = sequence.resume(want, saved, marked, held.get(want.sa_id)).used
    return numbers


def _held(path: Path) -> dict[bytes, Numbers]:
    """sa_id -> numbers, of a file of this boot."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return {}
    try:
        header = ffi.new("struct xs_state_header *")
        raw = os.pread(descriptor, HEADER_SIZE, 0)
        ffi.memmove(header, raw.ljust(HEADER_SIZE, b"\0"), HEADER_SIZE)
        known = (header.magic, header.slot_size, ffi.string(header.boot_id)) == (STATE_MAGIC, SLOT_SIZE, boot_id())
        if not known:
            return {}
        slots = Slots(descriptor, os.fstat(descriptor).st_size)
        return {sa_id: slots.numbers(slot) for slot, sa_id in enumerate(slots.sa_ids()) if any(sa_id)}
    finally:
        os.close(descriptor)
