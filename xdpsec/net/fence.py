"""The nft table that keeps protected prefixes closed whatever dies: one transaction, kept by the kernel.

Sets only gain elements, so that a child which a new configuration dropped stays closed until `open`. Inbound pairs:
RFC 4301 sec. 5.2. Knows no SA and no process; our own tun is the one way through.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
import threading
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xdpsec.errors import LocalError

TABLE = "inet xdpsec"
TUN = "xdpsec0"
SECONDS = 30

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: One element of a set: (local, remote), (remote,) or (peer,), all of one family.
Box = tuple[Network, ...]

#: Each set, and what it is a set of.
SETS = {
    f"{name}{family}": f"{ip} saddr . {ip} daddr" if name.endswith("pairs") else f"{ip} daddr"
    for family, ip in (("4", "ip"), ("6", "ip6"))
    for name in ("pairs", "remote", "widepairs", "wideremote", "spare")
}

#: What a wide child (0.0.0.0/0, ::/0) must leave alone, else it cuts off the machine itself.
SPARED_BY_WIDE = {
    "4": ("ip daddr { 169.254.0.0/16, 224.0.0.0/4, 255.255.255.255 }", "ip saddr 169.254.0.0/16"),
    "6": ("ip6 daddr { fe80::/10, ff00::/8 }", "ip6 saddr fe80::/10"),
}


class Fence:
    """The table of this network namespace. Every call is one transaction; LocalError says what to mend."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # whoever mends does so in a thread
        self._laid: dict[str, list[Box]] = {}  # every element since the first `protect`
        self._rules: list[Any] | None = None  # as the kernel told them then; empty: not ours any more
        self._whole: list[Any] = []  # sets as the kernel told them when nothing was missing

    def protect(self, pairs: Sequence[tuple[str, str]], spare: Sequence[str]) -> None:
        """Close (local, remote) prefixes, and keep closed what was. `spare`: the peers' outer addresses. Raises before
        anything changed when nft refuses."""
        wanted: dict[str, list[Box]] = {}
        nets = {text: ipaddress.ip_network(text) for text in {text for pair in pairs for text in pair}}
        for local, remote in pairs:
            box = nets[local], nets[remote]
            if box[0].version != box[1].version:
                text = f"the fence cannot pair {local} with {remote}"
                raise LocalError(f"{text}: use one address family on both sides")
            family, wide = str(box[0].version), "wide" if min(net.prefixlen for net in box) == 0 else ""
            wanted.setdefault(f"{wide}pairs{family}", []).append(box)
            wanted.setdefault(f"{wide}remote{family}", []).append(box[1:])
        for address in spare:
            net = ipaddress.ip_network(address)
            wanted.setdefault(f"spare{net.version}", []).append((net,))
        with self._lock:
            self._lay(_frame(), wanted, _elements(_listing() or []))

    def mend(self) -> bool:
        """Lay again what was laid, children of earlier configurations too, when somebody took of it; did somebody? What
        others added to the sets stays. The table is made anew: what now bears our names may be of another kind."""
        with self._lock:
            listing = _listing() or []
            sets, untouched = _sets(listing), bool(self._rules) and _shape(listing) == self._rules
            if self._rules is None or (untouched and sets == self._whole):
                return False
            present = _elements(listing)
            whole = all(not missing(boxes, present.get(name, [])) for name, boxes in self._laid.items())
            if whole and untouched:
                self._whole = sets
                return False
            wanted = {name: [*present.get(name, []), *self._laid.get(name, [])] for name in {**self._laid, **present}}
            self._lay([f"add table {TABLE}", f"delete table {TABLE}", *_frame()], wanted, {})
            return True

    def _lay(self, lines: list[str], wanted: Mapping[str, list[Box]], present: Mapping[str, list[Box]]) -> None:
        laid = {}
        for name in {**self._laid, **wanted, **present}:
            have = present.get(name, [])
            new = missing([*self._laid.get(name, ()), *wanted.get(name, ())], have)
            if new:
                lines.append(f"add element {TABLE} {name} {{ {', '.join(map(_text, new))} }}")
            laid[name] = [*have, *new]
        _nft(["-f", "-"], "\n".join(lines) + "\n")
        shape = _shape(_listing("-t") or [])  # unless somebody was quicker: then it is laid once more
        self._laid, self._rules, self._whole = laid, shape if len(shape) == _rows() else [], []

    def open(self) -> None:
        """Remove the fence. Nothing to do is no error."""
        _nft(["-f", "-"], f"add table {TABLE}\ndelete table {TABLE}\n")

    def stands(self) -> bool:
        """Is there a fence in this namespace?"""
        return _listing() is not None


