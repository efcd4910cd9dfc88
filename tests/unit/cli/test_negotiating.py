"""list-peers, up, down, rekey, explain, log and keylog against a served socket: what a person and a program get, and
which line of the configuration a refusal points to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import desk as tools
import pytest
from desk import answering, sentence
from gateway import FakeSource

from xdpsec.config.loader import parse
from xdpsec.daemon.ike.desk import Desk
from xdpsec.daemon.ike.explain import WARNINGS, Memory, Outlook
from xdpsec.daemon.lines import Lines
from xdpsec.ike import events
from xdpsec.ike.identities import parse_identity
from xdpsec.metrics.values import PeerView
from xdpsec.numbers import NotifyType

Xdpsec = Callable[..., tools.Ran]
TEXT = """[gateway]
outside = ["out0"]
inside = ["in0"]
run_dir = "RUN"
[peers.branch]
remote = "203.0.113.7"
local_id = "hq"
remote_id = "branch"
ike = ["aes256gcm16-prfsha384-x25519"]
auth = { psk_file = "/etc/xdpsec/branch.psk" }
[peers.branch.children.lan]
local = ["10.1.0.0/16"]
remote = ["10.2.0.0/16"]
[peers.branch.children.lab]
local = ["10.1.0.0/16"]
remote = ["10.9.0.0/16"]
start = "on-traffic"
"""
PATH = events.Path("198.51.100.1", 500, "203.0.113.7", 500)
UP = events.IkeUp(
    1, "branch", PATH, parse_identity("hq"), parse_identity("branch"), True, "AES_GCM_16-256", True, False, 0.1
)
DOWN = events.IkeDown(1, "branch", True, False, "timeout", "the peer did not answer", 0, "203.0.113.7")


class Machines:
    """What the desk sees of Ike, with what a test put into it."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.children = SimpleNamespace(is_up=lambda index: index in self.up)
        self.up: set[int] = set()
        self.asked: list[tuple[str, ...]] = []
        self.count = 2
        self.keys: Lines | None = None
        self.outlook_is = Outlook()
        self.peer = PeerView("branch", "203.0.113.7", 2, False)

    def outlook(self, peer: str) -> Outlook:
        return self.outlook_is

    def peers(self) -> tuple[Any, ...]:
        return (self.peer,)

    def bring_up(self, *names: str) -> int:
        self.asked.append(("up", *names))
        return self.count

    def bring_down(self, *names: str) -> int:
        self.asked.append(("down", *names))
        return self.count

    def rekey(self, *names: str) -> int:
        self.asked.append(("rekey", *names))
        return self.count

    def give_keys(self, to: Lines | None) -> None:
        self.keys = to


class Scene:
    def __init__(self, folder: Path, xdpsec: Xdpsec) -> None:
        self.file, self._run, self._xdpsec = folder / "gw.toml", folder / "run", xdpsec
        self.file.write_text(TEXT.replace("RUN", str(self._run)))
        self.ike, self.lines = Machines(), Lines()
        config = parse(self.file.read_text(), str(self.file), (0, 1))
        self.desk = Desk(config, self.ike, self.lines, lambda: 160.0)  # type: ignore[arg-type]

    def __call__(self, *words: object) -> tools.Ran:
        with answering(self._run, FakeSource(), self.desk):
            return self._xdpsec(*words, "-c", self.file)

    def explained(self) -> list[dict[str, Any]]:
        ran = self("explain", "branch", "--json")
        assert (ran.status, ran.err) == (0, "")
        found: list[dict[str, Any]] = json.loads(ran.out)
        return found


@pytest.fixture
def scene(tmp_path: Path, xdpsec: Xdpsec) -> Scene:
    return Scene(tmp_path, xdpsec)


def line(scene: Scene, start: str) -> str:
    """file:line of the first line that starts so."""
    number = 1 + next(n for n, text in enumerate(scene.file.read_text().splitlines()) if text.startswith(start))
    return f"{scene.file}:{number}:"


