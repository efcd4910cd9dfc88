"""OpenIKED as a side, inside a guest kernel whose ESP it drives by PF_KEY.

What it agreed on for IKE it says in its log alone; its children are read from the kernel. It answers from the first
address of its interface, so it has that of the present case alone. On Linux its ESP is AES-CBC, AES-CTR and 3DES with
SHA1, SHA2-384 or SHA2-512: it calls SHA2-256 and ESN unsupported there, the kernel refuses NULL over PF_KEY, and a
child's proposal with GCM or ChaCha20-Poly1305 is dropped from its policy (strongSwan fails with it likewise).
"""

from __future__ import annotations

import re

from interop.ike import credentials
from interop.ike.cases import LEFT_ID, RIGHT_ID, Case
from interop.ike.ground import arrive
from interop.ike.sides import Child, Pings, Sa, ping_words, read_ping, until
from interop.ike.words import ALGORITHMS, ENCR, ESN, INTEG, KE, PRF, openiked, parse
from interop.uml import Guest
from xdpsec.demo.lab import run

HOME, SOCKET, LOG, CONFIG = "/etc/iked", "/run/iked.sock", "/run/iked.log", "/run/iked.conf"
FOLDERS = ("ca", "certs", "crls", "private", "pubkeys/fqdn", "pubkeys/ipv4", "pubkeys/ipv6", "pubkeys/ufqdn", "ocsp")
#: It makes random numbers for a while before it answers.
START_SECONDS = 60.0
KINDS = {"enc": ENCR, "auth": INTEG, "prf": PRF, "group": KE}
#: Its own words for how it proves itself.
AUTH = {"rsa": "rsa", "rsa-sha256": "rfc7427", "ecdsa256": "ecdsa256", "ecdsa384": "ecdsa384", "ecdsa521": "ecdsa521"}
KERNEL = {
    "cbc(aes)": "aes", "rfc3686(ctr(aes))": "ctr", "cbc(des3_ede)": "3des", "hmac(sha1)": "sha1",
    "hmac(sha384)": "sha384", "hmac(sha512)": "sha512",
}  # fmt: skip


class Iked:
    """It begins by itself as soon as it is told of a case in which it initiates: `up` waits."""

    tells_exchange = False
    host_namespace = ""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        folders = " ".join(f"{HOME}/{name}" for name in FOLDERS)
        self._sh(f"mount -t tmpfs none {HOME} && mkdir -p {folders}")
        self._write(f"{HOME}/private/local.key", credentials.leaf(RIGHT_ID, "ecdsa256").key)
        self._write(CONFIG, "set passive\n")
        self.version = run(["dpkg-query", "-W", "-f", "${Version}", "openiked"]).split("-")[0]
        self.start()

    def start(self) -> None:
        self._sh(f"setsid iked -dv -f {CONFIG} -s {SOCKET} >>{LOG} 2>&1 </dev/null & echo $! >/run/iked.pid")
        until(lambda: "connect:" not in self._ctl("show", "sa"), "iked answers", START_SECONDS)

    def _sh(self, script: str) -> str:
        return self.guest.run("sh", "-c", script)

    def _write(self, path: str, text: str, mode: str = "600") -> None:
        self.guest.run("tee", path, text=text)
        self.guest.run("chmod", mode, path)

    def _ctl(self, *words: str) -> str:
        return self.guest.run("ikectl", "-s", SOCKET, *words, check=False)

    def load(self, case: Case, left: bool) -> None:
        assert not left, "OpenIKED is the peer"
        self.guest.ip(*arrive(case, "vec0", left), f"address add {case.right_host}/32 dev lo")
        if kind := credentials.kind_of(case.auth):
            own = credentials.leaf(RIGHT_ID, kind)
            self._write(f"{HOME}/private/local.key", own.key)
            self._write(f"{HOME}/certs/own.crt", own.certificate, "644")
            self._write(f"{HOME}/ca/ca.crt", credentials.authority().certificate, "644")  # read without privileges
            self._ctl("reset", "ca")
        self._sh(f"truncate -s0 {LOG}")
        self._write(CONFIG, config(case))
        said = self._ctl("load", CONFIG)
        assert not said.strip(), said

    def unload(self, case: Case) -> None:
        self._ctl("reset", "all")
        self.guest.ip(f"address del {case.right_host}/32 dev lo")
        self._sh("ip xfrm state flush; ip xfrm policy flush")

    def up(self, case: Case) -> None:
        until(lambda: bool(self.sas(case)), "iked has established its SA")

    def sas(self, case: Case) -> list[Sa]:
        listed = self._ctl("show", "sa")
        log = self.guest.run("grep", "-aE", "established peer|loaded SPIs", LOG, check=False)
        found = []
        for ident, remote in re.findall(r"^iked_sas: .* rspi (0x\w+) .*->([\d.:]+)<.* ESTABLISHED ", listed, re.M):
            said = re.findall(r"established peer .* \(([^()]*)\)$", log, re.M)
            found.append(Sa(ident, _agreed(said[-1] if said else ""), tuple(self._children(listed)), remote))
        return found

    def _children(self, listed: str) -> list[Child]:
        """Those of the last SA, as the kernel has them."""
        spis = dict(re.findall(r"^  sa_childsas: \S+ ESP 0x(\w+) (in|out) ", listed, re.M))
        states = self.guest.run("ip", "-s", "xfrm", "state").split("\nsrc ")
        ends = {spis[spi]: state for state in states for spi in spis if f"spi 0x{spi.zfill(8)}(" in state}
        if set(ends) != {"in", "out"}:
            return []
        packets = [int(re.findall(r"(\d+)\(packets\)", ends[way])[-1]) for way in ("in", "out")]
        flow = re.search(r"^  sa_flows: \S+ ESP out (10\.14\S+) -> (\S+) ", listed, re.M)
        return [
            Child(
                " ".join(sorted(spis)), _kernel_words(ends["in"]), "esp", "tunnel", "encap type" in ends["in"],
                (packets[0], packets[1]), (flow[1],) if flow else (), (flow[2],) if flow else (),
            )
        ]  # fmt: skip

    def rekey_child(self, case: Case) -> None:
        """It does so by itself, after the lifetime of the option `iked`."""

    def rekey_ike(self, case: Case) -> None:
        """It does so by itself, after the lifetime of the option `iked`."""

    def why(self, case: Case) -> None:
        return None

    def reauthenticate(self, case: Case) -> None:
        raise NotImplementedError("iked does not reauthenticate")

    def down(self, case: Case) -> None:
        self._ctl("reset", "id", LEFT_ID)

    def ping(self, source: str, destination: str, count: int, interval: float = 0.05) -> Pings:
        words = ping_words(source, destination, count, interval)
        return read_ping(self.guest.run(*words, check=False, timeout=60 + count * interval))

    def counted(self) -> dict[str, int]:
        return {}

    def name_servers(self) -> list[str]:
        return []

    def take(self, leased: str) -> None:
        raise NotImplementedError("iked asks for no address here")

    def move(self, case: Case) -> str:
        raise NotImplementedError("iked does not move")

    def kill(self) -> None:
        self._sh("kill -9 -- -$(cat /run/iked.pid)")


