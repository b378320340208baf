"""Baseline: the detector alone, trained by the hard loss on its own head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from steps.training.base import MethodBase, TrainConf
from steps.training.losses import MixedLabels


@dataclass(frozen=True, kw_only=True)
class Conf(TrainConf):
    pass


class Method(MethodBase[Conf]):
    def frame_students(self) -> tuple[int, ...]:
        return ()

    def losses(self, x: Tensor, labels: Tensor | MixedLabels, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        embedding = self.detector.embed(x)
        hard = self.hard_loss(self.detector.head(embedding), embedding, labels, step)
        return hard, {"hard": hard.detach()}
