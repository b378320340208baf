"""Aligners: what brings a student stage's feature map to its teacher's width, to be compared. For training only.

An aligner is made of (student's channels, teacher's channels, stages from the student to its teacher) and settles both
sides of the comparison: what becomes of the student's map, and how the teacher's is read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from steps.nnet.base import pool, pool_to
from steps.training.losses import feature_loss

Reduction = Literal["mean", "sum"]


class AlignerBase(nn.Module, ABC):
    """`yields_embeddings`: whether `forward` yields (batch, teacher's channels), always."""

    yields_embeddings = False

    @abstractmethod
    def forward(self, student_map: Tensor) -> Any:
        """The student's side: (batch, teacher's channels), or a map (batch, teacher's channels, frames, bins).

        Another form is for an aligner to choose that overrides all that reads it.
        """

    def teacher_side(self, teacher_map: Tensor) -> Tensor:
        """The teacher's map in the shape of `forward`'s result: here its pooled feature."""
        return pool(teacher_map)

    def embedding(self, aligned: Any) -> Tensor:
        """What the student's head reads of `forward`'s result: (batch, teacher's channels)."""
        return aligned if aligned.ndim == 2 else pool(aligned)

    def distance(self, aligned: Any, teacher_map: Tensor, reduction: Reduction) -> Tensor:
        """The feature loss between `forward`'s result and the teacher's map."""
        return feature_loss(aligned, self.teacher_side(teacher_map), reduction)

    @property
    def compares_embeddings(self) -> bool:
        """Whether the feature loss is of what the student's head reads and the teacher's pooled feature, as it is here;
        then the losses of several students are computed at once, without calling `distance`."""
        kind = type(self)
        as_here = (kind.teacher_side, kind.distance, kind.embedding) == (
            AlignerBase.teacher_side,
            AlignerBase.distance,
            AlignerBase.embedding,
        )
        return as_here and self.yields_embeddings

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Called before each epoch's first step: epoch 1 is the first in which its student is taught, `epochs` the
        last.

        Before and after it is told of the first and the last one. See MethodBase.begin_epoch for what it may do.
        """


class LinearAligner(AlignerBase):
    """Global average pooling, then a linear projection to the teacher's width."""

    yields_embeddings = True

    def __init__(self, channels: int, teacher_channels: int, stages_below: int):
        super().__init__()
        self.project = nn.Linear(channels, teacher_channels)

    def forward(self, student_map: Tensor) -> Tensor:
        return self.project(pool(student_map))


class BottleneckAligner(AlignerBase):
    """For each stage between student and teacher a strided 1x1-3x3-1x1 bottleneck, then global average pooling.

    The widths grow from the student's to the teacher's by equal factors.
    """

    yields_embeddings = True

    def __init__(self, channels: int, teacher_channels: int, stages_below: int):
        super().__init__()
        growth = (teacher_channels / channels) ** (1 / stages_below)
        layers: list[nn.Module] = []
        inputs = channels
        for i in range(1, stages_below + 1):
            outputs = teacher_channels if i == stages_below else round(channels * growth**i)
            narrow = max(outputs // 4, 1)
            for a, b, kernel, stride in ((inputs, narrow, 1, 1), (narrow, narrow, 3, 2), (narrow, outputs, 1, 1)):
                layers += [
                    nn.Conv2d(a, b, kernel, stride, padding=kernel // 2, bias=False),
                    nn.BatchNorm2d(b),
                    nn.ReLU(inplace=True),
                ]
            inputs = outputs
        self.convs = nn.Sequential(*layers)
        for module in self.convs:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, student_map: Tensor) -> Tensor:
        return pool(self.convs(student_map))


@dataclass(frozen=True)
class AdaptivePoolConf:
    frames: int = 8
    bins: int = 2

    def __post_init__(self) -> None:
        for key in ("frames", "bins"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}: {getattr(self, key)} is not positive")


class AdaptivePoolAligner(AlignerBase):
    """Both maps averaged to a common frames x bins; the student's channels then by a 1x1 convolution to the teacher's.

    So the feature loss says where in time and frequency the two differ, which globally pooled features cannot.
    """

    def __init__(self, channels: int, teacher_channels: int, stages_below: int, size: AdaptivePoolConf):
        super().__init__()
        self.size = size
        self.project = nn.Conv2d(channels, teacher_channels, 1)

    def forward(self, student_map: Tensor) -> Tensor:
        return self.project(self.teacher_side(student_map))

    def teacher_side(self, teacher_map: Tensor) -> Tensor:
        return pool_to(teacher_map, self.size.frames, self.size.bins)


def aligner_makers(adaptive_pool: AdaptivePoolConf) -> dict[str, Callable[[int, int, int], AlignerBase]]:
    """Each aligner's maker by the name that a conf gives it; a maker takes what AlignerBase is made of."""
    return {
        "linear": LinearAligner,
        "bottleneck": BottleneckAligner,
        "adaptive_pool": partial(AdaptivePoolAligner, size=adaptive_pool),
    }
