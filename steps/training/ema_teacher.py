"""Online distillation: a running average of the network's own weights teaches it.

Tarvainen and Valpola, "Mean teachers are better role models: weight-averaged consistency targets improve
semi-supervised deep learning results", NIPS 2017. The teaching is self-distillation's (Xue et al., ICASSP 2023) but for
its teacher.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from steps.nnet import Detector
from steps.training import self_distill
from steps.training.losses import MixedLabels


@dataclass(frozen=True)
class EmaConf:
    """`keep`: which of the two is the detector that the training ends in, and by which epochs are chosen."""

    decay: float
    warmup: bool
    shallow_heads: bool
    keep: Literal["student", "teacher"]

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay: {self.decay} must be between 0 and 1")

    def decay_at(self, step: int) -> float:
        """Of step `step`, the first being 1. With warm-up the average is the plain mean of the initial and all later
        weights until that would decay faster than `decay`, as the authors' published code has it."""
        return min(self.decay, 1 - 1 / (step + 1)) if self.warmup else self.decay


@dataclass(frozen=True, kw_only=True)
class Conf(self_distill.Conf):
    ema: EmaConf

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_other_teacher("an averaged teacher", self.ema.shallow_heads, "ema")


class Method(self_distill.Method[Conf]):
    """Self-distillation whose students are one network's and whose teachers are the same blocks of its running average.

    The student's deepest head is taught too, by the average's. `detector` is the one of both that is kept, with its
    aligners and heads; `twin` the other, with its.
    """

    def __init__(self, conf: Conf, detector: Detector):
        super().__init__(conf, detector, conf.ema.shallow_heads)
        twin = copy.deepcopy(self.kept)
        self.twin, self.twin_aligners, self.twin_heads = twin
        self.twin.normalisation = detector.normalisation
        self.networks = [self.kept, twin] if conf.ema.keep == "student" else [twin, self.kept]
        for part in self.networks[1]:
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> Method:
        """The teacher teaches as it would be used: by its averaged batch statistics."""
        super().train(mode)
        for part in self.networks[1]:
            part.eval()
        return self

    def losses(self, x: Tensor, labels: Tensor | MixedLabels, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        student, teacher = self.networks
        with torch.no_grad():
            teaching = teacher.heads(x)
        heads = student.heads(x, self.weighting.share)
        terms = {"hard": self.hard_of(heads, labels, step), **self.taught(heads, teaching)}
        return self.weighted(terms, step, teaching, labels)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """The teacher's weights and batch statistics go towards the student's; counters are taken over."""
        current, averaged = (
            list(chain.from_iterable(chain(part.parameters(), part.buffers()) for part in network))
            for network in self.networks
        )
        pairs = [(a, c) for a, c in zip(averaged, current) if a is not c]  # the normalisation is both's
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        average = get_ema_multi_avg_fn(self.conf.ema.decay_at(step))
        average(*map(list, zip(*floats)), None)
        for a, c in pairs:
            if not a.is_floating_point():
                a.copy_(c)
