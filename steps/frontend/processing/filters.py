"""Triangular filters over the bins of a spectrum, spaced evenly on a scale of frequency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

_SLANEY_BREAK = 1000.0  # Hz: linear below, logarithmic above
_SLANEY_HZ = 200 / 3  # Hz a mel below
_SLANEY_STEP = np.log(6.4) / 27  # of ln(frequency) a mel above
_BLOCK = 16  # filters that are applied together, to the bins they have in common


@dataclass(frozen=True)
class FilterConf:
    """`number` triangles between `low` and `high` Hz, each from its left neighbour's peak to its right neighbour's.

    `high`: null is half the sample rate; zero or negative counts from there, as in Kaldi. `scale`: what they are evenly
    spaced on: linear (Hz), htk (1127 ln(1 + f/700), as in HTK and Kaldi) or slaney (Slaney 1998, "Auditory Toolbox";
    librosa). `straight_in`: sides that are straight lines in hz (librosa, torchaudio) or on the scale (Kaldi).
    `area`: each of area 2 / Hz rather than of height 1 (librosa's norm="slaney").
    """

    number: int
    low: float
    high: float | None
    scale: Literal["linear", "htk", "slaney"]
    straight_in: Literal["hz", "scale"]
    area: bool

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"number: {self.number} is not positive")
        if self.low < 0:
            raise ValueError(f"low: {self.low} Hz is negative")


def to_scale(frequency: np.ndarray | float, scale: str) -> np.ndarray:
    """Hz -> linear (Hz), htk or slaney mel; any shape."""
    frequency = np.asarray(frequency, np.float64)
    if scale == "linear":
        return frequency
    if scale == "htk":
        return 1127 * np.log1p(frequency / 700)
    above = _SLANEY_BREAK / _SLANEY_HZ + np.log(np.maximum(frequency, _SLANEY_BREAK) / _SLANEY_BREAK) / _SLANEY_STEP
    return np.where(frequency < _SLANEY_BREAK, frequency / _SLANEY_HZ, above)


def from_scale(value: np.ndarray | float, scale: str) -> np.ndarray:
    """The inverse of `to_scale`."""
    value = np.asarray(value, np.float64)
    if scale == "linear":
        return value
    if scale == "htk":
        return 700 * np.expm1(value / 1127)
    at_break = _SLANEY_BREAK / _SLANEY_HZ
    return np.where(
        value < at_break,
        value * _SLANEY_HZ,
        _SLANEY_BREAK * np.exp((np.maximum(value, at_break) - at_break) * _SLANEY_STEP),
    )


def _corners(conf: FilterConf, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """(number + 2,) in Hz and on the scale: the lowest filter's begin, each filter's peak, the highest filter's end.

    Raises ValueError as filter_matrix.
    """
    half = sample_rate / 2
    high = half if conf.high is None else conf.high if conf.high > 0 else half + conf.high
    if not conf.low < high <= half:
        raise ValueError(f"low, high: {conf.low:g}..{high:g} Hz is not a band within 0..{half:g} Hz")
    places = np.linspace(to_scale(conf.low, conf.scale), to_scale(high, conf.scale), conf.number + 2)
    return from_scale(places, conf.scale), places


def filter_peaks(conf: FilterConf, sample_rate: int) -> np.ndarray:
    """(number,) Hz. Raises ValueError as filter_matrix."""
    return _corners(conf, sample_rate)[0][1:-1]


def filter_matrix(conf: FilterConf, n_fft: int, sample_rate: int) -> np.ndarray:
    """float64 (n_fft // 2 + 1, number): the weight of each bin in each filter.

    Raises ValueError beginning with the key's name: limits that are not within half the sample rate, and a filter
    that has no bin.
    """
    edges, places = _corners(conf, sample_rate)
    bins = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    corners, at = (edges, bins) if conf.straight_in == "hz" else (places, to_scale(bins, conf.scale))
    rising = (at[:, None] - corners[:-2]) / np.diff(corners)[:-1]
    falling = (corners[2:] - at[:, None]) / np.diff(corners)[1:]
    matrix = np.maximum(0, np.minimum(rising, falling))
    empty = np.flatnonzero(~matrix.any(axis=0))
    if len(empty):
        raise ValueError(
            f"number: filter {empty[0] + 1} of {conf.number} lies between two bins of the spectrum: "
            "take fewer filters or a larger n_fft"
        )
    return matrix * (2 / (edges[2:] - edges[:-2])) if conf.area else matrix


def filter_blocks(matrix: np.ndarray) -> list[tuple[slice, slice, np.ndarray]]:
    """(bins, filters) -> (bins, filters, weights of those) for some neighbouring filters at a time, float32.

    Most of the matrix is zero; the blocks leave most of that out, and are wide enough for a fast matrix product.
    """
    blocks = []
    for begin in range(0, matrix.shape[1], _BLOCK):
        filters = slice(begin, begin + _BLOCK)
        used = np.flatnonzero(matrix[:, filters].any(axis=1))
        bins = slice(int(used[0]), int(used[-1]) + 1)
        blocks.append((bins, filters, np.ascontiguousarray(matrix[bins, filters], np.float32)))
    return blocks
