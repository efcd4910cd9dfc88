"""Writes the C source of the extension module `xdpsec.workers._native` (cffi, API mode).

What Python may see of C is cdef.h, run through the C preprocessor; nothing is declared twice. Called by CMake as
`build.py COMPILER OUTPUT`.
"""

import subprocess
import sys
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
INCLUDES = (HERE / "include", HERE.parent / "bpf")


def declarations(compiler: str) -> str:
    """cdef.h with everything included and no directives left."""
    flags = [flag for folder in INCLUDES for flag in ("-I", str(folder))]
    command = [compiler, "-E", "-P", "-DXS_CDEF", *flags, str(HERE / "cdef.h")]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main(compiler: str, output: str) -> None:
    seam = FFI()
    seam.cdef(declarations(compiler))
    seam.set_source("xdpsec.workers._native", '#include "cdef.h"\n')
    seam.emit_c_code(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
