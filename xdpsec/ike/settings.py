"""What a machine is told before it talks: peers, children, offers and limits as frozen values, and the host's hands.

Numbers are IANA's. Addresses and prefixes are text in canonical form. The daemon makes these from the configuration;
knows no file, no socket and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from xdpsec.crypto.announce import Announcement
    from xdpsec.ike.events import Job, Path

ANY_PORT = (0, 65535)

# --- offers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A transform's number and its key length in bits; 0 = the transform has one length only."""

    id: int
    bits: int = 0


@dataclass(frozen=True, slots=True)
class IkeOffer:
    """One proposal for the IKE SA, each tuple in order of preference. AEAD and other ciphers stand in separate offers;
    with AEAD `integ` is empty. `extra[n]` are the groups of ADDKE n+1 (RFC 9370), 0 in them = NONE."""

    encr: tuple[Algorithm, ...]
    prf: tuple[int, ...]
    integ: tuple[int, ...]
    ke: tuple[int, ...]
    extra: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class EspOffer:
    """One proposal for a child SA. `protocol` 3 ESP, 2 AH (then `encr` is empty). `ke` empty = no PFS, 0 in it = NONE.
    In IKE_AUTH `ke` and `extra` are left out (RFC 7296 sec. 1.2). `esn` in order of preference."""

    protocol: int
    encr: tuple[Algorithm, ...]
    integ: tuple[int, ...] = ()
    ke: tuple[int, ...] = ()
    extra: tuple[tuple[int, ...], ...] = ()
    esn: tuple[bool, ...] = (False,)


# --- who ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Identity:
    """An ID payload's body: kind (RFC 7296 sec. 3.5) and its octets as on the wire."""

    kind: int
    data: bytes


class IdentityRule(Protocol):
    """Which identities are the peer's: one, or a pattern where the configuration says so. `str` is for logs."""

    def matches(self, identity: Identity) -> bool: ...


class Signer(Protocol):
    """Our private key with its certificates (crypto/signing.py). `certificates` are DER, the leaf first."""

    @property
    def certificates(self) -> tuple[bytes, ...]: ...

    def methods(self, hashes: frozenset[int], announced: tuple[Announcement, ...]) -> tuple[int, ...]:
        """AUTH methods that this key can use with a peer that knows `hashes` (SIGNATURE_HASH_ALGORITHMS, empty = it
        sent none) and announced these methods (RFC 9593; empty = nothing announced), best first."""
        ...

    def sign(self, octets: bytes, hashes: frozenset[int], announced: tuple[Announcement, ...]) -> tuple[int, bytes]:
        """(AUTH method, AUTH data) over the octets; PeerError when the peer can verify none of ours."""
        ...

    def job(self, octets: bytes, hashes: frozenset[int], announced: tuple[Announcement, ...]) -> Job | None:
        """`sign` as work for the helper process, None where the key is quick."""
        ...


class Staple(Protocol):
    """An OCSP response about our own certificate, for peers that ask (crypto/ocsp.py)."""

    def at(self, wall: float) -> bytes:
        """DER; empty where there is none that still holds."""
        ...


class Trust(Protocol):
    """Whom we believe (crypto/trust.py)."""

    @property
    def authorities(self) -> bytes:
        """Concatenated SHA-1 hashes of the anchors' public keys, for CERTREQ (RFC 7296 sec. 3.7)."""
        ...

    @property
    def asks_ocsp(self) -> bool:
        """Ask for an OCSP response beside the certificate (RFC 4806)."""
        ...

    def verify(
        self, chain: tuple[bytes, ...], identity: Identity, wall: float, staples: tuple[bytes, ...] = ()
    ) -> object:
        """The leaf's public key after path, revocation and identity were checked; `staples` are OCSP responses that
        came in CERT payloads (RFC 4806). PeerError(AUTHENTICATION_FAILED) else; NeedsFetch (crypto/trust.py) where a
        CRL or an OCSP answer must be had first: FetchWanted, then ask again."""
        ...

    @property
    def announced(self) -> tuple[Announcement, ...]:
        """The methods that `check` takes, for SUPPORTED_AUTH_METHODS (RFC 9593)."""
        ...

    def check(self, key: object, method: int, data: bytes, octets: bytes) -> None:
        """Verify AUTH data over the octets; PeerError(AUTHENTICATION_FAILED) else."""
        ...


@dataclass(frozen=True, slots=True)
class LocalAuth:
    """How we prove who we are: by `signer` if there is one, else by `psk`. `certificates` sends them: "always",
    "asked" (when the peer sent CERTREQ) or "never"."""

    psk: bytes = field(default=b"", repr=False)
    signer: Signer | None = None
    certificates: str = "always"
    staple: Staple | None = None


@dataclass(frozen=True, slots=True)
class RemoteAuth:
    """How the peer may prove who it is: by `psk` if not empty, by a signature if `trust` is there; both = either."""

    psk: bytes = field(default=b"", repr=False)
    trust: Trust | None = None


@dataclass(frozen=True, slots=True)
class Ppk:
    """A postquantum preshared key and its identity: PPK_ID type octet and data (RFC 8784 sec. 5.1)."""

    id: bytes
    secret: bytes = field(repr=False)


