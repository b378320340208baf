"""The track of a recording: a score for each step of metrics.stretches.STEP seconds, from those of its windows'
frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from steps.evaluation.evaluation import stem_of
from steps.metrics.stretches import STEP, steps_in
from utils.cli import UserError
from utils.files import read_json, write_json

FloatArray = NDArray[np.float64]


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


def _threshold_file(folder: Path, head: int | None) -> Path:
    return folder / f"{stem_of('frame_threshold', head)}.json"


def write_frame_threshold(folder: Path, threshold: float, made_from: str, head: int | None = None) -> None:
    """In a training's folder. head: the stage of an early exit; None: of the complete network."""
    write_json(_threshold_file(folder, head), {"threshold": threshold, "made_from": made_from})


def read_frame_threshold(folder: Path, head: int | None = None) -> float | None:
    """None where there is none. Raises UserError for a file that has no number."""
    path = _threshold_file(folder, head)
    if not path.exists():
        return None
    kept = read_json(path)
    value = kept.get("threshold") if isinstance(kept, dict) else None
    if not isinstance(value, int | float):
        raise UserError(f"{path}: it has no threshold; remove it and run steps/locate.py on dev again")
    return float(value)


def frame_threshold_of(folder: Path, head: int | None = None) -> tuple[float | None, str]:
    """As read_frame_threshold, and why there is none, with the fix. For detectors that score frames."""
    if (value := read_frame_threshold(folder, head)) is not None:
        return value, ""
    option = "" if head is None else f"--exit {head} "
    return None, f"no {_threshold_file(folder, head)}; run steps/locate.py {option}{folder} dev"
