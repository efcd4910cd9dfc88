"""`xdpsec keylog FILE`: keys of new IKE SAs for Wireshark, as long as it runs. Who has the file reads the traffic."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from xdpsec.channel import negotiation as words
from xdpsec.cli.client import Client, run_dir
from xdpsec.cli.common import DEFAULT_CONFIG, ConfigOption, complain


def keylog(
    file: Annotated[Path, typer.Argument(help="rows are added to it; Wireshark: ikev2_decryption_table")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Write the keys of new IKE SAs to FILE until Ctrl-C; Wireshark reads it as ikev2_decryption_table."""
    with Client(run_dir(config)) as client:
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as out:
            complain(f"keys go to {file}: whoever reads it can read these peers' IKE messages; Ctrl-C ends it")
            last = 0
            try:
                while True:
                    answer = client.ask(words.KeyLogQuery(last), words.Lines, patient=True)
                    last = answer.last
                    out.writelines(f"{row}\n" for row in answer.rows)
                    out.flush()
            except KeyboardInterrupt:
                sys.exit(0)