# --- sets --------------------------------------------------------------------------------------------------------


def missing(wanted: Iterable[Box], present: Iterable[Box]) -> list[Box]:
    """What `wanted` covers and `present` does not, as boxes that overlap neither: nft refuses overlapping elements."""
    have, new = _Boxes(present), []
    for box in wanted:
        parts = [box]
        for other in have.near(box[-1]):
            parts = [piece for part in parts for piece in _subtract(part, other)]
        new += parts
        for part in parts:
            have.add(part)
    return new


class _Boxes:
    """Boxes by their last dimension, in which thousands of peers differ: who may overlap is found without a look at
    all of them."""

    def __init__(self, boxes: Iterable[Box]) -> None:
        self._at: dict[tuple[int, int, int], list[Box]] = {}  # version, prefix length, first address
        self._lengths: set[tuple[int, int]] = set()
        self._firsts: list[tuple[int, int, int]] = []  # version, first address, prefix length; sorted
        for box in boxes:
            self.add(box)

    def add(self, box: Box) -> None:
        net = box[-1]
        first = int(net.network_address)
        key = net.version, net.prefixlen, first
        if key not in self._at:
            self._at[key] = []
            self._lengths.add(key[:2])
            insort(self._firsts, (net.version, first, net.prefixlen))
        self._at[key].append(box)

    def near(self, net: Network) -> list[Box]:
        """Those that overlap `net` in the last dimension: prefixes around it, and within it."""
        version, first = net.version, int(net.network_address)
        found: list[Box] = []
        for length in range(net.prefixlen + 1):
            if (version, length) in self._lengths:
                host = net.max_prefixlen - length
                found += self._at.get((version, length, first >> host << host), ())
        low = bisect_left(self._firsts, (version, first, net.prefixlen + 1))
        end = first + (1 << net.max_prefixlen - net.prefixlen)
        for _, at, length in self._firsts[low : bisect_left(self._firsts, (version, end))]:
            if length > net.prefixlen:
                found += self._at[version, length, at]
        return found


def _subtract(box: Box, other: Box) -> list[Box]:
    """`box` without `other`. Prefixes nest or are apart, so that each dimension is cut at most once."""
    if not all(mine.overlaps(theirs) for mine, theirs in zip(box, other, strict=True)):
        return [box]
    pieces: list[Box] = []
    rest = box
    for i, (mine, theirs) in enumerate(zip(box, other, strict=True)):
        if theirs.prefixlen > mine.prefixlen:
            pieces += [(*rest[:i], outer, *rest[i + 1 :]) for outer in _outside(mine, theirs)]
            rest = (*rest[:i], theirs, *rest[i + 1 :])
    return pieces


def _outside(net: Network, hole: Network) -> list[Network]:
    return list(net.address_exclude(hole))  # type: ignore[arg-type]


def _text(box: Box) -> str:
    return " . ".join(str(net) if net.prefixlen < net.max_prefixlen else str(net.network_address) for net in box)


def _elements(listing: list[dict[str, Any]]) -> dict[str, list[Box]]:
    """Name of a set of ours -> elements as the kernel has them; what somebody put there that is none is left out."""
    found: dict[str, list[Box]] = {}
    for item in listing:
        name = item.get("set", {}).get("name")
        if name in SETS:
            boxes = [box for element in item["set"].get("elem", []) for box in _boxes(element)]
            found[name] = [box for box in boxes if _fits(box, name)]
    return found


def _fits(box: Box, name: str) -> bool:
    return len(box) == SETS[name].count("addr") and all(str(net.version) == name[-1] for net in box)


def _boxes(element: Any) -> list[Box]:
    """nft joins neighbours of a plain interval set into ranges: one element may be several prefixes. None when it will
    end by itself, or is no address."""
    if isinstance(element, dict) and "elem" in element:  # with a comment, a counter, a timeout
        element = None if {"timeout", "expires"} & element["elem"].keys() else element["elem"]["val"]
    parts = element["concat"] if isinstance(element, dict) and "concat" in element else [element]
    boxes: list[Box] = [()]
    for part in parts:
        boxes = [(*box, net) for box in boxes for net in _networks(part)]
    return boxes


