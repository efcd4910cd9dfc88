"""The line that `xdpsec explain` tells to write: pasted where it says, it takes what was refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as some
from ike_rig import CONFIG

from xdpsec.config import proposals as words
from xdpsec.config.loader import parse
from xdpsec.config.values import Config
from xdpsec.daemon.credentials import Credentials
from xdpsec.daemon.ike import pasting
from xdpsec.daemon.ike.explain import Memory, Outlook
from xdpsec.daemon.ike.pasting import word_of
from xdpsec.daemon.ike.peers import settings
from xdpsec.ike import proposals
from xdpsec.ike.events import ChildFailed, IkeDown, IkeUp, Note, Path
from xdpsec.ike.identities import parse_identity
from xdpsec.ike.settings import Algorithm, EspOffer, IkeOffer
from xdpsec.numbers import NotifyType, Protocol, TransformType
from xdpsec.wire.payloads import Proposal, Transform

BRANCH = CONFIG.replace("MORE", "").split("\n[peers.road]")[0]
FILES = {"/etc/xdpsec/branch.psk": b"a secret of some length\n"}
REMOTE = "203.0.113.7"
OTHER = """
[peers.other]
remote = "192.0.2.200"
auth = { psk_file = "/etc/xdpsec/branch.psk" }
children.net = { local = ["10.1.0.0/16"], remote = ["10.8.0.0/24"] }
"""
PATH = Path("198.51.100.1", 500, REMOTE, 500)
WHO = parse_identity("branch")


def configured(ike: str = "", esp: str = "", peer: str = "", gateway: str = "") -> str:
    """BRANCH with these lines in its tables."""
    text = BRANCH.replace("[gateway]\n", f"[gateway]\n{gateway}\n")
    text = text.replace("[peers.branch]\n", f"[peers.branch]\n{ike}\n{peer}\n")
    assert "[peers.branch.children.lan]\n" in text
    return text.replace("[peers.branch.children.lan]\n", f"[peers.branch.children.lan]\n{esp}\n")


def loaded(text: str) -> Config:
    return parse(text, "gw.toml", (0, 1))


def offers(text: str, child: bool = False) -> tuple[proposals.Offers, str]:
    """What machines are told: the peer's offers or its first child's, and pfs."""
    peer = settings(loaded(text), FILES, Credentials(FILES, {}), lambda remote: "198.51.100.1")[0]
    return (peer.children[0].offers if child else peer.ike_offers), peer.pfs


def ike_from(*texts: str) -> tuple[Proposal, ...]:
    """As a peer that is configured by these words."""
    made = [words.parse_ike(text) for text in texts]
    return proposals.build(
        tuple(IkeOffer(tuple(Algorithm(*a) for a in o.encr), o.prf, o.integ, o.ke, o.extra) for o in made)
    )


def esp_from(*texts: str) -> tuple[Proposal, ...]:
    made = [words.parse_esp(text) for text in texts]
    return proposals.build(
        tuple(EspOffer(Protocol.ESP, tuple(Algorithm(*a) for a in o.encr), o.integ, o.ke, o.extra, o.esn) for o in made)
    )


def explained(config: Config, memory: Memory, what: str) -> list[str]:
    peer = config.peers[0]
    assert peer.ike
    rows = memory.findings(config, peer, peer.ike, lambda index: False, Outlook(), 1.0)
    return [row.fix for row in rows if row.what == what and row.fix]


def written(fix: str) -> str:
    found = re.search(r"write ((?:ike|esp) = \[.*?\])", fix)
    assert found, fix
    return found[1]


def refused_ike(text: str, offered: Sequence[Proposal]) -> str:
    """What explain tells to do about a peer that called with this."""
    refusal = proposals.choose(offers(text)[0], offered, 0)
    assert isinstance(refusal, proposals.Refused)
    memory = Memory()
    memory.went(IkeDown(1, "", False, False, "proposal", f"no IKE proposal fits: {refusal}", 14, REMOTE))
    (fix,) = explained(loaded(text), memory, "branch")
    return fix


IKE = [
    ("", ["aes256-sha256-modp2048"], 'ike = ["aes256-sha256-modp2048"]'),
    ("", ["aes128-aes256-sha1-sha256-prfsha1-prfsha256-modp2048-ecp256"], 'ike = ["aes128-sha256-ecp256"]'),
    ("", ["aes128gcm16-aes256gcm16-prfsha512-x448"], 'ike = ["aes256gcm16-prfsha512-x448"]'),
    ("", ["3des-sha1-modp2048", "aes256ccm16-prfsha256-ecp521"], 'ike = ["aes256ccm16-prfsha256-ecp521"]'),
    ("", ["aes256-sha384-prfsha256-modp4096"], 'ike = ["aes256-sha384-prfsha256-modp4096"]'),
    (
        'ike = ["aes256gcm16-prfsha384-x25519"]',
        ["aes256gcm16-prfsha384-x448-ke1_mlkem1024"],
        'ike = ["aes256gcm16-prfsha384-x25519", "aes256gcm16-prfsha384-x448-ke1_mlkem1024"]',
    ),
]


@pytest.mark.parametrize(("ours", "theirs", "line"), IKE)
def test_the_line_for_ike_takes_what_was_refused(ours: str, theirs: list[str], line: str) -> None:
    offered = ike_from(*theirs)
    fix = refused_ike(configured(ours), offered)
    assert written(fix) == line
    assert "allow_legacy" not in fix
    assert isinstance(proposals.choose(offers(configured(line))[0], offered, 0), proposals.Chosen)


def test_what_is_weak_is_said_to_be_so() -> None:
    offered = ike_from("3des-sha1-modp1024")
    fix = refused_ike(configured(), offered)
    assert f"write {written(fix)} and allow_legacy = true in [gateway]" in fix
    pasted = configured(written(fix), gateway="allow_legacy = true")
    assert isinstance(proposals.choose(offers(pasted)[0], offered, 0), proposals.Chosen)
    assert "allow_legacy" not in refused_ike(configured(gateway="allow_legacy = true"), offered)


def test_a_peer_of_many_keeps_what_the_others_use() -> None:
    """Who may be anybody is one line for all of them."""
    text = configured(esp='start = "wait"').replace(f'remote = "{REMOTE}"', 'remote = "any"')
    text = text.replace("on-traffic", "wait")
    offered = ike_from("aes256-sha256-modp2048")
    memory = Memory()
    refusal = f"no proposal for the IKE SA: {proposals.choose(offers(text)[0], offered, 0)}"
    memory.noted(Note(1, "warning", "the peer sent what is refused", (("peer", "branch"), ("why", refusal))), 0.5)
    (fix,) = explained(loaded(text), memory, "")
    after = offers(configured(written(fix)))[0]
    assert after[:-1] == offers(text)[0]
    assert isinstance(proposals.choose(after, offered, 0), proposals.Chosen)


def test_guests_who_were_refused_before_they_said_who_they_are() -> None:
    """The latest of them, where no other peer has their address."""
    text = configured(esp='start = "wait"').replace(f'remote = "{REMOTE}"', 'remote = "any"')
    text = text.replace("on-traffic", "wait") + OTHER
    offered, memory = ike_from("aes256-sha256-modp2048"), Memory()
    why = f"no IKE proposal fits: {proposals.choose(offers(text)[0], offered, 0)}"
    for number in (*range(1, 9), 200):
        memory.went(IkeDown(1, "", False, False, "proposal", why, 14, f"192.0.2.{number}"))
    config = loaded(text)
    peer = config.peers[0]
    assert peer.ike
    rows = list(memory.findings(config, peer, peer.ike, lambda index: False, Outlook(), 1.0))
    told = [row for row in rows if " called: no IKE proposal fits" in row.text]
    assert [row.text.split()[1] for row in told] == ["192.0.2.8", "192.0.2.7", "192.0.2.6"]
    assert all(written(row.fix).endswith('"aes256-sha256-modp2048"]') for row in told)


@pytest.mark.parametrize(
    "theirs",
    [
        (Transform(TransformType.ENCR, 2), Transform(TransformType.PRF, 2), Transform(TransformType.KE, 14)),  # DES
        (Transform(TransformType.ENCR, 20, 256), Transform(TransformType.PRF, 7), Transform(TransformType.KE, 22)),
        (Transform(TransformType.ENCR, 11), Transform(TransformType.PRF, 5), Transform(TransformType.KE, 14)),  # NULL
        (Transform(TransformType.ENCR, 12, 256), Transform(TransformType.PRF, 5), Transform(TransformType.KE, 14)),
        (),
    ],
)
def test_what_no_configuration_can_say_makes_no_line(theirs: tuple[Transform, ...]) -> None:
    fix = refused_ike(configured(), (Proposal(1, Protocol.IKE, b"", theirs),))
    assert re.fullmatch(r"gw.toml:\d+: peers.branch.ike: accept what the peer offers, or .*", fix)


def test_no_line_gives_up_what_pq_demands() -> None:
    fix = refused_ike(configured(peer='pq = "required"'), ike_from("aes256gcm16-prfsha384-x25519"))
    assert "write" not in fix
    fix = refused_ike(configured(peer='pq = "required"'), ike_from("aes256gcm16-prfsha384-x448-ke1_mlkem1024"))
    assert written(fix).endswith('"aes256gcm16-prfsha384-x448-ke1_mlkem1024"]')


def test_who_refuses_us_is_told_what_there_is() -> None:
    down = IkeDown(1, "branch", True, False, "proposal", "the peer refuses us: NO_PROPOSAL_CHOSEN", 14, REMOTE)
    memory = Memory()
    memory.went(down)
    (fix,) = explained(loaded(configured('ike = ["aes256-sha256-modp2048"]')), memory, "branch")
    assert fix.endswith("peers.branch.ike: write what the peer takes, or let it take one of aes256-sha256-modp2048")


# --- children -----------------------------------------------------------------------------------------------------


def child_fix(text: str, offered: Sequence[Proposal], ike_auth: bool) -> str:
    """What explain says when the peer asked for the child: a warning, with the IKE SA up."""
    known, pfs = offers(text, child=True)
    refusal = proposals.choose(proposals.for_exchange(known, pfs, ike_auth), offered, 0)  # type: ignore[arg-type]
    assert isinstance(refusal, proposals.Refused)
    memory = Memory()
    why = ("why", f"no proposal for child lan: {refusal}")
    memory.noted(Note(1, "warning", "the peer's first child SA is refused", (("peer", "branch"), why)), 0.5)
    memory.came(IkeUp(1, "branch", PATH, WHO, WHO, False, "", False, False, 0.1), 0.55)
    (fix,) = explained(loaded(text), memory, "")
    return fix


ESP = [
    ("", "", ["aes256-sha256"], True, 'esp = ["aes256-sha256-x25519-ecp256-ecp384-modp3072"]'),
    ("", 'pfs = "off"', ["aes128-sha1"], True, 'esp = ["aes128-sha1"]'),
    ("", "", ["aes256-sha256-modp2048"], False, 'esp = ["aes256-sha256-modp2048"]'),
    ("", "", ["aes128gcm8-aes256gcm12-ecp521"], False, 'esp = ["aes128gcm8-ecp521"]'),
    ('esp = ["aes256gcm16-esn"]', "", ["aes256gcm16-noesn"], True, 'esp = ["aes256gcm16-esn", "aes256gcm16"]'),
    ("", "", ["null-aes256-sha256-sha512-x25519"], False, 'esp = ["aes256-sha256-x25519"]'),
]


@pytest.mark.parametrize(("ours", "peer", "theirs", "ike_auth", "line"), ESP)
def test_the_line_for_a_child_takes_what_was_refused(
    ours: str, peer: str, theirs: list[str], ike_auth: bool, line: str
) -> None:
    offered = esp_from(*theirs)
    fix = child_fix(configured("", ours, peer), offered, ike_auth)
    assert "peers.branch.children.lan.esp: write" in fix
    assert written(fix) == line
    known, pfs = offers(configured("", line, peer), child=True)
    fits = proposals.for_exchange(known, pfs, ike_auth)  # type: ignore[arg-type]
    assert isinstance(proposals.choose(fits, offered, 0), proposals.Chosen)


TABLES = {
    TransformType.ENCR: {*words.ENCR.values(), (2, 0), (25, 256)},
    TransformType.PRF: {(number, 0) for number in (*words.PRF.values(), 1)},
    TransformType.INTEG: {(number, 0) for number in (*words.INTEG.values(), 0, 1)},
    TransformType.KE: {(number, 0) for number in (*words.KE.values(), 0, 22)},
    TransformType.ADDKE1: {(number, 0) for number in (*words.KE.values(), 0)},
    TransformType.ESN: {(0, 0), (1, 0)},
}


@some.composite
def whatever(draw: some.DrawFn, child: bool) -> tuple[Proposal, ...]:
    """Proposals of a peer that makes sense or not."""
    kinds = [TransformType.ENCR, TransformType.INTEG, TransformType.KE, TransformType.ADDKE1]
    kinds.append(TransformType.ESN if child else TransformType.PRF)
    made = []
    for number in range(1, draw(some.integers(1, 3)) + 1):
        rows = {kind: draw(some.lists(some.sampled_from(sorted(TABLES[kind])), max_size=3)) for kind in kinds}
        transforms = tuple(Transform(kind, *one) for kind, row in rows.items() for one in row)
        made.append(Proposal(number, Protocol.ESP if child else Protocol.IKE, b"", transforms))
    return tuple(made)


@given(some.data(), some.booleans(), some.sampled_from(["", "aes256gcm16-prfsha384-x25519", "aes128-sha256-modp2048"]))
def test_whatever_a_peer_offers_a_line_that_is_told_takes_it(data: some.DataObject, child: bool, ours: str) -> None:
    key = "esp" if child else "ike"
    offered = data.draw(whatever(child))
    line = f'{key} = ["{ours.replace("-prfsha384", "") if child else ours}"]' if ours else ""

    def choose(line: str) -> proposals.Chosen | proposals.Refused:
        text = configured("" if child else line, line if child else "", gateway="allow_legacy = true")
        known, pfs = offers(text, child)
        return proposals.choose(proposals.for_exchange(known, pfs) if child else known, offered, 0)  # type: ignore[arg-type]

    refusal = choose(line)
    if isinstance(refusal, proposals.Chosen):
        return
    config = loaded(configured("" if child else line, line if child else "", gateway="allow_legacy = true"))
    peer, negotiated = config.peers[0].ike, config.children[0].negotiated
    assert peer
    assert negotiated
    known = negotiated.offers if child else peer.offers
    new = pasting.proposal(str(refusal), key, known)
    assert not new or isinstance(choose(pasting.line(key, known, new)), proposals.Chosen)


@pytest.mark.parametrize(
    ("pfs", "theirs"), [("required", ["aes256gcm16"]), ("off", ["aes256gcm16-x25519"])], ids=["none", "one"]
)
def test_where_pfs_parts_us_that_is_the_line(pfs: str, theirs: list[str]) -> None:
    text = configured(peer=f'pfs = "{pfs}"')
    fix = child_fix(text, esp_from(*theirs), False)
    assert 'peers.branch.pfs: write pfs = "prefer"' in fix
    known, prefer = offers(text.replace(f'pfs = "{pfs}"', 'pfs = "prefer"'), child=True)
    fits = proposals.for_exchange(known, prefer)  # type: ignore[arg-type]
    assert isinstance(proposals.choose(fits, esp_from(*theirs), 0), proposals.Chosen)


def test_a_child_that_the_peer_refuses_has_its_own_words() -> None:
    memory = Memory()
    memory.came(IkeUp(1, "branch", PATH, WHO, WHO, True, "", False, False, 0.1), 0.0)
    failed = ChildFailed(1, "branch", "lan", 0, None, NotifyType.NO_PROPOSAL_CHOSEN, "the peer refuses the child SA")
    memory.failed(failed)
    config = loaded(configured("", 'esp = ["aes256-sha256"]'))
    (fix,) = explained(config, memory, "branch/lan")
    assert fix.endswith("lan.esp: write what the peer takes, or let it take one of aes256-sha256")
    memory.failed(replace(failed, text="another reason"))
    assert explained(config, memory, "branch/lan")[0].startswith("compare with the peer's: ")


@pytest.mark.parametrize(
    "word",
    [
        "aes256gcm16-chacha20poly1305-prfsha384-x25519-ecp256-ke1_mlkem768-ke1_none",
        "aes128-aes256-sha256-sha384-modp2048",
        "aes256-sha256-prfsha512-modp2048",
    ],
)
def test_an_offer_is_written_as_it_was(word: str) -> None:
    assert word_of(words.parse_ike(word)) == word