def config(case: Case) -> str:
    """One policy of iked.conf(5)."""
    ike = [*parse(case.ike)]
    esp = [*parse(case.esp)]
    if not any(one.type == PRF for one in ike):
        ike += [ALGORITHMS["prf" + one.word] for one in ike if one.type == INTEG]
    if not any(one.type == ESN for one in esp):
        esp.append(ALGORITHMS["noesn"])
    proof = AUTH.get(case.auth) or f'psk "{credentials.PSK}"'
    mode = "passive" if case.role == "initiator" else "active"
    fragments = "nofragmentation" if case.option("fragmentation") == "no" else "fragmentation"
    return (
        f"set {fragments}\nset nomobike\n"
        f'ikev2 "{case.key}" {mode} esp from {case.right_prefix} to {case.left_prefix} '
        f"local {case.right_outer} peer {case.left_seen} ikesa {openiked(ike)} childsa {openiked(esp)} "
        f"srcid {RIGHT_ID} dstid {LEFT_ID} {case.option('iked').replace(':', ' ')} {proof}\n"
    )


def _agreed(said: str) -> frozenset[str]:
    """`enc aes-128 auth hmac-sha2-256 group curve25519 prf hmac-sha2-256` in our words."""
    parts = said.split()
    known = {(one.type, one.openiked): one.word for one in ALGORITHMS.values()}
    pairs = zip(parts[::2], parts[1::2], strict=False)
    return frozenset(known.get((KINDS[kind], name), name) for kind, name in pairs)


def _kernel_words(state: str) -> frozenset[str]:
    """`enc cbc(aes) 0x.. (128 bits)` and `auth-trunc hmac(sha1) 0x..` of `ip xfrm state`."""
    cipher = re.search(r"enc (\S+) 0x(\w+)", state)
    auth = re.search(r"auth-trunc (\S+) 0x", state)
    assert cipher, state
    assert auth, state
    name, bits = KERNEL.get(cipher[1], cipher[1]), len(cipher[2]) * 4
    # RFC 3686 sec. 5.1: the key is followed by a nonce of 4 bytes
    sized = {"aes": f"aes{bits}", "ctr": f"aes{bits - 32}ctr"}
    words = {sized.get(name, name), KERNEL.get(auth[1], auth[1])}
    return frozenset(words | ({"esn"} if "esn" in state else set()))
