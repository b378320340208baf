"""What is done to a waveform before a front end sees it, where its conf asks for it: silence trimming, pre-emphasis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class TrimConf:
    """Silence is what lies `below_db` or more under the loudest frame of the utterance, by the frames' power.

    `frame_ms`: length of a frame, and step. `keep_ms`: so much silence is left next to speech. `where`: at the begin,
    at the end, at both, or also within (`all`: every pause longer than 2 keep_ms shrinks to that).
    """

    where: Literal["begin", "end", "both", "all"]
    below_db: float
    frame_ms: float
    keep_ms: float

    def __post_init__(self) -> None:
        if self.below_db <= 0:
            raise ValueError(f"below_db: {self.below_db} is not positive")
        if self.frame_ms <= 0:
            raise ValueError(f"frame_ms: {self.frame_ms} is not positive")
        if self.keep_ms < 0:
            raise ValueError(f"keep_ms: {self.keep_ms} is negative")


def is_speech(waveform: np.ndarray, conf: TrimConf, sample_rate: int) -> np.ndarray:
    """(samples,) booleans: what is kept by an energy detector; all of it where the utterance is digital silence."""
    size = max(1, round(conf.frame_ms * sample_rate / 1000))
    begins = np.arange(0, len(waveform), size)
    lengths = np.diff([*begins, len(waveform)])
    power = np.add.reduceat(np.square(waveform), begins) / lengths
    if power.max() == 0:
        return np.ones(len(waveform), bool)
    frames = power > power.max() * 10 ** (-conf.below_db / 10)
    first, last = np.flatnonzero(frames)[[0, -1]]
    if conf.where != "all":
        frames[first : last + 1] = True
    if conf.where == "begin":
        frames[last + 1 :] = True
    if conf.where == "end":
        frames[:first] = True
    keep = round(conf.keep_ms * sample_rate / 1000)
    edges = np.diff(frames.astype(np.int8), prepend=0, append=0)
    ends = np.append(begins, len(waveform))
    depth = np.zeros(len(waveform) + 1, np.int64)  # how many kept stretches a sample lies in, as differences
    np.add.at(depth, np.maximum(ends[np.flatnonzero(edges == 1)] - keep, 0), 1)
    np.add.at(depth, np.minimum(ends[np.flatnonzero(edges == -1)] + keep, len(waveform)), -1)
    return np.cumsum(depth[:-1]) > 0


def trim(waveform: np.ndarray, conf: TrimConf, sample_rate: int) -> np.ndarray:
    """(samples,) -> (as many or fewer,), never none: without the silence that `conf` names."""
    return waveform[is_speech(waveform, conf, sample_rate)]


def pre_emphasise(waveform: np.ndarray, factor: float) -> np.ndarray:
    """y[n] = x[n] - factor x[n-1], y[0] = x[0]: scipy.signal.lfilter([1, -factor], [1], x)."""
    emphasised = waveform.copy()
    emphasised[1:] -= factor * waveform[:-1]
    return emphasised
