"""Loss functions on the logits of an angular head."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from steps.nnet.base import BONAFIDE, SPOOF, HeadConf
from steps.training import distributed


@dataclass(frozen=True)
class AmSoftmaxConf:
    scale: float = 20.0
    margin: float = 0.9

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ValueError(f"scale: {self.scale} is not positive")
        if self.margin < 0:
            raise ValueError(f"margin: {self.margin} is negative")


@dataclass(frozen=True)
class OcSoftmaxConf:
    alpha: float = 20.0
    m_real: float = 0.9
    m_fake: float = 0.2

    def __post_init__(self) -> None:
        if self.alpha <= 0:
            raise ValueError(f"alpha: {self.alpha} is not positive")
        if not -1 <= self.m_fake <= self.m_real <= 1:
            raise ValueError(f"m_real: -1 <= m_fake ({self.m_fake}) <= m_real ({self.m_real}) <= 1 is not so")


@dataclass(frozen=True)
class ClassWeightsConf:
    mode: Literal["none", "fixed", "balanced"] = "none"
    spoof: float = 1.0
    bonafide: float = 9.0

    def __post_init__(self) -> None:
        for key in ("spoof", "bonafide"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key}: {getattr(self, key)} is not positive")


@dataclass(frozen=True)
class HardLossConf:
    """Keys of `hard_loss`; margin and lambda_* are A-softmax's. Those with a default are missing in older confs."""

    name: Literal["a_softmax", "cross_entropy", "am_softmax", "oc_softmax"]
    margin: int
    lambda_mode: Literal["fixed", "anneal"]
    lambda_fixed: float
    lambda_start: float
    lambda_decay: float
    lambda_floor: float
    am_softmax: AmSoftmaxConf = field(default_factory=AmSoftmaxConf)
    oc_softmax: OcSoftmaxConf = field(default_factory=OcSoftmaxConf)
    class_weights: ClassWeightsConf = field(default_factory=ClassWeightsConf)

    def __post_init__(self) -> None:
        if not 1 <= self.margin <= 5:
            raise ValueError(f"margin: {self.margin} must be between 1 and 5")
        if min(self.lambda_fixed, self.lambda_start, self.lambda_decay, self.lambda_floor) < 0:
            raise ValueError("lambda_fixed, lambda_start, lambda_decay and lambda_floor must not be negative")

    def lambda_at(self, step: int) -> float:
        """A-softmax's lambda at training step `step`, the first being 1."""
        if self.lambda_mode == "fixed":
            return self.lambda_fixed
        return max(self.lambda_floor, self.lambda_start / (1 + self.lambda_decay * step))

    @property
    def head(self) -> HeadConf:
        """How a head that this loss trains is read."""
        if self.name == "am_softmax":
            return HeadConf("cosine", self.am_softmax.scale)
        if self.name == "oc_softmax":
            return HeadConf("one_class", self.oc_softmax.alpha, (self.oc_softmax.m_real + self.oc_softmax.m_fake) / 2)
        return HeadConf()

    @property
    def logit_margin(self) -> float:
        """What AM- and OC-softmax take off the label's own logit.

        AM-softmax: Wang et al., "Additive margin softmax for face verification", 2018, equation 6: s (cos(theta_y) - m)
        against s cos(theta_other). OC-softmax: Zhang, Jiang and Duan, "One-class learning towards synthetic voice
        spoofing detection", 2021, equation 4: log(1 + exp(alpha (m_real - cos))) for bona fide, log(1 + exp(alpha (cos
        - m_fake))) for spoof, with cos to the bona fide weight. On logits +-alpha (cos - (m_real + m_fake) / 2) / 2
        that is the cross-entropy with alpha (m_real - m_fake) / 2 off the own one.
        """
        if self.name == "am_softmax":
            return self.am_softmax.scale * self.am_softmax.margin
        if self.name == "oc_softmax":
            return self.oc_softmax.alpha * (self.oc_softmax.m_real - self.oc_softmax.m_fake) / 2
        return 0.0


