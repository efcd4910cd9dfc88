"""What a capture of the wan proves: which kinds of frames crossed it, and that the keys open what was sent.

tshark judges, with the SAs' keys in its own table (esp_sa). Its integrity check stays off: version 4.0 does not know
ESN's high half. Knows nothing of who sent the frames.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xdpsec.demo.children import Sa
from xdpsec.demo.lab import run

#: pcap-filter(7) for everything but ESP, UDP 4500, IKE, ARP and neighbour discovery (ICMPv6 133 to 137, RFC 4861).
STRANGERS = "not (esp or udp port 4500 or udp port 500 or arp or (icmp6 and ip6[40] >= 133 and ip6[40] <= 137))"
ESP, UDP_ESP, IKE, ARP, DISCOVERY, OTHER = "ESP", "UDP 4500", "IKE", "ARP", "neighbour discovery", "other"
UDP_PORT, IKE_PORT = "4500", "500"
DISCOVERY_TYPES = frozenset(map(str, range(133, 138)))
ECHO_REQUEST = "8"
#: tshark reads a capture of pings in a second; a busy machine may take several.
TSHARK_SECONDS = 60.0
#: Our cipher and auth -> tshark's names for them.
CIPHERS = {"aes-gcm": "AES-GCM with 16 octet ICV [RFC4106]", "aes-cbc": "AES-CBC [RFC3602]"}
AUTHS = {
    "": "NULL",
    "sha1": "HMAC-SHA-1-96 [RFC2404]",
    "sha256": "HMAC-SHA-256-128 [RFC4868]",
    "sha384": "HMAC-SHA-384-192 [RFC4868]",
    "sha512": "HMAC-SHA-512-256 [RFC4868]",
}
FIELDS = (
    "frame.protocols",
    "udp.srcport",
    "udp.dstport",
    "icmpv6.type",
    "esp.spi",
    "ip.src",
    "ip.dst",
    "icmp.type",
    "data.data",
)
#: The loopback's frames are the capture's own marks (an interface index stands in cooked captures only).
CABLES = "!(sll.ifindex == 1)"


@dataclass(frozen=True, slots=True)
class Opened:
    """Frames of one SA: all of them, those whose content is what `sa` was sent, and the addresses in them."""

    sa: Sa
    frames: int
    known: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A capture as tshark reads it with the keys: frames by kind, what each SA carried, and SPIs of no SA of ours.
    `in_clear`: SAs whose pattern stands somewhere in the raw file."""

    kinds: Mapping[str, int]
    opened: tuple[Opened, ...]
    foreign: tuple[str, ...]
    in_clear: tuple[Sa, ...]

    def faults(self, wanted: int) -> list[str]:
        """What is wrong with it, in sentences; nothing when all is proven. `wanted`: known payloads of each SA."""
        found = [f"{count} frames of another kind" for kind, count in self.kinds.items() if kind == OTHER and count]
        found += [f"SPI {spi} belongs to no child" for spi in self.foreign]
        found += [f"the payload of SPI {sa.spi:#x} stands in the capture in the clear" for sa in self.in_clear]
        found += [
            f"SPI {one.sa.spi:#x} ({one.sa.suite.name}): {one.known} of {wanted} known payloads in {one.frames} frames"
            for one in self.opened
            if one.known < wanted
        ]
        return found


def read(capture: Path, sas: Sequence[Sa], settings: Path, addresses: Mapping[int, tuple[str, str]]) -> Reading:
    """Read a capture with the keys of `sas`. `settings`: a directory that is made for tshark, root's alone;
    `addresses`: SPI -> inner source and destination of its pings."""
    _write_keys(settings, sas)
    by_spi = {f"0x{sa.spi:08x}": sa for sa in sas}
    kinds: Counter[str] = Counter()
    frames: Counter[str] = Counter()
    known: Counter[str] = Counter()
    for row in _rows(capture, settings):
        kinds[kind_of(row)] += 1
        spi = row["esp.spi"].split(",")[0]  # what a wrong key opened may look like ESP again
        if spi:
            frames[spi] += 1
        if spi in by_spi and _is_known(row, by_spi[spi], addresses[by_spi[spi].spi]):
            known[spi] += 1
    raw = capture.read_bytes()
    return Reading(
        kinds=dict(kinds),
        opened=tuple(Opened(sa, frames[spi], known[spi]) for spi, sa in by_spi.items()),
        foreign=tuple(spi for spi in frames if spi not in by_spi),
        in_clear=tuple(sa for sa in sas if bytes.fromhex(sa.pattern) in raw),
    )


def kind_of(row: Mapping[str, str]) -> str:
    """ESP, UDP 4500, ARP, neighbour discovery or other, by the outermost headers."""
    protocols = row["frame.protocols"].split(":")
    layers = protocols[protocols.index("ethertype") + 1 :] if "ethertype" in protocols else []
    if layers[:1] == ["arp"]:
        return ARP
    if layers[:1] not in (["ip"], ["ipv6"]):
        return OTHER
    if layers[1:2] == ["esp"]:
        return ESP
    ports = [row[name].split(",")[0] for name in ("udp.srcport", "udp.dstport")]
    if layers[1:2] == ["udp"] and UDP_PORT in ports:
        return UDP_ESP
    if layers[1:2] == ["udp"] and IKE_PORT in ports:
        return IKE
    if layers[:2] == ["ipv6", "icmpv6"] and row["icmpv6.type"] in DISCOVERY_TYPES:
        return DISCOVERY
    return OTHER


def _is_known(row: Mapping[str, str], sa: Sa, inner: tuple[str, str]) -> bool:
    """Whether it is a ping of this SA: the outer addresses are the gateways', the inner ones the hosts', the content
    is the SA's pattern."""
    return (
        row["ip.src"] == f"{sa.source},{inner[0]}"
        and row["ip.dst"] == f"{sa.destination},{inner[1]}"
        and row["icmp.type"] == ECHO_REQUEST
        and sa.pattern in row["data.data"]
    )


def _write_keys(settings: Path, sas: Iterable[Sa]) -> None:
    settings.mkdir(mode=0o700)
    descriptor = os.open(settings / "esp_sa", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f"{key_row(sa)}\n" for sa in sas)


def key_row(sa: Sa) -> str:
    """A row of tshark's table: family, addresses, SPI, cipher, key (with an AEAD's salt at its end), auth, its key."""
    integrity = f"0x{sa.key.integrity}" if sa.key.integrity else ""
    suite = (CIPHERS[sa.suite.cipher], f"0x{sa.key.encryption}", AUTHS[sa.suite.auth], integrity)
    return ",".join(f'"{word}"' for word in ("IPv4", sa.source, sa.destination, f"0x{sa.spi:08x}", *suite))


def _rows(capture: Path, settings: Path) -> list[dict[str, str]]:
    """Each frame's fields; where a field occurs twice its values are joined by commas, the outer header's first."""
    wanted = [word for name in FIELDS for word in ("-e", name)]
    options = ["-n", "-o", "esp.enable_encryption_decode:TRUE", "-Y", CABLES, "-T", "fields", *wanted]
    environment = {**os.environ, "WIRESHARK_CONFIG_DIR": str(settings)}
    said = run(["tshark", "-r", str(capture), *options], timeout=TSHARK_SECONDS, environment=environment)
    return [dict(zip(FIELDS, line.split("\t"), strict=True)) for line in said.splitlines()]
