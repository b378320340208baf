"""`time_mask`: stretches of frames blanked, as SpecAugment does; see processing/masks.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.augment.base import FeatureStep, StepConf
from steps.augment.processing.masks import Fill, draw_mask, fill_values


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`number` of masks, each 0..`max_frames` wide and no wider than `max_share` (0..1) of the frames given."""

    number: int
    max_frames: int
    max_share: float = 1.0
    fill: Fill

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.number < 1:
            raise ValueError(f"number: {self.number} is not positive")
        if self.max_frames < 1:
            raise ValueError(f"max_frames: {self.max_frames} is not positive")
        if not 0 < self.max_share <= 1:
            raise ValueError(f"max_share: {self.max_share} must be greater than 0 and at most 1")


class Step(FeatureStep):
    """Masks may overlap, as in the paper."""

    def apply(self, features: np.ndarray, channels: int, rng: np.random.Generator) -> np.ndarray:
        conf = self.conf
        masked = features.copy()
        by_channel = masked.reshape(len(masked), channels, -1)
        value = fill_values(features, channels, conf.fill)
        widest = min(conf.max_frames, int(conf.max_share * len(features)))
        for _ in range(conf.number):
            by_channel[draw_mask(len(features), widest, rng)] = value
        return masked
