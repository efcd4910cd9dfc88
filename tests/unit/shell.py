"""One command line in the namespace of the calling thread."""

from __future__ import annotations

import subprocess


def sh(command: str) -> str:
    """Its output; CalledProcessError when it fails."""
    return subprocess.run(command.split(), check=True, capture_output=True, text=True, timeout=30).stdout
