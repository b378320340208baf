"""Self-distillation: the deepest of four stages teaches the three shallower ones while training.

Xue et al., "Learning from yourself: a self-distillation method for fake speech detection", ICASSP 2023. Its ancestor
is Zhang et al., "Be your own teacher: improve the performance of convolutional neural networks via self
distillation", ICCV 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from steps.nnet import Detector
from steps.nnet.base import AngleLinear, pool
from steps.training.aligners import ALIGNERS
from steps.training.base import MethodBase, TrainConf
from steps.training.losses import MixedLabels, feature_loss, soft_loss


@dataclass(frozen=True)
class DistillConf:
    alpha: float
    beta: float
    temperature: float
    scale_by_t2: bool
    feature_reduction: Literal["mean", "sum"]
    aligner: Literal["linear", "bottleneck"]
    detach_teacher: bool
    student_hard_loss: bool

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha: {self.alpha} is not in 0..1")
        if self.beta < 0:
            raise ValueError(f"beta: {self.beta} is negative")
        if self.temperature <= 0:
            raise ValueError(f"temperature: {self.temperature} is not positive")


@dataclass(frozen=True, kw_only=True)
class Conf(TrainConf):
    distill: DistillConf


def all_heads(
    detector: Detector, aligners: nn.ModuleList, heads: nn.ModuleList, x: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Features (batch, teacher's width) and logits (batch, 2) of the students that have a head and, last, the teacher."""
    *student_maps, teacher_map = detector.stage_maps(x)
    features = [aligner(m) for aligner, m in zip(aligners, student_maps)] + [pool(teacher_map)]
    return features, [head(f) for head, f in zip([*heads, detector.head], features)]


class Method(MethodBase):
    """Each shallower stage gets an aligner to the teacher's width and an AngleLinear head, both for training only.

    total = alpha * hard + (1 - alpha) * soft + beta * feature, soft and feature summed over the three students.
    """

    trained_heads = (1, 2, 3, 4)

    def __init__(self, conf: Conf, detector: Detector):
        super().__init__(conf, detector)
        *students, teacher = detector.backbone.stage_channels
        aligner = ALIGNERS[conf.distill.aligner]
        self.aligners = nn.ModuleList(
            aligner(channels, teacher, len(students) - i) for i, channels in enumerate(students)
        )
        self.student_heads = nn.ModuleList(AngleLinear(teacher) for _ in students)

    def _all_heads(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return all_heads(self.detector, self.aligners, self.student_heads, x)

    def losses(self, x: Tensor, labels: Tensor | MixedLabels, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        d = self.conf.distill
        features, logits = self._all_heads(x)
        hard = self.hard_loss(logits[-1], features[-1], labels, step)
        if d.student_hard_loss:
            hard = hard + sum(self.hard_loss(f, e, labels, step) for f, e in zip(logits[:-1], features[:-1]))
        teacher_logits, teacher_feature = logits[-1], features[-1]
        if d.detach_teacher:
            teacher_logits, teacher_feature = teacher_logits.detach(), teacher_feature.detach()
        soft = sum(soft_loss(f, teacher_logits, d.temperature, d.scale_by_t2) for f in logits[:-1])
        feature = sum(feature_loss(f, teacher_feature, d.feature_reduction) for f in features[:-1])
        total = d.alpha * hard + (1 - d.alpha) * soft + d.beta * feature
        return total, {"hard": hard.detach(), "soft": soft.detach(), "feature": feature.detach()}

    def head_logits(self, x: Tensor) -> list[Tensor]:
        return self._all_heads(x)[1]
