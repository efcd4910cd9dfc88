"""A port's interface that is deleted and made again under a running supervisor: in a namespace, control played."""

from __future__ import annotations

from pathlib import Path

import pytest
from shell import sh
from stage import Supervisor, write_config
from test_supervisor import LOOK, serve

from xdpsec.channel.messages import Breach, Stop

SETTLED = "xdpsec.daemon.barriers.SETTLED_SECONDS"

pytestmark = pytest.mark.usefixtures("veths")


def test_an_interface_made_anew_with_its_address_ends_us_to_be_started_again(tmp_path: Path) -> None:
    sh("ip address add 192.0.2.1/24 dev out0")
    with Supervisor(write_config(tmp_path), constants={LOOK: 0.01, SETTLED: 0.0}) as gateway:
        workers = serve(gateway)
        sh("ip link delete out0")
        told = gateway.hear().message
        assert isinstance(told, Breach)
        assert (told.port, told.times) == (0, 1)
        assert "the interface is gone" in told.error
        sh("ip link add out0 type veth")
        for times in (1, 2):  # it looks, and goes on
            sh("nft flush ruleset")
            assert gateway.hear().message == Breach(-1, times, "")
        sh("ip address add 192.0.2.1/24 dev out0")
        assert isinstance(gateway.hear().message, Stop)
        assert gateway.end()[0] == 1
        for wire, _ in workers:
            wire.close()
