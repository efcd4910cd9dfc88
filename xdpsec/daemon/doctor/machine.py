"""Doctor on the machine: kernel, rights, memory, cores, crypto engines, firewall. Needs no configuration."""

from __future__ import annotations

import os
import re
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from xdpsec.daemon.doctor.finding import FAIL, NOTE, OK, WARN, Finding
from xdpsec.workers import native

LEAST_KERNEL = (6, 1)
BTF = Path("/sys/kernel/btf/vmlinux")
HUGE_PAGES = Path("/sys/kernel/mm/hugepages")
NFT_CONF = Path("/etc/nftables.conf")
NFT_WANTS = Path("/etc/systemd/system/sysinit.target.wants/nftables.service")


def findings() -> Iterator[Finding]:
    """Every look, in the order of a person's questions."""
    yield kernel(os.uname().release)
    yield root(os.geteuid())
    yield _btf()
    yield _jit()
    yield memlock(resource.getrlimit(resource.RLIMIT_MEMLOCK)[1], os.geteuid(), may_raise())
    yield _huge_pages()
    yield _cores()
    yield from _engines()
    yield _nft()
    yield flush(NFT_CONF, NFT_WANTS.exists())


def kernel(release: str) -> Finding:
    found = re.match(r"(\d+)\.(\d+)", release)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < LEAST_KERNEL:
        return Finding("kernel", FAIL, f"{release} is older than 6.1, the least that works; use a newer one")
    if version < (6, 6):
        return Finding("kernel", OK, f"{release}; from 6.6 on it could carry jumbo frames")
    return Finding("kernel", OK, release)


def root(uid: int) -> Finding:
    if uid == 0:
        return Finding("root", OK, "we are root; `xdpsec run` gives it up in all but one process")
    return Finding("root", WARN, "we are not root: `xdpsec run` needs it, and some looks below see less")


def _btf() -> Finding:
    if BTF.exists():
        return Finding("BTF", OK, "the kernel describes its types")
    return Finding("BTF", WARN, f"{BTF} is missing: the program loads, but bpftool shows less of it")


def _jit() -> Finding:
    jit = Path("/proc/sys/net/core/bpf_jit_enable")
    if not jit.exists() or jit.read_text().strip() != "0":
        return Finding("BPF JIT", OK, "XDP programs run as machine code")
    return Finding("BPF JIT", WARN, "XDP programs are interpreted; run sysctl -w net.core.bpf_jit_enable=1")


def may_raise() -> bool:
    """Whether this process has CAP_SYS_RESOURCE, bit 24 of its effective capabilities."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return bool(found and int(found[1], 16) >> 24 & 1)


def memlock(hard: int, uid: int, raisable: bool) -> Finding:
    """`hard` is RLIMIT_MEMLOCK in bytes, `raisable` whether we may go beyond."""
    if hard == resource.RLIM_INFINITY:
        return Finding("locked memory", OK, "no limit: packet memory and keys stay out of swap")
    text = f"the limit is {hard >> 10} KiB"
    if uid != 0:
        return Finding(
            "locked memory", NOTE, f"{text} for this user; root raises it, a unit says LimitMEMLOCK=infinity"
        )
    if raisable:
        return Finding("locked memory", OK, f"{text}; `xdpsec run` raises it")
    return Finding(
        "locked memory", WARN, f"{text} and may not be raised (CAP_SYS_RESOURCE): keys may reach a swap disk"
    )


def _huge_pages() -> Finding:
    """The UMEM takes those of the default size when there are enough; docs/performance.md says what they bring."""
    pools = []
    for pool in sorted(HUGE_PAGES.glob("hugepages-*kB")):
        count = int((pool / "nr_hugepages").read_text())
        if count:
            pools.append(f"{count} of {int(pool.name.split('-')[1][:-2]) >> 10} MiB")
    if pools:
        return Finding("huge pages", OK, f"{', '.join(pools)} reserved; `xdpsec run` logs whether packets are in them")
    return Finding("huge pages", NOTE, "none reserved, so packets lie in ordinary pages; `sysctl vm.nr_hugepages` does")


def _cores() -> Finding:
    cores = sorted(os.sched_getaffinity(0))
    named = ", ".join(map(str, cores))
    if len(cores) == 1:
        return Finding("cores", WARN, f"only core {named} is ours: control, kernel and workers share it")
    return Finding("cores", OK, f"{named}; the first is control's unless the configuration says otherwise")


def _engines() -> Iterator[Finding]:
    proved = {name: native.engine_proved(name) for name in native.ENGINES if name != "auto"}
    chosen = native.engine_proved("auto")
    for name, answer in proved.items():
        if answer:
            text = "gave every known answer" + ("; serves what it can unless told otherwise" if name == chosen else "")
            yield Finding(f"engine {name}", OK, text)
        else:
            yield Finding(f"engine {name}", WARN, "is absent or gave a wrong known answer: it is not used")
    if not chosen:
        yield Finding("engines", FAIL, "no crypto engine works on this machine; reinstall libssl3 and libipsec-mb1")


def _nft() -> Finding:
    where = shutil.which("nft", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if where:
        return Finding("nft", OK, f"{where}: protected prefixes stay closed when we are dead")
    text = "is missing, so that there is no fence and `xdpsec run` refuses; install the package nftables"
    return Finding("nft", FAIL, text)


def flush(conf: Path, enabled: bool) -> Finding:
    """Whether loading `conf` would take the fence away; `enabled`: it is loaded at boot."""
    topic = "nftables.conf"
    try:
        lines = conf.read_text().splitlines()
    except OSError:
        return Finding(topic, OK, f"there is no {conf} that could remove the fence")
    number = next((i for i, line in enumerate(lines, 1) if re.match(r"\s*flush\s+ruleset\b", line)), 0)
    if not number:
        return Finding(topic, OK, f"{conf} does not flush other tables")
    mend = "write `flush table inet filter` for your own table there instead"
    if enabled:
        return Finding(topic, WARN, f"{conf}:{number}: `flush ruleset` removes the fence on each reload; {mend}")
    return Finding(topic, NOTE, f"{conf}:{number}: `flush ruleset` would remove the fence if somebody loads it; {mend}")
