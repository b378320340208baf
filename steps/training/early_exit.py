"""A student as a detector of its own: the network stops after its stage, and its own head gives the score. And a
detector whose inputs stop at different stages."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate

import torch
from torch import Tensor

from steps.nnet import Detector
from steps.nnet.base import AngleLinear, FrameHead, ModulesOf, score_of
from steps.nnet.cost import measure
from steps.nnet.staged import StagedBackbone
from steps.training.aligners import AlignerBase
from steps.training.base import MethodBase


class EarlyExit(Detector):
    """The stages of `complete` up to `stage`, counted from 1, with the aligner and the head of that student.

    All parts are copies. The deeper stages are neither kept nor computed, and the logits are those of the student's
    head in the complete network. frame_head: the student's, where frames are learnt.
    """

    def __init__(
        self,
        complete: Detector,
        stage: int,
        aligner: AlignerBase,
        head: AngleLinear,
        frame_head: FrameHead | None = None,
    ):
        backbone = copy.deepcopy(complete.backbone)
        backbone.cut(stage)
        super().__init__(backbone, copy.deepcopy(complete.normalisation), head.conf)
        self.aligner, self.head = copy.deepcopy(aligner), copy.deepcopy(head)
        self.frame_head = copy.deepcopy(frame_head)
        self.made_of = complete.made_of
        self.train(complete.training)

    @property
    def embedding_size(self) -> int:
        return self.head.weight.shape[1]

    def embedding_of(self, last_map: Tensor) -> Tensor:
        return self.aligner.embedding(self.aligner(last_map))


class AdaptiveExit(Detector):
    """Each input leaves at the first of `exits` whose calibrated LLR has at least the magnitude `bound`, at the latest
    at the last, which is the complete network. Its score is that LLR.

    exits: by stage, shallow to deep, all of one network; lines: (weight, offset) of each one's LLR; costs: by stage,
    as adaptive_costs has them. Attribute: left, how many inputs left at each stage until now.
    """

    def __init__(
        self,
        exits: Mapping[int, Detector],
        lines: Mapping[int, tuple[float, float]],
        bound: float,
        costs: Mapping[int, int],
    ):
        *early, complete = exits.values()
        super().__init__(complete.backbone, complete.normalisation, complete.head.conf)
        self.made_of, self.head = complete.made_of, complete.head
        self.early = ModulesOf[Detector](early)
        self.exits, self.lines, self.bound, self.costs = dict(exits), dict(lines), bound, dict(costs)
        self.left: Counter[int] = Counter()
        self.train(complete.training)

    @property
    def exits_score_frames(self) -> bool:
        return any(one.frame_head is not None for one in self.exits.values())

    def routes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channels, frames, bins) -> (batch,) LLRs, and (batch,) the stages at which the inputs leave."""
        assert isinstance(self.backbone, StagedBackbone)
        x = self.backbone.stem(self.normalised(x))
        llrs = torch.zeros(len(x), device=x.device)
        stages = torch.full((len(x),), max(self.exits), device=x.device)
        rows = torch.arange(len(x), device=x.device)
        for stage, module in enumerate(self.backbone.stages, 1):
            x = module(x)
            if stage not in self.exits:
                continue
            weight, offset = self.lines[stage]
            llrs[rows] = weight * score_of(self.exits[stage].logits_of(x)) + offset
            stages[rows] = stage
            stays = llrs[rows].abs() < self.bound
            x, rows = x[stays], rows[stays]
            if not len(rows):
                break
        self.left.update(stages.tolist())
        return llrs, stages

    def forward(self, x: Tensor) -> Tensor:
        half = 0.5 * self.routes(x)[0]
        return torch.stack([-half, half], dim=1)


def _own_costs(method: MethodBase, frames: int, bins: int, channels: int) -> dict[int, tuple[int, int]]:
    """By the stages that have heads: multiply-adds of one input up to the stage, and of its own aligner and head."""
    costs = {}
    x = torch.zeros(1, channels, frames, bins)
    for stage in method.trained_heads:
        one = method.exit_at(stage)
        found = measure(one, lambda one=one: one(x), {"all": one, "backbone": one.backbone})  # type: ignore[misc]
        costs[stage] = found["backbone"][0], found["all"][0] - found["backbone"][0]
    return costs


def exit_costs(method: MethodBase, frames: int, bins: int, channels: int = 1) -> dict[int, int]:
    """Multiply-adds of one input's score by each exit, by its stage; the last is the complete network's. Where aligners
    are still being searched, of all candidates."""
    return {stage: sum(costs) for stage, costs in _own_costs(method, frames, bins, channels).items()}


def adaptive_costs(method: MethodBase, frames: int, bins: int, channels: int = 1) -> dict[int, int]:
    """Multiply-adds of an input that leaves an AdaptiveExit at each stage: with the heads that it passed."""
    costs = _own_costs(method, frames, bins, channels)
    heads = accumulate(own for _, own in costs.values())
    return {stage: before + passed for (stage, (before, _)), passed in zip(costs.items(), heads)}
