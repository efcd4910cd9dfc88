"""Mistakes in a configuration, its key files and its state, through the command line: `check` and `run` each say in one
sentence what is wrong, where, and how to mend it, and end with status 2. A gateway that runs beside notices nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from netns.rig.gateways import Gateway, kill
from xdpsec.demo.lab import Lab, run

PEER = "10.60.0.2"


@dataclass(frozen=True)
class Site:
    """A namespace with two pairs of interfaces: on wan0 and lan0 `good` runs, wan1 and lan1 are for the mistakes."""

    lab: Lab
    namespace: str
    good: Gateway


@dataclass(frozen=True)
class Files:
    """What one gateway is configured by. `keys`: name of a key file -> its text; all are root's, mode 0600."""

    directory: Path
    gateway: str
    children: str
    keys: dict[str, str]

    def write(self) -> Path:
        self.directory.mkdir(exist_ok=True)
        for name, text in self.keys.items():
            path = self.directory / name
            path.write_text(text)
            path.chmod(0o600)
        config = self.directory / "xdpsec.toml"
        config.write_text(f'{self.gateway}\n[peers.branch]\nremote = "{PEER}"\n{self.children}')
        return config


def key_text(encryption: int = 32, integrity: int = 32) -> str:
    """Two SAs of so many random bytes."""
    one = '{{ encryption = "{}", integrity = "{}" }}'
    inbound, outbound = (
        one.format(secrets.token_hex(encryption), secrets.token_hex(integrity)) for _ in ("inbound", "outbound")
    )
    return f"inbound = {inbound}\noutbound = {outbound}\n"


def child(directory: Path, name: str, number: int, more: str = "") -> str:
    """A child with prefixes and SPIs of its own."""
    return (
        f"[peers.branch.children.{name}]\n"
        f'local = ["10.61.{number}.0/24"]\nremote = ["10.62.{number}.0/24"]\n'
        f"manual = {{ spi_in = {0x1000 + number}, spi_out = {0x2000 + number}, "
        f'key_file = "{directory}/{name}.keys"{more} }}\n'
    )


def right(directory: Path, ports: str = "1", base: int = 10) -> Files:
    """Files without a mistake: two children."""
    gateway = (
        f'[gateway]\noutside = ["wan{ports}"]\ninside = ["lan{ports}"]\nworkers = 1\nuser = "nobody"\n'
        f'run_dir = "{directory}/run"\nstate_dir = "{directory}/state"\nmetrics = "127.0.0.1:931{ports}"\n'
    )
    children = child(directory, "one", base) + child(directory, "two", base + 1)
    return Files(directory, gateway, children, {"one.keys": key_text(), "two.keys": key_text()})


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Lab() as lab:
        namespace, far = lab.namespace("gw"), lab.namespace("far")
        for number in "01":
            lab.cable((namespace, f"wan{number}"), (far, f"wan{number}"))
            lab.cable((namespace, f"lan{number}"), (far, f"lan{number}"))
        lab.ip(namespace, "address", "add", "10.60.0.1/24", "dev", "wan0")
        good = Gateway(lab, namespace, right(lab.directory / "good", "0", 1).write())
        good.start()
        before = good.ask("status")
        yield Site(lab, namespace, good)
        after = good.ask("status")  # it keeps running, with the same processes
        assert after["state"] == "serving"
        assert [row["pid"] for row in after["workers"]] == [row["pid"] for row in before["workers"]]
        assert all(row["restarts"] == 0 for row in after["workers"])


@pytest.fixture
def directory(site: Site) -> Iterator[Path]:
    path = site.lab.directory / "bad"
    yield path
    shutil.rmtree(path, ignore_errors=True)


def sentence(said: str) -> str:
    """The one line that is for a person; log lines have a timestamp."""
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("timestamp=")]
    assert len(lines) == 1, said
    return lines[0]


def refused(site: Site, config: Path, *says: str, by_run: bool = True) -> None:
    """By `check` and by `run`, with all of these words."""
    checked = site.good.cli("check", str(config))
    assert checked.returncode == 2, checked.stdout + checked.stderr
    assert checked.stdout == ""
    lines = [sentence(checked.stderr)]
    if by_run:
        lines.append(sentence(Gateway(site.lab, site.namespace, config).refuse()))
    for line in lines:
        for words in says:
            assert re.search(words, line), f"{words!r} is not in: {line}"


