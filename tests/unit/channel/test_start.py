"""The record a worker starts from: there and back through its argument list, and never half read."""

from __future__ import annotations

import json

import pytest

from xdpsec.channel.start import ControlStart, PortStart, QueueStart, WorkerStart

QUEUE = QueueStart(queue=0, own_fd=11, queue_fd=12, rx_size=2048, tx_size=2048, fill_size=4096, completion_size=4096)
PORT = PortStart(index=0, role=1, mac="020000000001", mtu=1500, addr4="10.0.0.1", addr6="", queues=(QUEUE,))
START = WorkerStart(
    worker=1, workers=2, core=-1, uid=65534, gid=65534, parent=1, channel_fd=3, umem_fd=4, umem_size=1 << 20,
    chunk_size=2048, pool_fd=5, state_fd=6, state_size=4096, counters_fd=7, handoff_fd=8, wake_fds=(9, 10), burst=64,
    spin_us=0, hold=64, ports=(PORT,),
)  # fmt: skip
CONTROL = ControlStart(
    uid=65534, gid=65534, parent=1, boot_id="11111111-aaaa", channel_fd=3, config_fd=4, config_file="/etc/gw.toml",
    cores=(0, 1), state_fd=5, state_size=4096, counters_fd=6, pool_fd=7, pool_size=8192,
    maps={"buckets": 8, "addresses": 9}, operator_fd=10,
)  # fmt: skip


def test_a_record_comes_back_as_it_went() -> None:
    assert WorkerStart.from_json(START.to_json()) == START
    assert ControlStart.from_json(CONTROL.to_json()) == CONTROL


def test_every_descriptor_is_inherited_once() -> None:
    assert sorted(START.descriptors()) == list(range(3, 13))
    assert sorted(CONTROL.descriptors()) == list(range(3, 11))


@pytest.mark.parametrize("change", [{"extra": 1}, {"core": None}])
def test_half_a_record_is_refused(change: dict[str, object]) -> None:
    record = json.loads(START.to_json())
    record.update(change)
    for key in [key for key, value in record.items() if value is None]:
        del record[key]
    with pytest.raises(TypeError):
        WorkerStart.from_json(json.dumps(record))


@pytest.mark.parametrize("change", [{"extra": 1}, {"maps": None}])
def test_half_a_record_of_control_is_refused(change: dict[str, object]) -> None:
    record = json.loads(CONTROL.to_json()) | change
    with pytest.raises(TypeError):
        ControlStart.from_json(json.dumps({key: value for key, value in record.items() if value is not None}))