# --- lists and wishes --------------------------------------------------------------------------------------------


def test_list_peers_up_and_down(scene: Scene) -> None:
    assert "down" in scene("list-peers").out
    up = replace(scene.ike.peer, up=True, hybrid=True, initiator=True, address="203.0.113.7", since=100.0)
    given = {"leased": ("10.9.0.7",), "servers": ("10.9.0.1",), "domains": ("example.net",)}
    scene.ike.peer = replace(up, remote_id="branch", suite="AES_GCM_16-256", **given)  # type: ignore[arg-type]
    scene.ike.up = {1}
    (row,) = json.loads(scene("list-peers", "--json").out)
    assert (row["up"], row["children"], row["children_up"], row["age_s"], row["hybrid"]) == (True, 2, 1, 60.0, True)
    assert {key: tuple(row[key]) for key in given} == given
    out = scene("list-peers").out
    assert all(word in out for word in ("branch", "up", "203.0.113.7", "AES_GCM_16-256", "1 of 2", "initiator"))


def test_up_down_and_rekey_hand_on_what_was_named(scene: Scene) -> None:
    assert "2 called for" in scene("up", "branch").out
    assert (
        scene("up", "branch/lab").status == scene("rekey", "branch/lab").status == scene("rekey", "branch").status == 0
    )
    assert "being closed" in scene("down", "branch").out
    wishes = [("up", "branch", ""), ("up", "branch", "lab"), ("rekey", "branch", "lab"), ("rekey", "branch", "")]
    assert scene.ike.asked == [*wishes, ("down", "branch")]


def test_wishes_that_begin_nothing_say_so(scene: Scene) -> None:
    scene.ike.count = 0
    assert "is up" in scene("up", "branch").out
    assert "was down" in scene("down", "branch").out
    sentence(scene("rekey", "branch/lan"), 1, "branch/lan is down", "xdpsec explain branch")


@pytest.mark.parametrize("verb", ["up", "down", "rekey", "explain"])
def test_a_peer_that_there_is_not(scene: Scene, verb: str) -> None:
    sentence(scene(verb, "brnach"), 1, "no peer 'brnach'", "there is branch")
    assert scene.ike.asked == []


def test_a_child_that_there_is_not(scene: Scene) -> None:
    sentence(scene("up", "branch/lam"), 1, "no child 'lam'", "lan, lab")


# --- explain -----------------------------------------------------------------------------------------------------


def test_nothing_was_tried_yet(scene: Scene) -> None:
    peer, lan, lab = scene.explained()
    assert (peer["up"], "nothing was tried" in peer["text"], "xdpsec up branch" in peer["fix"]) == (False, True, True)
    assert "no packet has asked" in lab["text"]
    assert lan["what"] == "branch/lan"


def test_a_refused_proposal_names_the_difference_and_the_line(scene: Scene) -> None:
    text = "no IKE proposal fits: PRF: the peer offers SHA1; we accept SHA2_384"
    scene.ike.memory.went(replace(DOWN, peer="", reason="proposal", text=text, initiator=False))  # nobody's yet
    peer = scene.explained()[0]
    assert peer["text"] == text
    assert line(scene, "ike =") in peer["fix"]
    assert "peers.branch.ike" in peer["fix"]


def test_silence_points_to_the_network_and_a_wrong_secret_to_the_secret(scene: Scene) -> None:
    scene.ike.memory.went(DOWN)
    assert "UDP 500 and 4500 reach 203.0.113.7" in scene.explained()[0]["fix"]
    scene.ike.memory.went(replace(DOWN, reason="authentication", text="the peer refuses us: AUTHENTICATION_FAILED"))
    assert "/etc/xdpsec/branch.psk" in scene.explained()[0]["fix"]