# cos(m theta) as a polynomial of cos(theta): Chebyshev polynomials of the first kind
_COS_MULTIPLE = (
    lambda c: torch.ones_like(c),
    lambda c: c,
    lambda c: 2 * c**2 - 1,
    lambda c: 4 * c**3 - 3 * c,
    lambda c: 8 * c**4 - 8 * c**2 + 1,
    lambda c: 16 * c**5 - 20 * c**3 + 5 * c,
)


def psi(cosine: Tensor, margin: int) -> Tensor:
    """(-1)^k cos(m theta) - 2k for theta in [k pi/m, (k+1) pi/m]: falls monotonically from 1 to 1 - 2m.

    Liu et al., "SphereFace", CVPR 2017, equation 7. No gradient flows through theta: k is constant almost everywhere.
    """
    with torch.no_grad():
        k = (margin * torch.acos(cosine) / math.pi).floor().clamp(max=margin - 1)
        sign = 1 - 2 * (k % 2)
    return sign * _COS_MULTIPLE[margin](cosine) - 2 * k


def a_softmax_logits(logits: Tensor, embedding: Tensor, labels: Tensor, margin: int, lam: float) -> Tensor:
    """The logits with the label's own made harder: f_y = |x| (lambda cos(theta) + psi(theta)) / (1 + lambda).

    logits: (batch, classes), |x| cos(theta); embedding: (batch, size), x; labels: (batch,). float32 in and out, also
    under autocast; |x| = 0 gives logits 0.
    """
    logits, embedding = logits.float(), embedding.float()
    norm = embedding.norm(dim=1, keepdim=True)
    own = logits.gather(1, labels[:, None])
    cosine = (own / norm.clamp(min=1e-12)).clamp(-1.0, 1.0)
    harder = norm * (lam * cosine + psi(cosine, margin)) / (1.0 + lam)
    return logits.scatter(1, labels[:, None], harder)


class MixedLabels(NamedTuple):
    """Labels of utterances mixed in pairs: `first` with weight `weight`, `second` with the rest. (batch,) each."""

    first: Tensor
    second: Tensor
    weight: float


def main_labels(labels: Tensor | MixedLabels) -> Tensor:
    """(batch,): the labels; of mixed ones those that weigh more."""
    if isinstance(labels, Tensor):
        return labels
    return labels.first if labels.weight >= 0.5 else labels.second


class HardLoss:
    """The loss of the labels: cross-entropy, plain or of logits made harder by A-, AM- or OC-softmax's margin.

    The mean over the batch; with class weights, each utterance counts by its label's, and the weighted losses are
    divided by the sum of the weights. `balanced` weights need count_classes first.

    Of mixed labels it is the mixture of both labels' losses: Zhang et al., "mixup: beyond empirical risk minimization",
    ICLR 2018.
    """

    def __init__(self, conf: HardLossConf):
        self.conf = conf
        self._weights: Tensor | None = None
        if conf.class_weights.mode == "fixed":
            by_class = {SPOOF: conf.class_weights.spoof, BONAFIDE: conf.class_weights.bonafide}
            self._weights = torch.tensor([by_class[label] for label in sorted(by_class)])

    def count_classes(self, labels: np.ndarray) -> None:
        """Set `balanced` weights, N / (2 N_class), by the training set's labels (0 spoof, 1 bona fide, both there)."""
        if self.conf.class_weights.mode == "balanced":
            counts = np.bincount(labels, minlength=2)
            self._weights = torch.tensor((len(labels) / (2 * counts)).tolist())

    def _weights_on(self, device: torch.device) -> Tensor | None:
        if self._weights is not None and self._weights.device != device:
            self._weights = self._weights.to(device)
        return self._weights

    def total_weight(self, labels: Tensor) -> float:
        """How much a batch counts in a mean over batches: its utterances, or the sum of their classes' weights."""
        weights = self._weights_on(labels.device)
        return len(labels) if weights is None else float(weights[labels].sum())

    def __call__(self, logits: Tensor, embedding: Tensor, labels: Tensor | MixedLabels, step: int) -> Tensor:
        if isinstance(labels, MixedLabels):
            first, second = (self(logits, embedding, own, step) for own in labels[:2])
            return labels.weight * first + (1 - labels.weight) * second
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            if self.conf.name == "a_softmax":
                logits = a_softmax_logits(logits, embedding, labels, self.conf.margin, self.conf.lambda_at(step))
            elif self.conf.logit_margin:
                logits = logits - self.conf.logit_margin * F.one_hot(labels, logits.shape[1])
            weights = self._weights_on(logits.device)
            return distributed.batch_mean(
                lambda reduction: F.cross_entropy(logits, labels, weights, reduction=reduction),
                lambda: len(labels) if weights is None else weights[labels].sum(),
            )


