"""The station as a process that is asked, and the flood beside it. Knows no figure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ike_net import Net
from ike_offers import CHILD, Offer
from ike_people import FIRST, SOURCES, Papers

from xdpsec.demo.lab import LabError, Process
from xdpsec.numbers import IKE_VERSION, ExchangeType, NotifyType, TransformType
from xdpsec.wire.header import NO_SPI, Header
from xdpsec.wire.message import build_clear
from xdpsec.wire.payloads import KeyExchange, Nonce, Notify, Payload, Proposal, SecurityAssociation, Transform

HERE = Path(__file__).parent
#: More than any command takes.
LIMIT_SECONDS = 600.0


def group(first: int, count: int, papers: Papers, ike: Sequence[Offer], dpd: float = 0.0) -> dict[str, Any]:
    """People for station.json; with certificates each gets its own now."""
    plan = {"first": first, "count": count, "papers": str(papers.directory), "kind": papers.kind}
    return {**plan, "ike": list(ike), "child": CHILD, "dpd": dpd}


class Station:
    """Every peer of the gateways named in `sides` (name -> address)."""

    def __init__(self, net: Net, groups: Sequence[dict[str, Any]], name: str = "station") -> None:
        directory = net.lab.directory / name
        directory.mkdir()
        sides = {side.name: side.outer for side in (net.ours, net.theirs)}
        (directory / "station.json").write_text(json.dumps({"sides": sides, "groups": groups}))
        argv = [sys.executable, str(HERE / "ike_station.py"), str(directory)]
        self._errors = directory / "errors"
        with self._errors.open("wb") as errors:
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
            self._process: Process = net.lab.start(net.station, argv, **pipes)
        self._lab = net.lab
        self._answer()

    def ask(self, verb: str, **words: Any) -> dict[str, Any]:
        self.begin(verb, **words)
        return self.end()

    def begin(self, verb: str, **words: Any) -> None:
        """Ask, and do something else meanwhile."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"verb": verb, **words}).encode() + b"\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise LabError(f"the station ended: {self._errors.read_text()[-1000:]}")
        found: dict[str, Any] = json.loads(line)
        return found

    def stop(self) -> None:
        self._lab.stop(self._process)


# --- the flood --


def first_message(offers: Sequence[Offer]) -> tuple[bytes, int, int]:
    """An IKE_SA_INIT request as the station's peers send it, and where its nonce stands."""
    nonce = os.urandom(32)
    proposals = tuple(_proposal(number, offer) for number, offer in enumerate(offers, 1))
    header = Header(
        *(os.urandom(8), NO_SPI, 0, IKE_VERSION, ExchangeType.IKE_SA_INIT),
        initiator=True,
        response=False,
        message_id=0,
    )
    detection = (NotifyType.NAT_DETECTION_SOURCE_IP, NotifyType.NAT_DETECTION_DESTINATION_IP)
    payloads: list[Payload] = [SecurityAssociation(proposals), KeyExchange(offers[0]["ke"][0], os.urandom(32))]
    payloads += [Nonce(nonce), *(Notify(kind, os.urandom(20)) for kind in detection)]
    data = build_clear(header, payloads)
    return data, data.index(nonce), len(nonce)


def _proposal(number: int, offer: Offer) -> Proposal:
    kinds = (("prf", TransformType.PRF), ("integ", TransformType.INTEG), ("ke", TransformType.KE))
    transforms = [Transform(TransformType.ENCR, kind, bits) for kind, bits in offer["encr"]]
    transforms += [Transform(kind, value) for name, kind in kinds for value in offer.get(name, ())]
    return Proposal(number, 1, b"", tuple(transforms))


class Flood:
    """bench-flood in the station's namespace, `rate` a second for `seconds`."""

    def __init__(self, net: Net, program: Path, offers: Sequence[Offer], rate: int, seconds: int) -> None:
        data, at, length = first_message(offers)
        template = net.lab.directory / "template"
        template.write_bytes(data)
        words = [template, at, length, net.ours.outer, FIRST, SOURCES, rate, seconds]
        argv = [str(program), *map(str, words)]
        self._process = net.lab.start(net.station, argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def sent(self) -> int:
        """Waits for its end."""
        said, errors = self._process.communicate(timeout=LIMIT_SECONDS)
        words = said.decode().split()
        if words[:1] != ["sent"]:
            raise LabError(f"the flood did not run: {errors.decode()[-300:]}")
        return int(words[1])
