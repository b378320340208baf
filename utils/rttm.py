"""Stretches of recordings in RTTM, the text format of NIST's speaker diarization tests, as Kaldi reads and writes it:

    SPEAKER <utterance> 1 <begin> <seconds> <NA> <NA> <what> <NA> <NA>

Here `what` is spoof, and a data dir's file `rttm` lists the spoofed stretches of its utterances. A spoofed utterance
that it does not name is spoofed throughout; all else is bona fide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from utils.cli import UserError
from utils.files import read_filled_lines

RTTM = "rttm"
WHAT = "spoof"
Stretches = tuple[tuple[float, float], ...]  # begin and end, seconds, in the order of time, none touching another


def lines_of(stretches: Mapping[str, Stretches]) -> Iterator[str]:
    for name, found in stretches.items():
        for begin, end in found:
            yield f"SPEAKER {name} 1 {begin:.3f} {end - begin:.3f} <NA> <NA> {WHAT} <NA> <NA>"


def joined(stretches: Iterable[tuple[float, float]]) -> Stretches:
    """The same places in the order of time, where stretches that touch or overlap are one."""
    found: list[tuple[float, float]] = []
    for begin, end in sorted(stretches):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return tuple(found)


def read_rttm(path: Path) -> dict[str, Stretches]:
    """The spoofed stretches by utterance; lines of other names than `spoof` are left out.

    Raises UserError, naming file and line, for a line that is none of RTTM.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for number, line in read_filled_lines(path):
        parts = line.split()
        try:
            kind, name, _, begin, seconds, _, _, what = parts[:8]
            first, length = float(begin), float(seconds)
        except ValueError:
            first, length, kind, name, what = math.nan, math.nan, "", "", ""
        if kind != "SPEAKER" or not (0 <= first < math.inf and 0 < length < math.inf):
            raise UserError(
                f"{path}: line {number}: not SPEAKER UTT 1 BEGIN SECONDS <NA> <NA> spoof <NA> <NA>; correct it"
            )
        if what == WHAT:
            found.setdefault(name, []).append((first, first + length))
    return {name: joined(stretches) for name, stretches in found.items()}
