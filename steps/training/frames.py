"""Frame loss: beside the label of the utterance, which of its frames are spoofed.

Every stage has a frame head (steps/nnet/base.py). The deepest one learns from the frames' labels. Under
self-distillation those of the shallower stages learn from the deepest one's frames, as the students do from the
teacher's utterances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steps.nnet.base import FrameHead, FrameMaps, ModulesOf, frame_head_of
from steps.training import distributed
from steps.training.losses import total


@dataclass(frozen=True)
class FramesConf:
    """weight: of the frame loss beside the method's; soft_weight: of the students' frames in it, used by self_distill
    alone; temperature: of both sides' scores there; maps: that a frame head reads, its own stage's or those of all
    stages up to it, whose frames are shorter."""

    weight: float
    soft_weight: float
    temperature: float
    maps: FrameMaps = "last"

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise ValueError(f"weight: {self.weight} is not positive")
        if self.soft_weight < 0:
            raise ValueError(f"soft_weight: {self.soft_weight} is negative")
        if self.temperature <= 0:
            raise ValueError(f"temperature: {self.temperature} is not positive")


def resized(values: Tensor, frames: int) -> Tensor:
    """(batch, any frames) -> (batch, frames): means over equal parts."""
    return values if values.shape[1] == frames else F.adaptive_avg_pool1d(values[:, None], frames)[:, 0]


def frame_loss(scores: Tensor, bonafide: Tensor) -> Tensor:
    """Cross-entropy of the frames: scores (batch, frames), log odds of bona fide; bonafide: (batch, any frames), the
    share of bona fide in each, 0 to 1. The mean over all frames."""
    wanted = resized(bonafide, scores.shape[1])
    return distributed.batch_mean(
        lambda how: F.binary_cross_entropy_with_logits(scores, wanted, reduction=how), scores.numel
    )


def soft_frame_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of the frames' two classes softened by T, the mean over the teacher's frames. student,
    teacher: (batch, frames each), log odds of bona fide; no gradient goes into the teacher."""
    student = resized(student, teacher.shape[1]) / temperature
    teacher = teacher.detach() / temperature
    wanted = torch.sigmoid(teacher)
    entropy = F.binary_cross_entropy_with_logits(teacher, wanted, reduction="none")

    def divergence(how: str) -> Tensor:
        each = F.binary_cross_entropy_with_logits(student, wanted, reduction="none") - entropy
        return temperature**2 * (each.sum() if how == "sum" else each.mean())

    return distributed.batch_mean(divergence, teacher.numel)


class FrameLoss(nn.Module):
    """The frame loss of a method. own: the detector's frame head; channels: of the stages that have students', from the
    shallowest on. Attribute `students`: their heads, in that order."""

    def __init__(self, conf: FramesConf, own: FrameHead, channels: Sequence[int]):
        super().__init__()
        self.conf, self._own = conf, [own]  # in a list: its parameters are the detector's
        self.students = ModulesOf[FrameHead](frame_head_of(channels[: k + 1], conf.maps) for k in range(len(channels)))

    def own(self, maps: Sequence[Tensor], bonafide: Tensor) -> Tensor:
        """The weighted loss of the detector's own frame head."""
        return self.conf.weight * frame_loss(self._own[0](maps), bonafide)

    def forward(self, maps: Sequence[Tensor], bonafide: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """maps: of the stages, shallow to deep, (batch, channels, frames, bins) each; bonafide: (batch, frames of the
        input), 1 where a frame is bona fide, 0 where it is spoofed. The weighted loss, and its terms for the log."""
        teacher = self._own[0](maps)
        hard = frame_loss(teacher, bonafide)
        terms, loss = {"frames": hard.detach()}, hard
        if len(self.students):
            scores = [head(maps[: k + 1]) for k, head in enumerate(self.students)]
            soft = total([soft_frame_loss(one, teacher, self.conf.temperature) for one in scores])
            terms["soft_frames"] = soft.detach()
            loss = hard + self.conf.soft_weight * soft
        return self.conf.weight * loss, terms
