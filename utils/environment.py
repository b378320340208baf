"""Imported by every program before anything that is not Python's own: without the toolkit's environment, an import that
fails ends in a line that says how to get it."""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_SAY = f"run `. ./path.sh` first, in {_ROOT}"
_program = Path(sys.argv[0] or "python").name


def _explain(kind, error, trace):
    module = (getattr(error, "name", None) or "").partition(".")[0]
    if not issubclass(kind, ModuleNotFoundError) or (_ROOT / module).exists():
        sys.__excepthook__(kind, error, trace)
    else:
        sys.stderr.write(f"{_program}: error: this Python, {sys.executable}, has no {module}: {_SAY}\n")


if sys.version_info < (3, 11):  # noqa: UP036 (it is for those who start a program by another)
    sys.exit(f"{_program}: error: this is Python {sys.version.split()[0]}, and 3.11 or newer is needed: {_SAY}")
sys.excepthook = _explain
