"""Writes docs/config.md, the reference of the configuration file, from the models that check it (`make docs`).

`generate.py --check` writes nothing and fails when the file is not current.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from xdpsec.config import proposals
from xdpsec.config.schema import ChildTable, GatewayTable, ManualTable, PeerTable
from xdpsec.config.schema_ike import AuthTable, PoolTable, PpkTable
from xdpsec.config.suites import SUITES, Suite

TARGET = Path(__file__).resolve().parent / "config.md"
TABLES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("[gateway]", GatewayTable),
    ("[peers.NAME]", PeerTable),
    ("auth = { ... }", AuthTable),
    ("ppk = { ... }", PpkTable),
    ("pool = { ... }", PoolTable),
    ("[peers.NAME.children.NAME]", ChildTable),
    ("manual = { ... }", ManualTable),
)
HEAD = """# Configuration reference

<!-- Written by docs/generate.py from xdpsec/config/schema.py; `make docs` renews it. -->

One TOML file per gateway, `/etc/xdpsec/xdpsec.toml` unless `--config` names another. It is checked whole before
anything starts: a key that is not listed here, a wrong type or a value out of range is refused with file, line, key and
the fix. `xdpsec check FILE` does that and nothing else. Keys in bold must be written.
"""
PROPOSALS = """
## Proposals

What `ike`, `esp` and `ah` are made of: words with hyphens between them, as strongSwan writes them. Words of one kind
are alternatives, the best first. What holds where nothing is written is in guide.md.
"""
TAIL = """
## Key files

TOML, owned by root with mode 0600. Keys are hexadecimal; for AES-GCM the four-byte salt follows the key, and there is
no `integrity`. No key may serve twice, whether in one file or in two.

```toml
inbound = { encryption = "...", integrity = "..." }
outbound = { encryption = "...", integrity = "..." }
```

The peer's file has the same keys the other way round. Beside each key file the gateway keeps `NAME.used`, which holds
how far its sequence numbers got; do not remove or copy it.
"""


def _bounds(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    text = f" {low} to {high}" if low is not None and high is not None else ""
    return text + (f", multiple of {schema['multipleOf']}" if "multipleOf" in schema else "")


def _type(schema: Mapping[str, Any]) -> str:
    """A JSON schema in the words of somebody who writes TOML."""
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f'`"{value}"`' for value in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema.get("items", {}):
        return "list of " + _type(schema["items"])
    if "$ref" in schema or schema.get("type") == "object":
        return "table"
    if schema["type"] == "array":
        return f"list of {_type(schema['items']).replace('string', 'strings').replace('integer', 'integers')}"
    return {"string": "string", "boolean": "true or false", "integer": "integer" + _bounds(schema)}[schema["type"]]


def _default(name: str, schema: Mapping[str, Any], required: list[str]) -> str:
    if name in required or schema.get("default") is None:
        return ""
    return f"`{json.dumps(schema['default'])}`"


def _table(title: str, model: type[BaseModel]) -> Iterator[str]:
    schema = model.model_json_schema()
    yield f"\n## {title}\n\n{schema['description']}\n"
    yield "| key | type | default | meaning |\n| --- | --- | --- | --- |"
    rows = schema["properties"].items()
    for name, field in sorted(rows, key=lambda row: row[0] not in schema.get("required", [])):
        must = "**" if name in schema.get("required", []) else ""
        default = _default(name, field, schema.get("required", []))
        yield f"| {must}`{name}`{must} | {_type(field)} | {default} | {' '.join(field['description'].split())} |"


def _suite(suite: Suite) -> str:
    mode = "counter mode" if suite.counter else "weak" if suite.legacy else ""
    return f"| `{suite.name}` | {suite.key_len or ''} | {suite.auth_len or ''} | {suite.icv_len} | {mode} |"


def _proposals() -> Iterator[str]:
    yield PROPOSALS
    yield "| what | words | in |\n| --- | --- | --- |"
    only_esp = [word for word, (number, _) in proposals.ENCR.items() if number in proposals.NOT_FOR_IKE]
    rows = (
        ("encryption", [word for word in proposals.ENCR if word not in only_esp], "`ike`, `esp`"),
        ("encryption", only_esp, "`esp`"),
        ("integrity", proposals.INTEG, "`ike`, `esp`, `ah`; beside an encryption that is no AEAD"),
        ("integrity", [word for word in proposals.AH_INTEG if word not in proposals.INTEG], "`ah`"),
        ("PRF", proposals.PRF, "`ike`; without one, the integrity's"),
        ("key exchange", proposals.KE, "all; `ke1_` to `ke7_` before it: one more"),
        ("sequence numbers", ("esn", "noesn"), "`esp`, `ah`; without one, both"),
    )
    for what, words, place in rows:
        yield f"| {what} | {', '.join(f'`{word}`' for word in words)} | {place} |"
    yield f"\nWeak, and refused without `allow_legacy = true`: {', '.join(f'`{w}`' for w in sorted(proposals.LEGACY))}."


def reference() -> str:
    """The whole text of docs/config.md."""
    lines = [HEAD.rstrip()]
    for title, model in TABLES:
        lines += _table(title, model)
    lines += _proposals()
    lines += [
        "\n## Suites\n",
        "Lengths in bytes. A counter mode needs `allow_manual_counter_modes = true`,\n"
        "a weak one `allow_legacy = true`.\n",
    ]
    lines += ["| `esp` | encryption key (with salt) | integrity key | ICV | |", "| --- | --- | --- | --- | --- |"]
    lines += [_suite(suite) for suite in SUITES.values()]
    return "\n".join(lines) + "\n" + TAIL


def main(argv: list[str]) -> int:
    text = reference()
    if argv == ["--check"]:
        if TARGET.exists() and TARGET.read_text() == text:
            return 0
        print("docs/config.md is not current; run `make docs`", file=sys.stderr)
        return 1
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