# --- the configuration file ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A mistake: `wrong` makes it in the right files; `key` and `fix` are what the sentence must name. `by_run`: also
    tried with `run`, which reads a file as `check` does and looks at the machine by itself."""

    name: str
    wrong: Callable[[Files], Files]
    key: str
    fix: str
    by_run: bool = False


def gateway_line(old: str, new: str) -> Callable[[Files], Files]:
    return lambda files: replace(files, gateway=files.gateway.replace(old, new))


def children_text(old: str, new: str) -> Callable[[Files], Files]:
    return lambda files: replace(files, children=files.children.replace(old, new, 1))


def key_file(name: str, text: str) -> Callable[[Files], Files]:
    return lambda files: replace(files, keys={**files.keys, name: text})


def overlapping(files: Files) -> Files:
    """Both prefixes of the second child within the first's."""
    text = files.children.replace("10.61.11.0/24", "10.61.10.0/24").replace("10.62.11.0/24", "10.62.10.128/25")
    return replace(files, children=text)


ROWS = (
    Row("unknown key", gateway_line("workers", "workes"), r"gateway\.workes", "did you mean workers", True),
    Row("unknown key of a child", children_text("local =", "locale ="), r"children\.one\.locale", "did you mean local"),
    Row("a word for a number", gateway_line("workers = 1", 'workers = "two"'), r"gateway\.workers", "write 1 to 32"),
    Row("a string for a list", gateway_line('["wan1"]', '"wan1"'), r"gateway\.outside", "a list"),
    Row("a number for a string", gateway_line('user = "nobody"', "user = 7"), r"gateway\.user", "string in quotes"),
    Row("reserved SPI", children_text("spi_in = 4106", "spi_in = 17"), r"one\.manual\.spi_in", "from 256"),
    Row("SPI twice", children_text("spi_in = 4107", "spi_in = 4106"), r"two\.manual\.spi_in", "each child its own"),
    Row("overlapping children", overlapping, r"children\.two", "overlaps branch/one", True),
    Row("host bits set", children_text("10.62.10.0/24", "10.62.10.1/24"), r"one\.remote", r"write 10\.62\.10\.0/24"),
    Row("unknown suite", children_text(" }", ', esp = "rot13" }'), r"one\.manual\.esp", "aes256-sha256"),
    Row("counter mode", children_text(" }", ', esp = "aes128gcm16" }'), r"one\.manual\.esp", "RFC 8221"),
    Row("one interface on both sides", gateway_line("lan1", "wan1"), r"gateway\.inside", "each interface once"),
    Row("no such core", gateway_line("workers = 1", "workers = [4000]"), r"gateway\.workers", "choose from"),
    Row("no such account", gateway_line('"nobody"', '"nobody-at-all"'), r"gateway\.user", "useradd", True),
    Row("no such interface", gateway_line("wan1", "wan9"), r"gateway\.outside", "ip link|network namespace", True),
    Row("broken TOML", gateway_line("[gateway]", "[gateway"), r"xdpsec\.toml:1", "correct the line"),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_configuration(site: Site, directory: Path, row: Row) -> None:
    config = row.wrong(right(directory)).write()
    refused(site, config, re.escape(str(config)), row.key, row.fix, by_run=row.by_run)


def test_the_right_files_are_right(site: Site, directory: Path) -> None:
    """So that each row above differs from what works in its one mistake."""
    config = right(directory).write()
    assert site.good.cli("check", str(config)).returncode == 0
    site.lab.ip(site.namespace, "address", "replace", "10.60.1.1/24", "dev", "wan1")
    gateway = Gateway(site.lab, site.namespace, config)
    gateway.start()
    assert gateway.stop() == 0


def test_no_configuration(site: Site, directory: Path) -> None:
    directory.mkdir()
    refused(site, directory / "xdpsec.toml", re.escape(f"{directory}/xdpsec.toml"), "No such file", "readable")


# --- key files -------------------------------------------------------------------------------------------------

TWICE = key_text()
KEY_ROWS = (
    Row("short key", key_file("one.keys", key_text(encryption=16)), r"inbound\.encryption", "64 hexadecimal digits"),
    Row("long integrity key", key_file("one.keys", key_text(integrity=33)), r"inbound\.integrity", "64 hexadecimal"),
    Row("no hexadecimal", key_file("one.keys", re.sub("[0-9a-f]{64}", "secret", TWICE)), "inbound", "hexadecimal"),
    Row("one direction only", key_file("one.keys", key_text().partition("outbound")[0]), "outbound", "add outbound"),
    Row("no TOML", key_file("one.keys", "inbound: here"), "one.keys", 'inbound = { encryption = "hex"'),
    Row(
        "one key in two files", lambda files: replace(files, keys=dict.fromkeys(files.keys, TWICE)), "same key", "fresh"
    ),
    Row("one key both ways", key_file("one.keys", re.sub("[0-9a-f]{64}", "ab" * 32, TWICE)), "same key", "fresh key"),
)


@pytest.mark.parametrize("row", KEY_ROWS, ids=lambda row: row.name)
def test_key_file(site: Site, directory: Path, row: Row) -> None:
    files = row.wrong(right(directory))
    refused(site, files.write(), rf"{re.escape(str(directory))}/(one|two)\.keys", row.key, row.fix)
    said = (directory / "log").read_text()
    keys = [key for text in files.keys.values() for key in re.findall("[0-9a-f]{32,}", text)]
    assert not any(key in said for key in keys), "a key was printed"


def missing(path: Path) -> None:
    path.unlink()


def readable_by_all(path: Path) -> None:
    path.chmod(0o644)


def somebody_elses(path: Path) -> None:
    os.chown(path, 65534, 65534)


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("wrong", "says", "fix"),
    [
        (missing, "No such file", "name a file that is there"),
        (readable_by_all, "mode 0644", "chmod 0600"),
        (somebody_elses, "does not belong to root", "chown root"),
        (a_directory, "not a regular file", "into a file"),
    ],
)
def test_key_file_itself(site: Site, directory: Path, wrong: Callable[[Path], None], says: str, fix: str) -> None:
    config = right(directory).write()
    wrong(directory / "one.keys")
    refused(site, config, re.escape(f"{directory}/one.keys"), says, fix)


