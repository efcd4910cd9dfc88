"""Which line of the configuration a sentence of the machines points to, whole where it can be said whole. Sentences
in, sentences out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from xdpsec.config.proposals import Offer
from xdpsec.config.values import Child, Config, Peer
from xdpsec.config.values_ike import Ike
from xdpsec.daemon.ike import pasting
from xdpsec.ike.events import ChildFailed, IkeDown
from xdpsec.ike.proposals import IN_FULL
from xdpsec.numbers import NotifyType

#: Words of a sentence about authentication -> the keys of the peer to look at, what to do.
_AUTHENTICATION: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("the peer refuses us", ("auth",), "the peer's log says why; compare this, local_id and remote_id with the peer's"),
    ("secrets differ", ("auth", "psk_file"), "put the same secret there as at the peer; else compare the identities"),
    ("another identity than", ("remote_id",), "write who the peer says it is, or change that there"),
    ("is configured for this address", ("remote_id",), "write who the peer says it is, or change that there"),
    ("which is not configured for", ("auth",), "prove it on both sides by a secret, or by certificates"),
    ("sent no certificate", ("auth", "ca"), "let the peer send its certificate, or use a secret on both sides"),
    ("postquantum preshared", ("ppk",), "write the same id and key as at the peer, or required = false"),
    ("has expired", ("auth", "ca"), "renew that certificate; see that both clocks are right"),
    ("is not valid yet", ("auth", "ca"), "see that both clocks are right"),
    ("revo", ("auth", "crl"), "give the peer another certificate, or see crl and revocation"),
    ("does not speak for", ("remote_id",), "write an identity that the certificate has, or have another one signed"),
    ("authorit", ("auth", "ca"), "name the authority that signed the peer's certificate"),
    ("", ("auth",), "compare it, local_id and remote_id with the peer's"),
)  # fmt: skip
#: Refusal of a child -> the keys of its table to look at.
_CHILD: dict[int, tuple[str, ...]] = {
    NotifyType.TS_UNACCEPTABLE: ("local", "remote"),
    NotifyType.NO_PROPOSAL_CHOSEN: ("esp",),
    NotifyType.INVALID_KE_PAYLOAD: ("esp",),
}


def _line(config: Config, *path: str) -> str:
    return f"{config.file}:{config.line(path)}: {'.'.join(path)}"


def reach(remote: str, ports: str = "500 and 4500") -> str:
    """For a peer that does not answer."""
    return f"see that UDP {ports} reach {remote or 'us'} both ways, and that IKE runs there"


def of_peer(config: Config, peer: Peer, ike: Ike, down: IkeDown) -> str:
    """The line to change, or where else to look; "" = nothing is wrong."""
    path = ("peers", peer.name)
    if down.reason == "proposal":
        return of_proposal(config, peer, ike, down.text)
    if down.reason == "timeout":
        return reach(peer.remote)
    if down.reason == "authentication":
        keys, advice = next(row[1:] for row in _AUTHENTICATION if row[0] in down.text)
        file = (ike.auth.psk_file or ike.auth.certificate) if keys[-1] in ("auth", "psk_file") else ""
        return f"{_line(config, *path, *keys)}{f' ({file})' if file else ''}: {advice}"
    return ""


def of_proposal(config: Config, peer: Peer, ike: Ike, text: str) -> str:
    """For a refusal of IKE's own proposals."""
    path = ("peers", peer.name, "ike")
    return (
        _whole(config, path, text, ike.offers, keep=not peer.remote, pq=ike.pq)
        or _ours(config, path, text, ike.offers)
        or f"{_line(config, *path)}: accept what the peer offers, or change the peer's proposal"
    )


def of_child(config: Config, child: Child, failed: ChildFailed) -> str:
    keys = _CHILD.get(failed.notify, ())
    if keys == ("esp",) and child.negotiated is not None:
        return of_child_proposal(config, child, failed.text)
    fixes = [_line(config, "peers", child.peer, "children", child.name, key) for key in keys]
    return f"compare with the peer's: {', '.join(fixes)}" if fixes else ""


def of_child_proposal(config: Config, child: Child, text: str) -> str:
    """For a refusal of a child's proposals, by either side."""
    assert child.negotiated is not None
    table, offers = ("peers", child.peer, "children", child.name), child.negotiated.offers
    path = (*table, "ah" if child.negotiated.ah else "esp")
    pfs = _line(config, "peers", child.peer, "pfs")
    if re.search(r" key exchange: the peer offers NONE;", text):
        return f'{pfs}: write pfs = "prefer", or have the peer exchange keys for children too'
    if re.search(r" key exchange: the peer offers [^;]*; we accept NONE", text) and _pfs(config, child) == "off":
        return f'{pfs}: write pfs = "prefer", or have the peer exchange no keys for children'
    return (
        _whole(config, path, text, offers, keep=False)
        or _ours(config, path, text, offers)
        or f"compare with the peer's: {_line(config, *path)}"
    )


def of_warning(config: Config, peer: Peer, ike: Ike, text: str) -> str:
    """For what only a log line says: a peer that calls and offers a child what it does not take."""
    if IN_FULL not in text:
        return ""
    named = re.search(r"no proposal for child (\S+): ", text)
    child = next((one for one in peer.children if named and one.name == named[1] and one.negotiated), None)
    return of_child_proposal(config, child, text) if child else of_proposal(config, peer, ike, text)


def _pfs(config: Config, child: Child) -> str:
    return next((peer.ike.pfs for peer in config.peers if peer.name == child.peer and peer.ike), "")


def _whole(config: Config, path: tuple[str, ...], text: str, ours: Sequence[Offer], keep: bool, pq: str = "") -> str:
    """The line as it should stand there; "" where it cannot be told. What is there now is kept if somebody wrote it, or
    if others than this peer may live by it (`keep`)."""
    new = pasting.proposal(text, path[-1], ours)
    if not new or (pq == "required" and "_mlkem" not in new):
        return ""
    weak = " and allow_legacy = true in [gateway]" if pasting.is_weak(new) and not config.gateway.allow_legacy else ""
    line = pasting.line(path[-1], ours if keep or path in config.lines else (), new)
    return f"{_line(config, *path)}: write {line}{weak}, or change the peer's proposal"


def _ours(config: Config, path: tuple[str, ...], text: str, ours: Sequence[Offer]) -> str:
    """A peer that refuses does not say what it would take: what it can choose from, in strongSwan's words too."""
    if "the peer refuses" not in text:
        return ""
    words = ", ".join(map(pasting.word_of, ours))
    return f"{_line(config, *path)}: write what the peer takes, or let it take one of {words}"
