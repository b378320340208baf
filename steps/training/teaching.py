"""Who teaches whom in self-distillation, and when. Stages are counted from 0 here, shallow to deep.

deepest: the deepest stage teaches all others (Xue et al., ICASSP 2023). chain: each stage is taught by the next deeper
one, all at once. progressive: the same pairs, one after another, from the deepest pair down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Teaching = Literal["deepest", "chain", "progressive"]


class Span(NamedTuple):
    """Epochs in which a stage is taught, from 1; the last one included."""

    first: int
    last: int


@dataclass(frozen=True)
class ProgressiveConf:
    """begins: for the pairs 4 to 3, 3 to 2, 2 to 1 the share of the training after which each begins. first_epochs: the
    epochs, from 1, with which they begin instead; None: as begins says."""

    begins: tuple[float, ...] = (0.0, 0.33, 0.67)
    keep_earlier: bool = True
    first_epochs: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.begins) != 3:
            raise ValueError(
                f"begins: {list(self.begins)} are not three shares, one for each of 4 to 3, 3 to 2, 2 to 1"
            )
        if not all(0 <= share < 1 for share in self.begins) or list(self.begins) != sorted(self.begins):
            raise ValueError(f"begins: {list(self.begins)} are not shares from 0 to below 1 in rising order")
        if (epochs := self.first_epochs) is not None and (
            len(epochs) != 3 or list(epochs) != sorted(epochs) or epochs[0] < 1
        ):
            raise ValueError(
                f"first_epochs: {list(epochs)} are not three epochs from 1, for 4 to 3, 3 to 2, 2 to 1, in rising order"
            )

    def spans(self, epochs: int) -> list[Span]:
        """Of the students, shallow to deep, in a training of `epochs`; each begins as near to its share as can be, or
        with its epoch.

        Raises ValueError where one of them would get no epoch.
        """
        first = list(self.first_epochs or [1 + round(share * epochs) for share in self.begins])
        last = [epochs] * 3 if self.keep_earlier else [first[1] - 1, first[2] - 1, epochs]
        spans = [Span(*ends) for ends in zip(first, last)]
        if any(span.last < span.first for span in spans):
            what = "begins" if self.first_epochs is None else "first_epochs"
            raise ValueError(
                f"{what}: {list(getattr(self, what))} of {epochs} epochs leave one of the pairs 4 to 3, 3 to 2, 2 to 1"
                " without an epoch; raise epochs, or let the pairs begin otherwise"
            )
        return spans[::-1]


def teachers_of(teaching: Teaching, stages: int) -> list[int]:
    """The teacher of each stage but the deepest."""
    return [stages - 1 if teaching == "deepest" else student + 1 for student in range(stages - 1)]


def spans_of(teaching: Teaching, progressive: ProgressiveConf, stages: int, epochs: int) -> list[Span]:
    """When each stage but the deepest is taught in a training of `epochs`."""
    return progressive.spans(epochs) if teaching == "progressive" else [Span(1, epochs)] * (stages - 1)
