"""What every training method has in common: its conf's keys, and how the loop calls it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from torch import Tensor, nn

from steps.data.reading import Balance, How, Reading
from steps.nnet import BackboneBase, Detector
from steps.training.frames import FrameLoss, FramesConf
from steps.training.losses import HardLoss, HardLossConf, MixedLabels
from steps.training.random_filter import RandomFilterConf
from steps.training.weighting import LossWeighting
from utils.cli import UserError


@dataclass(frozen=True)
class OptimizerConf:
    name: Literal["adam", "adamw", "sgd"]
    betas: tuple[float, ...]
    eps: float
    weight_decay: float
    amsgrad: bool
    momentum: float

    def __post_init__(self) -> None:
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: {list(self.betas)} are not two numbers from 0 to below 1")
        if self.eps <= 0:
            raise ValueError(f"eps: {self.eps} is not positive")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay: {self.weight_decay} is negative")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum: {self.momentum} is not from 0 to below 1")


@dataclass(frozen=True)
class ScheduleConf:
    name: Literal["constant", "noam", "cosine"]
    lr: float
    noam_size: float
    warmup_steps: int

    def __post_init__(self) -> None:
        for key in ("lr", "noam_size"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key}: {getattr(self, key)} is not positive")
        if self.warmup_steps < 1:
            raise ValueError(f"warmup_steps: {self.warmup_steps} is not positive")

    def at(self, step: int, total_steps: int) -> float:
        """Learning rate of training step `step`, the first being 1 and the last total_steps.

        noam: Vaswani et al., "Attention is all you need", 2017, equation 3, with noam_size for the model's width.
        cosine: Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5, one period that ends at 0 after the last step,
        with a linear warm-up before it: lr is reached at warmup_steps.
        """
        if self.name == "constant":
            return self.lr
        if self.name == "noam":
            return self.noam_size**-0.5 * min(step**-0.5, step * self.warmup_steps**-1.5)
        if step <= self.warmup_steps:
            return self.lr * step / self.warmup_steps
        done = (step - self.warmup_steps) / (total_steps + 1 - self.warmup_steps)
        return self.lr * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True, kw_only=True)
class TrainConf:
    """Keys of every method's conf."""

    method: str
    epochs: int
    batch_size: int
    optimizer: OptimizerConf
    schedule: ScheduleConf
    hard_loss: HardLossConf
    max_grad_norm: float | None
    select_by: Literal["dev_loss", "dev_eer", "last_epoch"]
    average_last: int
    amp: Literal["none", "auto", "bf16", "fp16"]
    deterministic: bool
    diverged_above: float
    num_workers: int
    cache_mib: int
    random_filter: RandomFilterConf | None = None  # missing in older confs
    sync_batch_norm: bool = True
    graphs: bool = False
    reading: How = "auto"
    shard_mib: int = 16
    buffer_mib: int = 1024
    frames: FramesConf | None = None
    balance: Balance = "none"

    def __post_init__(self) -> None:
        for key in ("epochs", "batch_size"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}: {getattr(self, key)} is not positive")
        if self.batch_size < 2:
            raise ValueError("batch_size: 1 is too few for batch normalisation; at least 2")
        if not 0 <= self.average_last <= self.epochs:
            raise ValueError(f"average_last: {self.average_last} must be between 0 and epochs ({self.epochs})")
        for key in ("max_grad_norm", "diverged_above"):
            if (value := getattr(self, key)) is not None and not value > 0:
                raise ValueError(f"{key}: {value} is not positive")
        for key in ("num_workers", "cache_mib"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key}: {getattr(self, key)} is negative")
        self.how_to_read()

    def how_to_read(self) -> Reading:
        """Raises ValueError for sizes that are not positive, and for balanced batches from shards."""
        return Reading(self.reading, self.shard_mib, self.buffer_mib, self.balance)


OwnConf = TypeVar("OwnConf", bound=TrainConf)  # of the method


