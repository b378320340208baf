"""`mixup`: inputs and labels of a batch mixed in pairs.

Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: Beyond empirical risk minimization", ICLR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steps.augment.base import BatchStep, StepConf


@dataclass(frozen=True, kw_only=True)
class Conf(StepConf):
    """`alpha`: both parameters of the Beta distribution of the weight; small ones leave most inputs nearly alone."""

    alpha: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.alpha < np.inf:
            raise ValueError(f"alpha: {self.alpha} is not positive")


class Step(BatchStep):
    """weight ~ Beta(alpha, alpha), one for the batch."""

    def draw(self, rng: np.random.Generator, batch_size: int) -> tuple[np.ndarray, float]:
        weight = float(rng.beta(self.conf.alpha, self.conf.alpha))
        return rng.permutation(batch_size), weight
