"""What deploy/ ships, against the real thing: units as systemd reads them, and every query of dashboard and alerts
answered by a Prometheus that scrapes a gateway which the unit's own limits confine."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netns.rig.authority import Authority
from xdpsec.cli.common import DEFAULT_CONFIG
from xdpsec.config.schema import GatewayTable
from xdpsec.demo import children, topology
from xdpsec.demo.gateway import XDPSEC, Gateway
from xdpsec.demo.lab import Lab, run

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
GATEWAY_UNIT = DEPLOY / "systemd" / "xdpsec.service"
DASHBOARD = DEPLOY / "grafana" / "xdpsec.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
ALERTS_PLAYED = Path(__file__).with_name("alerts_played.yml")
COMPARISON = re.compile(r" (?:[<>]=?|==) ")
#: Prometheus tells nobody when it has scraped: it is asked again so often, and so long; a rate wants two scrapes.
ASK_SECONDS, ASK_TRIES = 0.5, 60
VARIABLES = {"$__rate_interval": "10s", "$instance": ".*"}


def setting(unit: Path, name: str) -> list[str]:
    """Every value of a setting of the unit."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def may_lock_memory() -> bool:
    """Where root itself lacks CAP_SYS_RESOURCE nobody can be given more than there is."""
    done = subprocess.run(["prlimit", "--memlock=unlimited", "true"], capture_output=True, timeout=10, check=False)
    return done.returncode == 0


def confined(unit: Path, config: Path) -> list[str]:
    """The unit's ExecStart under the limits and capabilities that the unit gives it."""
    raised = (("memlock", "LimitMEMLOCK"),) if may_lock_memory() else ()
    caps = [f"+{name.removeprefix('CAP_').lower()}" for name in setting(unit, "CapabilityBoundingSet")[0].split()]
    limits = [
        f"--{option}={value.replace('infinity', 'unlimited')}"
        for option, name in (*raised, ("core", "LimitCORE"))
        for value in setting(unit, name)
    ]
    command = setting(unit, "ExecStart")[0].replace("@PREFIX@/bin/xdpsec", XDPSEC)
    command = command.replace("/etc/xdpsec/xdpsec.toml", str(config))
    privileges = ["setpriv", "--no-new-privs", f"--bounding-set={','.join(['-all', *caps])}", "--inh-caps=-all"]
    return [*(["prlimit", *limits] if limits else []), *privileges, *command.split()]


