"""The rules of the house, held by reading the tree: who may import whom, captions, lengths, names not to be named.

Each rule is a function from a file to its complaints, and each is shown to complain about a small bad example. What
git does not track is not looked at.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON_LINES, C_LINES, FUNCTION_LINES, CAPTION_LINES = 600, 350, 50, 5

#: Room -> what of xdpsec it may import beside itself. A room's name covers all of it, a module's only that module.
#: numbers and errors are everybody's, the workers excepted: what a worker loads must be little.
MAY = {
    "numbers": (),
    "errors": (),
    "wire": ("numbers", "errors"),
    "crypto": ("numbers", "errors"),
    "config": ("numbers", "errors"),
    "channel": ("numbers", "errors"),
    "workers": ("channel.messages", "channel.framing", "channel.start"),
    "policy": ("numbers", "errors", "config.values", "config.keys", "config.suites", "channel.messages"),
    "ike": ("numbers", "errors", "wire", "crypto", "policy.values"),
    "net": ("numbers", "errors", "channel.messages", "workers.native"),
    "metrics": ("numbers", "errors", "workers.native"),
    "demo": ("numbers", "errors", "config.suites"),
    "daemon": ("numbers", "errors", "net", "channel", "metrics", "config", "policy", "ike", "crypto", "workers.native"),
    "cli": (
        *("numbers", "errors", "daemon", "net", "channel", "metrics", "config", "policy", "ike", "crypto"),
        *("demo", "workers.native"),
    ),
}
#: Inside ike the two versions do not know each other.
APART = (("ike.v1", "ike.v2"), ("ike.v2", "ike.v1"))
#: The protocol core is handed time and chance; it never touches the world.
PURE = ("ike", "wire", "crypto", "policy")
WORLD = ("asyncio", "socket", "time", "os", "random", "secrets", "logging", "threading", "subprocess")

#: Put together here, so that this file does not name them either.
REGISTRIES = tuple(
    a + "." + b
    for a, b in (
        *(("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("crates", "io"), ("proxy.golang", "org")),
        *(("deb.debian", "org"), ("archive.ubuntu", "com"), ("docker", "io"), ("ghcr", "io"), ("quay", "io")),
    )
)


# --- what a file is --


def tracked() -> list[str]:
    """Every file of the tree, as paths from its root; symbolic links are other files' names."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file() and not (ROOT / name).is_symlink()]


def is_python(name: str, text: str) -> bool:
    return name.endswith(".py") or text.startswith("#!/usr/bin/env python3")


def is_shell(name: str, text: str) -> bool:
    return name.endswith(".sh") or text.startswith(("#!/usr/bin/env bash", "#!/bin/sh", "#!/bin/bash"))


def is_c(name: str, text: str) -> bool:
    return name.endswith((".c", ".h"))


def module_of(name: str) -> str | None:
    """The module within xdpsec: `policy.spd`, `workers.apply`; None for a file outside the package."""
    parts = Path(name).with_suffix("").parts
    if parts[0] == "xdpsec":
        parts = parts[1:]
    elif parts[0] != "workers":
        return None
    return ".".join(part for part in parts if part != "__init__")


