#!/usr/bin/env python3
"""Lets torchaudio import beside a CPU build of torch.

torchaudio's wheel carries compiled libraries that are linked against CUDA; beside a CPU torch they cannot be loaded,
and `import torchaudio` fails. torchaudio itself runs without them when the files are not there ("the library file is
not found" in torchaudio/_extension/utils.py): only forced alignment, RNN-T loss and fast IIR filters are lost, none of
which the toolkit uses. So where the import fails for that reason, the libraries are moved to `lib/unused/`.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path


def imports() -> tuple[bool, str]:
    done = subprocess.run([sys.executable, "-c", "import torchaudio"], capture_output=True, text=True)
    return done.returncode == 0, done.stderr


def main() -> int:
    argparse.ArgumentParser(
        description=__doc__,
        epilog="example:\n  .venv/bin/python3 utils/fit_torchaudio.py",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    works, why = imports()
    if works:
        return 0
    spec = importlib.util.find_spec("torchaudio")
    if spec is None or spec.origin is None:
        sys.stderr.write("fit_torchaudio.py: error: torchaudio is not installed\n")
        return 1
    libraries = sorted((Path(spec.origin).parent / "lib").glob("*.so"))
    if "Could not load this library" not in why or not libraries:
        sys.stderr.write(f"fit_torchaudio.py: error: torchaudio cannot be imported:\n{why}")
        return 1
    unused = libraries[0].parent / "unused"
    unused.mkdir(exist_ok=True)
    for library in libraries:
        library.rename(unused / library.name)
    works, why = imports()
    if not works:
        sys.stderr.write(
            f"fit_torchaudio.py: error: torchaudio cannot be imported without its libraries either:\n{why}"
        )
        return 1
    sys.stderr.write(
        "fit_torchaudio.py: torch is a CPU build here, so torchaudio works without its CUDA libraries, now in "
        f"{unused} (the toolkit does not need them)\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