class MethodBase(nn.Module, ABC, Generic[OwnConf]):
    """A detector and whatever a method adds to it while training.

    `detector` is all that is kept; its parameters must not depend on the method. `trained_heads` are the blocks whose
    heads `head_logits` yields. `weighting`: of a method whose loss has several terms, how much each counts.
    """

    detector: Detector
    trained_heads: tuple[int, ...] = (4,)
    weighting: LossWeighting | None

    def __init__(self, conf: OwnConf, detector: Detector):
        super().__init__()
        self.conf = conf
        self.detector = detector
        self.hard_loss = HardLoss(conf.hard_loss)
        self.weighting = None
        self.frame_loss: FrameLoss | None = None
        if conf.frames is not None and detector.frame_head is not None:
            self.frame_loss = FrameLoss(conf.frames, detector.frame_head, self.frame_students())

    def frame_students(self) -> tuple[int, ...]:
        """Channels of the stages that learn the deepest one's frames. Raises UserError for a method that has no frame
        loss."""
        raise UserError(f"train.frames: the method {self.conf.method} has no frame loss; take baseline or self_distill")

    def losses_with_frames(
        self, x: Tensor, labels: Tensor | MixedLabels, bonafide: Tensor | None, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """`losses`, and where frames are learnt their loss too. bonafide: (batch, frames) of 1 bona fide, 0 spoof."""
        if self.frame_loss is None or bonafide is None:
            return self.losses(x, labels, step)
        seen: list[list[Tensor]] = []
        hook = self.detector.backbone.register_forward_hook(lambda module, inputs, maps: seen.append(maps))
        try:
            loss, terms = self.losses(x, labels, step)
        finally:
            hook.remove()
        of_frames, more = self.frame_loss(seen[0], bonafide)
        return loss + of_frames, terms | more

    def without_weight_decay(self) -> list[nn.Parameter]:
        """The parameters that the optimizer's weight decay leaves alone."""
        return [] if self.weighting is None else list(self.weighting.parameters())

    def slower_parameters(self) -> list[tuple[list[nn.Parameter], float]]:
        """Of each of its networks that has such: BackboneBase.slower_parameters."""
        found = [m.slower_parameters() for m in self.modules() if isinstance(m, BackboneBase)]
        return [(parameters, factor) for parameters, factor in found if parameters]

    @abstractmethod
    def losses(self, x: Tensor, labels: Tensor | MixedLabels, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """x: (batch, channels, frames, bins), labels: (batch,) of 0 spoof, 1 bona fide, or mixed, step: from 1.

        The loss to descend, and its terms by name (unweighted, detached) for the log.
        """

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Called before each epoch's first step; the first epoch is 1, the last `epochs`. What a method makes of it may
        depend on these numbers and on its own parameters and buffers alone, which checkpoints keep: so a resumed
        training goes on alike. A method that has more to do here calls this too."""
        if self.weighting is not None:
            self.weighting.begin_epoch(epoch, epochs)

    def after_step(self, step: int) -> None:
        """Called after each step of the optimizer."""

    def end_epoch(self, terms: Mapping[str, float]) -> None:
        """Called after each epoch's last step with the means over its utterances of `losses`' total and terms. A method
        that has more to do here calls this too."""
        if self.weighting is not None:
            self.weighting.end_epoch(terms)

    def choices(self) -> dict[str, dict[str, float]]:
        """What training chose beside weights: of each choice the candidates' shares, the largest the chosen one's."""
        return {}

    def exit_at(self, stage: int) -> Detector:
        """The network up to `stage` of `trained_heads` with the head that was trained there; the last is the detector
        itself. Raises KeyError for another stage."""
        if stage != self.trained_heads[-1]:
            raise KeyError(stage)
        return self.detector

    def head_logits(self, x: Tensor) -> list[Tensor]:
        """(batch, 2) logits of each head that is trained, shallow to deep; the last is the detector's own."""
        return [self.detector(x)]
