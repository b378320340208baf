"""A student as a detector of its own: the network stops after its stage, and its own head gives the score."""

from __future__ import annotations

import copy

from torch import Tensor

from steps.nnet import Detector
from steps.nnet.base import AngleLinear
from steps.nnet.cost import detector_cost
from steps.training.aligners import AlignerBase
from steps.training.base import MethodBase


class EarlyExit(Detector):
    """The stages of `complete` up to `stage`, counted from 1, with the aligner and the head of that student.

    All parts are copies. The deeper stages are neither kept nor computed, and the logits are those of the student's
    head in the complete network.
    """

    def __init__(self, complete: Detector, stage: int, aligner: AlignerBase, head: AngleLinear):
        backbone = copy.deepcopy(complete.backbone)
        backbone.cut(stage)
        super().__init__(backbone, copy.deepcopy(complete.normalisation), head.conf)
        self.aligner, self.head = copy.deepcopy(aligner), copy.deepcopy(head)
        self.made_of = complete.made_of
        self.train(complete.training)

    @property
    def embedding_size(self) -> int:
        return self.head.weight.shape[1]

    def embedding_of(self, last_map: Tensor) -> Tensor:
        return self.aligner.embedding(self.aligner(last_map))


def exit_costs(method: MethodBase, frames: int, bins: int, channels: int = 1) -> dict[int, int]:
    """Multiply-adds of one input's score by each exit, by its stage; the last is the complete network's. Where aligners
    are still being searched, of all candidates."""
    exits = {stage: method.exit_at(stage) for stage in method.trained_heads}
    return {stage: detector_cost(one, frames, bins, channels)["multiply_adds"] for stage, one in exits.items()}
