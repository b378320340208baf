"""Loss functions on angular logits f_j = |x| cos(theta_j)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class HardLossConf:
    name: Literal["a_softmax", "cross_entropy"]
    margin: int
    lambda_mode: Literal["fixed", "anneal"]
    lambda_fixed: float
    lambda_start: float
    lambda_decay: float
    lambda_floor: float

    def __post_init__(self) -> None:
        if not 1 <= self.margin <= 5:
            raise ValueError(f"margin: {self.margin} is not in 1..5")
        if min(self.lambda_fixed, self.lambda_start, self.lambda_decay, self.lambda_floor) < 0:
            raise ValueError("lambda_fixed, lambda_start, lambda_decay and lambda_floor must not be negative")

    def lambda_at(self, step: int) -> float:
        """A-softmax's lambda at training step `step`, the first being 1."""
        if self.lambda_mode == "fixed":
            return self.lambda_fixed
        return max(self.lambda_floor, self.lambda_start / (1 + self.lambda_decay * step))


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


class HardLoss:
    """The loss of the labels: A-softmax with fixed or annealed lambda, or plain cross-entropy. Mean over the batch.

    Of mixed labels it is the mixture of both labels' losses: Zhang et al., "mixup: beyond empirical risk minimization",
    ICLR 2018.
    """

    def __init__(self, conf: HardLossConf):
        self.conf = conf

    def __call__(self, logits: Tensor, embedding: Tensor, labels: Tensor | MixedLabels, step: int) -> Tensor:
        if isinstance(labels, MixedLabels):
            first, second = (self(logits, embedding, own, step) for own in labels[:2])
            return labels.weight * first + (1 - labels.weight) * second
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            if self.conf.name == "a_softmax":
                logits = a_softmax_logits(logits, embedding, labels, self.conf.margin, self.conf.lambda_at(step))
            return F.cross_entropy(logits, labels)


def soft_loss(student: Tensor, teacher: Tensor, temperature: float, scale_by_t2: bool) -> Tensor:
    """KL(teacher || student) of the logits softened by T, mean over the batch, times T^2 if asked for.

    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015. student, teacher: (batch, classes).
    """
    with torch.autocast(student.device.type, enabled=False):
        log_student = F.log_softmax(student.float() / temperature, dim=1)
        log_teacher = F.log_softmax(teacher.float() / temperature, dim=1)
        divergence = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
        return divergence * temperature**2 if scale_by_t2 else divergence


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

    Zhang, Xiang, Hospedales and Lu, "Deep mutual learning", CVPR 2018, equations 8, 9 and 11. logits: (batch, classes) each.
    """
    return [
        sum(
            soft_loss(own, other.detach(), conf.temperature, conf.scale_by_t2)
            for j, other in enumerate(logits)
            if j != i
        )
        / (len(logits) - 1)
        for i, own in enumerate(logits)
    ]


def feature_loss(student: Tensor, teacher: Tensor, reduction: Literal["mean", "sum"]) -> Tensor:
    """Squared L2 distance of the features, mean over batch and channels, or summed over both.

    Zhang et al., "Be your own teacher", ICCV 2019, sums; beta then has to be about 1e-6. (batch, channels) each.
    """
    with torch.autocast(student.device.type, enabled=False):
        return F.mse_loss(student.float(), teacher.float(), reduction=reduction)
