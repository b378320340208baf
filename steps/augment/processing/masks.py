"""Masks of a feature matrix.

SpecAugment: Park et al., "SpecAugment: A simple data augmentation method for automatic speech recognition",
Interspeech 2019, without its time warping, from which they gained least.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Fill = Literal["mean", "zero"]


def draw_mask(length: int, widest: int, rng: np.random.Generator) -> slice:
    """Of `length` positions, 0..widest successive ones, both ends included; begin and width drawn evenly."""
    width = int(rng.integers(0, min(widest, length) + 1))
    begin = int(rng.integers(0, length - width + 1))
    return slice(begin, begin + width)


def fill_values(features: np.ndarray, channels: int, fill: Fill) -> np.ndarray:
    """(frames, channels x bins) -> float32 (channels, 1): zero, or each channel's mean over frames and bins."""
    if fill == "zero":
        return np.zeros((channels, 1), np.float32)
    by_channel = features.reshape(len(features), channels, -1)
    return by_channel.mean(axis=(0, 2), dtype=np.float64).astype(np.float32)[:, None]
