"""The record a worker starts from: there and back through its argument list, and never half read."""

from __future__ import annotations

import json

import pytest

from xdpsec.channel.start import PortStart, QueueStart, WorkerStart

QUEUE = QueueStart(queue=0, own_fd=11, queue_fd=12, rx_size=2048, tx_size=2048, fill_size=4096, completion_size=4096)
PORT = PortStart(index=0, role=1, mac="020000000001", mtu=1500, addr4="10.0.0.1", addr6="", queues=(QUEUE,))
START = WorkerStart(
    worker=1, workers=2, core=-1, uid=65534, gid=65534, parent=1, channel_fd=3, umem_fd=4, umem_size=1 << 20,
    chunk_size=2048, pool_fd=5, state_fd=6, state_size=4096, counters_fd=7, handoff_fd=8, wake_fds=(9, 10), burst=64,
    spin_us=0, ports=(PORT,),
)  # fmt: skip


def test_a_record_comes_back_as_it_went() -> None:
    assert WorkerStart.from_json(START.to_json()) == START


def test_every_descriptor_is_inherited_once() -> None:
    assert sorted(START.descriptors()) == list(range(3, 13))


@pytest.mark.parametrize("change", [{"extra": 1}, {"core": None}])
def test_half_a_record_is_refused(change: dict[str, object]) -> None:
    record = json.loads(START.to_json())
    record.update(change)
    for key in [key for key, value in record.items() if value is None]:
        del record[key]
    with pytest.raises(TypeError):
        WorkerStart.from_json(json.dumps(record))
