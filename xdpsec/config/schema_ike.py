"""The tables of peers that negotiate their keys (IKEv2), and what stands in a peer and a child for them.

Shapes only, as in schema.py; what belongs together is in checks_ike.py. Docstrings become docs/config.md.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from xdpsec.config import proposals
from xdpsec.config.kinds import Address, Count, Duration, FilePath, Prefix, Table, UdpPort

IdentityText = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f]+$")]


def _ike(text: str) -> str:
    proposals.parse_ike(text)
    return text


def _esp(text: str) -> str:
    proposals.parse_esp(text)
    return text


def _ah(text: str) -> str:
    proposals.parse_ah(text)
    return text


IkeProposals = Annotated[list[Annotated[str, AfterValidator(_ike)]], Field(min_length=1, max_length=proposals.MOST)]
EspProposals = Annotated[list[Annotated[str, AfterValidator(_esp)]], Field(min_length=1, max_length=proposals.MOST)]
AhProposals = Annotated[list[Annotated[str, AfterValidator(_ah)]], Field(min_length=1, max_length=proposals.MOST)]
Files = Annotated[list[FilePath], Field(min_length=1, max_length=64)]


class AuthTable(Table):
    """How both sides prove who they are: with `psk_file` by a shared secret, with `certificate`, `key` and `ca` by
    certificates; a secret and a `ca` together: we by the secret, the peer by either."""

    psk_file: FilePath | None = None
    """File with the shared secret, root's alone (mode 0600): text, or hexadecimal after 0x, or base64 after 0s."""
    certificate: FilePath | None = None
    """PEM file with our certificate, and after it those between it and its authority."""
    key: FilePath | None = None
    """PKCS#8 file with the certificate's private key, root's alone (mode 0600)."""
    passphrase: (
        Annotated[str, StringConstraints(pattern=r"^(prompt|fd:\d{1,4}|credential:[A-Za-z0-9_.-]+|/.+)$")] | None
    ) = None
    """Where the key's passphrase is: "prompt", "credential:NAME" (systemd), "fd:N", or a file, root's alone."""
    ca: Files | None = None
    """PEM files with the authorities that may vouch for the peer."""
    crl: list[FilePath] = []
    """Files with revocation lists, DER or PEM, beside those that certificates point to."""
    ocsp: FilePath | None = None
    """File with an OCSP response about our certificate, DER, for peers that ask for one (RFC 4806). It is read again
    every ten minutes: a timer may fetch it."""
    revocation: Literal["strict", "if-available", "off"] = "if-available"
    """Whether a peer's certificate must be known not to be revoked."""
    send_certificate: Literal["always", "asked", "never"] = "always"
    """When our certificate goes with AUTH."""
    signature: Annotated[str, StringConstraints(pattern=r"^(auto|(pss|pkcs1|ecdsa)(-sha(256|384|512))?)$")] = "auto"
    """How our key signs where the peer leaves the choice: "auto", or "pss", "pkcs1", "ecdsa", each with or without a
    hash as in "pss-sha384"."""


class PpkTable(Table):
    """A postquantum preshared key (RFC 8784): protects against a quantum computer where ML-KEM is missing. One for each
    peer; guests who are to have a key each need a peer each, with a `remote_id` of its own."""

    id: IdentityText
    """Its name, the same at the peer: we call with it, and it is the one that the peer may call with."""
    file: FilePath
    """File with the key, as `psk_file`; 32 bytes or more."""
    required: bool = False
    """Refuse a peer that does not use it."""


class PoolTable(Table):
    """What a peer gets that asks for an address (road warriors)."""

    addresses: Annotated[list[Prefix], Field(min_length=1, max_length=8)]
    """Prefixes to lease from."""
    dns: list[Address] = []
    """Name servers."""
    domains: list[IdentityText] = []
    """Domains that those servers are for (RFC 8598); none = everything."""