# --- state -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran(site: Site) -> Path:
    """The configuration of a gateway that ran and was stopped; tmpfs was emptied since."""
    directory = site.lab.directory / "ran"
    config = right(directory).write()
    site.lab.ip(site.namespace, "address", "replace", "10.60.1.1/24", "dev", "wan1")
    gateway = Gateway(site.lab, site.namespace, config)
    gateway.start()
    gateway.stop()
    shutil.rmtree(directory / "run")
    return config


@pytest.fixture
def used(ran: Path) -> Iterator[Path]:
    """The same; what a test does to its state is taken back."""
    run(["cp", "-a", str(ran.with_name("state")), str(ran.with_name("saved"))])
    yield ran
    for name in ("state", "run"):
        shutil.rmtree(ran.with_name(name), ignore_errors=True)
    ran.with_name("saved").rename(ran.with_name("state"))


def test_lost_state(site: Site, used: Path) -> None:
    (used.parent / "state" / "sequence").unlink()
    refused(site, used, "sequence state", "branch/one", "make new keys", re.escape(f"{used.parent}/one.keys"))


@pytest.mark.parametrize(
    "text", [b"", b"xdpsec-sequence 1 0 5 00\nabcde", b"\xff" * 100], ids=["empty", "wrong checksum", "binary"]
)
def test_damaged_state(site: Site, used: Path, text: bytes) -> None:
    state = used.parent / "state" / "sequence"
    with state.open("r+b") as file:
        file.truncate(0)
        file.write(text)
    refused(site, used, re.escape(str(state)), "make new keys")


