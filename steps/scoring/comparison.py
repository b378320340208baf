"""Means and spreads over seeds, and whether two methods differ by more than their seeds do."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1); None for the latter with one value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


@dataclass(frozen=True)
class Difference:
    """Another method's figure less the baseline's; below 0 is better for error rates and costs.

    mean: difference of the means; where both have at least two seeds in common, over these alone;
    standard_error: of the mean paired difference, None where fewer than two seeds are in common;
    spread: pooled standard deviation over seeds, None where either has one seed only;
    seeds: pairs, or where unpaired the lesser number of seeds.
    """

    mean: float
    standard_error: float | None
    spread: float | None
    seeds: int

    @property
    def within_spread(self) -> bool | None:
        """Whether the difference is not above the spread over seeds; None where that is not known."""
        return None if self.spread is None else abs(self.mean) <= self.spread


def difference(baseline: Mapping[int, float], other: Mapping[int, float]) -> Difference:
    """Compare figures by seed number; each mapping has at least one."""
    common = sorted(set(baseline) & set(other))
    if len(common) >= 2:
        paired = [other[seed] - baseline[seed] for seed in common]
        base, against = [baseline[seed] for seed in common], [other[seed] for seed in common]
        spread = math.sqrt((statistics.variance(base) + statistics.variance(against)) / 2)
        return Difference(
            statistics.fmean(paired), statistics.stdev(paired) / math.sqrt(len(common)), spread, len(common)
        )
    base, against = list(baseline.values()), list(other.values())
    spread = None
    if len(base) > 1 and len(against) > 1:
        squares = [statistics.variance(values) * (len(values) - 1) for values in (base, against)]
        spread = math.sqrt(sum(squares) / (len(base) + len(against) - 2))
    return Difference(statistics.fmean(against) - statistics.fmean(base), None, spread, min(len(base), len(against)))


def verdicts(found: Sequence[tuple[str, str, Difference]]) -> list[str]:
    """Plain sentences on whether differences show over the spread over seeds; equal verdicts share a sentence.

    found: for each figure its name, its spread in words, and its difference.
    """
    shared: dict[str, list[tuple[str, str]]] = {}
    for name, spread, one in found:
        shared.setdefault(_verdict(one), []).append((name, spread))
    sentences = []
    for text, whose in shared.items():
        names = " and ".join(name for name, _ in whose)
        subject = f"The difference in {names} is" if len(whose) == 1 else f"The differences in {names} are"
        sentences.append(f"{subject} {text.format(spread='; '.join(spread for _, spread in whose))}.")
    return sentences


def _verdict(found: Difference) -> str:
    if found.within_spread is None:
        return "not to be judged: that takes at least 2 seeds of each method"
    if found.within_spread:
        return "smaller than the spread over seeds ({spread}): no proven effect"
    text = "larger than the spread over seeds ({spread})"
    if found.standard_error is None:
        return f"{text}, but the methods have fewer than 2 seeds in common"
    if found.seeds < 3:
        return f"{text}, but of {found.seeds} pairs of seeds only, too few to rely on"
    if abs(found.mean) < 2 * found.standard_error:
        return f"{text}, yet under two standard errors of the paired differences"
    return f"{text}, over {found.seeds} pairs of seeds"