def test_our_own_finding_stands_before_the_peer_s_bare_refusal(scene: Scene) -> None:
    no = replace(DOWN, reason="authentication", text="the peer refuses us: AUTHENTICATION_FAILED")
    scene.ike.memory.went(
        replace(no, peer="", text="the shared secrets differ, or the peer means another", initiator=False)
    )
    scene.ike.memory.went(no)
    scene.ike.outlook_is = Outlook(again_s=12.4)
    first, second, third = scene.explained()[:3]
    assert first["text"].startswith("when it called: the shared secrets differ")
    assert "peers.branch.auth.psk_file (/etc/xdpsec/branch.psk)" in first["fix"]
    assert second["text"].startswith("when we called: the peer refuses us")
    assert third["text"] == "it is called again in 12 s"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("the peer has another identity than branch", "remote_id"),
        ("no peer x is configured for this address", "remote_id"),
        ("the peer authenticates by method 2, which is not configured for branch", "auth"),
        ("certificate CN=a comes from CN=b, and none of our authorities vouches for that", "auth.ca"),
        ("certificate CN=a has expired on 2020-01-01 00:00 UTC", "auth.ca"),
        ("certificate CN=a has been revoked", "auth.crl"),
        ("the peer uses no postquantum preshared key, and one is required", "ppk"),
    ],
)
def test_each_refusal_of_a_proof_has_its_line(scene: Scene, text: str, key: str) -> None:
    scene.ike.memory.went(replace(DOWN, reason="authentication", text=text))
    fix = scene.explained()[0]["fix"]
    assert fix.startswith(f"{scene.file}:")
    assert f": peers.branch.{key}" in fix


@pytest.mark.parametrize(
    ("outlook", "parts"),
    [
        (Outlook(0.2), ("being called",)),
        (Outlook(12.0), ("no answer yet; the call is 12 s old", "UDP 500 and 4500 reach 203.0.113.7")),
        (Outlook(12.0, keyed=True), ("answered our first message", "UDP 4500 reach 203.0.113.7")),
    ],
)
def test_a_call_under_way_is_told(scene: Scene, outlook: Outlook, parts: tuple[str, ...]) -> None:
    scene.ike.outlook_is = outlook
    peer = scene.explained()[0]
    assert all(part in f"{peer['text']} {peer['fix']}" for part in parts)


def test_algorithms_have_the_names_of_a_proposal(scene: Scene) -> None:
    text = "no IKE proposal fits: encryption: the peer offers AES_GCM_16-128, NONE; we accept AES_CBC-256"
    scene.ike.memory.went(replace(DOWN, reason="proposal", text=text))
    assert "the peer offers aes128gcm16, NONE; we accept aes256" in scene.explained()[0]["text"]


@pytest.mark.parametrize(
    ("notify", "keys"),
    [
        (NotifyType.TS_UNACCEPTABLE, ("local", "remote")),
        (NotifyType.NO_PROPOSAL_CHOSEN, ("esp",)),
        (9000, ()),  # of the peer's own: it may send any number
    ],
)
def test_a_refused_child_names_its_lines_until_it_is_up(scene: Scene, notify: int, keys: tuple[str, ...]) -> None:
    scene.ike.memory.came(UP, 160.0)
    scene.ike.memory.failed(events.ChildFailed(1, "branch", "lan", 0, None, notify, "the peer refuses the child SA"))
    peer, lan, _ = scene.explained()
    assert peer["up"]
    assert all(f"peers.branch.children.lan.{key}" in lan["fix"] for key in keys)
    scene.ike.memory.opened("branch", 0)
    scene.ike.up = {0}
    assert scene.explained()[1] == {"what": "branch/lan", "up": True, "text": "SAs in both directions", "fix": ""}


