"""tshark reads what we built: each row of wire_cases.py and a sealed and a fragmented message, in one capture."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from wire_cases import CASES, Case, header

from xdpsec.numbers import ExchangeType, NotifyType
from xdpsec.wire.fragments import split
from xdpsec.wire.message import build_clear, build_sealed
from xdpsec.wire.payloads import Notify

BAD = ("_ws.malformed", "_ws.expert.message")


def shown(case: Case) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in case.shown.split())


def seal(aad: bytes, plaintext: bytes) -> bytes:
    return b"\xee" * 8 + plaintext + bytes(16)


def show(folder: Path, messages: list[bytes], *how: str) -> str:
    """What tshark prints of these messages, sent from port 500 to port 500."""
    lines = ("000000 " + message.hex(" ") + "\n" for message in messages)
    (folder / "hex").write_text("".join(lines))
    subprocess.run(["text2pcap", "-q", "-u", "500,500", folder / "hex", folder / "pcap"], check=True)
    command = ["tshark", "-r", str(folder / "pcap"), *how]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def read(folder: Path, messages: list[bytes], fields: list[str]) -> list[dict[str, str]]:
    """These fields of each message."""
    asked = [word for field in fields for word in ("-e", field)]
    answer = show(folder, messages, "-T", "fields", "-E", "aggregator=;", *asked)
    return [dict(zip(fields, line.split("\t"), strict=True)) for line in answer.splitlines()]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    fields = sorted({f"isakmp.{field}" for case in CASES for field in shown(case)})
    messages = [build_clear(header(case.exchange), (case.value,)) for case in CASES]
    rows = read(tmp_path_factory.mktemp("cases"), messages, [*fields, *BAD, "isakmp.exchangetype"])
    return {case.name: row for case, row in zip(CASES, rows, strict=True)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_payload(case: Case, seen: dict[str, dict[str, str]]) -> None:
    row = seen[case.name]
    assert case.shown
    assert {field: row[f"isakmp.{field}"] for field in shown(case)} == shown(case)
    assert row["isakmp.exchangetype"] == str(int(case.exchange))
    assert [row[field] for field in BAD] == ["", ""]


def test_notify_numbers_have_these_names(tmp_path: Path) -> None:
    """All that tshark 4.0 knows; its name for 46 is another number's."""
    messages = [build_clear(header(ExchangeType.IKE_AUTH), (Notify(int(kind), b"12345678"),)) for kind in NotifyType]
    text = show(tmp_path, messages, "-V")
    seen = {int(number): name.upper() for name, number in re.findall(r"Notify Message Type: (.+?) \((\d+)\)", text)}
    known = {kind: seen[kind] for kind in NotifyType if not seen[kind].startswith("RESERVED") and kind != 46}
    assert known == {kind: kind.name for kind in known}
    assert len(known) > 60


def test_tshark_would_complain(tmp_path: Path) -> None:
    """A payload that claims a byte more than there is."""
    message = bytearray(build_clear(header(34), (CASES[4].value,)))
    message[31] += 1
    (row,) = read(tmp_path, [bytes(message)], list(BAD))
    assert any(row.values())


def test_sealed_and_fragmented(tmp_path: Path) -> None:
    auth = header(ExchangeType.IKE_AUTH, message_id=1)
    messages = [build_sealed(auth, 35, bytes(100), seal, lambda length: length + 24)]
    messages += split(auth, 35, bytes(700), seal, lambda length: length + 24, 400)
    numbers = ["isakmp.frag.number", "isakmp.frag.total"]
    fields = ["isakmp.typepayload", "isakmp.length", *numbers, *BAD]
    rows = read(tmp_path, messages, fields)
    assert [row["isakmp.typepayload"] for row in rows] == ["46", "53", "53", "53"]
    assert [row["isakmp.length"] for row in rows] == [str(len(message)) for message in messages]
    assert [[row[field] for field in numbers] for row in rows] == [["", ""], ["1", "3"], ["2", "3"], ["3", "3"]]
    assert not any(row[field] for row in rows for field in BAD)
