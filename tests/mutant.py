"""Runs one test of the control plane with one check broken: `mutant.py NAME TEST`, NAME "" = nothing broken.

The check is a piece of source text, replaced while its module is loaded; no file changes. Ends as pytest does: 1 = the
test failed; 2 when the text is not there exactly once, so that a mutant cannot go stale unseen.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

#: Name -> module, the check, what stands there instead.
MUTANTS = {
    "COOKIE": (
        "xdpsec.ike.gate",
        "if not cookie or not self._cookies.proves(cookie, nonce, path.remote, header.initiator_spi, now):",
        "if not cookie:",
    ),
    "AUTH_SECRET": ("xdpsec.ike.v2.authenticate", "if not compare_digest(wanted, auth.data):", "if False:"),
    "AUTH_SIGNATURE": ("xdpsec.ike.v2.authenticate", "trust.check(key, auth.method, auth.data, octets)", "pass"),
}


def load_broken(module: str, check: str, instead: str) -> None:
    """The module as its source has it, but for that check; whoever imports it from now on gets this one."""
    parent, _, name = module.rpartition(".")
    package = importlib.import_module(parent)
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        sys.exit(f"mutant: there is no module {module}")
    with open(spec.origin) as file:
        source = file.read()
    if source.count(check) != 1:
        print(f"mutant: {module} has the check {source.count(check)} times: {check}")
        sys.exit(2)
    broken: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[module] = broken
    setattr(package, name, broken)
    exec(compile(source.replace(check, instead), spec.origin, "exec"), broken.__dict__)


if __name__ == "__main__":
    which, test = sys.argv[1:]
    if which:
        load_broken(*MUTANTS[which])
    sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "--no-header", test]))
