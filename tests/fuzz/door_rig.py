"""The door's rig is that of its row tests (tests/unit/bpf): a namespace with two veths, maps filled, a socket in every
slot. Here are the fixtures under their own names."""

from __future__ import annotations

import sys
from pathlib import Path

UNIT = Path(__file__).parents[1] / "unit"
sys.path[:0] = [str(UNIT), str(UNIT / "bpf")]

from conftest import namespace as namespace  # noqa: E402
from conftest import veths as veths  # noqa: E402
from test_steer import Rig as Rig  # noqa: E402
from test_steer import rig as rig  # noqa: E402
