"""The result of scoring a recording: its windows, its verdict, which windows are below the threshold and where."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from steps.inference.clock import stretch_clock
from steps.inference.overview import Overview
from steps.metrics.stretches import STEP, found_stretches

_NAMED = 5  # stretches in a sentence; `stretches` has all


@dataclass(frozen=True)
class Window:
    """begin, end: seconds; score: higher = bona fide, None where it is silent; llr: None without a calibration too;
    counts: whether the recording's score is made of it, too; below: whether the LLR is at or below the threshold, None
    where there is none and where the recording is not judged."""

    begin: float
    end: float
    score: float | None
    llr: float | None
    counts: bool
    below: bool | None


def _places(stretches: Sequence[tuple[float, float]], seconds: float) -> str:
    """Where the first stretches of a recording of so many seconds are, and how many more there are."""
    places = [stretch_clock(*stretch, seconds) for stretch in stretches[:_NAMED]]
    more = len(stretches) - len(places)
    return ", ".join(places) + (f" and {more} more" if more else "")


@dataclass(frozen=True)
class Below:
    """windows: how many have an LLR at or below the threshold; of: how many have an LLR at all; stretches: where,
    (begin, end) in seconds, in the order of time: windows that overlap or touch are one stretch."""

    windows: int
    of: int
    stretches: tuple[tuple[float, float], ...]

    @classmethod
    def among(cls, windows: Sequence[Window]) -> Below:
        """windows: of a recording that is judged, in the order of time."""
        stretches: list[tuple[float, float]] = []
        below = [window for window in windows if window.below]
        for window in below:
            if stretches and window.begin <= stretches[-1][1]:
                stretches[-1] = (stretches[-1][0], window.end)
            else:
                stretches.append((window.begin, window.end))
        return cls(len(below), sum(window.below is not None for window in windows), tuple(stretches))

    def words(self, seconds: float) -> str:
        """`3 of 65 windows below the threshold: 1:18-1:26, 2:30-2:35`. seconds: the recording's length. Empty for one
        window, whose verdict is the recording's."""
        if self.of < 2:
            return ""
        where = _places(self.stretches, seconds)
        return f"{self.windows} of {self.of} windows below the threshold" + (f": {where}" if where else "")


class Stretch(NamedTuple):
    """A spoofed stretch of a recording: begin and end in seconds, and the lowest score in it."""

    begin: float
    end: float
    score: float


def scored_stretches(track: np.ndarray, threshold: float, seconds: float) -> tuple[Stretch, ...]:
    """The stretches of a track at or below the threshold, in the order of time."""
    found = found_stretches(track, threshold, seconds)
    return tuple(Stretch(b, e, float(track[round(b / STEP) : math.ceil(e / STEP - 1e-6)].min())) for b, e in found)


@dataclass(frozen=True)
class Result:
    """What is said of a recording, or of one of its channels.

    name: of the file; channel: `mixed`, or its number from 0, None of a recording that has only one; seconds: its
    length; windows: in the order of time; score, llr, verdict (bonafide, partial, spoof): llr and verdict None without
    a calibration; notes: what was done to the audio; not_judged: why there is no verdict, where the recording is the
    reason; below: which windows are below the threshold, None where there is no verdict; distance: mean of its windows'
    from what the detector was trained on, outside: whether it is beyond the limit, both None where none is known;
    overview: for a picture, if it was asked for; embedding: float32 (size,), the mean of its windows', if it was asked
    for; stretches: the spoofed ones, of detectors that score frames; track:
    (steps,), a score for each 20 ms (inference/frame_track.py).
    """

    name: str
    channel: str | None
    seconds: float
    windows: tuple[Window, ...]
    score: float
    llr: float | None
    verdict: str | None
    notes: tuple[str, ...]
    not_judged: str | None = None
    below: Below | None = None
    distance: float | None = None
    outside: bool | None = None
    overview: Overview | None = field(default=None, compare=False, repr=False)
    stretches: tuple[Stretch, ...] | None = None
    track: np.ndarray | None = field(default=None, compare=False, repr=False)
    embedding: np.ndarray | None = field(default=None, compare=False, repr=False)

    def lowest(self, count: int = 3) -> list[Window]:
        """The lowest-scoring stretches, lowest first: each is a window that overlaps none of those before it."""
        found: list[Window] = []
        for window in sorted((w for w in self.windows if w.counts), key=lambda w: w.score):
            if len(found) == count:
                break
            if all(window.end <= other.begin or window.begin >= other.end for other in found):
                found.append(window)
        return found

    @property
    def below_in_words(self) -> str:
        """`3 of 65 windows below the threshold: 1:18-1:26, 2:30-2:35`; empty for one window, and where there is no
        verdict."""
        return "" if self.below is None else self.below.words(self.seconds)

    @property
    def spoofed_in_words(self) -> str:
        """`2 spoofed stretches: 0:12-0:15, 1:02-1:04`; empty where frames are not scored, and where there is no
        verdict."""
        if self.stretches is None:
            return ""
        count, where = len(self.stretches), _places([one[:2] for one in self.stretches], self.seconds)
        return f"{count or 'no'} spoofed stretch{'' if count == 1 else 'es'}" + (f": {where}" if where else "")


@dataclass(frozen=True)
class Heard:
    """What `stream` says when a window is over. channel: as of a Result; verdict: of the window; score, llr,
    verdict_so_far: of all windows until then; below_so_far: how many of them are below the threshold; each None where
    there is none."""

    channel: str | None
    window: Window
    verdict: str | None
    score: float | None
    llr: float | None
    verdict_so_far: str | None
    below_so_far: int | None


@dataclass(frozen=True)
class Evidence:
    """What the places of a window speak for. features: (frames, bins), what the network saw of its first channel;
    places: the same shape, what each adds to the score, above 0 for bona fide, of a map of `cells` (frames, bins) drawn
    up to it. Where a short recording was continued, only its own frames. bin_hz: (bins,), None where bins are no
    frequencies."""

    window: Window
    features: np.ndarray
    places: np.ndarray
    cells: tuple[int, int]
    bin_hz: np.ndarray | None
