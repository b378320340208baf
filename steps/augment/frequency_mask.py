"""`frequency_mask`: bands of bins blanked, as SpecAugment does; see processing/masks.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.augment.base import FeatureStep, StepConf
from steps.augment.processing.masks import Fill, draw_mask, fill_values


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`number` of masks, each 0..`max_bins` wide."""

    number: int
    max_bins: int
    fill: Fill

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.number < 1:
            raise ValueError(f"number: {self.number} is not positive")
        if self.max_bins < 1:
            raise ValueError(f"max_bins: {self.max_bins} is not positive")


class Step(FeatureStep):
    """A mask covers the same bins of every channel. Masks may overlap, as in the paper."""

    def apply(self, features: np.ndarray, channels: int, rng: np.random.Generator) -> np.ndarray:
        masked = features.copy()
        by_channel = masked.reshape(len(masked), channels, -1)
        value = fill_values(features, channels, self.conf.fill)
        for _ in range(self.conf.number):
            by_channel[:, :, draw_mask(by_channel.shape[2], self.conf.max_bins, rng)] = value
        return masked
