"""The configurations of docs/recipes.md as they stand there, ours and strongSwan's: only names of files and interfaces
are others, and userspace ESP needs UDP (encap). What the recipes say of them is asked of both sides."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from netns.rig.gateways import XDPSEC, Gateway

from interop.ike import credentials
from interop.ike.ground import LEFT_PORT, OUTSIDE, RIGHT_PORT, Ground, ground
from interop.ike.sides import UP_SECONDS, ping_words, read_ping, until
from interop.ike.strongswan import NamespaceCharon
from xdpsec.demo.lab import run

RECIPES = (Path(__file__).resolve().parents[3] / "docs" / "recipes.md").read_text()
INSIDE = "lan0"
US, THEM = "192.0.2.1", "203.0.113.7"
HOST, THEIRS = "10.1.0.53", "10.2.0.10"
SECRET = "0sMDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

#: strongSwan's proposals for IKE and ESP, none of which we take, and the lines that take them.
REFUSED = "aes128-aes256-sha256-modp2048", "aes256-sha384-modp2048"
PASTED = 'ike = ["aes128-sha256-modp2048"]', 'esp = ["aes256-sha384-x25519-ecp256-ecp384-modp3072"]'


def block(heading: str, kind: str) -> str:
    """The code of this kind under the heading."""
    part = re.split(rf"^## {re.escape(heading)}.*$", RECIPES, flags=re.MULTILINE)[1].split("\n## ")[0]
    found = re.search(rf"```{kind}\n(.*?)```", part, re.DOTALL)
    assert found, (heading, kind)
    return found[1]


def keep(path: Path, text: str) -> None:
    """Root's alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_text(text)


@dataclass(frozen=True, slots=True)
class Sites:
    """Both ends, addressed as the recipes say; the gateway is not started."""

    where: Ground
    host: str
    gateway: Gateway
    charon: NamespaceCharon

    def explained(self, peer: str) -> str:
        """As `xdpsec explain` prints it."""
        return run([XDPSEC, "explain", peer, "--config", str(self.gateway.config)])

    def swanctl(self, *words: str, check: bool = True) -> str:
        folder = self.charon.directory
        environment = {**os.environ, "SWANCTL_DIR": str(folder)}
        return run(["swanctl", *words, "--uri", f"unix://{folder}/vici"], environment=environment, check=check)

    def ping(self, namespace: str, source: str, destination: str) -> bool:
        words = ping_words(source, destination, 1, 1.0, patience=3)
        return read_ping(self.where.lab.inside(namespace, *words, check=False)).received == 1


@contextmanager
def sites(heading: str) -> Iterator[Sites]:
    with ground() as where:
        lab = where.lab
        for namespace, device, address in (
            (where.left, OUTSIDE, f"{US}/24"), (where.router, LEFT_PORT, "192.0.2.254/24"),
            (where.right, OUTSIDE, f"{THEM}/24"), (where.router, RIGHT_PORT, "203.0.113.254/24"),
        ):  # fmt: skip
            lab.ip(namespace, "address", "flush", "dev", device)
            lab.ip(namespace, "address", "add", address, "dev", device)
        lab.ip(where.left, "route", "replace", "default", "via", "192.0.2.254")
        lab.ip(where.right, "route", "replace", "default", "via", "203.0.113.254")
        host = lab.namespace("host")
        lab.cable((host, "eth0"), (where.left, INSIDE), 2)
        lab.ip(where.left, "address", "add", "10.1.0.1/16", "dev", INSIDE)
        lab.ip(host, "address", "add", f"{HOST}/16", "dev", "eth0")
        lab.ip(host, "route", "add", "default", "via", "10.1.0.1")
        lab.inside(where.left, "nft", "-f", "-", text_input=block("Firewalls", "nft"))
        directory = lab.directory / "ours"
        directory.mkdir()
        text = block(heading, "toml").replace('"eth0"', f'"{OUTSIDE}"').replace('"eth1"', f'"{INSIDE}"')
        more = f'user = "nobody"\nrun_dir = "{directory}/run"\nstate_dir = "{directory}/state"\n'
        text = text.replace("[gateway]\n", f"[gateway]\n{more}").replace("/etc/xdpsec/", f"{directory}/")
        keep(directory / "xdpsec.toml", text)
        charon = NamespaceCharon(lab, where.right)
        conf = block(heading, "conf").replace("version = 2", "version = 2\n        encap = yes")
        keep(charon.directory / "swanctl.conf", conf.replace("0sREPLACEME", SECRET))
        yield Sites(where, host, Gateway(lab, where.left, directory / "xdpsec.toml"), charon)


