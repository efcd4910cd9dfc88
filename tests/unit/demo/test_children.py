"""What the demo writes down is what the gateway reads: configuration, key files, and a load for every worker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xdpsec.config.keys import check_owner, read_keys
from xdpsec.config.loader import load
from xdpsec.config.values import Config
from xdpsec.demo import children
from xdpsec.demo.children import Child
from xdpsec.demo.topology import CHILDREN, Site
from xdpsec.policy.placement import deal
from xdpsec.workers.native import lib

A, B = (Site(letter, number, "", "", "") for number, letter in enumerate("ab", start=1))
CORES = (0, 1)


@pytest.fixture
def made() -> tuple[Child, ...]:
    return children.make(A, B)


@pytest.fixture
def configs(tmp_path: Path, made: tuple[Child, ...]) -> tuple[Config, Config]:
    a, b = (children.write(tmp_path / one.letter, one, other, made) for one, other in ((A, B), (B, A)))
    return load(str(a)), load(str(b))


def test_one_gateways_inbound_is_the_others_outbound(configs: tuple[Config, Config]) -> None:
    for one, other in (configs, configs[::-1]):
        for mine, theirs in zip(one.children, other.children, strict=True):
            assert (mine.local, mine.remote) == (theirs.remote, theirs.local)
            assert mine.manual
            assert theirs.manual
            assert (mine.manual.spi_in, mine.manual.suite) == (theirs.manual.spi_out, theirs.manual.suite)
            with open(mine.manual.key_file, "rb") as my, open(theirs.manual.key_file, "rb") as their:
                suite = mine.manual.suite
                assert read_keys(my.fileno(), "", suite).inbound == read_keys(their.fileno(), "", suite).outbound


def test_forth_is_what_a_sends(made: tuple[Child, ...], configs: tuple[Config, Config]) -> None:
    for child, configured in zip(made, configs[0].children, strict=True):
        manual = configured.manual
        assert manual
        assert (manual.spi_out, manual.spi_in) == (child.forth.spi, child.back.spi)
        assert (child.forth.source, child.forth.destination) == (A.outer, B.outer)
        with open(manual.key_file, "rb") as file:
            assert read_keys(file.fileno(), "", manual.suite).outbound.encryption.hex() == child.forth.key.encryption


def test_key_files_are_closed_to_others(configs: tuple[Config, Config]) -> None:
    for config in configs:
        for _, manual in config.manual:
            check_owner(os.stat(manual.key_file), manual.key_file)


def test_suites_of_every_kind_and_one_child_in_udp(configs: tuple[Config, Config]) -> None:
    kinds = [(manual.suite.cipher, manual.encap) for _, manual in configs[0].manual]
    assert len(kinds) == CHILDREN >= 8
    assert {cipher for cipher, _ in kinds} == {"aes-gcm", "aes-cbc"}
    assert [encap for _, encap in kinds if encap] == [(4500, 4500)]


def test_keys_and_patterns_are_fresh_every_time(made: tuple[Child, ...]) -> None:
    sas = [sa for one in (made, children.make(A, B)) for child in one for sa in (child.forth, child.back)]
    for values in ([sa.key.encryption for sa in sas], [sa.pattern for sa in sas]):
        assert len(set(values)) == len(values)
    assert sas[0].key.encryption not in repr(made)


def test_two_neighbours_load_different_workers(configs: tuple[Config, Config]) -> None:
    for config in configs:
        spis = [manual.spi_in for _, manual in config.manual]
        table = deal(spis, children.WORKERS, lib.xs_bucket_of)
        owners = [table[lib.xs_bucket_of(spi)] for spi in spis]
        assert all(set(pair) == {0, 1} for pair in zip(owners[::2], owners[1::2], strict=True))


@pytest.mark.parametrize(
    ("cores", "workers"), [((0,), (2, 2)), ((0, 1), (2, 2)), ((0, 1, 2), (2, 2)), ((0, 2, 4, 6), ([0, 2], [4, 6]))]
)
def test_gateways_share_cores_only_where_they_must(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: tuple[Child, ...], cores: tuple[int, ...], workers: object
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(cores))
    texts = [children.configuration(tmp_path, one, other, made) for one, other in ((A, B), (B, A))]
    assert [line for text in texts for line in text.splitlines() if line.startswith("workers")] == [
        f"workers = {value}"
        for value in workers  # type: ignore[attr-defined]
    ]
