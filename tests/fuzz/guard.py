"""While the guard is up, this process starts no other, runs no code out of data, and writes nowhere but below one
folder."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "pty.spawn")
_CODE = ("pickle.find_class",)
_CHANGES = {"os.rename": (0, 1), "os.remove": (0,), "os.mkdir": (0,), "os.rmdir": (0,), "os.symlink": (1,), "os.link": (1,), "os.truncate": (0,), "shutil.rmtree": (0,)}  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_folder: str | None = None  # where writing is allowed; None while the guard is down
_installed = False


class Broken(BaseException):
    """What must never happen has been tried. No Exception, which readers of damaged files catch."""


def _watch(event: str, args: tuple) -> None:
    if _folder is None:
        return
    if event in _STARTS or event in _CODE:
        raise Broken(f"{event} {args!r:.200}")
    if event == "open" and isinstance(args[2], int) and args[2] & _WRITES:
        _check(args[0])
    elif event in _CHANGES:
        for index in _CHANGES[event]:
            _check(args[index])


def _check(path: object) -> None:
    if isinstance(path, int) or path == os.devnull:
        return
    there = os.path.realpath(os.fsdecode(path))
    if not (there + os.sep).startswith(f"{_folder}{os.sep}"):
        raise Broken(f"written outside {_folder}: {there}")


@contextlib.contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """folder: below which files may be written; nothing may where it does not exist."""
    global _folder, _installed
    if not _installed:
        sys.addaudithook(_watch)  # for good: Python takes none away
        _installed = True
    _folder = os.path.realpath(folder)
    try:
        yield
    finally:
        _folder = None