def total(parts: Sequence[Tensor]) -> Tensor:
    """The sum of one or more; unlike Python's, it does not begin by adding 0, which is an operation too."""
    return functools.reduce(operator.add, parts)


def soft_loss(student: Tensor, teacher: Tensor, temperature: float, scale_by_t2: bool) -> Tensor:
    """KL(teacher || student) of the logits softened by T, mean over the batch, times T^2 if asked for.

    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015. student, teacher: (batch, classes),
    or (students, batch, classes) whose losses are summed, where one teacher may teach all.
    """
    with torch.autocast(student.device.type, enabled=False):
        log_student = F.log_softmax(student.float() / temperature, dim=-1)
        log_teacher = F.log_softmax(teacher.float() / temperature, dim=-1).expand_as(log_student)
        batch, factor = student.shape[-2], temperature**2 if scale_by_t2 else 1.0

        def divergence(reduction: str) -> Tensor:
            summed = F.kl_div(log_student, log_teacher, reduction="sum", log_target=True)
            return summed * (factor / batch if reduction == "mean" else factor)

        return distributed.batch_mean(divergence, lambda: batch)


@dataclass(frozen=True)
class MutualConf:
    """How networks that teach each other do so: `weight` of it beside the hard losses."""

    weight: float
    temperature: float
    scale_by_t2: bool

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight: {self.weight} is negative")
        if self.temperature <= 0:
            raise ValueError(f"temperature: {self.temperature} is not positive")


def mutual_losses(logits: Sequence[Tensor], conf: MutualConf) -> list[Tensor]:
    """What each of several learns from the others: the mean over these of KL(other || own), without gradient into them.

    Zhang, Xiang, Hospedales and Lu, "Deep mutual learning", CVPR 2018: the losses of two peers and of K. logits:
    (batch, classes) each.
    """
    return [
        total(
            [
                soft_loss(own, other.detach(), conf.temperature, conf.scale_by_t2)
                for j, other in enumerate(logits)
                if j != i
            ]
        )
        / (len(logits) - 1)
        for i, own in enumerate(logits)
    ]


def feature_loss(student: Tensor, teacher: Tensor, reduction: Literal["mean", "sum"]) -> Tensor:
    """Squared L2 distance of the features, mean over batch and channels, or summed over both.

    Zhang et al., "Be your own teacher", ICCV 2019, sums; beta then has to be about 1e-6. (batch, channels) each, or
    maps (batch, channels, frames, bins) of one size, over whose places the mean or sum is taken too. Students
    (students, batch, channels) of one teacher (batch, channels) have their losses summed.
    """
    with torch.autocast(student.device.type, enabled=False):
        student, teacher = student.float(), teacher.float().expand_as(student)
        if reduction == "sum":
            return distributed.add_up(F.mse_loss(student, teacher, reduction="sum"))
        mean = distributed.batch_mean(lambda how: F.mse_loss(student, teacher, reduction=how), student.numel)
        return mean * len(student) if student.ndim == 3 else mean