class IkePart(Table):
    """What a peer says of IKE; all of it needs `auth`."""

    auth: AuthTable | None = None
    """How both sides prove who they are; with it keys are negotiated (IKEv2), without it children are manual."""
    local_id: IdentityText | None = None
    """Who we are: an address, a name, name@domain, "keyid:TEXT" or "CN=...,O=..."; by default our outer address."""
    remote_id: IdentityText | None = None
    """Who the peer must be; by default its outer address. Wildcards: "*.example.net", "*@example.net", "10.0.0.0/8",
    "C=DE, CN=*", "*" for anybody."""
    send_remote_id: bool = True
    """Ask for the peer by `remote_id`, unless that has wildcards or is a distinguished name: a peer with several
    identities answers with that one. false for a peer that refuses to be asked for by name."""
    ike: IkeProposals | None = None
    """Proposals for IKE itself, such as "aes256gcm16-prfsha384-x25519-ke1_mlkem768"."""
    pfs: Literal["prefer", "required", "off"] = "prefer"
    """Whether a rekeyed child has a key exchange of its own."""
    pq: Literal["prefer", "required"] = "prefer"
    """Whether keys must stand a quantum computer (ML-KEM, RFC 9370)."""
    ppk: PpkTable | None = None
    """A postquantum preshared key."""
    port: UdpPort = 500
    """UDP port of the peer's IKE."""
    mobike: bool = True
    """Let both sides change their addresses (RFC 4555)."""
    force_encap: bool = False
    """ESP goes in UDP even without a NAT."""
    fragmentation: Literal[0] | Annotated[int, Field(ge=576, le=65535)] = 1280
    """Bytes of an IP datagram above which IKE is sent in fragments (RFC 7383); 0 = never."""
    dpd: Duration = 120
    """Time without a sign of life after which the peer is asked; 0 = never."""
    rekey_time: Duration = 14400
    """Age of an IKE SA when its keys are replaced, less up to a tenth; a tenth above it the SA ends."""
    reauth_time: Duration = 0
    """Age of an IKE SA when both sides prove themselves again; 0 = never."""
    unique: Literal["replace", "keep", "off"] = "replace"
    """A second IKE SA of the same identity: it replaces the first, it is refused, both stay."""
    childless: Literal["allow", "never", "force"] = "allow"
    """IKE SAs without a child (RFC 6023)."""
    keepalive: Duration = 20
    """Time between keepalives behind a NAT; 0 = none."""
    ask_address: list[Literal["ipv4", "ipv6"]] = []
    """Ask the peer for addresses of our own. The tunnel is narrowed to them, but nothing puts them on an interface,
    since there is no tun port yet: `xdpsec list-peers --json` and the log tell which they are."""
    pool: PoolTable | None = None
    """Addresses for peers that ask."""


class IkeChildPart(Table):
    """What a negotiated child says beyond its prefixes."""

    esp: EspProposals | None = None
    """Proposals for ESP, such as "aes256gcm16-x25519"; the key exchange is for rekeys."""
    ah: AhProposals | None = None
    """Proposals for AH in place of ESP, such as "sha256-x25519". Negotiated, but not carried yet."""
    mode: Literal["tunnel", "transport"] = "tunnel"
    """How packets are wrapped. Transport mode is negotiated, but not carried yet."""
    start: Literal["on-start", "on-traffic", "wait"] = "on-start"
    """When the SAs are negotiated: with the gateway, with the first packet, when the peer does. "wait" for `any`."""
    per_worker: bool = False
    """A pair of SAs for each worker (RFC 9611), so that one child uses all cores."""
    rekey_time: Duration = 3600
    """Age of an SA when it is replaced, less up to a tenth; a tenth above it the SA ends. 0 = never."""
    rekey_bytes: Count = 0
    """The same by bytes of inner packets; 0 = never."""
    rekey_packets: Count = 0
    """The same by packets."""
