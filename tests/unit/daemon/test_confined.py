"""What control has loaded before it gives up its rights is all that it needs: its account may not be able to read where
it is installed, a home directory say. Every key exchange is made by a process that can import nothing more."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import os, sys
import xdpsec.daemon.control
from xdpsec.crypto import exchange

class Refusing:
    def find_spec(self, name, path=None, target=None):
        raise AssertionError(f"{name} is imported only now")

sys.meta_path.insert(0, Refusing())
for group in sorted(exchange.GROUPS):
    ours = exchange.start(group, os.urandom)
    public, secret = exchange.respond(group, ours.public, os.urandom)
    assert ours.finish(public) == secret
print(len(exchange.GROUPS))
"""


def test_no_key_exchange_needs_a_module_that_is_not_there_yet() -> None:
    argv = [sys.executable, "-I", "-c", CODE]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