def _networks(part: Any) -> list[Network]:
    try:
        match part:
            case str():
                return [ipaddress.ip_network(part)]
            case {"prefix": {"addr": addr, "len": length}}:
                return [ipaddress.ip_network(f"{addr}/{length}")]
            case {"range": [first, last]}:
                return list(ipaddress.summarize_address_range(*map(ipaddress.ip_address, (first, last))))
    except ValueError:
        pass
    return []


# --- chains ------------------------------------------------------------------------------------------------------


def _frame() -> list[str]:
    """Table, sets and chains; rules are written anew, elements stay."""
    lines = [f"add table {TABLE}"]
    lines += [f"add set {TABLE} {name} {{ typeof {key}; flags interval; }}" for name, key in SETS.items()]
    for hook in ("forward", "input", "output"):
        lines.append(f"add chain {TABLE} {hook} {{ type filter hook {hook} priority -300; policy accept; }}")
        lines.append(f"flush chain {TABLE} {hook}")
        lines += [f"add rule {TABLE} {hook} {rule}" for rule in _rules(hook)]
    return lines


def _rows() -> int:
    """How many tables, chains and rules `_frame` makes."""
    return sum(line.startswith(("add table", "add chain", "add rule")) for line in _frame())


def _rules(hook: str) -> list[str]:
    """Peers first, then narrow children without exception, then wide ones with theirs. A peer is spared in what we say
    to each other: what a host here sends to a peer's own address is forwarded, and protected like any other."""
    families = (("4", "ip", "icmp type net-unreachable"), ("6", "ip6", "icmpv6 type no-route"))
    sides = () if hook == "forward" else ("daddr", "saddr")
    rules = [f"{ip} {side} @spare{family} accept" for family, ip, _ in families for side in sides]
    for wide in ("", "wide"):
        for family, ip, answer in families:
            if wide:
                rules += [f"{match} accept" for match in SPARED_BY_WIDE[family]]
            inbound = f'iifname != "{TUN}" {ip} daddr . {ip} saddr @{wide}pairs{family} counter drop'
            outbound = f'oifname != "{TUN}" {ip} saddr . {ip} daddr @{wide}pairs{family} counter drop'
            if hook == "forward":
                rules.append(inbound)
                # any source: who is in no child has no business there either
                rules.append(f'oifname != "{TUN}" {ip} daddr @{wide}remote{family} counter reject with {answer}')
            elif not wide:  # a wide child spares the gateway's own addresses: all that input and output see
                rules.append(inbound if hook == "input" else outbound)
    return rules


# --- nft -----------------------------------------------------------------------------------------------------------


def _listing(*options: str) -> list[dict[str, Any]] | None:
    """The table as nft tells it, None when there is none; with "-t" without the elements."""
    if not _there():
        return None
    try:
        rows: list[dict[str, Any]] = json.loads(_nft(["-j", *options, "list", "table", *TABLE.split()]))["nftables"]
    except LocalError:
        if _there():
            raise
        return None  # taken off in between
    return rows


def _there() -> bool:
    tables = json.loads(_nft(["-j", "list", "tables"]))["nftables"]
    return any(row.get("table", {}).get("name") == "xdpsec" and row["table"]["family"] == "inet" for row in tables)


def _shape(listing: list[dict[str, Any]]) -> list[Any]:
    """Table, chains and rules without what changes by itself: handles and counts."""
    return [_still(row) for row in listing if not {"set", "metainfo"} & row.keys()]


def _sets(listing: list[dict[str, Any]]) -> list[Any]:
    return [row["set"] for row in listing if "set" in row]


def _still(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: None if name == "counter" else _still(part) for name, part in value.items() if name != "handle"}
    return [_still(part) for part in value] if isinstance(value, list) else value


def _nft(arguments: list[str], script: str = "") -> str:
    try:
        done = subprocess.run(
            ["nft", *arguments], input=script, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except FileNotFoundError:
        raise LocalError("the fence needs nft, which is not installed; install the package nftables") from None
    except subprocess.TimeoutExpired:
        raise LocalError(f"nft did not answer within {SECONDS} s; the fence was not changed") from None
    except OSError as error:
        why = error.strerror or error
        raise LocalError(f"nft cannot be started ({why}); see that there is memory, and room for a process") from None
    if done.returncode:
        words = done.stderr.strip().splitlines()
        why = words[0] if words else f"exit {done.returncode}"
        raise LocalError(f"nft refused the fence: {why}; it needs root and a kernel with nf_tables (inet family)")
    return done.stdout