def expressions() -> dict[str, str]:
    """Every query of the dashboard by its panel; of an alert the part that is compared."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = {f"{panel['title']} {query['refId']}": query["expr"] for panel in panels for query in panel["targets"]}
    rules = ALERTS.read_text()
    names, asked = re.findall(r"alert: (\w+)", rules), re.findall(r"expr: (.*)", rules)
    assert len(names) == len(asked) > 0
    found |= {name: COMPARISON.split(expr)[0] for name, expr in zip(names, asked, strict=True)}
    for variable, value in VARIABLES.items():
        found = {name: expr.replace(variable, value) for name, expr in found.items()}
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_the_unit(unit: Path, tmp_path: Path) -> None:
    """With every setting known, and an ExecStart that is there."""
    for each in UNITS:
        text = each.read_text().replace("@PREFIX@/bin/xdpsec", XDPSEC)
        (tmp_path / each.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / unit.name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


CONFIG = """[gateway]
outside = ["out0"]
inside = ["in0"]
[peers.branch]
remote = "203.0.113.7"
[peers.branch.children.lan]
local = ["10.1.0.0/16"]
remote = ["10.2.0.0/16"]
manual = { spi_in = 0x1001, spi_out = 0x2001, key_file = "/nowhere/lan.keys" }
"""


def test_the_fence_unit_needs_neither_interfaces_nor_keys_nor_more_than_its_capabilities() -> None:
    unit = DEPLOY / "systemd" / "xdpsec-fence.service"
    with Lab() as lab:
        box, config = lab.namespace("box"), lab.directory / "xdpsec.toml"
        config.write_text(CONFIG)
        config.chmod(0o600)
        lab.inside(box, *confined(unit, config))
        rules = lab.inside(box, "nft", "list", "table", "inet", "xdpsec")
        assert "10.1.0.0/16 . 10.2.0.0/16" in rules
        lab.inside(box, *confined(unit, config))  # again, as a restart of the unit does
        assert lab.inside(box, "nft", "list", "table", "inet", "xdpsec") == rules


def test_systemd_makes_the_account_and_the_directories_that_the_gateway_wants(tmp_path: Path) -> None:
    """In a root of its own, by the snippets that deploy/install puts in place."""
    (tmp_path / "etc").mkdir()
    run(["systemd-sysusers", f"--root={tmp_path}", str(DEPLOY / "systemd" / "sysusers.conf")])
    line = next(line for line in (tmp_path / "etc/passwd").read_text().splitlines() if line.startswith("xdpsec:"))
    name, _, uid, gid, _, home, shell = line.split(":")
    assert (name, home, shell) == ("xdpsec", "/nonexistent", "/usr/sbin/nologin")
    run(["systemd-tmpfiles", f"--root={tmp_path}", "--create", str(DEPLOY / "systemd" / "tmpfiles.conf")])
    for folder, owner in (("var/lib/xdpsec", (int(uid), int(gid))), ("etc/xdpsec", (0, 0))):
        status = (tmp_path / folder).stat()
        assert (status.st_uid, status.st_gid) == owner
        assert stat.S_IMODE(status.st_mode) == 0o700


def test_the_units_and_the_container_name_the_files_that_the_gateway_does_by_default() -> None:
    gateway = GatewayTable.model_fields
    assert setting(GATEWAY_UNIT, "RuntimeDirectory") == [Path(gateway["run_dir"].default).name]
    assert gateway["state_dir"].default in setting(GATEWAY_UNIT, "ReadWritePaths")[0]
    assert (
        f"{gateway['state_dir'].default} 0700 {gateway['user'].default} "
        in (DEPLOY / "systemd" / "tmpfiles.conf").read_text()
    )
    compose = (DEPLOY / "container" / "compose.yaml").read_text()
    for folder in (gateway["run_dir"].default, gateway["state_dir"].default, str(DEFAULT_CONFIG.parent)):
        assert f"- {folder}:{folder}" in compose
    assert gateway["metrics"].default in (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    wanted = setting(GATEWAY_UNIT, "CapabilityBoundingSet")[0].replace("CAP_", "").split()
    assert f"cap_add: [{', '.join(wanted)}]" in compose


def test_prometheus_accepts_configuration_and_alerts() -> None:
    run(["promtool", "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")])


def alerts() -> dict[str, str]:
    """Name -> its part of the file."""
    parts = re.split(r"^      - alert: ", ALERTS.read_text(), flags=re.MULTILINE)[1:]
    return {part.split("\n")[0]: part for part in parts}


def play(folder: Path, rules: str) -> tuple[int, str]:
    """promtool's status and words about the alerts as ALERTS_PLAYED has them."""
    (folder / "alerts.yml").write_text(rules)
    shutil.copy(ALERTS_PLAYED, folder / "played.yml")
    argv = ["promtool", "test", "rules", str(folder / "played.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_each_alert_fires_when_it_should_and_then_only(tmp_path: Path) -> None:
    status, words = play(tmp_path, ALERTS.read_text())
    assert status == 0, words
    played = re.findall(r"^    alert_rule_test:\n.*alertname: (\w+), exp_alerts: \[\]", ALERTS_PLAYED.read_text(), re.M)
    assert played == list(alerts())


def never(part: str) -> str:
    return re.sub(r"expr: .*", "expr: vector(0) > 1", part)


def for_all(part: str) -> str:
    return re.sub(r"expr: .*", lambda found: COMPARISON.split(found[0])[0], part)


def at_once(part: str) -> str:
    return re.sub(r"        for: .*\n", "", part)


@pytest.mark.parametrize("change", [never, for_all, at_once])
def test_an_alert_that_fires_otherwise_is_seen(change: Callable[[str], str], tmp_path: Path) -> None:
    rules, changed = ALERTS.read_text(), {name for name, part in alerts().items() if change(part) != part}
    for part in alerts().values():
        rules = rules.replace(part, change(part))
    status, words = play(tmp_path, rules)
    assert status != 0
    assert set(re.findall(r"alertname: (\w+),", words)) == changed != set()


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[Lab, topology.Site]]:
    """Two gateways with traffic, the first run as its unit says; the site whose Prometheus can be asked."""
    with Lab() as lab:
        net = topology.build(lab)
        made = children.make(net.a, net.b)
        pairs = ((net.a, net.b), (net.b, net.a))
        configs = [children.write(lab.directory / one.letter, one, other, made) for one, other in pairs]
        certified(configs[0])
        talking(net, configs)
        gateways = [
            Gateway(lab, net.a, configs[0], confined(GATEWAY_UNIT, configs[0])),
            Gateway(lab, net.b, configs[1]),
        ]
        for gateway in gateways:
            gateway.wait()
        for child in made:
            flood = ["ping", "-q", "-i", "0.2", "-w", "60", "-I", net.a.address(child.number)]
            lab.start(net.a.host, [*flood, net.b.address(child.number)])
        forge(lab, net, made[0].back)
        prometheus(lab, net.a)
        yield lab, net.a


def certified(config: Path) -> None:
    """A peer more, with certificates, that never calls: what is told of IKE is there too."""
    own = config.parent / "own"
    authority = Authority.make(config.parent / "pki")
    authority.issue(own, "open sesame", "gw-a.example.net")
    files = f'certificate = "{own}.pem", key = "{own}.key", passphrase = "{own}.word"'
    peer = f"""
[peers.guest]
remote = "any"
local_id = "gw-a.example.net"
remote_id = "*.example.net"
auth = {{ {files}, ca = ["{authority.directory}/ca.pem"] }}
children.net = {{ local = ["10.81.0.0/24"], remote = ["10.99.0.0/24"], start = "wait" }}
"""
    config.write_text(config.read_text() + peer)


def talking(net: topology.Topology, configs: list[Path]) -> None:
    """Peers more whose gateways negotiate: one pair has the same secret, of the other each has its own."""
    for name, secrets, number in (("right", ("open", "open"), 82), ("wrong", ("sesame", "barley"), 83)):
        sides = zip(net.directions, configs, secrets, (0, 1), strict=True)
        for (site, other), config, secret, side in sides:
            children.secret(config.parent / f"{name}.psk", f"{secret} is no good secret but long enough\n")
            nets = [f"10.{number}.{net}.0/24" for net in (side, 1 - side)]
            peer = f"""
[peers.{name}]
remote = "{other.outer}"
local_id = "{name}-{site.letter}.example.net"
remote_id = "{name}-{other.letter}.example.net"
auth = {{ psk_file = "{config.parent}/{name}.psk" }}
children.net = {{ local = ["{nets[0]}"], remote = ["{nets[1]}"] }}
"""
            config.write_text(config.read_text() + peer)


def forge(lab: Lab, net: topology.Topology, sa: children.Sa) -> None:
    """One packet to gateway A with a right SPI and a wrong ICV: a reason to drop that shows per child."""
    packet = f"IP(src='{sa.source}', dst='{sa.destination}') / ESP(spi={sa.spi}, seq=1000, data=bytes(64))"
    script = f"from scapy.all import IP, send; from scapy.layers.ipsec import ESP; send({packet}, verbose=False)"
    lab.inside(net.wan, sys.executable, "-c", script)


def prometheus(lab: Lab, site: topology.Site) -> None:
    folder = lab.directory / "prometheus"
    folder.mkdir()
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    (folder / "prometheus.yml").write_text(text.replace("scrape_interval: 15s", "scrape_interval: 1s"))
    shutil.copy(ALERTS, folder)
    flags = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    argv = ["prometheus", *flags, "--web.listen-address=127.0.0.1:9090"]
    lab.start(site.gateway, argv, folder / "log")


def ask(lab: Lab, site: topology.Site, expression: str) -> list[object]:
    answer = lab.inside(
        site.gateway, "promtool", "query", "instant", "-o", "json", "http://127.0.0.1:9090", expression, check=False
    )
    return list(json.loads(answer)) if answer.strip() else []


def test_every_query_returns_data(site: tuple[Lab, topology.Site]) -> None:
    lab, where = site
    empty = expressions()
    for _ in range(ASK_TRIES):
        empty = {name: expr for name, expr in empty.items() if not ask(lab, where, expr)}
        if not empty:
            break
        time.sleep(ASK_SECONDS)
    assert empty == {}


def test_a_query_that_nothing_answers_is_seen(site: tuple[Lab, topology.Site]) -> None:
    lab, where = site
    assert ask(lab, where, "xdpsec_no_such_metric") == []
