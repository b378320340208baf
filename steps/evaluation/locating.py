"""How well a detector finds the spoofed stretches of a set's recordings (steps/metrics/stretches.py)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from steps.metrics.stretches import (
    RESOLUTIONS,
    STEP,
    Found,
    Stretches,
    found_stretches,
    matched,
    parts,
    segments,
    spoofed_steps,
    weighted_equal_error_rate,
)

FloatArray = NDArray[np.float64]
LOWEST_SECONDS = 0.64  # of the mean that a recording is judged by


class Recording(NamedTuple):
    """track: (steps,) scores; stretches: the spoofed ones; seconds: its length."""

    track: FloatArray
    stretches: Stretches
    seconds: float


@dataclass(frozen=True)
class Located:
    """segment_eer: by milliseconds of a segment; range_eer: of durations, at `threshold`; f1: of stretches at the
    threshold that is named by `threshold_of`, of `found` and `wanted` ones; recording_eer: of recordings, by the lowest
    mean over LOWEST_SECONDS; None where one class has none. Rates are fractions."""

    recordings: int
    hours: float
    spoofed_share: float
    segment_eer: dict[str, float]
    range_eer: float
    threshold: float
    threshold_of: str
    found: int
    wanted: int
    f1: float
    recording_eer: float | None

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def lowest_mean(track: FloatArray) -> float:
    """The lowest mean over LOWEST_SECONDS of a track; of a shorter one the mean."""
    length = min(len(track), round(LOWEST_SECONDS / STEP))
    sums = np.cumsum(np.concatenate([[0.0], track]))
    return float((sums[length:] - sums[:-length]).min()) / length


def locate(recordings: Iterable[Recording], given: tuple[float, str] | None = None) -> Located:
    """given: a threshold, and in words the set that it is of; None: that of the range EER of these recordings.

    Raises ValueError where nothing is spoofed, or everything is.
    """
    everything = list(recordings)
    steps = [(one.track, spoofed_steps(one.stretches, len(one.track))) for one in everything]
    rates = {}
    for length in RESOLUTIONS:
        score, spoofed = map(np.concatenate, zip(*(segments(*one, length) for one in steps)))
        rates[f"{round(1000 * STEP * length)}"] = weighted_equal_error_rate(score, ~spoofed, np.ones(len(score)))[0]
    score, bonafide, seconds = map(np.concatenate, zip(*(parts(*one) for one in everything)))
    range_eer, own_threshold = weighted_equal_error_rate(score, bonafide, seconds)
    threshold, of = given or (own_threshold, "these recordings")
    results = [matched(found_stretches(one.track, threshold, one.seconds), one.stretches) for one in everything]
    found = Found(*(sum(column) for column in zip(*results)))
    bonafide_throughout = np.array([not one.stretches for one in everything])
    of_recordings = None
    if 0 < bonafide_throughout.sum() < len(bonafide_throughout):
        lowest = np.array([lowest_mean(one.track) for one in everything])
        of_recordings = weighted_equal_error_rate(lowest, bonafide_throughout, np.ones(len(bonafide_throughout)))[0]
    return Located(
        len(everything), float(seconds.sum()) / 3600, float(seconds[~bonafide].sum() / seconds.sum()), rates, range_eer,
        threshold, of, found.found, found.wanted, found.f1, of_recordings,
    )  # fmt: skip


def lines_of(results: Sequence[tuple[str, Located]]) -> list[str]:
    """A table in Markdown, a line for each named result; rates in percent."""
    heads = [f"{round(1000 * STEP * length)} ms" for length in RESOLUTIONS]
    lines = [
        "| | " + " | ".join(heads) + " | durations | recordings | F1 of stretches | found | there are |",
        "|---|" + "---:|" * (len(heads) + 5),
    ]
    for name, one in results:
        rates = [f"{100 * rate:.1f}" for rate in (*one.segment_eer.values(), one.range_eer)]
        rates.append("-" if one.recording_eer is None else f"{100 * one.recording_eer:.1f}")
        lines.append(f"| {name} | " + " | ".join(rates) + f" | {one.f1:.2f} | {one.found} | {one.wanted} |")
    return lines
