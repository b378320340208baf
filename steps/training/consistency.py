"""A clean view of each utterance teaches a masked view of it.

The masks are SpecAugment's (Park et al., Interspeech 2019), the teaching self-distillation's (Xue et al., ICASSP 2023),
but that its teacher, the deepest block's head, sees the input as it is and its students see it masked. A kindred method
is Xie et al., "Unsupervised data augmentation for consistency training", NeurIPS 2020.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from steps.augment import utterance_rng
from steps.nnet import Detector
from steps.training import distributed, self_distill
from steps.training.losses import MixedLabels, total


@dataclass(frozen=True)
class ConsistencyConf:
    """`time_masks` and `frequency_masks` an utterance, each 0..`max_frames` or 0..`max_bins` wide, drawn evenly."""

    hard_on: Literal["masked", "clean", "both"]
    shallow_heads: bool
    time_masks: int
    max_frames: int
    frequency_masks: int
    max_bins: int
    fill: Literal["mean", "zero"]

    def __post_init__(self) -> None:
        for key in ("time_masks", "max_frames", "frequency_masks", "max_bins"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key}: {getattr(self, key)} is negative")


@dataclass(frozen=True, kw_only=True)
class Conf(self_distill.Conf):
    consistency: ConsistencyConf

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_other_teacher("the clean view", self.consistency.shallow_heads, "consistency")


def in_a_mask(draws: Tensor, length: int, widest: int) -> Tensor:
    """bool (batch, length): which positions of each utterance lie in one of its masks.

    draws: (batch, masks, 2), each in [0, 1): of the width, one of 0..widest, and of the begin, such that the mask ends
    within `length`. Masks may overlap, as in the paper.
    """
    width = (draws[..., 0] * (min(widest, length) + 1)).floor()
    begin = (draws[..., 1] * (length - width + 1)).floor()
    places = torch.arange(length, device=draws.device)
    return ((places >= begin[..., None]) & (places < (begin + width)[..., None])).any(dim=1)


class Method(self_distill.Method[Conf]):
    """Self-distillation whose students are the masked view's, and whose teachers are the same blocks of the clean view.

    The masked view's deepest head is taught too, by the clean view's; without shallow heads that is the one soft loss,
    and there is no feature loss.
    """

    def __init__(self, conf: Conf, detector: Detector):
        super().__init__(conf, detector, conf.consistency.shallow_heads)
        self.mask_seed = int(torch.randint(2**31, ()))

    def get_extra_state(self) -> dict[str, Any]:
        return {"mask_seed": self.mask_seed}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.mask_seed = state["mask_seed"]

    def masked(self, x: Tensor, step: int) -> Tensor:
        """`x`, (batch, channels, frames, bins), with masks that all channels share, by seed and step alone."""
        conf = self.conf.consistency
        batch, _, frames, bins = x.shape
        rng = utterance_rng(self.mask_seed, step, "batch", "masks")
        count, mine = distributed.place_in_batch(batch)
        draws = torch.from_numpy(rng.random((count, conf.time_masks + conf.frequency_masks, 2))[mine]).to(x.device)
        in_time = in_a_mask(draws[:, : conf.time_masks], frames, conf.max_frames)
        in_frequency = in_a_mask(draws[:, conf.time_masks :], bins, conf.max_bins)
        masks = (in_time[:, :, None] | in_frequency[:, None, :])[:, None]
        fill = x.mean(dim=(2, 3), keepdim=True) if conf.fill == "mean" else x.new_zeros(())
        return torch.where(masks, fill, x).contiguous(memory_format=torch.channels_last)

    def losses(self, x: Tensor, labels: Tensor | MixedLabels, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        hard_on = self.conf.consistency.hard_on
        # The clean view last: what is scored has no masks, and the last batch weighs most in the running batch
        # statistics.
        masked = self.kept.heads(self.masked(x, step), self.weighting.share)
        with torch.no_grad() if hard_on == "masked" else contextlib.nullcontext():
            clean = self.kept.heads(x, self.weighting.share)
        views = {"masked": [masked], "clean": [clean], "both": [masked, clean]}[hard_on]
        hard = total([self.hard_of(view, labels, step) for view in views]) / len(views)
        return self.weighted({"hard": hard, **self.taught(masked, clean)}, step, clean, labels)
