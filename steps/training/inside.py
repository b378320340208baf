"""A look inside training, once per epoch: how many directions the embeddings use, and where the gradient goes.

A network that separates one easy cue only has embeddings on a line: an effective rank near 1 long before it has learnt
the rest. All of it comes from passes that training makes anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from steps.nnet.base import pool
from steps.training import distributed

GRADIENT_EVERY = 10  # steps from one look at the gradient to the next
_NARROW = 1.1  # an effective rank below this is one direction
_NARROW_EPOCHS = 3  # for so many epochs on end, before it is said


def effective_rank(embeddings: Tensor) -> float:
    """Participation ratio (sum l)^2 / sum l^2 of the eigenvalues l of the embeddings' covariance.

    (n, channels) -> from 1 (all on a line) to channels (alike in all directions); 0 where they do not differ.
    """
    centred = embeddings.double() - embeddings.double().mean(0)
    gram = centred.T @ centred if centred.shape[1] <= len(centred) else centred @ centred.T
    squares = float(gram.square().sum())
    return float(gram.trace()) ** 2 / squares if squares > 0 else 0.0


def block_of(parameter: str) -> str:
    """Where a method's parameter, by its name, belongs: stem, block1 to block4, head, or helpers, which training
    drops."""
    if not parameter.startswith("detector."):
        return "helpers"
    stage = re.search(r"\.stages\.(\d+)\.", parameter)
    if stage:
        return f"block{int(stage[1]) + 1}"
    return "head" if parameter.startswith("detector.head.") else "stem"


class GradientNorms:
    """The gradient's norm by block, averaged over the steps at which `look` was called."""

    def __init__(self, method: nn.Module):
        self._blocks: dict[str, list[nn.Parameter]] = {}
        for name, parameter in method.named_parameters():
            if parameter.requires_grad:
                self._blocks.setdefault(block_of(name), []).append(parameter)
        self._sums: dict[str, Tensor] = {}
        self._looks = 0

    def look(self) -> None:
        """Count in the gradients as they are now."""
        self._looks += 1
        for block, parameters in self._blocks.items():
            norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
            norm = torch.where(norm.isfinite(), norm, 0.0)  # fp16's first steps overflow and are left out
            self._sums[block] = self._sums[block] + norm if block in self._sums else norm

    def take(self) -> dict[str, float]:
        """The means by block since the last `take`, named gradient_<block>."""
        means = {f"gradient_{block}": float(total) / self._looks for block, total in self._sums.items()}
        self._sums, self._looks = {}, 0
        return means


class Embeddings:
    """What a backbone's stages and the input look like over some batches; a context, within which forward passes count.

    floor: the value that a front end gives to silence, as FrontEndBase.floor.
    """

    def __init__(self, backbone: nn.Module, floor: float | None):
        self._backbone, self._floor = backbone, floor
        self._of_stages: list[list[Tensor]] = []
        self._at_floor = torch.zeros(2, dtype=torch.float64)  # values at the floor, and all

    def __enter__(self) -> Embeddings:
        self._hook = self._backbone.register_forward_hook(self._see)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def see_input(self, x: Tensor) -> None:
        """x: (batch, channels, frames, bins), as the front end made it."""
        if self._floor is not None:
            low = int((x < self._floor + 0.7).sum())  # magnitudes below that of the floor: ln 2
            self._at_floor += torch.tensor([low, x.numel()])

    def _see(self, _: nn.Module, __: Any, maps: Iterable[Tensor]) -> None:
        self._of_stages.append([distributed.whole_batch(pool(m.float())) for m in maps])

    def summary(self) -> dict[str, float]:
        """rank_block<k> of each stage and, where the front end has a floor, input_at_floor, from 0 to 1."""
        found = {
            f"rank_block{k}": effective_rank(torch.cat(embeddings))
            for k, embeddings in enumerate(zip(*self._of_stages), 1)
        }
        if self._floor is not None:
            low, values = distributed.add_up(self._at_floor).tolist()
            found["input_at_floor"] = low / values
        return found


def warning_of(history: Sequence[Mapping[str, Any]]) -> str | None:
    """What to say of a deepest embedding that has stayed on a line, in the epoch in which that becomes clear."""
    ranks = [row["inside"][deepest] for row in history if (deepest := _deepest(row)) is not None]
    narrow = [rank < _NARROW for rank in ranks]
    if len(ranks) < _NARROW_EPOCHS or not all(narrow[-_NARROW_EPOCHS:]):
        return None
    if len(narrow) > _NARROW_EPOCHS and narrow[-_NARROW_EPOCHS - 1]:
        return None  # said before
    return (
        f"the deepest embedding has had an effective rank near 1 ({ranks[-1]:.2f}) for {_NARROW_EPOCHS} epochs: the "
        "network separates one easy cue only. If the dev EER stays high, try more epochs or another learning rate"
    )


def _deepest(row: Mapping[str, Any]) -> str | None:
    ranks = sorted(name for name in row.get("inside", {}) if name.startswith("rank_block"))
    return ranks[-1] if ranks else None
