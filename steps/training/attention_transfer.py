"""Attention transfer: a student is to look where its teacher looks, in time and frequency.

Zagoruyko and Komodakis, "Paying more attention to attention: improving the performance of convolutional neural
networks via attention transfer", ICLR 2017, activation-based.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from steps.nnet.base import pool_to
from steps.training import distributed


@dataclass(frozen=True)
class AttentionConf:
    weight: float
    power: float = 2.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight: {self.weight} is negative")
        if self.power < 1:
            raise ValueError(f"power: {self.power} is below 1; its gradient would grow without bound near 0")


def attention_map(feature_map: Tensor, power: float, frames: int, bins: int) -> Tensor:
    """Sum of |activation|^power over the channels, averaged down to frames x bins, flattened, of L2 norm 1.

    The paper's F_sum^p. (batch, channels, any frames, any bins) -> (batch, frames * bins), float32; a map of zeros
    gives zeros.
    """
    energy = feature_map.float().abs().pow(power).sum(1, keepdim=True)
    return F.normalize(pool_to(energy, frames, bins).flatten(1), dim=1)


def attention_loss(student: Tensor, teacher: Tensor, power: float) -> Tensor:
    """Squared L2 distance of the two attention maps at the teacher's size, mean over the batch: from 0 to 2.

    (batch, channels, frames, bins) each; all but the batch may differ.
    """
    with torch.autocast(student.device.type, enabled=False):
        frames, bins = teacher.shape[2:]
        apart = attention_map(student, power, frames, bins) - attention_map(teacher, power, frames, bins)
        distances = apart.pow(2).sum(1)
        return distributed.batch_mean(lambda reduction: getattr(distances, reduction)(), lambda: len(distances))
