"""A gateway on memory ports, driven frame by frame: one worker of the real core, no kernel, no channel, no process.

Port 0 is outside, port 1 inside. What is local is 10.1.0.0/16, what is remote 10.2.0.0/16 behind the peer 10.9.0.2,
unless a selector says otherwise. Knows no crypto: what is inside ESP is the oracle's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from xdpsec.workers import native
from xdpsec.workers.native import ffi, lib

CHUNKS, CHUNK, SLOTS = 2048, 2048, 64
OUTSIDE, INSIDE = 0, 1
OUR_MAC, PEER_MAC, HOST_MAC = "02:00:00:00:00:01", "02:00:00:00:00:09", "02:00:00:00:00:05"
OUR, PEER, HOST, FAR = "10.9.0.1", "10.9.0.2", "10.1.0.5", "10.2.0.9"
MTU = 1500
GRANTED = 1 << 62
ANY = native.Selector("10.1.0.0/16", "10.2.0.0/16", 0, (0, 65535), (0, 65535))
ENGINES = ("ipsec-mb", "openssl")


@dataclass(frozen=True)
class Suite:
    """One algorithm pair. `key_len` counts the salt; `crypt` and `auth` are scapy's names, or scapy_oracle's for what
    scapy lacks. `engines` have it; `iv_len` and `block` in bytes."""

    name: str
    cipher: int
    integrity: int
    key_len: int
    auth_len: int
    icv_len: int
    crypt: str
    auth: str = "NULL"
    iv_len: int = 8
    block: int = 4
    engines: tuple[str, ...] = ENGINES

    @property
    def key(self) -> bytes:
        return bytes((7 * i + 1) % 256 for i in range(self.key_len))

    @property
    def auth_key(self) -> bytes:
        return bytes((5 * i + 3) % 256 for i in range(self.auth_len))

    def sealed_len(self, inner: int) -> int:
        """Bytes of ESP around `inner` bytes of packet (RFC 4303 sec. 2.4)."""
        return 8 + self.iv_len + -(-(inner + 2) // self.block) * self.block + self.icv_len


#: Name, number, key and ICV length, oracle's name (RFC 2404, 4868, 3566, 4494).
_MACS = {
    name: (number, key_len, icv_len, oracle)
    for name, number, key_len, icv_len, oracle in (
        ("sha1", lib.XS_HMAC_SHA1_96, 20, 12, "HMAC-SHA1-96"),
        ("sha256", lib.XS_HMAC_SHA256_128, 32, 16, "SHA2-256-128"),
        ("sha384", lib.XS_HMAC_SHA384_192, 48, 24, "SHA2-384-192"),
        ("sha512", lib.XS_HMAC_SHA512_256, 64, 32, "SHA2-512-256"),
        ("cmac", lib.XS_AES_CMAC_96, 16, 12, "AES-CMAC-96"),
        ("xcbc", lib.XS_AES_XCBC_96, 16, 12, "AES-XCBC-96"),
    )
}
_MB, _OPENSSL = ENGINES


def _aead(name: str, cipher: int, bits: int, icv_len: int, crypt: str, salt: int = 4, **more: Any) -> Suite:
    return Suite(name, cipher, lib.XS_AUTH_NONE, bits // 8 + salt, 0, icv_len, crypt, **more)


def _with_mac(cipher: str, mac: str, number: int, key_len: int, crypt: str, iv_len: int, block: int) -> Suite:
    auth, auth_len, icv_len, oracle = _MACS[mac]
    engines = (_MB,) if mac == "xcbc" else ENGINES
    return Suite(f"{cipher}-{mac}", number, auth, key_len, auth_len, icv_len, crypt, oracle, iv_len, block, engines)


def _cbc(bits: int, mac: str) -> Suite:
    return _with_mac(f"cbc{bits}", mac, lib.XS_AES_CBC, bits // 8, "AES-CBC", 16, 16)


def _ctr(bits: int, mac: str) -> Suite:
    return _with_mac(f"ctr{bits}", mac, lib.XS_AES_CTR, bits // 8 + 4, "AES-CTR", 8, 4)


#: Every cipher with each of its key and ICV lengths, every MAC with and without encryption.
SUITES = (
    _aead("gcm128", lib.XS_AES_GCM, 128, 16, "AES-GCM"),
    _aead("gcm192", lib.XS_AES_GCM, 192, 16, "AES-GCM"),
    _aead("gcm256", lib.XS_AES_GCM, 256, 16, "AES-GCM"),
    _aead("gcm128-8", lib.XS_AES_GCM, 128, 8, "AES-GCM-8"),
    _aead("gcm256-12", lib.XS_AES_GCM, 256, 12, "AES-GCM-12"),
    *(_aead(f"gmac{bits}", lib.XS_AES_GMAC, bits, 16, "AES-NULL-GMAC") for bits in (128, 192, 256)),
    _aead("ccm128", lib.XS_AES_CCM, 128, 16, "AES-CCM", salt=3),
    _aead("ccm192-12", lib.XS_AES_CCM, 192, 12, "AES-CCM", salt=3, engines=(_OPENSSL,)),
    _aead("ccm256-8", lib.XS_AES_CCM, 256, 8, "AES-CCM", salt=3),
    _aead("chacha20", lib.XS_CHACHA20_POLY1305, 256, 16, "CHACHA20-POLY1305"),
    *(_cbc(bits, mac) for bits in (128, 256) for mac in ("sha1", "sha256", "sha384", "sha512")),
    *(_cbc(*way) for way in ((192, "sha256"), (128, "cmac"), (256, "xcbc"))),
    *(_ctr(*way) for way in ((128, "sha256"), (192, "sha1"), (256, "cmac"), (128, "xcbc"))),
    *(_with_mac("null", mac, lib.XS_NULL, 0, "NULL", 0, 4) for mac in _MACS),
    *(_with_mac("3des", mac, lib.XS_3DES_CBC, 24, "3DES", 8, 8) for mac in ("sha1", "xcbc")),
)


class Lab:
    """The worker and the memory around it. Verdict names are those of bpf/shared.h."""

    def __init__(self) -> None:
        slot_size = ffi.sizeof("struct xs_sa_slot")
        state = ffi.new("char[]", ffi.sizeof("struct xs_state_header") + SLOTS * slot_size)
        header = ffi.cast("struct xs_state_header *", state)
        header.magic, header.version = 0x7864707365633031, lib.XS_STATE_VERSION
        header.slots, header.slot_size, header.window_bits = SLOTS, slot_size, lib.XS_WINDOW_DEFAULT
        self.slots = ffi.cast("struct xs_sa_slot *", state + ffi.sizeof("struct xs_state_header"))
        self.pool = ffi.new("char[]", lib.xs_pool_size(CHUNKS))
        native.check(lib.xs_pool_format(self.pool, CHUNKS), "pool")
        umem = ffi.new("char[]", CHUNKS * CHUNK)
        self.counters = ffi.new("struct xs_counters *")
        conf = ffi.new("struct xs_worker_conf *", {"workers": 1, "umem_size": CHUNKS * CHUNK, "chunk_size": CHUNK})
        conf.umem, conf.pool, conf.counters = umem, self.pool, self.counters
        conf.state, conf.state_size, conf.burst = state, ffi.sizeof(state), 64
        self.core = native.Worker(conf, [umem, self.pool, self.counters, state])
        for index, role, address in ((OUTSIDE, lib.XS_ROLE_OUTSIDE, OUR), (INSIDE, lib.XS_ROLE_INSIDE, "10.1.0.1")):
            mac = bytes.fromhex(OUR_MAC.replace(":", ""))
            self.core.add_port(index, role, lib.XS_PORT_MEMORY, mac, MTU, address, "")
        self.core.start()
        self.core.route_replace(
            [("10.9.0.0/24", "", OUTSIDE), ("10.1.0.0/16", "", INSIDE), ("10.2.0.0/16", PEER, OUTSIDE)]
        )
        self.neighbour(OUTSIDE, PEER, PEER_MAC)
        self.neighbour(INSIDE, HOST, HOST_MAC)
        self.policy(ANY)
        self._space = ffi.new("uint8_t[]", CHUNK)

    def neighbour(self, port: int, address: str, mac: str) -> None:
        self.core.neighbour_set(port, address, bytes.fromhex(mac.replace(":", "")), -1)

    def policy(self, selector: native.Selector) -> None:
        self.core.policy_replace([(selector, 0, 0)])

    def install(
        self,
        suite: Suite,
        outbound: bool,
        *,
        spi: int = 0x1001,
        esn: bool = False,
        encap: bool = False,
        engine: str = "auto",
        number: int | None = None,
        window: int = 64,
        selector: native.Selector = ANY,
        keys: tuple[bytes, bytes] | None = None,
        index: int | None = None,
    ) -> Any:
        """One SA of child 0, in slot 1 (outbound) or 0 unless `index` says. `number` is the next to send, or the
        highest received. Returns the slot."""
        index = int(outbound) if index is None else index
        slot = self.slots[index]
        slot.spi, slot.direction, slot.granted = spi, int(outbound), GRANTED
        if number is not None:
            slot.next_seq = slot.top = number
        conf = ffi.new("struct xs_sa_conf *")
        key, auth_key = keys or (suite.key, suite.auth_key)
        conf.spi, conf.direction, conf.engine = spi, int(outbound), native.ENGINES[engine]
        conf.cipher, conf.auth, conf.icv_len = suite.cipher, suite.integrity, suite.icv_len
        conf.key_len, conf.auth_key_len = len(key), len(auth_key)
        ffi.memmove(conf.key, key, len(key))
        ffi.memmove(conf.auth_key, auth_key, len(auth_key))
        ffi.memmove(conf.iv_key, bytes(range(16)), 16)
        conf.esn, conf.copy_dscp, conf.slot, conf.path_mtu = int(esn), 1, index, MTU
        conf.replay_window = window
        native.set_address(ffi.addressof(conf, "local"), OUR)
        native.set_address(ffi.addressof(conf, "remote"), PEER)
        conf.encap_local = conf.encap_remote = 4500 if encap else 0
        row = ffi.new("struct xs_selector *")
        native.set_selector(row, selector)
        conf.selectors, conf.selector_count = row, 1
        self.core.sa_install(conf)
        if outbound:
            self.core.sa_use(0, index)
        return slot

    def put(self, port: int, *frames: bytes) -> None:
        """The frames in one breath, as one burst up to 64."""
        for frame in frames:
            native.check(lib.xs_memory_put(self.core._handle, port, frame, len(frame)), "put")
        lib.xs_worker_breathe(self.core._handle)

    def take(self, port: int) -> bytes:
        """The oldest frame that left by the port, b"" when none did."""
        return bytes(ffi.buffer(self._space, lib.xs_memory_take(self.core._handle, port, self._space, CHUNK)))

    def verdicts(self) -> dict[str, int]:
        """Those that have happened."""
        names = zip(native.verdict_names(), self.counters.verdicts, strict=True)
        return {name: count for name, count in names if count}

    def verdict(self, port: int, frame: bytes) -> str:
        """Of one frame: exactly one verdict moves by exactly one, or the frame is held ("HELD")."""
        before = self.verdicts()
        self.put(port, frame)
        moved = {name: count - before.get(name, 0) for name, count in self.verdicts().items()}
        moved = {name: count for name, count in moved.items() if count}
        assert sum(moved.values()) <= 1, moved
        return next(iter(moved), "HELD")


@contextmanager
def lab() -> Iterator[Lab]:
    gateway = Lab()
    try:
        yield gateway
    finally:
        gateway.core.free()
