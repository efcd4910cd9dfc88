"""Certificates while the gateway runs: lists that change on disk, files that break, ends that are told."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path

import pytest
import structlog
from authority import LEAF, Authority, der, pem
from cryptography.hazmat.primitives.serialization import Encoding
from hurry import hurry

from xdpsec.config.values_ike import Auth
from xdpsec.crypto.trust import Trust
from xdpsec.daemon.credentials import Credentials
from xdpsec.daemon.ike import upkeep
from xdpsec.daemon.ike.upkeep import Upkeep
from xdpsec.errors import LocalError, PeerError
from xdpsec.ike.identities import parse_identity

GW = parse_identity("gw.example.org")
DAY = 86400.0
CRL, OCSP = "/list.crl", "/gw.ocsp"


class World:
    """An authority with its list in a file that a test changes."""

    def __init__(self, folder: Path) -> None:
        self.root = Authority(folder, "/CN=root")
        self.leaf = self.root.issue("/CN=gw", LEAF + "subjectAltName=DNS:gw.example.org\n")
        self.files = {"/ca.pem": pem(self.root.certificate), CRL: self.list(), "/gw.pem": pem(self.leaf)}
        self.credentials = Credentials(self.files, {})
        self.credentials.load_crls([CRL])
        made = self.credentials.trust(Auth(ca=("/ca.pem",), revocation="strict"))
        assert made is not None
        self.trust: Trust = made
        self.now = time.time() + 60
        self.upkeep = Upkeep(self.credentials, [CRL, CRL], [], self.read, lambda: self.now)

    def list(self, *revoked: object) -> bytes:
        return self.root.crl(*revoked).public_bytes(Encoding.PEM)  # type: ignore[arg-type]

    async def read(self, file: str) -> bytes:
        if file not in self.files:
            raise LocalError(f"{file} is gone")
        return self.files[file]

    def believes(self) -> bool:
        try:
            self.trust.verify((der(self.leaf),), GW, self.now)
        except PeerError:
            return False
        return True


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_list_that_changes_on_disk(world: World) -> None:
    assert world.believes()
    world.files[CRL] = world.list(world.leaf)
    assert world.believes()  # nobody looked
    asyncio.run(world.upkeep.renew())
    assert not world.believes()


def test_a_list_that_is_renewed_in_time(world: World) -> None:
    world.now += 31 * DAY
    assert not world.believes()  # nextUpdate has passed, and "strict" wants to know
    late = ("openssl", "ca", "-gencrl", "-crldays", "60", "-config", world.root.folder / "ca.conf")
    words = (*late, "-cert", world.root.file, "-keyfile", world.root.key)
    world.files[CRL] = subprocess.run(words, check=True, capture_output=True).stdout
    asyncio.run(world.upkeep.renew())
    assert world.believes()


@pytest.mark.parametrize("broken", [None, b"", b"no list"])
def test_what_was_known_outlives_a_broken_file(world: World, broken: bytes | None) -> None:
    world.files[CRL] = world.list(world.leaf)
    asyncio.run(world.upkeep.renew())
    if broken is None:
        del world.files[CRL]
    else:
        world.files[CRL] = broken
    with structlog.testing.capture_logs() as said:
        asyncio.run(world.upkeep.renew())
    assert len(said) == 1
    assert CRL in said[0].get("file", "") + said[0]["why"]
    assert not world.believes()


@pytest.mark.parametrize("files", [("/broken.crl", CRL), (CRL, "/broken.crl")])
def test_one_broken_file_keeps_no_other_from_being_read(world: World, files: tuple[str, ...]) -> None:
    """An authority that publishes nonsense must not make us believe what another one has revoked."""
    world.upkeep = Upkeep(world.credentials, files, [], world.read, lambda: world.now)
    world.files |= {CRL: world.list(world.leaf), "/broken.crl": b"<html>"}
    with structlog.testing.capture_logs() as said:
        asyncio.run(world.upkeep.renew())
    assert [one["why"].partition(":")[0] for one in said] == ["/broken.crl"]
    assert not world.believes()


def test_one_broken_response_keeps_no_other_from_being_read(world: World) -> None:
    other = "/other.ocsp"
    world.files |= {OCSP: world.root.ocsp(world.leaf), other: world.root.ocsp(world.leaf)}
    staples = [world.credentials.staple(Auth(certificate="/gw.pem", key="/gw.key", ocsp=one)) for one in (OCSP, other)]
    world.files |= {OCSP: b"?", other: world.root.ocsp(world.leaf, days=7)}
    world.upkeep = Upkeep(world.credentials, [], [OCSP, other], world.read)
    asyncio.run(world.upkeep.renew())
    assert staples[1] is not None
    assert staples[1].at(world.now + 2 * DAY) == world.files[other]


def test_what_is_said_of_our_own_certificate(world: World) -> None:
    world.files[OCSP] = world.root.ocsp(world.leaf)
    world.upkeep = Upkeep(world.credentials, [], [OCSP, OCSP], world.read)
    staple = world.credentials.staple(Auth(certificate="/gw.pem", key="/gw.key", ocsp=OCSP))
    assert staple is not None
    assert staple.at(world.now) == world.files[OCSP]
    assert staple.at(world.now + 2 * DAY) == b""  # it holds for a day
    world.files[OCSP] = world.root.ocsp(world.leaf, days=7)
    asyncio.run(world.upkeep.renew())
    assert staple.at(world.now + 2 * DAY) == world.files[OCSP]
    for wrong, sentence in ((b"?", "no OCSP response"), (world.root.ocsp(world.root.certificate), "says nothing of")):
        world.files[OCSP] = wrong
        with structlog.testing.capture_logs() as said:
            asyncio.run(world.upkeep.renew())
        assert [one["event"] for one in said] == ["OCSP response is refused; the one before stays"]
        assert sentence in said[0]["why"]
        assert staple.at(world.now + 2 * DAY)


def test_an_unchanged_list_costs_nothing(world: World) -> None:
    version = world.credentials.known.version
    asyncio.run(world.upkeep.renew())
    assert world.credentials.known.version == version


def test_ends_are_told_at_once_and_every_day(world: World) -> None:
    (row,) = world.upkeep.ends
    assert row[:2] == ("/ca.pem", "CN=root")
    end = row[2]

    async def lines_at(*walls: float) -> list[list[tuple[str, int]]]:
        told: list[list[tuple[str, int]]] = []
        for wall in walls:
            world.now = wall
            with structlog.testing.capture_logs() as said:
                if not told:
                    world.upkeep.start()
                await asyncio.sleep(upkeep.READ_SECONDS * 1.5)
            told.append([(one["event"], one["days"]) for one in said if "days" in one])
        world.upkeep.close()
        return told

    walls = (end - 10.5 * DAY, end - 10 * DAY, end - 9.4 * DAY, end + 1.5 * DAY)
    first, same_day, next_day, after = hurry(lambda: lines_at(*walls))
    assert first == [("certificate ends soon", 10)]
    assert same_day == []
    assert next_day == [("certificate ends soon", 9)]
    assert after == [("certificate has ended", -2)]
    world.now = end - 31 * DAY
    with structlog.testing.capture_logs() as said:
        world.upkeep.tell()
    assert said == []