def test_a_peer_is_up_as_long_as_one_ike_sa_stands(scene: Scene) -> None:
    """Two gateways that start together call each other; one of the two IKE SAs gives way (RFC 7296 sec. 2.8.1 tells of
    the like at a rekey)."""
    for ike in (1, 2):
        scene.ike.memory.came(replace(UP, ike=ike), 160.0)
    gone = replace(DOWN, established=True, reason="replaced", text="another IKE SA with the peer has taken over")
    scene.ike.memory.went(gone)
    assert [row["up"] for row in scene.explained()[:1]] == [True]
    assert not any("taken over" in row["text"] for row in scene.explained())
    scene.ike.memory.went(replace(gone, ike=2, reason="deleted", text="the peer deleted the IKE SA"))
    assert (scene.explained()[0]["up"], scene.explained()[0]["text"]) == (False, "the peer deleted the IKE SA")


def test_who_is_refused_beside_one_who_is_up_is_told_without_calling_the_peer_down(scene: Scene) -> None:
    """Guests share one peer of the configuration."""
    scene.ike.memory.came(UP, 160.0)
    scene.ike.memory.went(replace(DOWN, ike=2, reason="authentication", text="its certificate has ended"))
    first, lately = scene.explained()[:2]
    assert first["up"]
    assert (lately["what"], lately["text"]) == ("", "its certificate has ended")


def test_warnings_of_the_peer_are_kept_few_and_forgotten_when_it_comes(scene: Scene) -> None:
    for number in range(WARNINGS + 3):
        fields = (("peer", "branch"), ("why", f"reason {number}"))
        for _ in range(3):  # the same again is no other
            scene.ike.memory.noted(events.Note(1, "warning", "the child is refused", fields), 150.0)
    texts = [row["text"] for row in scene.explained()[3:]]
    assert texts == [f"10 s ago: the child is refused: reason {number}" for number in range(3, WARNINGS + 3)]
    assert "reason 6" in scene("explain", "branch").out
    scene.ike.memory.came(UP, 160.0)
    assert len(scene.explained()) == 3


def test_strangers_leave_little(scene: Scene) -> None:
    for number in range(1000):
        scene.ike.memory.went(replace(DOWN, peer="", remote=f"10.0.{number // 250}.{number % 250}"))
    assert len(scene.ike.memory._strangers) < 100
    assert "nothing was tried" in scene.explained()[0]["text"]


# --- lines -------------------------------------------------------------------------------------------------------


def test_log_prints_what_was_said_for_people_and_programs(scene: Scene) -> None:
    for peer in ("branch", "other"):
        line = {"peer": peer, "event": "IKE SA established", "process": "control", "timestamp": "T", "level": "info"}
        scene.lines.add(json.dumps(line))
    assert [json.loads(row)["peer"] for row in scene("log", "--json").out.splitlines()] == ["branch", "other"]
    assert scene("log", "--peer", "branch").out == (
        'timestamp=T level=info process=control event="IKE SA established" peer=branch\n'
    )


def test_the_log_of_a_peer_that_there_is_not(scene: Scene) -> None:
    """Silence would read as a quiet peer."""
    sentence(scene("log", "--peer", "brnach"), 1, "no peer 'brnach'", "branch")
    assert scene("log", "--peer", "branch").status == 0


def test_keys_are_given_only_while_somebody_reads(scene: Scene, tmp_path: Path) -> None:
    """A process of its own, since only Ctrl-C ends it."""
    out = tmp_path / "keys"
    argv = [sys.executable, "-m", "xdpsec.cli.main", "keylog", str(out), "-c", str(scene.file)]
    with answering(scene._run, FakeSource(), scene.desk):
        ctrl_c = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 (a shell's background job ignores it)
        reader = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, preexec_fn=ctrl_c)
        try:
            _until(lambda: scene.ike.keys is not None)
            assert scene.ike.keys is not None
            scene.ike.keys._last, scene.ike.keys._rows = 1, type(scene.ike.keys._rows)(["row"])
            reader.send_signal(signal.SIGINT)
            said = reader.communicate(timeout=60)[1]
        finally:
            reader.kill()
        _until(lambda: scene.ike.keys is None)
    assert reader.returncode == 0
    assert "whoever reads it can read" in said
    assert out.stat().st_mode & 0o777 == 0o600


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