def test_older_state(site: Site, used: Path) -> None:
    """A restored backup: the state of before a run in which numbers were used (the kill leaves its block's end). It is
    the last that is done to it: the key files remember."""
    state, backup = used.parent / "state" / "sequence", used.parent / "backup"
    run(["cp", "-a", str(state), str(backup)])
    gateway = Gateway(site.lab, site.namespace, used)
    gateway.start()
    before = gateway.ask("status")["workers"]
    kill([gateway.supervisor])  # and with it all of its own
    gateway.gone([worker["pid"] for worker in before])
    shutil.rmtree(used.parent / "run")
    run(["cp", "-a", str(backup), str(state)])
    refused(site, used, "sequence state", "older", "make new keys")


@pytest.fixture
def small(site: Site, directory: Path) -> Iterator[Path]:
    """A state_dir with a disk of its own, of four pages."""
    right(directory).write()
    state = directory / "state"
    state.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=16k,mode=0700,uid=65534,gid=65534", "tmpfs", str(state)])
    yield state
    run(["umount", str(state)])


def fill(state: Path) -> None:
    with contextlib.suppress(OSError), (state / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def test_state_that_cannot_be_saved(site: Site, small: Path) -> None:
    """Nothing is sent before the first block of numbers is on disk; one sentence says why."""
    fill(small)
    gateway = Gateway(site.lab, site.namespace, small.with_name("xdpsec.toml"))
    assert "No space left on device" in (said := sentence(gateway.refuse()))
    assert str(small) in said
    assert "make room" in said
    (small / "filler").unlink()
    run(["mount", "-o", "remount,ro", str(small)])
    assert "Read-only file system" in sentence(gateway.refuse())


def test_a_disk_that_is_full_at_the_end(site: Site, small: Path) -> None:
    """The stop is a stop all the same, and the next start goes on behind the blocks that were saved."""
    site.lab.ip(site.namespace, "address", "replace", "10.60.1.1/24", "dev", "wan1")
    gateway = Gateway(site.lab, site.namespace, small.with_name("xdpsec.toml"))
    gateway.start()
    fill(small)
    assert gateway.stop() == 0
    said = gateway.tail(100)
    assert "exact sequence numbers cannot be saved" in said
    assert "Traceback" not in said
    (small / "filler").unlink()
    gateway.start()
    assert gateway.stop() == 0


def test_a_configuration_of_another_editor(site: Site, directory: Path) -> None:
    """A byte order mark and the line ends of Windows: every process that reads the file takes them."""
    files = right(directory)
    config = files.write()
    for path in (config, *(directory / name for name in files.keys)):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    site.lab.ip(site.namespace, "address", "replace", "10.60.1.1/24", "dev", "wan1")
    gateway = Gateway(site.lab, site.namespace, config)
    gateway.start()
    assert gateway.ask("status")["state"] == "serving"
    assert gateway.stop() == 0


# --- two at once -----------------------------------------------------------------------------------------------


def test_two_gateways_with_one_run_dir(site: Site, directory: Path) -> None:
    said = sentence(Gateway(site.lab, site.namespace, site.good.config).refuse())
    assert str(site.good.supervisor) in said
    assert str(site.good.config.with_name("run")) in said


def test_two_gateways_on_one_interface(site: Site, directory: Path) -> None:
    files = right(directory)
    config = replace(files, gateway=files.gateway.replace('"wan1"', '"wan0"')).write()
    said = sentence(Gateway(site.lab, site.namespace, config).refuse())
    assert "wan0" in said
    assert re.search("XDP program|xdpsec", said)


def test_metrics_port_taken(site: Site, directory: Path) -> None:
    """It runs without metrics, and says so."""
    files = right(directory)
    config = replace(files, gateway=files.gateway.replace("127.0.0.1:9311", "127.0.0.1:9310")).write()
    site.lab.ip(site.namespace, "address", "replace", "10.60.1.1/24", "dev", "wan1")
    gateway = Gateway(site.lab, site.namespace, config)
    gateway.start()
    status = gateway.ask("status")
    assert status["state"] == "serving"
    assert status["metrics"]["port"] == 9310
    assert "9310" in status["metrics"]["error"]
    assert len(re.findall("9310", gateway.tail(100))) == 1, "one line of the log says so"
    assert gateway.stop() == 0
