"""status, list-sas and drops against a served socket: the JSON's keys and numbers, tables for people, one sentence for
everything that is not so."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path

import desk
import pytest
from desk import answering, configuration, sentence
from gateway import DOOR, VERDICT, FakeSource, counters, per_port, sa, slot, verdicts, view
from structlog.testing import capture_logs

from xdpsec.channel import operator as words
from xdpsec.cli import client
from xdpsec.metrics.values import DOWN, BarrierView, MetricsView, SocketCounts, WorkerView

Xdpsec = Callable[..., desk.Ran]
STATUS = {"version", "state", "config", "uptime_s", "ports", "workers", "children", "metrics", "troubles"}
PORT = {"index", "interface", "side", "mode", "bind", "queues", "mtu"}
WORKER = {
    *("index", "core", "pid", "state", "restarts", "packets_in", "packets_out", "handoff_sent", "handoff_received"),
    *("cycles", "idle_share"),
}


def busy() -> FakeSource:
    return FakeSource(
        blocks=(
            counters(rx_packets=per_port(500, 600), tx_packets=per_port(7, 8), cycles=(100, 200, 300, 400, 500),
                     idle_ns=45 * 10**9, started_ns=100 * 10**9, verdicts=verdicts(VERDICT, DECRYPTED=9, DROP_ICV=3)),
            counters(),
        ),
        slots={
            0: slot(top=41, granted=1065, packets=40, bytes=4000, last_seen_ns=158 * 10**9,
                    drops=verdicts(VERDICT, DROP_REPLAY=2)),
            1: slot(next_seq=12, granted=2048, packets=11, bytes=1100),
        },
        frames=(verdicts(DOOR, ESP_TO_WORKER=44, DROP_CLEARTEXT=5), *[verdicts(DOOR)] * 7),
        statistics=(SocketCounts(1, 0, 0, {"rx_dropped": 1, "rx_ring_full": 0}),),
    )  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return configuration(tmp_path)


def test_status_in_json_has_its_documented_keys_and_true_numbers(xdpsec: Xdpsec, config: Path, tmp_path: Path) -> None:
    with answering(tmp_path / "run", busy()):
        ran = xdpsec("status", "--json", "--config", config)
    assert (ran.status, ran.err) == (0, "")
    answer = json.loads(ran.out)
    assert answer.keys() == STATUS
    assert [row.keys() for row in answer["ports"]] == [PORT, PORT]
    assert all(row.keys() == WORKER for row in answer["workers"])
    assert (answer["state"], answer["uptime_s"]) == ("serving", 60.0)
    first = answer["workers"][0]
    assert (first["packets_in"], first["packets_out"], first["idle_share"]) == (1100, 15, 0.75)
    assert first["cycles"] == {"rx": 100, "parse": 200, "crypto": 300, "finish": 400, "tx": 500}
    assert answer["metrics"] == {"address": "127.0.0.1", "port": 9310, "error": ""}
    assert [(child["label"], child["up"]) for child in answer["children"]] == [
        ("branch/lan", True),
        ("branch/lab", True),
    ]


def test_a_narrow_terminal_breaks_no_word(
    xdpsec: Xdpsec, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that is cut says nothing: the terminal may wrap the line."""
    with answering(tmp_path / "run", busy()):
        listed = {}
        for columns in (200, 60):
            monkeypatch.setattr("xdpsec.cli.common.PIPE_COLUMNS", columns)
            listed[columns] = {verb: xdpsec(verb, "-c", config).out for verb in ("status", "list-sas", "drops")}
    for verb, wide in listed[200].items():
        words = {word for word in wide.split() if "─" not in word}
        assert words <= set(listed[60][verb].split())


