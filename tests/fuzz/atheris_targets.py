#!/usr/bin/env python3
"""Fuzzes one reader by coverage, for as long as one likes: the targets of tests/fuzz/targets.py under atheris.

No part of the tests: `pip install atheris` first (wheels for Linux on x86_64). Without a name it lists the targets.
What follows the name goes to libFuzzer; a corpus folder keeps what reached new code, from one run to the next.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import utils.environment

import atheris

INSTRUMENTED = ["local", "steps", "utils", "yaml", "kaldiio"]

with atheris.instrument_imports(include=INSTRUMENTED):
    from tests.fuzz.targets import right_files, targets, varied
    from tests.fuzz.test_fuzz import lay, run_case


def main() -> None:
    known = {target.name: target for target in targets() if target.how is None}
    if len(sys.argv) < 2 or sys.argv[1] not in known:
        sys.exit("\n".join(["usage: tests/fuzz/atheris_targets.py NAME [-max_total_time=600] [CORPUS-DIR]", *known]))
    target = known[sys.argv[1]]
    corpora = [os.path.abspath(arg) for arg in sys.argv[2:] if not arg.startswith("-")]  # noqa: PTH100 (may not exist)
    options = [arg for arg in sys.argv[2:] if arg.startswith("-")]
    folder = Path(tempfile.mkdtemp(prefix="atheris.")) / "case"
    with atheris.instrument_imports(include=INSTRUMENTED):  # what making and reading the files loads
        lay(target, folder)
        target.run()
    lay(target, folder)
    names = varied(target)
    seeds = folder.parent / "right"  # libFuzzer begins with the right files
    seeds.mkdir()
    for index, name in enumerate(names):
        (seeds / str(index)).write_bytes(bytes([index]) + right_files(target)[name])

    def one(data: bytes) -> None:
        """The first byte says which of the files the others are."""
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            run_case(target, folder, names[data[0] % len(names) if data else 0], data[1:])

    atheris.Setup([sys.argv[0], *options, *corpora, str(seeds)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
