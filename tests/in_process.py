"""Runs a program's main() in this process: as on its command line, without the time that a new Python takes."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable

from utils.cli import run_program


def call(main: Callable[[], int | None], *argv: object) -> subprocess.CompletedProcess[str]:
    """Run `main` with sys.argv = argv (the program's name first); status, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, [str(arg) for arg in argv]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                run_program(main)
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = before
    return subprocess.CompletedProcess(argv, status, out.getvalue(), err.getvalue())
