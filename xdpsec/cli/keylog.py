"""`xdpsec keylog FILE`: keys of new SAs for Wireshark, as long as it runs. Who has the files reads the traffic."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated, TextIO

import typer

from xdpsec.channel import negotiation as words
from xdpsec.cli.client import Client, run_dir
from xdpsec.cli.common import DEFAULT_CONFIG, ConfigOption, complain

ESP_ROW = '"'  # how rows of esp_sa begin, and no other


def keylog(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="rows are added to it; Wireshark: ikev2_decryption_table")
    ],
    esp: Annotated[Path | None, typer.Option("--esp", metavar="FILE", help="ESP's too; Wireshark: esp_sa")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Write the keys of new SAs for Wireshark.

    Until Ctrl-C. Who has the files reads what these peers say."""
    with Client(run_dir(config)) as client, contextlib.ExitStack() as opened:
        ike_rows = opened.enter_context(_append(file))
        esp_rows = opened.enter_context(_append(esp)) if esp else None
        complain(f"keys go to {file}: whoever reads it can read what these peers say; Ctrl-C ends it")
        last = 0
        try:
            while True:
                answer = client.ask(words.KeyLogQuery(last), words.Lines, patient=True)
                last = answer.last
                for row in answer.rows:
                    target = esp_rows if row.startswith(ESP_ROW) else ike_rows
                    if target is not None:
                        target.write(f"{row}\n")
        except KeyboardInterrupt:
            sys.exit(0)


def _append(file: Path) -> TextIO:
    """Ours alone from its first moment; a row is there as soon as it is written."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(file, flags, 0o600), "w", buffering=1)