def test_site_to_site() -> None:
    with sites("Site to site") as made:
        lab, where = made.where.lab, made.where
        keep(made.gateway.config.with_name("branch.psk"), f"{SECRET}\n")
        lab.ip(where.right, "address", "add", f"{THEIRS}/32", "dev", "lo")
        made.swanctl("--load-all")
        made.gateway.start()
        until(lambda: made.ping(made.host, HOST, THEIRS), "the tunnel that we began")
        assert made.ping(where.right, THEIRS, HOST)
        (ours,) = made.gateway.ask("list-peers")
        assert (ours["name"], ours["up"], ours["address"]) == ("branch", True, THEM)
        told = made.swanctl("--list-sas")
        assert "ESTABLISHED" in told
        assert "AES_GCM_16-256/PRF_HMAC_SHA2_384/CURVE_25519" in told
        assert made.gateway.stop() == 0
        assert not made.ping(made.host, HOST, THEIRS)
        shutil.rmtree(made.gateway.config.with_name("state"))  # restored from the directory of the configuration alone
        shutil.rmtree(made.gateway.config.with_name("run"))
        made.gateway.start()
        until(lambda: made.ping(made.host, HOST, THEIRS), "the tunnel of a gateway that was restored")


def test_what_explain_tells_to_write_brings_the_tunnel_up() -> None:
    """strongSwan calls with what we do not take; what explain prints is pasted, first for IKE, then for the child."""
    with sites("Site to site") as made:
        lab, where, config = made.where.lab, made.where, made.gateway.config
        keep(config.with_name("branch.psk"), f"{SECRET}\n")
        lab.ip(where.right, "address", "add", f"{THEIRS}/32", "dev", "lo")
        conf = made.charon.directory / "swanctl.conf"
        text = re.sub(r"(?<=\bproposals = ).*", REFUSED[0], conf.read_text(), count=1)
        keep(conf, re.sub(r"(?<=esp_proposals = ).*", REFUSED[1], text))
        keep(config, config.read_text().replace("children.lan = {", 'children.lan = { start = "wait",'))
        made.swanctl("--load-all")
        for where_to, line in (("auth = ", PASTED[0]), ("children.lan = { ", PASTED[1])):
            made.gateway.start()
            made.swanctl("--initiate", "--child", "lan", "--timeout", f"{UP_SECONDS:.0f}", check=False)
            fixes = made.explained("branch")
            assert f"write {line}" in fixes, fixes
            assert made.gateway.stop() == 0
            made.swanctl("--terminate", "--ike", "hq", "--force", "--timeout", "1", check=False)
            pasted = f"{line}\nauth = " if where_to == "auth = " else f"children.lan = {{ {line}, "
            keep(config, config.read_text().replace(where_to, pasted))
        made.gateway.start()
        made.swanctl("--initiate", "--child", "lan", "--timeout", f"{UP_SECONDS:.0f}")
        until(lambda: made.ping(where.right, THEIRS, HOST), "the tunnel after both lines")


def test_a_guest_gets_address_and_server() -> None:
    with sites("Road warriors") as made:
        lab, where = made.where.lab, made.where
        ours, theirs = made.gateway.config.parent, made.charon.directory
        authority = credentials.authority().certificate
        for identity, files in (
            ("vpn.example.net", (ours / "vpn.pem", ours / "vpn.key", ours / "ca.pem")),
            (
                "anna@road.example.net",
                (theirs / "x509/anna.pem", theirs / "private/anna.key", theirs / "x509ca/ca.pem"),
            ),
        ):
            pair = credentials.leaf(identity, "ecdsa256")
            for path, text in zip(files, (pair.certificate, pair.key, authority), strict=True):
                keep(path, text)
        made.gateway.start()
        made.swanctl("--load-all")
        inner = re.compile(r"10\.250\.0\.\d+")
        found: list[str] = []

        def leased() -> bool:
            found[:] = inner.findall(lab.inside(where.right, "ip", "-4", "address", "show"))
            return bool(found)

        until(leased, "an address of the pool")
        until(lambda: made.ping(where.right, found[0], HOST), "packets of the guest")
        assert made.ping(made.host, HOST, found[0])
        assert "nameserver 10.1.0.53" in (theirs / "resolv.conf").read_text()
        (road,) = made.gateway.ask("list-peers")
        assert (road["name"], road["up"]) == ("road", True)
