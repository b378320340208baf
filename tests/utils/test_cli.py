"""What all programs share: how they write to streams of any encoding."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, sys
from utils.cli import UserError, run_program

def main():
    name = sys.argv[1]
    print(name)
    print("\N{PLUS-MINUS SIGN}")
    raise UserError(f"{name}: no such file")

run_program(main)
"""


@pytest.mark.parametrize(
    "encoding, written",
    [
        ("utf-8", "\u6d4b\U0001d538.wav".encode()),
        ("latin-1", b"\\u6d4b\\U0001d538.wav"),
        ("ascii", b"\\u6d4b\\U0001d538.wav"),
    ],
)
def test_characters_that_the_encoding_lacks_are_escaped(encoding, written):
    """A byte of a name that is no UTF-8 goes out as it came in."""
    name = "\u6d4b\U0001d538.wav".encode() + b"\xff"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, name],
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": encoding},
    )
    sign = "\N{PLUS-MINUS SIGN}".encode(encoding, "backslashreplace")
    assert done.stdout == written + b"\xff\n" + sign + b"\n"
    assert done.stderr == b"-c: error: " + written + b"\xff: no such file\n"
    assert done.returncode == 1
