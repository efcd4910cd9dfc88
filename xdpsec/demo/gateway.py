"""A gateway of the demo as its user runs it: `xdpsec run`, then questions by the command line. Knows nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xdpsec.demo.lab import Lab, LabError
from xdpsec.demo.topology import Site
from xdpsec.demo.waiting import Notification

#: The command of the same virtual environment.
XDPSEC = str(Path(sys.executable).with_name("xdpsec"))
#: A gateway starts in about a second; two at once on a busy machine in a few.
START_SECONDS = 30.0
#: Lines of a gateway's log that go into an error.
LAST_LINES = 8


class Gateway:
    """Starts at once, by `argv` where that is given; `wait` until it serves."""

    def __init__(self, lab: Lab, site: Site, config: Path, argv: Sequence[str] | None = None) -> None:
        self.site, self.config = site, config
        self.log = config.with_name("log")
        self._lab = lab
        self._notification = Notification(config.with_name("notify"))
        argv = argv or [XDPSEC, "run", "--config", str(config)]
        self._process = lab.start(site.gateway, argv, self.log, env=self._notification.environment)

    def wait(self) -> None:
        """Until it said READY=1. LabError with the end of its log when it did not."""
        came = self._notification.wait(self._process, START_SECONDS)
        self._notification.close()
        if not came:
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])
            raise LabError(f"gateway {self.site.letter.upper()} did not start; the end of {self.log}:\n{last}")

    def ask(self, verb: str) -> Any:
        """What `xdpsec VERB --json` prints."""
        command = [XDPSEC, verb, "--json", "--config", str(self.config)]
        return json.loads(self._lab.inside(self.site.gateway, *command))
