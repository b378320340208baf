"""Online distillation: a running average of the network's own weights teaches it.

Tarvainen and Valpola, "Mean teachers are better role models: weight-averaged consistency targets improve semi-supervised
deep learning results", NIPS 2017. The teaching is self-distillation's (Xue et al., ICASSP 2023) but for its teacher.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from steps.nnet import Detector
from steps.training import self_distill
from steps.training.losses import MixedLabels, feature_loss, soft_loss


@dataclass(frozen=True)
class EmaConf:
    """`keep`: which of the two is the detector that the training ends in, and by which epochs are chosen."""

    decay: float
    warmup: bool
    ramp_up_epochs: int
    shallow_heads: bool
    keep: Literal["student", "teacher"]

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay: {self.decay} is not in 0..1")
        if self.ramp_up_epochs < 0:
            raise ValueError(f"ramp_up_epochs: {self.ramp_up_epochs} is negative")

    def decay_at(self, step: int) -> float:
        """Of step `step`, the first being 1. With warm-up the average is the plain mean of the initial and all later
        weights until that would decay faster than `decay`, as the authors' published code has it."""
        return min(self.decay, 1 - 1 / (step + 1)) if self.warmup else self.decay

    def ramp_at(self, epoch: int) -> float:
        """Weight of what the teacher teaches in epoch `epoch`, the first being 1: exp(-5 (1 - t)^2), t growing from 0 to
        1 over ramp_up_epochs, as in the paper, but by epochs."""
        t = min((epoch - 1) / self.ramp_up_epochs, 1.0) if self.ramp_up_epochs else 1.0
        return math.exp(-5 * (1 - t) ** 2)


@dataclass(frozen=True, kw_only=True)
class Conf(self_distill.Conf):
    ema: EmaConf

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.distill.detach_teacher:
            raise ValueError("distill.detach_teacher: false: an averaged teacher has no gradient; set it to true")


class Method(self_distill.Method):
    """total = alpha * hard + ramp * ((1 - alpha) * soft + beta * feature).

    soft: of all the student's heads, from the teacher's deepest; feature: of the student's shallow blocks, from the
    teacher's embedding. `detector` is the one of both that is kept, with its aligners and heads; `twin` the other, with its.
    """

    def __init__(self, conf: Conf, detector: Detector):
        super().__init__(conf, detector)
        if not conf.ema.shallow_heads:
            self.aligners, self.student_heads = nn.ModuleList(), nn.ModuleList()
            self.trained_heads = (4,)
        kept = (self.detector, self.aligners, self.student_heads)
        twins = copy.deepcopy(kept)
        self.twin, self.twin_aligners, self.twin_heads = twins
        self.twin.normalisation = detector.normalisation
        self._student, self._teacher = (kept, twins) if conf.ema.keep == "student" else (twins, kept)
        for part in self._teacher:
            part.requires_grad_(False)
        self.ramp = conf.ema.ramp_at(1)

    def train(self, mode: bool = True) -> Method:
        """The teacher teaches as it would be used: by its averaged batch statistics."""
        super().train(mode)
        for part in self._teacher:
            part.eval()
        return self

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        self.ramp = self.conf.ema.ramp_at(epoch)

    def losses(self, x: Tensor, labels: Tensor | MixedLabels, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        d = self.conf.distill
        teacher = self._teacher[0]
        with torch.no_grad():
            teacher_feature = teacher.embed(x)
            teacher_logits = teacher.head(teacher_feature)
        detector, aligners, heads = self._student
        features, logits = self_distill.all_heads(detector, aligners, heads, x)
        first = 0 if d.student_hard_loss else -1
        hard = sum(self.hard_loss(f, e, labels, step) for f, e in zip(logits[first:], features[first:]))
        soft = sum(soft_loss(f, teacher_logits, d.temperature, d.scale_by_t2) for f in logits)
        taught = (1 - d.alpha) * soft
        terms = {"hard": hard.detach(), "soft": soft.detach()}
        if len(features) > 1:
            feature = sum(feature_loss(f, teacher_feature, d.feature_reduction) for f in features[:-1])
            taught, terms["feature"] = taught + d.beta * feature, feature.detach()
        return d.alpha * hard + self.ramp * taught, terms

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """The teacher's weights and batch statistics go towards the student's; counters are taken over."""
        averaged, current = (
            list(chain.from_iterable(chain(part.parameters(), part.buffers()) for part in parts))
            for parts in (self._teacher, self._student)
        )
        pairs = [(a, c) for a, c in zip(averaged, current) if a is not c]  # the normalisation is both's
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        average = get_ema_multi_avg_fn(self.conf.ema.decay_at(step))
        average(*map(list, zip(*floats)), None)
        for a, c in pairs:
            if not a.is_floating_point():
                a.copy_(c)