# --- peers and children -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds, bytes and packets, 0 = no limit; rekey at the soft limit less up to `jitter` (a share) of it, gone at
    the hard one. Of an IKE SA only the seconds count."""

    soft_seconds: float
    hard_seconds: float
    soft_bytes: int = 0
    hard_bytes: int = 0
    soft_packets: int = 0
    hard_packets: int = 0
    jitter: float = 0.1


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """What one pair of SAs protects. `index` counts children over all peers; prefixes are text, `protocol` 0 and ports
    (0, 65535) mean any. `mode` "tunnel" or "transport". `workers` > 1 asks for that many SAs by RFC 9611."""

    name: str
    index: int
    local: tuple[str, ...]
    remote: tuple[str, ...]
    offers: tuple[EspOffer, ...]
    lifetime: Lifetime
    protocol: int = 0
    local_ports: tuple[int, int] = ANY_PORT
    remote_ports: tuple[int, int] = ANY_PORT
    mode: str = "tunnel"
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Pool:
    """Addresses and names that a road warrior may ask for; prefixes to lease from, servers, domains (RFC 8598)."""

    prefixes: tuple[str, ...]
    dns: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """One peer. `remote` "" = any address (we only answer); `local` "" = the route's; `named` whom we ask for (IDr),
    None = whoever is there. Choices, the first the default: `pfs` "prefer", "required", "off"; `pq` "prefer",
    "required"; `uniqueness` "replace" (a new IKE SA of the same identity deletes the old one), "keep" (refuse the new),
    "off"; `childless` "allow", "never", "force" (RFC 6023). `ppks` (RFC 8784): the first is the one that we name, each
    is one that the peer may. `reauthentication` seconds, 0 = never; `dpd` seconds without proof of life, 0 = never
    asked; `fragment` bytes of an IP datagram above which we fragment (RFC 7383), 0 = not supported; `force_encap` fakes
    a NAT."""

    name: str
    remote: str
    local_id: Identity
    remote_id: IdentityRule
    local_auth: LocalAuth = field(repr=False)
    remote_auth: RemoteAuth = field(repr=False)
    ike_offers: tuple[IkeOffer, ...]
    children: tuple[ChildSettings, ...]
    lifetime: Lifetime
    local: str = ""
    named: Identity | None = None
    local_port: int = 500
    remote_port: int = 500
    pfs: str = "prefer"
    pq: str = "prefer"
    ppks: tuple[Ppk, ...] = ()
    ppk_required: bool = False
    dpd: float = 120.0
    reauthentication: float = 0.0
    mobike: bool = True
    force_encap: bool = False
    fragment: int = 1280
    uniqueness: str = "replace"
    childless: str = "allow"
    keepalive: float = 20.0
    pool: Pool | None = None
    ask_addresses: tuple[int, ...] = ()  # families to ask an address of: 4, 6


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what strangers can make us hold. Seconds and counts."""

    half_open: int = 10_000
    half_open_per_source: int = 20  # counted among sources that a cookie has proved
    cookie_threshold: int = 100
    cookie_rate: float = 1000.0  # first messages a second above which a cookie is asked for, half open or not
    half_open_seconds: float = 30.0
    cookie_rounds: int = 3  # how often one peer may answer our IKE_SA_INIT with COOKIE or INVALID_KE_PAYLOAD
    children: int = 64  # per IKE SA
    creations: float = 20.0  # requests a second for new SAs that one peer may go on with
    creations_at_once: float = 200.0
    parked: int = 32 << 20  # bytes of fragments that all half-open conversations may hold together
    first_message: int = 8192  # bytes of IKE_SA_INIT, which is kept until the peer has authenticated
    retry_first: float = 0.5
    retry_factor: float = 1.8
    retry_cap: float = 30.0
    give_up: float = 165.0
    ack_seconds: float = 1.0
    job_seconds: float = 10.0
    fetch_seconds: float = 12.0
    outlived_seconds: float = 10.0  # how long an IKE SA stays beside the one that took its place
    linger: float = 30.0  # how long a closed IKE SA still repeats its last answer
    proof: float = 6.0  # without a repeated request for so long, a peer is taken to have our answer


# --- the host's hands ---------------------------------------------------------------------------------------


class PeerBook(Protocol):
    """The two steps in which a responder learns whom it talks to."""

    def by_name(self, name: str) -> PeerSettings | None: ...

    def by_address(self, path: Path) -> tuple[PeerSettings, ...]:
        """Every peer that may come this way, in the order of the file; for IKE_SA_INIT."""
        ...

    def by_identity(
        self, idi: Identity, idr: Identity | None, candidates: tuple[PeerSettings, ...]
    ) -> tuple[PeerSettings, ...]:
        """Those of the candidates whose remote_id matches IDi and whose local_id is IDr (None = peer did not say)."""
        ...


class Host(Protocol):
    """What the machines may ask of the world, at once and without waiting."""

    @property
    def book(self) -> PeerBook: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def keylog(self) -> bool:
        """Emit KeyLog events."""
        ...

    def random(self, count: int) -> bytes: ...

    def wall(self) -> float:
        """Seconds since 1970, for certificates only."""
        ...

    def addresses(self, peer: str) -> tuple[str, ...]:
        """Our outer addresses that a peer of this name may use with MOBIKE, the one in use among them or not."""
        ...

    def new_spi(self, child: int, resource: int | None) -> int:
        """An unused SPI for inbound SAs of this child index, placed at worker `resource` if given (RFC 9611)."""
        ...

    def free_spi(self, spi: int) -> None:
        """An SPI from new_spi that no InstallInbound has named will not be used."""
        ...