def imports(name: str, text: str) -> Iterator[tuple[int, str]]:
    """Line and full module name of each import; `from a import b` is a.b, which may be more than a module."""
    package = ("xdpsec." + (module_of(name) or "")).split(".")
    if not name.endswith("__init__.py"):
        package = package[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            whole = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{whole}.{alias.name}") for alias in node.names)


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


# --- the rules: file name, text -> complaints --


def directions(name: str, text: str) -> Iterator[str]:
    """House sec. 2: who may import whom."""
    module = module_of(name)
    if not module or not is_python(name, text):
        return
    room = module.split(".")[0]
    for line, whole in imports(name, text):
        target = whole.removeprefix("xdpsec.")
        if target == whole or within(target, room):
            apart = any(within(module, one) and within(target, other) for one, other in APART)
            if apart:
                yield f"{name}:{line}: {module} may not import {target}"
        elif room not in MAY:
            yield f"{name}:{line}: room {room} is not in the table of this test"
        elif not any(within(target, allowed) for allowed in MAY[room]):
            yield f"{name}:{line}: {room} may not import {target}"


def purity(name: str, text: str) -> Iterator[str]:
    """House sec. 2 and rule 1: the core never touches the world."""
    module = module_of(name)
    if not module or module.split(".")[0] not in PURE:
        return
    for line, whole in imports(name, text):
        if any(within(whole, part) for part in WORLD):
            yield f"{name}:{line}: {module} may not import {whole}"


def includes(name: str, text: str) -> Iterator[str]:
    """bpf knows only bpf; the workers know their own headers and bpf/shared.h."""
    folder = name.split("/")[0]
    if folder not in ("bpf", "workers") or not is_c(name, text):
        return
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r'#include "(.*)"', line)
        if not found:
            continue
        header = found[1]
        own = {"bpf": ROOT / "bpf", "workers": ROOT / "workers/include"}[folder] / header
        if "/" in header or not (own.exists() or (folder == "workers" and header == "shared.h")):
            yield f"{name}:{number}: {folder} may not include {header}"


def caption(name: str, text: str) -> Iterator[str]:
    """Each file says first what it is, in a few lines."""
    lines = text.splitlines()
    said = ""
    if is_python(name, text):
        if text or not name.endswith("__init__.py"):
            said = ast.get_docstring(ast.parse(text)) or ""
        else:
            return
    elif is_c(name, text):
        rest = "\n".join(lines[1:] if lines and "SPDX-License-Identifier" in lines[0] else lines)
        said = rest.split("*/")[0] if rest.startswith("/* ") else ""
    elif is_shell(name, text):
        said = "\n".join(lines[1:])
        said = "\n".join(re.split(r"^(?!# )", said, maxsplit=1, flags=re.MULTILINE)[0].splitlines())
    elif Path(name).name in ("Makefile", "CMakeLists.txt", ".clang-format") or name.endswith((".yml", ".yaml")):
        said = lines[0] if lines and lines[0].startswith("# ") else ""
    else:
        return
    if not said.strip():
        yield f"{name}:1: no caption: say first what this file is"
    elif len([line for line in said.splitlines() if line.strip()]) > CAPTION_LINES:
        yield f"{name}:1: the caption has more than {CAPTION_LINES} lines"


def lengths(name: str, text: str) -> Iterator[str]:
    """A file and a function that one can hold in the head."""
    count = len(text.splitlines())
    limit = PYTHON_LINES if is_python(name, text) else C_LINES if is_c(name, text) else count
    if count > limit:
        yield f"{name}: {count} lines, more than {limit}"
    for first, last in functions(name, text):
        if last - first + 1 > FUNCTION_LINES:
            yield f"{name}:{first}: a function of {last - first + 1} lines, more than {FUNCTION_LINES}"


def functions(name: str, text: str) -> Iterator[tuple[int, int]]:
    """First and last line of each function, in C of its body: clang-format puts its braces in column 0."""
    if is_python(name, text):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.lineno, node.end_lineno or node.lineno
    elif is_c(name, text):
        start = 0
        for number, line in enumerate(text.splitlines(), 1):
            if line == "{":
                start = number
            elif line == "}" and start:
                yield start + 1, number - 1
                start = 0


def no_registry(name: str, text: str) -> Iterator[str]:
    """Where a machine finds packages is that machine's business."""
    for number, line in enumerate(text.splitlines(), 1):
        found = [host for host in REGISTRIES if host in line]
        if found or re.search(r"--(extra-)?index-url[ =]", line):
            yield f"{name}:{number}: names a package registry"


def bpf_license(name: str, text: str) -> Iterator[str]:
    """The kernel takes only a GPL-compatible program; the rest of the tree is Apache-2.0."""
    if (
        name.startswith("bpf/")
        and is_c(name, text)
        and "SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only" not in text.split("\n")[0]
    ):
        yield f"{name}:1: does not open with its two licences"


Rule = Callable[[str, str], Iterator[str]]
RULES: tuple[Rule, ...] = (directions, purity, includes, caption, lengths, no_registry, bpf_license)