def test_the_guide_names_every_key_of_the_json(xdpsec: Xdpsec, config: Path, tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs/guide.md").read_text()
    with answering(tmp_path / "run", busy()):
        for verb in ("status", "list-sas", "drops"):
            answer = json.loads(xdpsec(verb, "--json", "-c", config).out)
            (line,) = (row for row in guide.splitlines() if row.startswith(f"| `{verb}` | "))
            for row in answer if isinstance(answer, list) else [answer]:
                assert {f"`{key}`" for key in row} - set(re.findall(r"`\w+`", line)) == set()


def test_list_sas_in_json(xdpsec: Xdpsec, config: Path, tmp_path: Path) -> None:
    with answering(tmp_path / "run", busy()):
        rows = json.loads(xdpsec("list-sas", "--json", "-c", config).out)
    inbound, outbound = rows[:2]
    assert (inbound["direction"], inbound["spi"], inbound["top"], inbound["last_seen_s"]) == ("in", 0x1000, 41, 2.0)
    assert "next_seq" not in inbound
    assert inbound["drops"] == {"DROP_REPLAY": 2}
    assert (outbound["direction"], outbound["next_seq"], outbound["last_seen_s"]) == ("out", 12, None)
    assert (outbound["packets"], outbound["bytes"], outbound["engine"], outbound["esn"]) == (11, 1100, "ipsec-mb", True)


def test_drops_in_json_has_every_verdict_by_place(xdpsec: Xdpsec, config: Path, tmp_path: Path) -> None:
    with answering(tmp_path / "run", busy()):
        answer = json.loads(xdpsec("drops", "--json", "-c", config).out)
    assert answer["door"]["eth0"] == {name: {"ESP_TO_WORKER": 44, "DROP_CLEARTEXT": 5}.get(name, 0) for name in DOOR}
    assert answer["workers"]["0"] == {name: {"DECRYPTED": 9, "DROP_ICV": 3}.get(name, 0) for name in VERDICT}
    assert answer["sockets"] == {"eth0": {"0": {"1": {"rx_dropped": 1, "rx_ring_full": 0}}}}
    assert answer["sas"]["branch/lan"] == {"in": {"DROP_REPLAY": 2}, "out": {}}


def test_tables_for_people_say_the_same(xdpsec: Xdpsec, config: Path, tmp_path: Path) -> None:
    with answering(tmp_path / "run", busy()):
        status, sas, drops = (xdpsec(verb, "-c", config).out for verb in ("status", "list-sas", "drops"))
    assert "serving for 1.0 min" in status
    assert "http://127.0.0.1:9310/metrics" in status
    assert "75%" in status
    assert "branch/lan" in sas
    assert "0x00001000" in sas
    assert "cleartext that a policy says must be protected" in drops
    assert "integrity check failed" in drops
    assert "DECRYPTED" not in drops  # no drop
    assert "DROP_TTL" not in drops  # did not happen


def test_what_is_broken_shows(xdpsec: Xdpsec, config: Path, tmp_path: Path) -> None:
    workers = (WorkerView(0, 1, 0, DOWN, 2), view().workers[1])
    sas = (*list(view().sas)[:3], sa(1, True, 3, error="sequence numbers used up"))
    metrics = MetricsView("127.0.0.1", 9310, "port 9310 is taken")
    barriers = (BarrierView("fence", 1, "nft refused"), BarrierView("door of eth0", 1))
    broken = view(workers=workers, sas=sas, metrics=metrics, barriers=barriers)
    with answering(tmp_path / "run", FakeSource(now=broken)):
        answer = json.loads(xdpsec("status", "--json", "-c", config).out)
        table, listed = xdpsec("status", "-c", config).out, xdpsec("list-sas", "-c", config).out
    assert answer["state"] == "degraded"
    assert [child["up"] for child in answer["children"]] == [False, False]
    assert answer["children"][1]["error"] == "sequence numbers used up"
    assert answer["metrics"]["error"] == "port 9310 is taken"
    assert "no: its worker does not serve" in table
    assert "port 9310 is taken" in table
    assert answer["troubles"] == ["the fence is gone: nft refused"]
    assert "the fence is gone: nft refused" in table
    assert "sequence numbers used up" in listed


@pytest.mark.parametrize("verb", ["status", "list-sas", "drops"])
@pytest.mark.parametrize("stale", [False, True])
def test_when_nothing_runs_one_sentence_and_status_3(
    xdpsec: Xdpsec, config: Path, tmp_path: Path, verb: str, stale: bool
) -> None:
    if stale:  # what a killed supervisor leaves
        (tmp_path / "run").mkdir()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
            dead.bind(str(tmp_path / "run/control.sock"))
    sentence(xdpsec(verb, "-c", config), 3, "no gateway runs", str(tmp_path / "run"))
    assert xdpsec(verb, "--json", "-c", config).out == ""


def test_a_gateway_that_says_nothing_is_waited_for_only_so_long(
    xdpsec: Xdpsec, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.1)
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as deaf:
        deaf.bind(str(tmp_path / "run/control.sock"))
        deaf.listen()
        sentence(xdpsec("status", "-c", config), 1, "did not answer")


def test_another_version_of_the_words_is_named(
    xdpsec: Xdpsec, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(tmp_path / "run", FakeSource()):
        monkeypatch.setattr(words, "VERSION", 7)
        monkeypatch.setattr("xdpsec.daemon.operator._Connection._on_message", _speak_version_1)
        sentence(xdpsec("status", "-c", config), 1, "version 1", "speaks 7")


def _speak_version_1(connection: object, received: object) -> None:
    connection._peer.tell(words.Welcome(received.seq, 1, "0.1.0"))  # type: ignore[attr-defined]


def test_a_socket_that_hangs_up_is_one_sentence(xdpsec: Xdpsec, config: Path, tmp_path: Path) -> None:
    with answering(tmp_path / "run", FakeSource()), pytest.MonkeyPatch.context() as patch, capture_logs() as logged:
        patch.setattr("xdpsec.daemon.operator.MAX_CONNECTIONS", 0)
        sentence(xdpsec("status", "-c", config), 1, "closed the connection")
    assert logged[0]["event"] == "operator refused"


@pytest.mark.parametrize(
    ("text", "parts"),
    [(None, ("does not exist", "--config")), ("run_dir = [", ("is not TOML",)), ("\udcff", ("is not TOML",))],
)
def test_a_configuration_that_cannot_be_read_is_bad_input(
    xdpsec: Xdpsec, tmp_path: Path, text: str | None, parts: tuple[str, ...]
) -> None:
    path = tmp_path / "xdpsec.toml"
    if text is not None:
        path.write_text(text, errors="surrogateescape")
    sentence(xdpsec("status", "-c", path), 2, str(path), *parts)


def test_looking_needs_no_more_of_the_file_than_run_dir(xdpsec: Xdpsec, tmp_path: Path) -> None:
    path = tmp_path / "xdpsec.toml"
    path.write_text(f'[gateway]\nrun_dir = "{tmp_path}/run"\nworkers = "many"\n')
    with answering(tmp_path / "run", FakeSource()):
        assert xdpsec("status", "-c", path).status == 0
    path.write_text("gateway = 3\n")
    assert client.run_dir(path) == Path("/run/xdpsec")


def test_an_unknown_command_or_option_is_bad_input(xdpsec: Xdpsec) -> None:
    for line in (("fly",), ("status", "--yaml"), ("check", "a", "b")):
        ran = xdpsec(*line)
        assert ran.status == 2
        assert "Traceback" not in ran.err
        assert ran.out == ""


def test_what_nobody_foresaw_is_a_sentence_too(xdpsec: Xdpsec, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr("xdpsec.cli.status.run_dir", broken)
    sentence(xdpsec("status", "-c", config), 1, "internal error", "surprise", "XDPSEC_TRACEBACK")
    monkeypatch.setenv("XDPSEC_TRACEBACK", "1")
    with pytest.raises(KeyError):
        xdpsec("status", "-c", config)
