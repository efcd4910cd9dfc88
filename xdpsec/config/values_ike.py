"""What the configuration says of peers that negotiate their keys, after every check. Times in seconds, 0 = never.

Identities are text as written; files are named, not read.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdpsec.config.proposals import Offer

#: A hard limit is so much more than the soft one: room for a rekey that takes its time.
HARD_OVER_SOFT = 1.1


@dataclass(frozen=True, slots=True)
class Auth:
    """How both prove who they are; an empty name = not so. `passphrase` "" = the key is not encrypted or is asked for
    nowhere. `revocation` "strict", "if-available", "off"; `send_certificate` "always", "asked", "never";
    `signature` "auto", or such as "pss-sha384"."""

    psk_file: str = ""
    certificate: str = ""
    key: str = ""
    passphrase: str = ""
    ca: tuple[str, ...] = ()
    crl: tuple[str, ...] = ()
    ocsp: str = ""
    revocation: str = "if-available"
    send_certificate: str = "always"
    signature: str = "auto"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Files that must be root's alone. The passphrase comes another way (config/passphrase.py)."""
        return tuple(file for file in (self.psk_file, self.key) if file)

    @property
    def public(self) -> tuple[str, ...]:
        """Files that anybody may read and only root may write."""
        return tuple(file for file in (self.certificate, self.ocsp, *self.ca, *self.crl) if file)


@dataclass(frozen=True, slots=True)
class PpkFile:
    """RFC 8784: a name, and the file with the key."""

    id: str
    file: str
    required: bool


@dataclass(frozen=True, slots=True)
class AddressPool:
    """What a peer gets that asks for an address."""

    addresses: tuple[str, ...]
    dns: tuple[str, ...]
    domains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ike:
    """One peer. `local_id`, `remote_id` "" = the outer address. `fragment` bytes, 0 = never; `ask_address` families.
    Choices as in schema_ike.IkePart."""

    local_id: str
    remote_id: str
    send_remote_id: bool
    auth: Auth
    offers: tuple[Offer, ...]
    port: int
    pfs: str
    pq: str
    ppk: PpkFile | None
    mobike: bool
    force_encap: bool
    fragment: int
    dpd: int
    rekey: int
    reauth: int
    unique: str
    childless: str
    keepalive: int
    ask_address: tuple[int, ...]
    pool: AddressPool | None

    @property
    def secrets(self) -> tuple[str, ...]:
        return (*self.auth.secrets, *((self.ppk.file,) if self.ppk else ()))


@dataclass(frozen=True, slots=True)
class Negotiated:
    """One child whose SAs are negotiated. `ah`: the offers are for AH, else for ESP. `start` "on-start", "on-traffic",
    "wait"; limits by time, bytes and packets when its SAs are replaced."""

    offers: tuple[Offer, ...]
    ah: bool
    mode: str
    start: str
    per_worker: bool
    rekey: int
    rekey_bytes: int
    rekey_packets: int