LONG_PYTHON = '"""Long."""\n\ndef f():\n' + "    pass\n" * FUNCTION_LINES
LONG_C = "/* Long. */\nint f(void)\n{\n" + "    f();\n" * (FUNCTION_LINES + 1) + "}\n"
#: What each rule must complain about: rule, file name, text.
BAD: tuple[tuple[Rule, str, str], ...] = (
    (directions, "xdpsec/wire/header.py", "from xdpsec.crypto import prf"),
    (directions, "xdpsec/crypto/prf.py", "import xdpsec.wire.header"),
    (directions, "xdpsec/ike/v1/machine.py", "from xdpsec.ike.v2 import table"),
    (directions, "xdpsec/ike/gate.py", "from xdpsec.policy.spd import rows"),
    (directions, "xdpsec/ike/gate.py", "from ..daemon import control"),
    (directions, "xdpsec/numbers.py", "from .errors import LocalError"),
    (directions, "xdpsec/net/door.py", "from xdpsec.channel import hub"),
    (directions, "xdpsec/daemon/control.py", "def f():\n    from xdpsec.cli import main"),
    (directions, "xdpsec/metrics/shared.py", "from xdpsec import daemon"),
    (directions, "xdpsec/attic/old.py", "from xdpsec.wire import header"),
    (directions, "workers/worker.py", "from xdpsec.errors import LocalError"),
    (directions, "workers/worker.py", "from xdpsec.channel import hub"),
    (purity, "xdpsec/policy/spd.py", "import os.path"),
    (purity, "xdpsec/ike/window.py", "from time import monotonic"),
    (includes, "bpf/steer.bpf.c", '#include "sad.h"'),
    (includes, "workers/src/sad.c", '#include "parse.h"'),
    (includes, "workers/src/sad.c", '#include "../../bpf/shared.h"'),
    (caption, "xdpsec/net/door.py", "import os"),
    (caption, "xdpsec/net/door.py", '"""' + "word\n" * (CAPTION_LINES + 1) + '"""'),
    (caption, "workers/src/sad.c", '#include "sad.h"'),
    (caption, "bpf/maps.h", "/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */\n#ifndef XS_MAPS_H"),
    (caption, "deploy/setup", "#!/usr/bin/env bash\nset -e\n# too late"),
    (caption, "Makefile", "all:"),
    (lengths, "xdpsec/net/door.py", "x = 1\n" * (PYTHON_LINES + 1)),
    (lengths, "workers/src/sad.c", "int x;\n" * (C_LINES + 1)),
    (lengths, "xdpsec/net/door.py", LONG_PYTHON),
    (lengths, "workers/src/sad.c", LONG_C),
    (no_registry, "docs/guide.md", "see https://" + REGISTRIES[0] + "/project"),
    (no_registry, "requirements.txt", "--index-url" + "=somewhere"),
    (bpf_license, "bpf/new.h", "/* A header. */"),
)


@pytest.mark.parametrize("rule", RULES)
def test_tree_keeps_the_rule(rule: Rule) -> None:
    complaints: list[str] = []
    for name in tracked():
        try:
            text = (ROOT / name).read_text()
        except UnicodeDecodeError:
            continue  # a recorded capture
        complaints += rule(name, text)
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(("rule", "name", "text"), BAD)
def test_rule_sees_a_breach(rule: Rule, name: str, text: str) -> None:
    assert list(rule(name, text))


def test_every_rule_has_a_breach() -> None:
    assert {rule for rule, _, _ in BAD} == set(RULES)


def test_package_is_empty() -> None:
    """A worker must not load what it does not need: importing xdpsec runs nothing."""
    assert (ROOT / "xdpsec/__init__.py").read_bytes() == b""


def test_worker_loads_little() -> None:
    """What is really loaded, not only what is written in the worker's own files."""
    code = "import sys, xdpsec.workers.worker; print(*(m for m in sys.modules if m.startswith('xdpsec.')))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "xdpsec.workers.worker" in loaded.split()
    assert {module.split(".")[1] for module in loaded.split()} <= {"errors", "numbers", "channel", "workers"}
