"""The two contenders: our gateway as a user runs it, and strongSwan's charon with the same peers, its logs off.

Each writes its configuration for a number of people, starts, and says how much CPU it has used; ours in all of its
processes but the workers. strongSwan has userspace ESP (kernel-libipsec).
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ike_net import INSIDE, OUTSIDE, Net, Side, cpu_seconds, processes, pss_kib
from ike_people import GATEWAY_ID, LOCAL, Papers, Person
from ike_rekey import PSK, End
from netns.rig.gateways import Gateway

from xdpsec.channel import negotiation
from xdpsec.cli.client import Client, run_dir
from xdpsec.demo.children import USER
from xdpsec.demo.lab import Lab, LabError, Process

CHARON = "/usr/lib/ipsec/charon"
PLUGINS = (
    "random nonce drbg kdf openssl hmac sha1 sha2 aes gcm ccm ctr chapoly cmac xcbc curve25519 x509 revocation "
    "constraints pubkey pkcs1 pkcs8 pem gmp mgf1 socket-default vici kernel-libipsec kernel-netlink"
)
#: A place that `ip netns exec` leaves to us.
STAGE = "/mnt"
SETTINGS = f"""charon {{
  load = {PLUGINS}
  plugins {{ vici {{ socket = unix://{STAGE}/vici }} }}
%s  filelog {{ }}
  syslog {{ daemon {{ default = -1 }} auth {{ default = -1 }} }}
}}
"""
#: Each connect that is waited for keeps a thread of charon's, whose default of 16 leaves none for the answers then.
THREADS = "  threads = 64\n"
METRICS = "127.0.0.1:9310"
#: Ten thousand peers are read, and their children fenced.
START_SECONDS = 120.0
#: strongSwan's first retransmissions come after 4 and 7 s.
UP_SECONDS = 30
More = tuple[Iterable[Person], Papers, str]
XDPSEC = str(Path(sys.executable).with_name("xdpsec"))


class Ours:
    """Its children wait: for the peer, or for `call`. `more`: people with other papers and an IKE proposal."""

    def __init__(
        self, net: Net, crowd: Iterable[Person], papers: Papers, name: str = "ours", more: Sequence[More] = ()
    ) -> None:
        self.net, self.side = net, net.ours
        directory = net.lab.directory / name
        directory.mkdir()
        self.config = directory / "xdpsec.toml"
        self.config.write_text(_configuration(directory, self.side, [(crowd, papers, ""), *more]))
        self._gateway = Gateway(net.lab, self.side.namespace, self.config)

    def start(self) -> float:
        return self._gateway.start(START_SECONDS)

    def stop(self) -> None:
        self._gateway.stop()

    def pids(self, workers: bool = False) -> list[int]:
        """Of all processes, the workers left out unless they are asked for."""
        found = processes(self.net.lab, self.side.namespace)
        return [pid for pid, command in found.items() if workers or "xdpsec.workers" not in command]

    def cpu(self, workers: bool = False) -> float:
        return sum(cpu_seconds(pid) for pid in self.pids(workers))

    def control_kib(self) -> int:
        """PSS of control; its helper has the same command line and less memory."""
        found = processes(self.net.lab, self.side.namespace)
        return max(pss_kib(pid) for pid, command in found.items() if "xdpsec.daemon.control" in command)

    def scrape(self) -> str:
        return self.net.lab.inside(self.side.namespace, "curl", "-s", f"http://{METRICS}/metrics", timeout=60)

    def call(self, crowd: Iterable[Person]) -> None:
        """Begin to connect to these peers, as `xdpsec up` does."""
        with Client(run_dir(self.config)) as client:
            for person in crowd:
                client.ask(negotiation.BringUp(person.name, ""), negotiation.Begun)

    def ask(self, *words: str) -> str:
        command = [XDPSEC, *words, "--config", str(self.config)]
        return self.net.lab.inside(self.side.namespace, *command, timeout=120)


def _configuration(directory: Path, side: Side, groups: Iterable[More]) -> str:
    head = f"""[gateway]
outside = ["{OUTSIDE}"]
inside = ["{INSIDE}"]
user = "{USER}"
run_dir = "{directory}/run"
state_dir = "{directory}/state"
metrics = "{METRICS}"
"""
    rows = (_peer(side, person, papers, ike) for crowd, papers, ike in groups for person in crowd)
    return head + "".join(rows)


def _peer(side: Side, person: Person, papers: Papers, ike: str) -> str:
    if papers.kind == "psk":
        auth = f'psk_file = "{papers.psk_file(person)}"'
    else:
        folder = papers.directory
        auth = f'certificate = "{folder}/gateway.pem", key = "{folder}/gateway.key", ca = ["{folder}/ca.pem"]'
    return f"""
[peers.{person.name}]
remote = "{person.address}"
local = "{side.outer}"
local_id = "{GATEWAY_ID}"
remote_id = "{person.identity}"
auth = {{ {auth} }}{f'{chr(10)}ike = ["{ike}"]' if ike else ""}
[peers.{person.name}.children.net]
local = ["{LOCAL}"]
remote = ["{person.prefix}"]
start = "wait"
"""


class Charon:
    """strongSwan in a namespace, its two configuration files in `directory`."""

    def __init__(self, lab: Lab, namespace: str, directory: Path) -> None:
        self.lab, self.namespace, self.directory = lab, namespace, directory
        self._process: Process | None = None

    def start(self) -> None:
        # its pid file lies in /run, one for the machine: here it has a /run of its own
        stage = f'mount --bind "{self.directory}" {STAGE} && mount -t tmpfs none /run && exec {CHARON}'
        words = ["env", f"STRONGSWAN_CONF={STAGE}/strongswan.conf", "sh", "-c", stage]
        self._process = self.lab.start(self.namespace, words, self.directory / "stdout")
        deadline = time.monotonic() + START_SECONDS
        while not (self.directory / "vici").exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"charon did not start: {(self.directory / 'stdout').read_text()[-300:]}")
            time.sleep(0.1)
        self.swanctl("--load-all", "--file", str(self.directory / "swanctl.conf"))

    def stop(self) -> None:
        if self._process is not None:
            self.lab.stop(self._process)

    def swanctl(self, *words: str) -> str:
        command = ["env", f"SWANCTL_DIR={self.directory}", "swanctl", *words]
        done = subprocess.run(
            [*command, "--uri", f"unix://{self.directory}/vici"], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise LabError(f"swanctl {words[0]}: {(done.stderr or done.stdout)[-300:]}")
        return done.stdout


class Theirs(Charon):
    """`calls`: it is the peers of that gateway, each at its own address; else the gateway of all these peers."""

    def __init__(
        self, net: Net, crowd: Iterable[Person], papers: Papers, name: str = "theirs", calls: Side | None = None
    ) -> None:
        super().__init__(net.lab, net.theirs.namespace, net.lab.directory / name)
        self.net, self.side = net, net.theirs
        self.directory.mkdir()
        for folder in ("x509", "x509ca", "private", "ecdsa", "rsa", "pkcs8"):
            (self.directory / folder).mkdir()
        (self.directory / "strongswan.conf").write_text(SETTINGS % (THREADS if calls else ""))
        (self.directory / "swanctl.conf").write_text(_swanctl(self.side, crowd, papers, calls))
        if papers.gateway is not None and papers.ca is not None:
            (self.directory / "x509ca" / "ca.pem").write_bytes(papers.ca.pem)
            (self.directory / "x509" / "gateway.pem").write_bytes(papers.gateway.pem)
            (self.directory / "private" / "gateway.key").write_bytes(papers.gateway.key_pem)

    def cpu(self) -> float:
        return sum(cpu_seconds(pid) for pid in processes(self.net.lab, self.side.namespace))

    def call(self, crowd: Iterable[Person]) -> None:
        """Begin to connect to these."""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._initiate, crowd))

    def connect(self, crowd: Iterable[Person]) -> tuple[int, list[float]]:
        """All at once; how many were up, and after how many seconds each."""
        crowd = list(crowd)

        def one(person: Person) -> float | None:
            began = time.monotonic()
            try:
                self._initiate(person, str(UP_SECONDS))
            except LabError:
                return None
            return time.monotonic() - began

        with ThreadPoolExecutor(len(crowd)) as pool:
            seconds = [took for took in pool.map(one, crowd) if took is not None]
        return len(seconds), seconds

    def _initiate(self, person: Person, seconds: str = "60") -> None:
        self.swanctl("--initiate", "--ike", person.name, "--child", "net", "--timeout", seconds, "--loglevel", "-1")


def _swanctl(side: Side, crowd: Iterable[Person], papers: Papers, calls: Side | None) -> str:
    crowd = list(crowd)
    if papers.kind == "psk":
        local, remote = "auth = psk", "auth = psk"
        secrets = "".join(f'  ike-{p.name} {{ id = {p.identity}\n secret = "{p.psk}" }}\n' for p in crowd)
    else:
        local, remote, secrets = "auth = pubkey\n certs = gateway.pem", "auth = pubkey\n cacerts = ca.pem", ""
    connections = "".join(_connection(side, person, calls, local, remote) for person in crowd)
    return f"connections {{\n{connections}}}\nsecrets {{\n{secrets}}}\n"


def _connection(side: Side, person: Person, calls: Side | None, local: str, remote: str) -> str:
    near, far, near_ts, far_ts = side.outer, person.address, LOCAL, person.prefix
    near_id, far_id = GATEWAY_ID, person.identity
    if calls is not None:
        near, far, near_ts, far_ts, near_id, far_id = far, calls.outer, far_ts, near_ts, far_id, near_id
    return f"""  {person.name} {{
    version = 2
    local_addrs = {near}
    remote_addrs = {far}
    unique = never
    mobike = no
    local {{ {local}
      id = {near_id} }}
    remote {{ {remote}
      id = {far_id} }}
    children {{ net {{ local_ts = {near_ts}
      remote_ts = {far_ts} }} }}
  }}
"""


def rekeyed(lab: Lab, a: End, b: End) -> None:
    """charon as the far end of the rekeys."""
    directory = lab.directory / "charon"
    directory.mkdir()
    (directory / "strongswan.conf").write_text(SETTINGS % "")
    (directory / "swanctl.conf").write_text(f"""connections {{ a {{
    version = 2
    local_addrs = {b.outer}
    remote_addrs = {a.outer}
    mobike = no
    rekey_time = 0
    local {{ auth = psk
      id = {b.identity} }}
    remote {{ auth = psk
      id = {a.identity} }}
    children {{ net {{ local_ts = {b.prefix}
      remote_ts = {a.prefix}
      rekey_time = 0 }} }}
  }} }}
secrets {{ ike {{ id = {a.identity}
  secret = "{PSK}" }} }}
""")
    Charon(lab, b.gateway, directory).start()
