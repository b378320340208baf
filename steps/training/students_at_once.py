"""All students' logits in one product, for the losses to take as one tensor.

On a GPU the time of a small network's step goes by the number of its operations, not by their size.
`tests/bench/training.py` measures what this saves. The numbers are those of the heads one by one, but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from steps.nnet.base import AngleLinear, angular_logits


class Together(NamedTuple):
    """What all students make of a batch: (students, batch, width) and (students, batch, classes)."""

    embeddings: Tensor
    logits: Tensor


def logits_at_once(heads: Sequence[AngleLinear], embeddings: Sequence[Tensor]) -> tuple[list[Tensor], Together] | None:
    """The logits of the students' heads and, last, of the detector's own, each (batch, classes), and the students' once
    more as one.

    embeddings: (batch, width) each. None where the heads are not of one width, where there are no students, and without
    gradients: a multiply-add is counted where a head is called.
    """
    if not torch.is_grad_enabled() or len(heads) == 1 or len({head.weight.shape for head in heads}) > 1:
        return None
    conf = heads[-1].conf
    unit = F.normalize(torch.stack([head.weight for head in heads]).float(), dim=-1)
    unit_of_students, unit_of_own = unit.split([len(unit) - 1, 1])
    stacked = torch.stack(list(embeddings[:-1]))
    together = Together(stacked, angular_logits(conf, stacked, unit_of_students))
    return [*together.logits, angular_logits(conf, embeddings[-1], unit_of_own.squeeze(0))], together
