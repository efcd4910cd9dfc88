"""What deploy/ ships, against the real thing: units as systemd reads them, and every query of dashboard and alerts
answered by a Prometheus that scrapes a gateway which the unit's own limits confine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from xdpsec.demo import children, topology
from xdpsec.demo.gateway import XDPSEC, Gateway
from xdpsec.demo.lab import Lab, run

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
DASHBOARD = DEPLOY / "grafana" / "xdpsec.json"
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
    rules = (DEPLOY / "prometheus" / "alerts.yml").read_text()
    names, alerts = re.findall(r"alert: (\w+)", rules), re.findall(r"expr: (.*)", rules)
    assert len(names) == len(alerts) > 0
    found |= {name: re.split(r" (?:[<>]=?|==) ", expr)[0] for name, expr in zip(names, alerts, strict=True)}
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


def test_prometheus_accepts_configuration_and_alerts() -> None:
    run(["promtool", "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")])


def test_the_fence_unit_closes_the_prefixes_before_there_are_interfaces() -> None:
    with Lab() as lab:
        net = topology.build(lab)
        config = children.write(lab.directory / "a", net.a, net.b, children.make(net.a, net.b))
        bare = lab.namespace("bare")
        assert net.b.prefix(0) not in lab.inside(bare, "nft", "list", "ruleset")
        lab.inside(bare, *confined(DEPLOY / "systemd" / "xdpsec-fence.service", config))
        assert "10.82.1.0" in lab.inside(bare, "nft", "list", "ruleset")


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[Lab, topology.Site]]:
    """Two gateways with traffic, the first run as its unit says; the site whose Prometheus can be asked."""
    with Lab() as lab:
        net = topology.build(lab)
        made = children.make(net.a, net.b)
        pairs = ((net.a, net.b), (net.b, net.a))
        configs = [children.write(lab.directory / one.letter, one, other, made) for one, other in pairs]
        unit = DEPLOY / "systemd" / "xdpsec.service"
        gateways = [Gateway(lab, net.a, configs[0], confined(unit, configs[0])), Gateway(lab, net.b, configs[1])]
        for gateway in gateways:
            gateway.wait()
        for child in made:
            flood = ["ping", "-q", "-i", "0.2", "-w", "60", "-I", net.a.address(child.number)]
            lab.start(net.a.host, [*flood, net.b.address(child.number)])
        forge(lab, net, made[0].back)
        prometheus(lab, net.a)
        yield lab, net.a


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
    shutil.copy(DEPLOY / "prometheus" / "alerts.yml", folder)
    flags = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    argv = ["prometheus", *flags, "--web.listen-address=127.0.0.1:9090"]
    lab.start(site.gateway, argv, folder / "log")


def ask(lab: Lab, site: topology.Site, expression: str) -> list[object]:
    answer = lab.inside(
        site.gateway, "promtool", "query", "instant", "-o", "json", "http://127.0.0.1:9090", expression, check=False
    )
    return list(json.loads(answer)) if answer.strip() else []


@pytest.mark.timeout(180)
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
