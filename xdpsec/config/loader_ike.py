"""From the tables of a negotiating peer to its values: defaults filled in, proposals parsed."""

from __future__ import annotations

from xdpsec.config import proposals
from xdpsec.config.schema_ike import AuthTable, IkeChildPart, IkePart
from xdpsec.config.values_ike import AddressPool, Auth, Ike, Negotiated, PpkFile

_FAMILIES = {"ipv4": 4, "ipv6": 6}


def ike(table: IkePart) -> Ike | None:
    """None for a peer with manual keys."""
    if table.auth is None:
        return None
    required = table.pq == "required"
    return Ike(
        local_id=table.local_id or "",
        remote_id=table.remote_id or "",
        send_remote_id=table.send_remote_id,
        auth=_auth(table.auth),
        offers=tuple(map(proposals.parse_ike, table.ike)) if table.ike else proposals.default_ike(required),
        port=table.port,
        pfs=table.pfs,
        pq=table.pq,
        ppk=PpkFile(table.ppk.id, table.ppk.file, table.ppk.required) if table.ppk else None,
        mobike=table.mobike,
        force_encap=table.force_encap,
        fragment=table.fragmentation,
        dpd=table.dpd,
        rekey=table.rekey_time,
        reauth=table.reauth_time,
        unique=table.unique,
        childless=table.childless,
        keepalive=table.keepalive,
        ask_address=tuple(_FAMILIES[name] for name in dict.fromkeys(table.ask_address)),
        pool=AddressPool(tuple(table.pool.addresses), tuple(table.pool.dns), tuple(table.pool.domains))
        if table.pool
        else None,
    )


def _auth(table: AuthTable) -> Auth:
    return Auth(
        psk_file=table.psk_file or "",
        certificate=table.certificate or "",
        key=table.key or "",
        passphrase=table.passphrase or "",
        ca=tuple(table.ca or ()),
        crl=tuple(table.crl),
        ocsp=table.ocsp or "",
        revocation=table.revocation,
        send_certificate=table.send_certificate,
        signature=table.signature,
    )


def negotiated(table: IkeChildPart, peer: IkePart) -> Negotiated:
    if table.ah:
        offers = tuple(map(proposals.parse_ah, table.ah))
    elif table.esp:
        offers = tuple(map(proposals.parse_esp, table.esp))
    else:
        offers = proposals.default_esp(peer.pfs != "off", peer.pq == "required")
    return Negotiated(
        offers=offers,
        ah=bool(table.ah),
        mode=table.mode,
        start=table.start,
        per_worker=table.per_worker,
        rekey=table.rekey_time,
        rekey_bytes=table.rekey_bytes,
        rekey_packets=table.rekey_packets,
    )
