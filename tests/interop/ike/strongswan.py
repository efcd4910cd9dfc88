"""strongSwan as a side: a charon that a test configures and asks over vici.

In a namespace it has userspace ESP (kernel-libipsec: tunnel mode in UDP alone, which it gets by a wrong NAT detection
hash); inside a guest kernel it uses that kernel's ESP.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Any

from interop.ike import credentials, vici
from interop.ike.cases import LEFT_OUTER, LEFT_SECOND, NAME_SERVER, Case
from interop.ike.ground import OUTSIDE, arrive
from interop.ike.sides import UP_SECONDS, Child, Pings, Sa, ping_words, read_ping, until
from interop.ike.vici import Message, ViciError
from interop.ike.words import ENCR, INTEG, KE, PRF, word_of
from interop.uml import Guest
from xdpsec.demo.lab import Lab, run

CHARON = "/usr/lib/ipsec/charon"
PLUGINS = (
    "random nonce drbg kdf openssl hmac sha1 sha2 md5 aes gcm ccm ctr chapoly cmac xcbc curve25519 x509 revocation "
    "constraints pubkey pkcs1 pkcs7 pkcs8 pem gmp mgf1 socket-default vici updown attr resolve"
)
CHILD = "net"
PPK_ID = "ppk.example"
#: More than either side has.
WIDE = "10.0.0.0/8"
#: What `ip netns exec` leaves to us: a place where the daemon finds its files, whatever is mounted over /run.
STAGE = "/mnt"


def settings(kernel: str, directory: str, more: str = "") -> str:
    """strongswan.conf. It retransmits at the pace of a test."""
    return f"""charon {{
  load = {PLUGINS} {kernel}
  install_virtual_ip_on = lo
  retransmit_timeout = 0.5
  retransmit_base = 1.5
  retransmit_tries = 4
  half_open_timeout = 20
  cookie_threshold = 1
  make_before_break = yes
  {more}
  plugins {{
    vici {{ socket = unix://{directory}/vici }}
    attr {{ dns = {NAME_SERVER} }}
    resolve {{ file = {directory}/resolv.conf }}
  }}
  filelog {{ log {{ path = {directory}/charon.log
    flush_line = yes
    append = yes
    default = 1
    ike = 2
    cfg = 2 }} }}
}}
"""


class Charon:
    """What both kinds share; `ask` sends a command and returns events and answer."""

    tells_exchange = True
    version = ""
    _left = False
    _moved = False

    def ask(self, command: str, message: Message | None = None, event: str = "", wait: float = 30.0) -> list[Message]:
        raise NotImplementedError

    def reconfigure(self, more: str) -> None:
        """Other settings of charon itself, for what comes from now on."""
        raise NotImplementedError

    def log(self) -> str:
        """What it logged since the last `load`."""
        raise NotImplementedError

    def come_up(self) -> None:
        def answers() -> bool:
            with contextlib.suppress(ViciError):
                self.version = self.ask("version")[-1]["version"]
            return bool(self.version)

        until(answers, "charon answers")

    def load(self, case: Case, left: bool) -> None:
        mine, theirs = case.ids if left else case.ids[::-1]
        self._left = left
        self.reconfigure(case.option("left-charon" if left else "charon").replace(":", " = "))
        psk = "not this one" if case.option("wrong") == "psk" and not left else credentials.PSK
        self.ask("load-shared", {"id": "psk", "type": "IKE", "data": psk, "owners": [mine, theirs]})
        if case.option("ppk"):
            ppk = {"id": "ppk", "type": "PPK", "data": credentials.PPK, "owners": [PPK_ID]}
            self.ask("load-shared", ppk)
        if case.scenario == "pool":
            self.ask("load-pool", {case.key: {"addrs": case.pool}})
        if kind := credentials.kind_of(case.auth):
            own = credentials.leaf(mine, kind, "" if left else case.option("wrong"))
            if case.option("wrong") == "revoked" and left:
                listed = credentials.revoking(credentials.leaf(theirs, kind, "revoked"))
                self.ask("load-cert", {"type": "X509_CRL", "data": listed})
            self.ask("load-cert", {"type": "X509", "flag": "CA", "data": credentials.authority().certificate})
            self.ask("load-key", {"type": "any", "data": own.key})
        self.ask("load-conn", {case.key: connection(case, left)})

    def unload(self, case: Case) -> None:
        with contextlib.suppress(ViciError):
            self.ask("unload-conn", {"name": case.key})
        with contextlib.suppress(ViciError):
            self.ask("terminate", {"ike": case.key, "force": "yes", "timeout": "2000", "loglevel": "-1"})
        self.ask("clear-creds")
        if self._moved:
            self.change_address(LEFT_SECOND, LEFT_OUTER)
            self._moved = False

    def up(self, case: Case) -> None:
        limit = {"timeout": str(int(UP_SECONDS * 1000)), "loglevel": "-1"}
        self.ask("initiate", {"ike": case.key, "child": CHILD, **limit}, wait=UP_SECONDS + 5)

    def sas(self, case: Case) -> list[Sa]:
        events = self.ask("list-sas", {"ike": case.key}, "list-sa")[:-1]
        return [read_sa(row[case.key]) for row in events if row.get(case.key, {}).get("state") == "ESTABLISHED"]

    def rekey_child(self, case: Case) -> None:
        self.ask("rekey", {"ike": case.key, "child": CHILD})

    def rekey_ike(self, case: Case) -> None:
        self.ask("rekey", {"ike": case.key})

    def why(self, case: Case) -> None:
        return None

    def reauthenticate(self, case: Case) -> None:
        self.ask("rekey", {"ike": case.key, "reauth": "yes"})

    def down(self, case: Case) -> None:
        with contextlib.suppress(ViciError):  # there is none to end any more
            self.ask("terminate", {"ike": case.key, "timeout": "10000", "loglevel": "-1"})

    @property
    def host_namespace(self) -> str:
        raise NotImplementedError

    def change_address(self, old: str, new: str) -> None:
        """`new` empty: it is there already."""
        raise NotImplementedError

    def move(self, case: Case) -> str:
        old, new = (LEFT_OUTER, LEFT_SECOND) if self._left else (case.right_outer, case.right_second)
        self.change_address(old, "" if case.spare else new)
        self._moved = self._left
        return new

    def counted(self) -> dict[str, int]:
        return {}

    def name_servers(self) -> list[str]:
        return re.findall(r"installing DNS server (\S+) ", self.log())

    def take(self, leased: str) -> None:
        """It has put the address on its loopback interface itself."""

    def proofs(self) -> tuple[str, str]:
        """By which method it authenticated itself, and by which the other side was believed (RFC 7427 by scheme)."""
        log = self.log()
        mine = re.findall(r"authentication of '.*' \(myself\) with (.+?)(?: successful)?$", log, re.M)
        theirs = re.findall(r"authentication of '[^']*' with (.+?) successful$", log, re.M)
        return (mine or ["?"])[-1], (theirs or ["?"])[-1]


class NamespaceCharon(Charon):
    """Userspace ESP. `hosts` live on the loopback interface, where its tun device finds them."""

    def __init__(self, lab: Lab, namespace: str) -> None:
        self.lab, self.namespace = lab, namespace
        self.directory = lab.directory / f"charon-{namespace}"
        self.directory.mkdir()
        self._more, self._mark = "", 0
        self.start()

    def start(self) -> None:
        self.reconfigure(self._more, tell=False)
        # its pid file lies in /run, one for the machine: here each has a /run of its own
        stage = f'mount --bind "{self.directory}" {STAGE} && mount -t tmpfs none /run && exec {CHARON}'
        words = ["env", f"STRONGSWAN_CONF={STAGE}/strongswan.conf", "sh", "-c", stage]
        self._process = self.lab.start(self.namespace, words, self.directory / "stdout")
        self.version = ""
        self.come_up()

    def reconfigure(self, more: str, tell: bool = True) -> None:
        if tell and more == self._more:
            return
        self._more = more
        (self.directory / "strongswan.conf").write_text(settings("kernel-libipsec kernel-netlink", STAGE, more))
        if tell:
            self.ask("reload-settings")

    def ask(self, command: str, message: Message | None = None, event: str = "", wait: float = 30.0) -> list[Message]:
        return vici.ask(str(self.directory / "vici"), command, message or {}, event, wait)

    def load(self, case: Case, left: bool) -> None:
        self._mark = (self.directory / "charon.log").stat().st_size
        for line in (*arrive(case, OUTSIDE, left), f"address replace {_host(case, left)}/32 dev lo"):
            self.lab.ip(self.namespace, *line.split())
        super().load(case, left)

    def unload(self, case: Case) -> None:
        super().unload(case)
        for host in (case.left_host, case.right_host):
            run(["ip", "-n", self.namespace, "address", "del", f"{host}/32", "dev", "lo"], check=False)

    def ping(self, source: str, destination: str, count: int, interval: float = 0.05) -> Pings:
        words = ping_words(source, destination, count, interval)
        return read_ping(self.lab.inside(self.namespace, *words, check=False, timeout=60 + count * interval))

    @property
    def host_namespace(self) -> str:
        return self.namespace

    def change_address(self, old: str, new: str) -> None:
        # the new one is the primary then, and the route takes it
        if new:
            self.lab.ip(self.namespace, "address", "add", f"{new}/16", "dev", OUTSIDE)
        self.lab.ip(self.namespace, "address", "del", f"{old}/16", "dev", OUTSIDE)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def log(self) -> str:
        with (self.directory / "charon.log").open(errors="replace") as file:
            file.seek(self._mark)
            return file.read()


class GuestCharon(Charon):
    """Kernel ESP, inside a guest. Its files lie in the guest's memory."""

    def __init__(self, guest: Guest) -> None:
        self.guest, self._more = guest, ""
        self.start()

    def start(self) -> None:
        self.reconfigure(self._more, tell=False)
        self.guest.run(
            "sh", "-c",
            f"STRONGSWAN_CONF=/run/strongswan.conf setsid {CHARON} >/run/stdout 2>&1 </dev/null & echo $! >/run/pid",
        )  # fmt: skip
        self.version = ""
        self.come_up()

    def reconfigure(self, more: str, tell: bool = True) -> None:
        if tell and more == self._more:
            return
        self._more = more
        self.guest.run("tee", "/run/strongswan.conf", text=settings("kernel-netlink", "/run", more))
        if tell:
            self.ask("reload-settings")

    def ask(self, command: str, message: Message | None = None, event: str = "", wait: float = 30.0) -> list[Message]:
        return self.guest.vici("/run/vici", command, message or {}, event, wait)

    def load(self, case: Case, left: bool) -> None:
        # opened for appending: cut, it goes on at its new end
        self.guest.run("truncate", "-s0", "/run/charon.log")
        self.guest.ip(*arrive(case, "vec0", left), f"address replace {_host(case, left)}/32 dev lo")
        super().load(case, left)

    def unload(self, case: Case) -> None:
        super().unload(case)
        for host in (case.left_host, case.right_host):
            self.guest.run("ip", "address", "del", f"{host}/32", "dev", "lo", check=False)

    def ping(self, source: str, destination: str, count: int, interval: float = 0.05) -> Pings:
        words = ping_words(source, destination, count, interval)
        return read_ping(self.guest.run(*words, check=False, timeout=60 + count * interval))

    def change_address(self, old: str, new: str) -> None:
        came = [f"address add {new}/16 dev vec0"] if new else []
        self.guest.ip(*came, f"address del {old}/16 dev vec0")

    def kill(self) -> None:
        # with a power cut its kernel's SAs go too
        self.guest.run(
            "sh", "-c",
            "kill -9 $(cat /run/pid); rm -f /run/charon.pid; ip xfrm state flush; ip xfrm policy flush",
        )  # fmt: skip

    def log(self) -> str:
        return self.guest.run("cat", "/run/charon.log")


def _host(case: Case, left: bool) -> str:
    return case.left_host if left else case.right_host


# --- swanctl.conf(5) as a dict -------------------------------------------------------------------------------


def connection(case: Case, left: bool) -> dict[str, Any]:
    """The case as strongSwan configures it. Lifetimes are off: a case rekeys when it says so."""
    mine, theirs = case.ids if left else case.ids[::-1]
    local, remote = (case.left_outer, case.right_seen) if left else (case.right_outer, case.left_seen)
    begins = left == (case.role == "initiator")
    ike = case.option("left-ike" if left else "right-ike", case.ike)
    found: dict[str, Any] = {
        "version": "2", "local_addrs": [local], "remote_addrs": [remote],
        "proposals": ike.split(","), "unique": case.option("unique", "never"),
        "mobike": "yes" if case.option("mobike") else "no", "encap": "no",
        "fragmentation": case.option("fragmentation", "yes"),
        "rekey_time": "0", "dpd_delay": case.option("dpd", "0"), "childless": case.option("childless", "allow"),
        "local": authentication(case, mine, own=True), "remote": authentication(case, theirs, own=False),
        "children": {CHILD: child(case, left)},
    }  # fmt: skip
    if case.option("mobike"):
        # it may come from another address than it began from, and answer at another
        found["local_addrs"] = ["%any"]
    if case.option("ppk"):
        found |= {"ppk_id": PPK_ID, "ppk_required": "yes"}
    if case.scenario == "pool":
        found |= {"vips": ["0.0.0.0"]} if begins else {"pools": [case.key]}
    if case.option("wrong") == "id" and not left:
        found["local"]["id"] = "somebody.example"
    return found


def authentication(case: Case, identity: str, own: bool) -> dict[str, Any]:
    kind = credentials.kind_of(case.auth)
    if not kind:
        return {"auth": "psk", "id": identity}
    scheme = case.auth.replace("rsa4096", "rsa") if "-" in case.auth else "pubkey"
    if own:
        wrong = case.option("wrong") if identity == case.ids[1] else ""
        return {"auth": scheme, "id": identity, "certs": [credentials.leaf(identity, kind, wrong).certificate]}
    scheme = f"ike:{scheme}" if "-" in scheme else scheme
    return {"auth": scheme, "id": identity, "cacerts": [credentials.authority().certificate]}


def child(case: Case, left: bool) -> dict[str, Any]:
    local, remote = (case.left_prefix, case.right_prefix) if left else (case.right_prefix, case.left_prefix)
    if case.option("wide") == ("left" if left else "right"):
        remote = WIDE
    if case.scenario == "pool":
        begins = left == (case.role == "initiator")
        local, remote = ("dynamic", remote) if begins else (local, "dynamic")
    return {
        "local_ts": [local], "remote_ts": [remote], f"{case.option('protocol', 'esp')}_proposals": [case.esp],
        "rekey_time": "0", "life_time": "0", "rekey_bytes": "0", "rekey_packets": "0",
        "mode": case.option("mode", "tunnel"), "dpd_action": "clear",
    }  # fmt: skip


# --- list-sas ------------------------------------------------------------------------------------------------


def read_sa(row: Message) -> Sa:
    children = row.get("child-sas", {}).values()
    return Sa(
        row["uniqueid"],
        _words(row, ((ENCR, "encr-alg", "encr-keysize"), (INTEG, "integ-alg", ""), (PRF, "prf-alg", ""),
                     (KE, "dh-group", ""))),
        tuple(read_child(one) for one in children if one["state"] == "INSTALLED"),
        f"{row['remote-host']}:{row['remote-port']}", row["local-host"],
    )  # fmt: skip


def read_child(row: Message) -> Child:
    words = _words(row, ((ENCR, "encr-alg", "encr-keysize"), (INTEG, "integ-alg", ""), (KE, "dh-group", "")))
    return Child(
        row["uniqueid"], words | ({"esn"} if row.get("esn") == "1" else set()), row["protocol"].lower(),
        row["mode"].lower(), row.get("encap") == "yes", (int(row["packets-in"]), int(row["packets-out"])),
        tuple(row["local-ts"]), tuple(row["remote-ts"]),
    )  # fmt: skip


def _words(row: Message, columns: Sequence[tuple[int, str, str]]) -> frozenset[str]:
    return frozenset(word_of(kind, row[name], row.get(bits, "0")) for kind, name, bits in columns if name in row)
