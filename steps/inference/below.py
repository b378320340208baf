"""Which windows of a recording are below the threshold, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steps.inference.clock import stretch_clock

if TYPE_CHECKING:
    from steps.inference.detector import Window

_NAMED = 5  # stretches in a sentence; `stretches` has all


@dataclass(frozen=True)
class Below:
    """windows: how many have an LLR at or below the threshold; of: how many have an LLR at all; stretches: where, (begin, end) in
    seconds, in the order of time: windows that overlap or touch are one stretch."""

    windows: int
    of: int
    stretches: tuple[tuple[float, float], ...]

    @classmethod
    def among(cls, windows: Sequence[Window]) -> Below:
        """windows: of a recording that is judged, in the order of time."""
        stretches: list[tuple[float, float]] = []
        below = [window for window in windows if window.below]
        for window in below:
            if stretches and window.begin <= stretches[-1][1]:
                stretches[-1] = (stretches[-1][0], window.end)
            else:
                stretches.append((window.begin, window.end))
        return cls(len(below), sum(window.below is not None for window in windows), tuple(stretches))

    def words(self, seconds: float) -> str:
        """`3 of 65 windows below the threshold: 1:18-1:26, 2:30-2:35`. seconds: the recording's length. Empty for one window, whose
        verdict is the recording's."""
        if self.of < 2:
            return ""
        places = [stretch_clock(*stretch, seconds) for stretch in self.stretches[:_NAMED]]
        more = len(self.stretches) - len(places)
        where = ", ".join(places) + (f" and {more} more" if more else "")
        return f"{self.windows} of {self.of} windows below the threshold" + (f": {where}" if where else "")
