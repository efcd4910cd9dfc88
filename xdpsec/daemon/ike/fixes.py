"""Which line of the configuration a sentence of the machines points to, and the words in which a configuration would
say what they name. Sentences in, sentences out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from xdpsec.config import proposals
from xdpsec.config.values import Child, Config, Peer
from xdpsec.config.values_ike import Ike
from xdpsec.ike.events import ChildFailed, IkeDown
from xdpsec.numbers import Encr, Integ, Ke, NotifyType, Prf

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
_CHILD = {
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
        return f"{_line(config, *path, 'ike')}: accept what the peer offers, or change the peer's proposal"
    if down.reason == "timeout":
        return reach(peer.remote)
    if down.reason == "authentication":
        keys, advice = next(row[1:] for row in _AUTHENTICATION if row[0] in down.text)
        file = (ike.auth.psk_file or ike.auth.certificate) if keys[-1] in ("auth", "psk_file") else ""
        return f"{_line(config, *path, *keys)}{f' ({file})' if file else ''}: {advice}"
    return ""


def of_child(config: Config, child: Child, failed: ChildFailed) -> str:
    keys = _CHILD.get(NotifyType(failed.notify), ()) if failed.notify else ()
    fixes = [_line(config, "peers", child.peer, "children", child.name, key) for key in keys]
    return f"compare with the peer's: {', '.join(fixes)}" if fixes else ""


# --- names of algorithms ---------------------------------------------------------------------------------------------


def _written() -> dict[str, str]:
    """AES_GCM_16-256 -> aes256gcm16."""
    found: dict[str, str] = {}
    for word, (encr, bits) in proposals.ENCR.items():
        name = Encr(encr).name
        found.setdefault(f"{name}-{bits}" if bits else name, word)
    registries: tuple[tuple[Mapping[str, int], type[Integ | Prf | Ke]], ...] = (
        (proposals.AH_INTEG, Integ),
        (proposals.PRF, Prf),
        (proposals.KE, Ke),
    )
    for words, registry in registries:
        for word, number in words.items():
            found.setdefault(registry(number).name, word)
    return found


_WRITTEN = _written()


def as_written(text: str) -> str:
    """The names of algorithms as a proposal has them; NONE and whatever a configuration cannot say stays."""
    return re.sub(r"\b[A-Z][A-Z0-9_]*(-\d+)?\b", lambda found: _WRITTEN.get(found[0], found[0]), text)
