"""Doctor against interfaces, files and kernels made for it: each look says what is so and how to mend it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import desk
import pytest
from desk import configuration
from shell import sh

from xdpsec.config.loader import load
from xdpsec.daemon import regions
from xdpsec.daemon.doctor import gateway, machine, ports
from xdpsec.daemon.doctor.finding import FAIL, NOTE, OK, WARN, Finding, worst
from xdpsec.net.door import Door
from xdpsec.net.routes import Links
from xdpsec.net.survey import Survey, survey
from xdpsec.workers import native

Xdpsec = Callable[..., desk.Ran]


def levels(findings: list[Finding], topic: str) -> list[str]:
    return [finding.level for finding in findings if finding.topic == topic]


@pytest.mark.parametrize(
    ("release", "level"),
    [("6.1.0-18-amd64", OK), ("6.18.0", OK), ("5.15.0-91-generic", FAIL), ("6.0.9", FAIL), ("weird", FAIL)],
)
def test_kernels(release: str, level: str) -> None:
    assert machine.kernel(release).level == level


@pytest.mark.parametrize(
    ("hard", "uid", "raisable", "level"),
    [
        (resource.RLIM_INFINITY, 0, False, OK),
        (8 << 20, 0, True, OK),
        (8 << 20, 0, False, WARN),
        (8 << 20, 7, False, NOTE),
    ],
)
def test_locked_memory(hard: int, uid: int, raisable: bool, level: str) -> None:
    assert machine.memlock(hard, uid, raisable).level == level


def test_whether_limits_may_be_raised_is_what_the_kernel_says() -> None:
    lower, higher = "prlimit --memlock=1048576", "prlimit --memlock=2097152"
    raised = subprocess.run([*lower.split(), *higher.split(), "true"], capture_output=True, timeout=30, check=False)
    assert machine.may_raise() == (raised.returncode == 0)


def test_engines_that_fail_their_known_answers_show(monkeypatch: pytest.MonkeyPatch) -> None:
    both = list(machine.findings())
    assert levels(both, "engine ipsec-mb") == levels(both, "engine openssl") == [OK]
    monkeypatch.setattr(native, "engine_proved", lambda choice: "" if choice == "ipsec-mb" else "openssl")
    assert levels(list(machine.findings()), "engine ipsec-mb") == [WARN]
    monkeypatch.setattr(native, "engine_proved", lambda choice: "")
    assert levels(list(machine.findings()), "engines") == [FAIL]


def test_a_firewall_file_that_would_flush_the_fence(tmp_path: Path) -> None:
    conf = tmp_path / "nftables.conf"
    assert machine.flush(conf, True).level == OK
    conf.write_text("#!/usr/sbin/nft -f\n# flush ruleset is not here\nflush table inet filter\n")
    assert machine.flush(conf, True).level == OK
    conf.write_text("#!/usr/sbin/nft -f\n\n  flush ruleset\n")
    found = machine.flush(conf, True)
    assert (found.level, f"{conf}:3" in found.text) == (WARN, True)
    assert machine.flush(conf, False).level == NOTE


def test_a_missing_nft_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path: None)
    assert levels(list(machine.findings()), "nft") == [FAIL]


def test_a_veth_is_surveyed_as_it_is(veths: tuple[str, str]) -> None:
    found = survey("out0")
    assert (found.kind, found.mtu, found.up, found.queues, found.peer) == ("veth", 1500, True, 2, "out1")
    assert (found.native, found.zero_copy, found.attached, found.peer_fills) == (True, False, "", False)
    sh("ethtool -K out1 tx off")
    assert survey("out0").peer_fills is True
    with pytest.raises(LookupError, match="no interface nope0"):
        survey("nope0")


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_an_attached_program_is_seen(veths: tuple[str, str], mode: str) -> None:
    links = Links()
    link = links.find("out0")
    links.close()
    door = Door()
    try:
        door.attach(0, link, True, mode)
        assert survey("out0").attached == mode
    finally:
        door.close()


def test_interfaces_against_what_the_configuration_wants(veths: tuple[str, str], tmp_path: Path) -> None:
    config = load(str(configuration(tmp_path)), (0, 1, 2))
    sh("ethtool -K in1 tx off")
    found = list(ports.findings(config.gateway))
    assert [f.level for f in found if "leaves checksums out" in f.text] == [WARN]
    assert [f.level for f in found if "fills checksums in itself" in f.text] == [OK]
    assert any(f.topic == "MTU" and f.level == NOTE for f in found)
    sh("ip link set in0 down")
    assert any("is down" in f.text and f.level == WARN for f in ports.findings(config.gateway))
    sh("ip link del in0")
    assert levels(list(ports.findings(config.gateway)), "in0") == [FAIL]


BARE = Survey("eth0", "", 1500, True, 4, True, True, "")


@pytest.mark.parametrize(
    ("change", "wanted", "level", "part"),
    [
        ({"native": False}, "auto", WARN, "generic mode"),
        ({"native": False}, "native", FAIL, 'xdp = "auto"'),
        ({"native": None, "zero_copy": None}, "auto", NOTE, "6.3"),
        ({"zero_copy": False}, "auto", NOTE, "copied"),
        ({"queues": 1}, "auto", NOTE, "several workers"),
        ({"mtu": 9000}, "auto", WARN, "MTU 9000"),
        ({"kind": "veth"}, "auto", NOTE, "another namespace"),
        ({"attached": "native"}, "auto", NOTE, "is attached"),
    ],
)
def test_what_a_driver_says(tmp_path: Path, change: dict[str, object], wanted: str, level: str, part: str) -> None:
    config = load(str(configuration(tmp_path, xdp=f'"{wanted}"', workers="[0, 1]")), (0, 1, 2))
    found = list(ports.interface(replace(BARE, **change), config.gateway))  # type: ignore[arg-type]
    assert [f.level for f in found if part in f.text] == [level]
    assert worst(list(ports.interface(BARE, config.gateway))) == OK


def test_a_packet_of_the_inside_fits_or_not() -> None:
    assert ports.sizes(1600, 1499).level == OK
    assert ports.sizes(1500, 1500).level == NOTE


def test_sa_state_of_this_boot_of_another_and_of_nobody(tmp_path: Path) -> None:
    config = load(str(configuration(tmp_path)), (0, 1))
    run = tmp_path / "run"
    run.mkdir()

    def boot() -> Finding:
        return next(finding for finding in gateway.findings(config) if finding.topic == "boot")

    assert "no sa_state yet" in boot().text
    for id, part in ((regions.boot_id(), "of this boot"), (b"0" * 36, "of another boot")):
        os.close(regions.open_state(run / "sa_state", 2, id)[0])
        assert part in boot().text
    (run / "sa_state").write_bytes(b"junk")
    assert (boot().level, "not ours" in boot().text) == (WARN, True)


def test_account_directory_cores_and_legacy(tmp_path: Path) -> None:
    path = configuration(tmp_path, user='"stranger"', workers="[0, 0]", allow_manual_counter_modes="true")
    path.write_text(path.read_text().replace("key_file", 'esp = "aes128-sha1", esn = false, key_file'))
    found = list(gateway.findings(load(str(path), (0, 1))))
    assert levels(found, "account") == [FAIL]
    assert levels(found, "workers") == [WARN]
    assert levels(found, "legacy") == [WARN, NOTE, NOTE]
    assert [f.level for f in found if "is on a disk" in f.text or "is in memory" in f.text] != []


def test_the_command_looks_at_everything_and_its_status_is_the_worst(
    xdpsec: Xdpsec, veths: tuple[str, str], tmp_path: Path
) -> None:
    config = configuration(tmp_path, user='"nobody"')
    ran = xdpsec("doctor", "--json", "-c", config)
    found = json.loads(ran.out)
    assert ran.status == 0, found
    topics = {row["topic"] for row in found}
    assert {"kernel", "root", "BTF", "locked memory", "huge pages", "cores", "nft", "nftables.conf"} <= topics
    assert {"workers", "account", "run_dir", "boot", "out0", "in0", "MTU"} <= topics
    assert all(row["level"] in ("ok", "note", "warn", "fail") and row["text"] for row in found)
    config.write_text(config.read_text().replace('"nobody"', '"stranger"'))
    table = xdpsec("doctor", "-c", config)
    assert table.status == 1
    assert "stranger" in table.out
    assert "Traceback" not in table.err


def test_without_a_configuration_the_machine_is_looked_at(xdpsec: Xdpsec, tmp_path: Path) -> None:
    ran = xdpsec("doctor", "-c", tmp_path / "none.toml")
    assert ran.status == 0
    assert "does not exist" in ran.out
    broken = configuration(tmp_path, spin_us="-1")
    assert xdpsec("doctor", "-c", broken).status == 1
