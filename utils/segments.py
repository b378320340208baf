"""Which part of a recording an utterance is: a data dir's `segments` and `reco2file_and_channel`, as Kaldi has them.

    segments               UTT RECORDING START END     seconds; END -1: to the recording's end
    reco2file_and_channel  RECORDING FILE A|B          which of its channels, where its audio has several

Where there is a `segments`, the keys of the wav.scp beside it are recordings, else they are utterances.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from utils.cli import UserError
from utils.tables import Table, read_big_map, require_keys

SEGMENTS, SIDES = "segments", "reco2file_and_channel"
MOST_OVERSHOOT = 0.5  # seconds that a segment may end after its recording, as in Kaldi's extract-segments
T = TypeVar("T")
_DAY = 86400.0  # seconds
_SIDE_NUMBERS = {"A": 0, "B": 1, "1": 0, "2": 1}


def parse_segment(text: str) -> tuple[str, float, float | None]:
    """`RECORDING START END` -> the recording, start and end in seconds, None for END -1. Raises ValueError, saying what
    is wrong."""
    fields = text.split()
    try:
        recording, begin, end = fields[0], float(fields[1]), float(fields[2])
    except (IndexError, ValueError):
        raise ValueError("is not `RECORDING START END`") from None
    if len(fields) != 3 or not math.isfinite(begin) or not math.isfinite(end):
        raise ValueError("is not `RECORDING START END`")
    if begin < 0:
        raise ValueError("starts before its recording does")
    if end == -1:
        return recording, begin, None
    if end <= begin:
        raise ValueError("ends before it begins")
    return recording, begin, end


def parse_side(text: str) -> int:
    """`FILE SIDE` -> the channel, counted from 0. Raises ValueError, saying what is wrong."""
    fields = text.split()
    if len(fields) != 2 or fields[1] not in _SIDE_NUMBERS:
        raise ValueError("is not `FILE A` or `FILE B`, the first or the second channel")
    return _SIDE_NUMBERS[fields[1]]


@dataclass(frozen=True)
class Stretch:
    """A part of a recording. path: wav.scp's entry; begin, end: seconds, None: its end; side: the channel that is meant
    where it has several, counted from 0, None: not said."""

    path: Any
    begin: float = 0.0
    end: float | None = None
    side: int | None = None

    def __str__(self) -> str:
        until = "its end" if self.end is None else f"{self.end:g} s"
        times = f", {self.begin:g} s to {until}" if self.begin or self.end is not None else ""
        channel = "" if self.side is None else f", channel {'AB'[self.side]}"
        return f"{self.path}{times}{channel}"

    def span(self, where: str, rate: int, samples: int) -> tuple[int, int]:
        """First sample and last + 1 in a recording of so many samples at `rate` (Hz), as Kaldi's extract-segments cuts.

        Raises UserError that begins with `where` for a stretch that begins after the recording's end, or ends
        MOST_OVERSHOOT seconds or more after it, and for no samples. A smaller overshoot is cut off.
        """
        if samples == 0:
            raise UserError(f"{where}: empty: no samples")
        first = int(self.begin * rate)
        last = samples if self.end is None else int(self.end * rate)
        if first >= samples or last >= samples + int(MOST_OVERSHOOT * rate):
            raise UserError(
                f"{where}: the recording has only {samples / rate:.2f} s; correct the line of {SEGMENTS}, or give "
                "the complete recording"
            )
        if first >= last:
            raise UserError(f"{where}: a segment of no samples; correct the line of {SEGMENTS}")
        return first, min(last, samples)


def beside(wav_scp: str | os.PathLike) -> list[Path]:
    """Which tables of a data dir say more of what its wav.scp lists; none for a list of another name."""
    path = Path(wav_scp)
    found = (path.with_name(name) for name in (SEGMENTS, SIDES) if path.name == "wav.scp")
    return [path for path in found if os.path.lexists(path)]  # what cannot be read is refused, not passed over


class Utterances:
    """The utterances of a wav.scp: each a recording of it, or a stretch of one where a `segments` stands beside it.

    keys: the utterances in their file's order; place: the file that lists them.

    Raises UserError, naming file and line, for a line of `segments` or `reco2file_and_channel` that is malformed, and
    for tables that have not the same recordings.
    """

    def __init__(self, wav_scp: str | os.PathLike, recordings: Table):
        self.place = Path(wav_scp)
        self._segments = self._sides = None
        for path in beside(wav_scp):
            if path.name == SIDES:
                self._sides = self._read_sides(path, recordings)
            else:
                self._segments = self._read_segments(path, recordings)
        self._recordings = recordings
        self.keys: Sequence[str] = (recordings if self._segments is None else self._segments).key_column
        if self._segments is not None:
            self.place = self.place.with_name(SEGMENTS)

    @property
    def has_segments(self) -> bool:
        return self._segments is not None

    def _read_sides(self, path: Path, recordings: Table) -> Table:
        table = read_big_map(path)
        for _ in parsed(path, table, parse_side):
            pass
        require_keys(path, table, self.place, recordings, "add their lines, or remove the file", "recordings")
        return table

    def _read_segments(self, path: Path, recordings: Table) -> Table:
        table = read_big_map(path)
        used = bytearray(len(recordings))
        for number, (utt, (recording, _, _)) in enumerate(parsed(path, table, parse_segment), 1):
            place = recordings.place(recording)
            if place < 0:
                raise UserError(
                    f"{path}: line {number}: {utt}: its recording {recording} is not in {self.place}; add it there, or "
                    "remove the line"
                )
            used[place] = 1
        if (lacking := used.count(0)) > 0:
            raise UserError(
                f"{path}: {lacking} of the {len(used)} recordings of {self.place} have no segment in it (first: "
                f"{recordings.key_column[used.find(0)]}); add their segments, or take them out of {self.place.name}"
            )
        return table

    def recording_of(self, utt: str) -> str:
        """The key in wav.scp. Raises KeyError for an utterance that is not there."""
        return utt if self._segments is None else self._segments[utt].split(None, 1)[0]

    def stretch_of(self, utt: str, path: Any) -> Any:
        """`path`, its recording's entry, or the Stretch of it that the utterance is. Raises KeyError for an utterance
        that is not there."""
        begin, end, side = 0.0, None, None
        if self._segments is not None:
            _, begin, end = parse_segment(self._segments[utt])
        if self._sides is not None:
            side = parse_side(self._sides[self.recording_of(utt)])
        is_recording = self._segments is None and side is None
        return path if is_recording else Stretch(path, begin, end, side)

    def __contains__(self, utt: str) -> bool:
        return utt in (self._recordings if self._segments is None else self._segments)


def parsed(path: Path, table: Table, parse: Callable[[str], T]) -> Iterator[tuple[str, T]]:
    """Keys and parsed values of the table that `path` holds. Raises UserError with the line for a value that `parse`
    refuses."""
    for number, (key, text) in enumerate(table.pairs(), 1):
        try:
            yield key, parse(text)
        except ValueError as error:
            raise UserError(f"{path}: line {number}: {key}: {text!r} {error}; correct the line") from None


def durations(data_dir: str | os.PathLike) -> Iterator[tuple[str, float]]:
    """(utterance, seconds) of a data dir, by its utt2dur, else by its segments.

    Raises UserError, naming file and line, for a value that is no length of an utterance, for a segment to its
    recording's unknown end, and where neither file is there.
    """
    path = Path(data_dir) / "utt2dur"
    if os.path.lexists(path) or not os.path.lexists(path.with_name(SEGMENTS)):
        yield from parsed(path, read_big_map(path), _seconds)
        return
    path = path.with_name(SEGMENTS)
    for utt, (_, begin, end) in parsed(path, read_big_map(path), parse_segment):
        if end is None:
            raise UserError(f"{path}: {utt}: it goes to its recording's end (END -1); write the seconds into utt2dur")
        yield utt, end - begin


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < _DAY:
        raise ValueError("is no utterance's length in seconds")
    return seconds
