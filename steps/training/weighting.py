"""How much each term of a method's loss counts: as the conf says, or by a rule that changes it while training."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from steps.nnet.base import BONAFIDE, SPOOF
from steps.training import distributed
from steps.training.losses import total

LOGGED_AS = "weight_"  # a term's weight is logged beside the terms under its name with this before it


@dataclass(frozen=True)
class WeightingConf:
    """Keys of a method's `weighting`; each has a default, so that confs from before it was there can be read."""

    name: Literal["fixed", "competence", "uncertainty", "dwa", "ramp"] = "fixed"
    dwa_temperature: float = 2.0
    ramp_shape: Literal["linear", "sigmoid"] = "sigmoid"
    ramp_by: Literal["epochs", "steps", "share"] = "epochs"
    ramp_length: float = 8.0

    def __post_init__(self) -> None:
        for key in ("dwa_temperature", "ramp_length"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key}: {getattr(self, key)} is not positive")
        if self.name == "ramp" and self.ramp_by == "share" and self.ramp_length > 1:
            raise ValueError(
                f"ramp_length: {self.ramp_length} is more than 1, the entire training, with ramp_by: share"
            )


@functools.lru_cache(maxsize=16)
def _vector(numbers: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=dtype, device=device)


class LossWeighting(nn.Module):
    """The fixed weights: total = sum of weight times term.

    `weights`: by the name of a term, its fixed weight. Every rule starts from these and multiplies them; a term whose
    fixed weight is 0 stays out whatever the rule.
    """

    def __init__(self, conf: WeightingConf, weights: Mapping[str, float]):
        super().__init__()
        self.conf = conf
        self.fixed = dict(weights)
        self.active = [name for name, weight in self.fixed.items() if weight > 0]

    @property
    def share(self) -> Tensor | None:
        """What of their gradient the students' helpers pass on into the network, from 0 to 1; None: all of it."""
        return None

    def multipliers(self, step: int) -> dict[str, float | Tensor]:
        """By term, what its fixed weight is multiplied by at training step `step`; 1 where a term is not named."""
        return {}

    def penalties(self, names: Iterable[str]) -> list[Tensor]:
        """What a rule adds to the weighted terms of these names."""
        return []

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Called before each epoch's first step; the first epoch is 1, the last `epochs`."""

    def end_epoch(self, terms: Mapping[str, float]) -> None:
        """Called after each epoch with its mean terms."""

    def observe(self, scores: Tensor, labels: Tensor) -> None:
        """Called in every LOOK_EVERY-th step, before `forward`, with the teacher's scores of the batch and the
        labels."""

    def forward(self, terms: Mapping[str, Tensor], step: int) -> tuple[Tensor, dict[str, float | Tensor]]:
        """The total of the scalars `terms`, and what to log: each term's weight in force, detached, as `weight_<term>`;
        nothing under fixed weights. A term may be absent for a while; a rule then learns nothing about it."""
        if self.conf.name in ("fixed", "competence"):
            parts = torch.stack(list(terms.values()))
            fixed = _vector(tuple(self.fixed[name] for name in terms), parts.dtype, parts.device)
            return torch.dot(parts, fixed), {} if self.share is None else {f"{LOGGED_AS}students": self.share}
        multipliers = self.multipliers(step)
        weights = {name: weight * multipliers.get(name, 1.0) for name, weight in self.fixed.items()}
        whole = total([*(weights[name] * term for name, term in terms.items()), *self.penalties(terms)])
        return whole, {
            LOGGED_AS + name: weight.detach() if isinstance(weight, Tensor) else weight
            for name, weight in weights.items()
        }


class UncertaintyWeighting(LossWeighting):
    """total = sum of weight exp(-s) term + s, with a log variance s of each term that is learned like the network.

    Kendall, Gal and Cipolla, "Multi-task learning using uncertainty to weigh losses for scene geometry and semantics",
    CVPR 2018, equation 7, in the log variance and times 2, so that a term's weight settles at 1 / term. s begins at 0,
    hence at the fixed weights: but for a constant this is their form with s beginning at -log(weight).
    """

    def __init__(self, conf: WeightingConf, weights: Mapping[str, float]):
        super().__init__(conf, weights)
        self.log_variances = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in self.active})

    def multipliers(self, step: int) -> dict[str, float | Tensor]:
        return {name: torch.exp(-s) for name, s in self.log_variances.items()}

    def penalties(self, names: Iterable[str]) -> list[Tensor]:
        return [self.log_variances[name] for name in names if name in self.active]


