"""The track of a recording: a score for each step of metrics.stretches.STEP seconds, from those of its windows'
frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from steps.metrics.stretches import STEP, steps_in
from utils.cli import UserError
from utils.files import read_json, write_json

FloatArray = NDArray[np.float64]
THRESHOLD = "frame_threshold.json"  # in a training's folder


def track_of(
    spans: Sequence[tuple[float, float]], scores: Sequence[FloatArray | None], window: float, seconds: float
) -> FloatArray:
    """(steps,): the mean over the windows that hold the middle of a step. Steps that no scored window holds, which are
    silent, get the highest score of the recording.

    spans: begin and end of each window in seconds; scores: (frames,) of each, which divide `window` seconds from its
    begin evenly, as a shorter recording is continued to a window's length; (1,): one score for all of it; None: silent.
    """
    count = steps_in(seconds)
    sums, holding = np.zeros(count), np.zeros(count)
    middles = (np.arange(count) + 0.5) * STEP
    for (begin, end), own in zip(spans, scores):
        if own is None:
            continue
        inside = slice(*np.searchsorted(middles, (begin, end)).tolist())
        places = ((middles[inside] - begin) / window * len(own)).astype(int)
        sums[inside] += own[np.clip(places, 0, len(own) - 1)]
        holding[inside] += 1
    track = np.divide(sums, holding, out=np.full(count, np.nan), where=holding > 0)
    track[np.isnan(track)] = np.nanmax(track) if holding.any() else 0.0
    return track


def write_frame_threshold(folder: Path, threshold: float, made_from: str) -> None:
    write_json(folder / THRESHOLD, {"threshold": threshold, "made_from": made_from})


def read_frame_threshold(folder: Path) -> float | None:
    """None where there is none. Raises UserError for a file that has no number."""
    path = folder / THRESHOLD
    if not path.exists():
        return None
    kept = read_json(path)
    value = kept.get("threshold") if isinstance(kept, dict) else None
    if not isinstance(value, int | float):
        raise UserError(f"{path}: it has no threshold; remove it and run steps/locate.py on dev again")
    return float(value)
