"""The door's rig is that of its row tests: a namespace with two veths, maps filled, a socket in every slot."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

UNIT = Path(__file__).parents[1] / "unit"
sys.path[:0] = [str(UNIT), str(UNIT / "bpf")]

from test_steer import Rig, rig  # noqa: E402, F401

_spec = importlib.util.spec_from_file_location("unit_conftest", UNIT / "conftest.py")
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
namespace, veths = _module.namespace, _module.veths
