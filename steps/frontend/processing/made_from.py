"""What audio features were made from, so that a file that was replaced under its name is noticed."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from steps.frontend.processing.audio import Audio
from utils.cli import UserError
from utils.segments import Stretch
from utils.tables import blocks, read_big_map

# ending of a part's file: UTT BYTES TIME PATH, TIME in ns since 1970; `- -` where there is no such file
UTT2AUDIO = "utt2audio"
_LINE = re.compile(r"(?:([0-9]{1,18}) ([0-9]{1,19})|- -) (.+)")
_READERS = 16  # a network file system is waited for at each file

Stamp = tuple[int, int]  # bytes; ns since 1970


def _stamp(entry: str) -> Stamp | None:
    """Of the file, or of the files that a command names, taken together: their bytes, and the latest of their times."""
    command = entry.removesuffix("|")
    names = [entry]
    if command != entry:
        try:
            names = shlex.split(command)
        except ValueError:  # an open quote
            names = command.split()
    found = []
    for name in names:
        try:
            status = Path(name).stat()
        except (OSError, ValueError):  # ValueError: a NUL in the name
            continue
        found.append((status.st_size, status.st_mtime_ns))
    return (sum(size for size, _ in found), max(when for _, when in found)) if found else None


def stamp_line(utt: str, audio: Audio) -> str:
    """The line of `utt` in an UTT2AUDIO, as its audio is now."""
    entry = str(audio.path if isinstance(audio, Stretch) else audio)
    size, when = _stamp(entry) or ("-", "-")
    return f"{utt} {size} {when} {entry}"


def _said(stamp: Stamp) -> str:
    return f"{stamp[0]:,} bytes of {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(stamp[1] // 10**9))}"


def replaced(table: Path) -> list[str]:
    """What of the audio in an UTT2AUDIO is another than when its line was written, in words, a file each.

    A file that is gone is not replaced: features stay where the audio lies elsewhere now. One that was missing and is
    there now is. Raises UserError naming a line that is malformed.
    """
    was: dict[str, Stamp | None] = {}
    for number, text in enumerate(read_big_map(table).column, 1):
        found = _LINE.fullmatch(text)
        if found is None:
            raise UserError(f"{table}: line {number}: not UTT BYTES TIME PATH; remove it and run again from --stage 1")
        was.setdefault(found[3], (int(found[1]), int(found[2])) if found[1] else None)

    def changes(entries: Iterable[str]) -> list[str]:
        said = []
        for entry in entries:
            old, new = was[entry], _stamp(entry)
            if new is not None and new != old:
                said.append(f"{entry}: {'missing' if old is None else _said(old)} then, {_said(new)} now")
        return said

    with ThreadPoolExecutor(_READERS) as pool:
        return [one for found in pool.map(changes, blocks(was)) for one in found]
