"""The cases as xdpsec is configured for them: one peer a case, as docs/config.md has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interop.ike import credentials
from interop.ike.cases import DEFAULT, NAME_SERVER, Case
from interop.ike.ground import OUTSIDE
from interop.ike.strongswan import PPK_ID, WIDE

CHILD, INSIDE = "net", "lan0"
USER, WORKERS = "nobody", 2


def write(directory: Path, cases: Sequence[Case]) -> Path:
    """The configuration file, with secrets and certificates beside it."""
    lines = [
        "[gateway]", f'outside = ["{OUTSIDE}"]', f'inside = ["{INSIDE}"]', f"workers = {WORKERS}", f'user = "{USER}"',
        f'run_dir = "{directory}/run"', f'state_dir = "{directory}/state"', "allow_legacy = true",
    ]  # fmt: skip
    _keep(directory / "psk", credentials.PSK)
    _keep(directory / "ppk", credentials.PPK)
    _keep(directory / "ca.pem", credentials.authority().certificate)
    for case in cases:
        lines += _peer(directory, case)
    config = directory / "xdpsec.toml"
    config.write_text("\n".join(lines) + "\n")
    return config


def _keep(path: Path, text: str) -> str:
    """A file that is root's alone; its name, quoted."""
    if not path.exists():
        path.touch(0o600)
        path.write_text(text)
    return f'"{path}"'


def _peer(directory: Path, case: Case) -> list[str]:
    local, remote = case.left_prefix, WIDE if case.option("wide") == "left" else case.right_prefix
    begins = case.role == "initiator"
    mine, theirs = case.ids
    lines = [
        f"[peers.{case.key}]", f'remote = "{case.right_seen}"', f'local_id = "{mine}"', f'remote_id = "{theirs}"',
        f"auth = {_auth(directory, case)}", *_proposals("ike", case.option("left-ike", case.ike)),
        f"mobike = {str(bool(case.option('mobike'))).lower()}",
    ]  # fmt: skip
    if case.option("ask") == "no":
        lines.append("send_remote_id = false")
    if case.option("fragmentation") == "no":
        lines.append("fragmentation = 0")
    elif case.scenario == "fragments":
        lines.append("fragmentation = 800")  # an answer without CERTREQ and with one certificate fits 1280
    if dpd := case.option("our-dpd", case.option("dpd")):
        lines.append(f"dpd = {dpd.removesuffix('s')}")
    if case.option("reauth"):
        lines.append(f"reauth_time = {case.option('reauth').removesuffix('s')}")
    if case.option("childless"):
        lines.append(f'childless = "{case.option("childless") if begins else "allow"}"')
    if case.option("ppk"):
        lines.append(f'ppk = {{ id = "{PPK_ID}", file = "{directory}/ppk", required = true }}')
    if case.scenario == "pool":
        lines.append(
            'ask_address = ["ipv4"]' if begins else f'pool = {{ addresses = ["{case.pool}"], dns = ["{NAME_SERVER}"] }}'
        )
        local, remote = (case.pool, remote) if begins else (local, case.pool)
    lines += [
        f"[peers.{case.key}.children.{CHILD}]", f'local = ["{local}"]', f'remote = ["{remote}"]',
        *_proposals(case.option("protocol", "esp"), case.esp), f'mode = "{case.option("mode", "tunnel")}"',
        'start = "wait"', "rekey_time = 0",
    ]  # fmt: skip
    return lines


def _proposals(key: str, proposals: str) -> list[str]:
    """The line of the configuration; none where the default stands."""
    if proposals == DEFAULT:
        return []
    return [f"{key} = [" + ", ".join(f'"{one}"' for one in proposals.split(",")) + "]"]


def _auth(directory: Path, case: Case) -> str:
    kind = credentials.kind_of(case.auth)
    if not kind:
        return f'{{ psk_file = "{directory}/psk" }}'
    own, name = credentials.leaf(case.ids[0], kind), f"{kind}-{case.option('ids', 'name')}"
    certificate = _keep(directory / f"{name}.pem", own.certificate)
    key = _keep(directory / f"{name}.key", own.key)
    more = ""
    if case.option("wrong") == "revoked":
        theirs = credentials.leaf(case.ids[1], kind, "revoked")
        more = f", crl = [{_keep(directory / 'ca.crl', credentials.revoking(theirs))}]"
    prefer = _signature(case.auth)
    return f'{{ certificate = {certificate}, key = {key}, ca = ["{directory}/ca.pem"], signature = "{prefer}"{more} }}'


def _signature(auth: str) -> str:
    """`rsa/pss-sha384` as xdpsec writes it: a peer that insists tells us so only by refusing."""
    kind, _, digest = auth.partition("-")
    family = "pss" if "/pss" in kind else "pkcs1" if kind.startswith("rsa") else "ecdsa"
    return f"{family}-{digest}" if digest else "auto"
