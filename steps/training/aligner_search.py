"""An aligner that is chosen among several while training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from steps.training.aligners import AlignerBase, Reduction
from steps.training.losses import total


@dataclass(frozen=True)
class SearchConf:
    candidates: tuple[Literal["linear", "bottleneck", "adaptive_pool"], ...] = ("linear", "bottleneck", "adaptive_pool")
    temperature_start: float = 1.0
    temperature_end: float = 0.1
    settled_share: float = 0.25

    def __post_init__(self) -> None:
        if len(set(self.candidates)) != len(self.candidates) or len(self.candidates) < 2:
            raise ValueError(f"candidates: {list(self.candidates)} are not two or more different aligners")
        if not 0 < self.temperature_end <= self.temperature_start:
            raise ValueError(
                f"temperature_end: {self.temperature_end} is not above 0 and at most temperature_start "
                f"({self.temperature_start})"
            )
        if not 0 <= self.settled_share < 1:
            raise ValueError(f"settled_share: {self.settled_share} is not from 0 to below 1")

    def searching_epochs(self, epochs: int) -> int:
        """How many of a training's epochs search: all but settled_share of them, rounded down, but at least one."""
        return max(1, epochs - math.ceil(self.settled_share * epochs))

    def temperature_at(self, epoch: int, epochs: int) -> float:
        """By equal factors from temperature_start, in the first epoch, to temperature_end, from the last that
        searches."""
        last = self.searching_epochs(epochs)
        done = 1.0 if epoch >= last else (epoch - 1) / (last - 1)
        return self.temperature_start ** (1 - done) * self.temperature_end**done


class SearchedAligner(AlignerBase):
    """Several aligners at once, weighted by a softmax over learned strengths; its falling temperature leaves one.

    The continuous relaxation of Liu, Simonyan and Yang, "DARTS: differentiable architecture search", ICLR 2019,
    equation 2: a plain softmax, no Gumbel noise. The student's head reads the weighted sum of the candidates'
    embeddings, and through that alone the strengths learn. The feature loss is the weighted sum of the candidates' own
    losses with those weights taken as given: each candidate is compared with another reading of the teacher, so that
    the one with the easiest target would win. In the last epochs the strongest candidate works alone and the strengths
    rest.

    `widths`: what every aligner is made of; `makers`: by name, the candidates' among them.
    """

    def __init__(
        self, widths: tuple[int, int, int], search: SearchConf, makers: Mapping[str, Callable[..., AlignerBase]]
    ):
        super().__init__()
        self.search = search
        self.candidates = nn.ModuleDict({name: makers[name](*widths) for name in search.candidates})
        self.strengths = nn.Parameter(torch.zeros(len(search.candidates)))
        self.temperature = search.temperature_start
        self.chosen: int | None = None  # the candidate that works alone

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        self.temperature = self.search.temperature_at(epoch, epochs)
        self.chosen = int(self.strengths.argmax()) if epoch > self.search.searching_epochs(epochs) else None

    def get_extra_state(self) -> dict[str, Any]:
        """With the weights, so that heads are scored as they were trained."""
        return {"temperature": self.temperature, "chosen": self.chosen}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.temperature, self.chosen = state["temperature"], state["chosen"]

    def learned_shares(self) -> Tensor:
        """(candidates,), in sum 1: the softmax, whether or not one of them works alone by now."""
        return torch.softmax(self.strengths / self.temperature, 0)

    def shares(self) -> dict[str, Tensor]:
        """Each candidate's share in the embedding just now."""
        shares = self.learned_shares().detach()
        if self.chosen is not None:
            shares = torch.zeros_like(shares)
            shares[self.chosen] = 1
        return dict(zip(self.search.candidates, shares))

    def _working(self) -> list[AlignerBase]:
        candidates = cast(list[AlignerBase], list(self.candidates.values()))
        return candidates if self.chosen is None else [candidates[self.chosen]]

    def _weights(self) -> Tensor:
        return self.learned_shares() if self.chosen is None else self.strengths.new_ones(1)

    def forward(self, student_map: Tensor) -> list[Any]:
        """What each working candidate makes of it."""
        return [candidate(student_map) for candidate in self._working()]

    def embedding(self, aligned: list[Any]) -> Tensor:
        parts = zip(self._weights(), self._working(), aligned)
        return total([weight * candidate.embedding(own) for weight, candidate, own in parts])

    def distance(self, aligned: list[Any], teacher_map: Tensor, reduction: Reduction) -> Tensor:
        parts = zip(self._weights().detach(), self._working(), aligned)
        return total([weight * candidate.distance(own, teacher_map, reduction) for weight, candidate, own in parts])