class DynamicWeightAverage(LossWeighting):
    """A term that falls more slowly than the others counts more: multipliers K softmax(r / T) over the K terms, r the
    ratio of a term's means over the last two epochs; 1 in the first two epochs.

    Liu, Johns and Davison, "End-to-end multi-task learning with attention", CVPR 2019, equation 7.
    """

    means: Tensor
    in_force: Tensor

    def __init__(self, conf: WeightingConf, weights: Mapping[str, float]):
        super().__init__(conf, weights)
        count = len(self.active)
        # means: of the epoch before last and of the last; 0 where there has been none. Checkpoints keep both.
        self.register_buffer("means", torch.zeros(2, count, dtype=torch.float64))
        self.register_buffer("in_force", torch.ones(count, dtype=torch.float64))
        self._values = [1.0] * count

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        self._values = self.in_force.tolist()  # once per epoch: reading a GPU's buffer makes the host wait

    def multipliers(self, step: int) -> dict[str, float | Tensor]:
        return dict(zip(self.active, self._values))

    @torch.no_grad()
    def end_epoch(self, terms: Mapping[str, float]) -> None:
        last = torch.tensor([terms[name] for name in self.active], dtype=torch.float64)
        before = self.means[1].to("cpu", copy=True)
        self.means.copy_(torch.stack([before, last]))
        if (before > 0).any():
            ratios = torch.where(before > 0, last / before, 1.0)
            self.in_force.copy_(len(self.active) * torch.softmax(ratios / self.conf.dwa_temperature, 0))


class Ramp(LossWeighting):
    """Every term but the hard one is multiplied by what rises from (nearly) 0 to 1 over the ramp's length.

    Its length is in epochs, in steps, or a share of the epochs. With t from 0 (first epoch or step) to 1: linear t;
    sigmoid exp(-5 (1 - t)^2), Laine and Aila, "Temporal ensembling for semi-supervised learning", ICLR 2017.
    """

    def __init__(self, conf: WeightingConf, weights: Mapping[str, float]):
        super().__init__(conf, weights)
        self.epoch, self.length = 1, conf.ramp_length

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        self.epoch = epoch
        if self.conf.ramp_by == "share":
            self.length = self.conf.ramp_length * epochs

    def multipliers(self, step: int) -> dict[str, float | Tensor]:
        now = step if self.conf.ramp_by == "steps" else self.epoch
        t = min(1.0, (now - 1) / self.length)
        risen = t if self.conf.ramp_shape == "linear" else math.exp(-5 * (1 - t) ** 2)
        return {name: risen for name in self.fixed if name != "hard"}


LOOK_EVERY = 5  # steps: a look costs a dozen operations, for which a GPU waits
_MEMORY = 8  # looks that the teacher's competence is a running mean of, about
_ENOUGH = 0.75  # competence from which on the students' blocks are taught


class Competence(LossWeighting):
    """Blocks are taught as far as the teacher itself tells the training utterances apart; the students' helpers learn
    from the first step on.

    Competence c = 2 AUC - 1 of the teacher's own scores in a batch, from 0 (chance) to 1, as a running mean that begins
    at 0. `share` = (c - 0.75) / 0.25, at least 0, is what of their gradient the helpers pass on into the network. A
    teacher that knows one easy cue only is not copied, because blocks that copy it lose what would lead it further.
    """

    competence: Tensor

    def __init__(self, conf: WeightingConf, weights: Mapping[str, float]):
        super().__init__(conf, weights)
        self.register_buffer("competence", torch.zeros(()))
        self.register_buffer("taught", torch.zeros(()))

    @property
    def share(self) -> Tensor:
        return self.taught

    @torch.no_grad()
    def observe(self, scores: Tensor, labels: Tensor) -> None:
        scores, labels = distributed.whole_batch(scores.float()), distributed.whole_batch(labels)
        sign = torch.sign(scores[:, None] - scores)
        pairs = ((labels[:, None] == BONAFIDE) & (labels == SPOOF)).to(sign.dtype)
        count = pairs.sum()
        # a batch of one class says nothing
        found = torch.where(count > 0, (sign * pairs).sum() / count.clamp(min=1), self.competence)
        self.competence.lerp_(found, 1 / _MEMORY)
        # a new tensor: what backward and the log hold of the old one stays
        self.taught = ((self.competence - _ENOUGH) / (1 - _ENOUGH)).clamp(min=0)


class _PassedOn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, share: Tensor) -> Tensor:
        ctx.save_for_backward(share)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (share,) = ctx.saved_tensors
        return gradient * share, None


def passing_on(x: Tensor, share: Tensor | None) -> Tensor:
    """`x` itself; of its gradient only `share`, a scalar, goes further back. None: all of it."""
    return x if share is None else _PassedOn.apply(x, share)


_RULES = {
    "fixed": LossWeighting,
    "competence": Competence,
    "uncertainty": UncertaintyWeighting,
    "dwa": DynamicWeightAverage,
    "ramp": Ramp,
}


def make_weighting(conf: WeightingConf, weights: Mapping[str, float]) -> LossWeighting:
    """The rule that `conf` names for terms of these fixed weights, `hard` among them."""
    return _RULES[conf.name](conf, weights)
