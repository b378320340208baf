"""What is done to a finished matrix: deltas, and mean and variance normalisation of an utterance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class DeltaConf:
    """`order`: 1 adds deltas, 2 double-deltas too. `half_width`: frames that a delta looks at on either side.

    `as_channels`: beside the static ones as further channels of the network's input, not as further bins.
    """

    order: int
    half_width: int
    as_channels: bool

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise ValueError(f"order: {self.order} is neither 1 nor 2")
        if self.half_width < 1:
            raise ValueError(f"half_width: {self.half_width} is not positive")


@dataclass(frozen=True)
class CmvnConf:
    """Cepstral mean and variance normalisation; `variance`: to unit variance as well.

    `scope`: over each `utterance`'s own frames, in the features; or `global`, over the training set's, in the detector.
    """

    scope: Literal["utterance", "global"]
    variance: bool


def deltas(features: np.ndarray, half_width: int) -> np.ndarray:
    """(frames, columns) -> the same shape: the slope of a least-squares line through 2 half_width + 1 frames.

    d[t] = sum_n n (c[t+n] - c[t-n]) / (2 sum_n n^2), edges repeated: Young et al., "The HTK book", equation 5.16.
    """
    frames = len(features)
    # the same as np.pad(mode="edge"), faster
    padded = features[np.clip(np.arange(-half_width, frames + half_width), 0, frames - 1)].astype(np.float64)
    total = padded[half_width + 1 :][:frames] - padded[half_width - 1 :][:frames]
    for n in range(2, half_width + 1):
        total += n * (padded[half_width + n :][:frames] - padded[half_width - n :][:frames])
    total /= half_width * (half_width + 1) * (2 * half_width + 1) / 3  # = 2 sum_n n^2
    return total.astype(features.dtype)


def with_deltas(features: np.ndarray, channels: int, conf: DeltaConf) -> np.ndarray:
    """(frames, channels x bins) -> (frames, (order + 1) x channels x bins).

    Columns stay grouped by channel: as_channels gives [static | delta | double-delta], all channels each; otherwise
    each channel is [its static bins | its deltas | its double-deltas].
    """
    parts = [features]
    for _ in range(conf.order):
        parts.append(deltas(parts[-1], conf.half_width))
    if conf.as_channels or channels == 1:
        return np.concatenate(parts, axis=1)
    grouped = [part.reshape(len(part), channels, -1) for part in parts]
    return np.concatenate(grouped, axis=2).reshape(len(features), -1)


def normalise(features: np.ndarray, variance: bool) -> np.ndarray:
    """(frames, columns) with the mean over frames taken off each column, and divided by its deviation if asked for.

    A column that does not vary (one frame; digital silence) becomes 0.
    """
    centred = features - features.mean(axis=0, dtype=np.float64)
    if variance:
        deviation = centred.std(axis=0)
        # what is left of a constant column by rounding is not blown up to unit variance
        steady = deviation <= 1e-6 * np.maximum(1, np.abs(features).max(axis=0))
        centred = np.where(steady, 0, centred / np.where(steady, 1, deviation))
    return centred.astype(np.float32)


class CmvnStats:
    """Sums over frames from which a global normalisation is made, in the layout of Kaldi's compute-cmvn-stats.

    `matrix`: float64 (2, columns + 1): sums and, last, the number of frames; sums of squares and, last, 0.
    """

    def __init__(self, columns: int):
        self.matrix = np.zeros((2, columns + 1))

    def add(self, features: np.ndarray) -> None:
        """Count in (frames, columns)."""
        features = features.astype(np.float64)
        self.matrix[0, :-1] += features.sum(axis=0)
        self.matrix[1, :-1] += np.square(features).sum(axis=0)
        self.matrix[0, -1] += len(features)


def mean_and_scale(stats: np.ndarray, variance: bool) -> tuple[np.ndarray, np.ndarray]:
    """float64 (columns,) each: what to subtract and then to multiply by, 1 without `variance`.

    stats: (2, columns + 1), as CmvnStats has them. A column that does not vary is not scaled. Raises ValueError if
    they are of no frames.
    """
    count = stats[0, -1]
    if count < 1:
        raise ValueError("statistics of no frames")
    mean = stats[0, :-1] / count
    if not variance:
        return mean, np.ones_like(mean)
    squares = stats[1, :-1] / count
    spread = squares - np.square(mean)
    steady = spread <= 1e-12 * np.maximum(squares, 1)  # what rounding leaves of a constant column
    return mean, np.where(steady, 1, 1 / np.sqrt(np.where(steady, 1, spread)))
