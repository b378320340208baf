"""Figures of a stress test: error rates of each detector on each manipulation, and their change against clean."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from steps.evaluation.labels import corpus_label
from steps.inference.calibration import Decision
from steps.metrics.bootstrap import Interval, RankedTrials, TrialDraw, bootstrap, percentile_interval
from steps.metrics.paired_tests import mean_and_spread
from steps.robustness.grid import UNTOUCHED, GridConf
from steps.robustness.scoring import Model, Trials, read_scores
from utils.files import read_json

DRAWS = 1000
MOST_NOT_JUDGED = 0.5  # beyond it a manipulation is none that the detector is measured on


@dataclass(frozen=True)
class Cell:
    """One training on one manipulation; fractions.

    eer: of the scores, whether they are judged or not; None where fewer than half of a class have one. miss: bona fide
    trials rejected at the threshold; false_alarm: spoof trials accepted; a trial without a verdict counts as neither;
    not_judged: trials without a verdict; outside: those of them that are unlike what the detector was trained on, None
    where it knows no limit. Rates of a class without trials are None. change: `error` minus that of the
    untouched trials; interval: the 95 % interval of the EER's, over trials.
    """

    eer: float | None
    miss: float | None
    false_alarm: float | None
    not_judged: float
    change: float | None = None
    interval: Interval | None = None
    outside: float | None = None

    @property
    def error(self) -> float | None:
        """The EER; of trials of one class their own error rate."""
        if self.miss is not None and self.false_alarm is not None:
            return self.eer
        return self.false_alarm if self.miss is None else self.miss


@dataclass(frozen=True)
class Row:
    """cells: one of each detector, in their order."""

    name: str
    family: str
    cells: list[Cell]


@dataclass(frozen=True)
class DetectorUnderTest:
    """label: of one training; experiment: the same of its seeds; sha256: of the weights; threshold: LLR of the EER on
    dev."""

    label: str
    experiment: str
    model: str
    sha256: str
    threshold: float


@dataclass(frozen=True)
class StressTest:
    """rows: the untouched trials first."""

    corpus: str
    data_dir: str
    n_bonafide: int
    n_spoof: int
    seed: int
    detectors: list[DetectorUnderTest]
    rows: list[Row]

    @property
    def experiments(self) -> dict[str, list[int]]:
        """Numbers of each experiment's detectors."""
        found: dict[str, list[int]] = {}
        for i, one in enumerate(self.detectors):
            found.setdefault(one.experiment, []).append(i)
        return found


@dataclass(frozen=True)
class Mean:
    """A figure's mean over an experiment's trainings, and the spread, None of a single one."""

    mean: float
    spread: float | None


def mean_of(row: Row, numbers: Sequence[int], figure: Callable[[Cell], float | None]) -> Mean | None:
    """None where a training lacks the figure."""
    values = [figure(row.cells[i]) for i in numbers]
    known = [value for value in values if value is not None]
    return None if len(known) < len(values) else Mean(*mean_and_spread(known))


def measured(row: Row, numbers: Sequence[int]) -> bool:
    """Whether the detectors judge at least half of the trials."""
    return statistics.fmean(row.cells[i].not_judged for i in numbers) <= MOST_NOT_JUDGED


def worst(test: StressTest, numbers: Sequence[int]) -> Row | None:
    """The manipulation whose mean error rises most among those that are judged; None if none rises."""
    risen = [
        (change.mean, row)
        for row in test.rows[1:]
        if measured(row, numbers) and (change := mean_of(row, numbers, lambda cell: cell.change)) and change.mean > 0
    ]
    return max(risen, key=lambda pair: pair[0])[1] if risen else None


def rates(
    bonafide: NDArray[np.bool_], scores: NDArray[np.float64], judged: NDArray[np.bool_], decision: Decision
) -> Cell:
    """scores: (N,), NaN where there is none."""
    scored = np.isfinite(scores)
    accepted = np.zeros(scores.size, bool)
    accepted[judged] = [decision.below(decision.llr(score)) is False for score in scores[judged].tolist()]
    rejected = judged & ~accepted

    def share(of: NDArray[np.bool_], kind: NDArray[np.bool_]) -> float | None:
        return float(of[kind].mean()) if kind.any() else None

    eer = None
    if all(kind.any() and scored[kind].mean() >= 0.5 for kind in (bonafide, ~bonafide)):
        trials = RankedTrials(bonafide[scored], scores[scored])
        eer = trials.equal_error_rate(trials.rejected(np.ones(int(scored.sum()), np.int32)))
    return Cell(eer, share(rejected, bonafide), share(accepted, ~bonafide), float(np.mean(~judged)))


def with_changes(
    bonafide: NDArray[np.bool_], scores: Sequence[NDArray[np.float64]], cells: Sequence[Cell], draws: int
) -> list[Cell]:
    """The cells of one detector, the untouched trials' first, with their changes. scores: (N,) of each.

    All manipulations are measured on the same draws of trials, so that the change of a draw is that of the same trials.
    """
    clean = cells[0]
    if clean.error is None:
        return list(cells)
    made = [clean]
    for cell in cells[1:]:
        made.append(cell if cell.error is None else replace(cell, change=cell.error - clean.error))
    if clean.eer is None:
        return made
    scored = [np.isfinite(one) for one in scores]
    ranked = [
        RankedTrials(bonafide[s], one[s]) if cell.eer is not None else None
        for cell, one, s in zip(cells, scores, scored)
    ]

    def eers(counts: NDArray[np.integer]) -> list[float]:
        """Of a draw; NaN where it has no scored trial of a class."""
        found = []
        for trials, s in zip(ranked, scored):
            usable = trials is not None and counts[s & bonafide].any() and counts[s & ~bonafide].any()
            found.append(trials.equal_error_rate(trials.rejected(counts[s])) if trials and usable else np.nan)
        return found

    drawn = bootstrap(eers, TrialDraw(bonafide), draws)
    for i, cell in enumerate(made[1:], 1):
        changes = drawn[:, i] - drawn[:, 0]
        if np.isfinite(changes).any():
            made[i] = replace(cell, interval=percentile_interval(changes[np.isfinite(changes)]))
    return made


def measure(
    models: Sequence[Model], grid: GridConf, trials: Trials, data_dir: Path, out: Path, seed: int, draws: int = DRAWS
) -> StressTest:
    """Figures of what score_all wrote. Raises UserError as read_scores does."""
    manipulations = (UNTOUCHED, *grid.manipulations)
    columns = []
    for model in models:
        found = [read_scores(out, model, one, trials) for one in manipulations]
        cells = []
        for scores, judged, outside in found:
            cell = rates(trials.bonafide, scores, judged, model.detector.decision)
            known = model.detector.limit is not None
            cells.append(replace(cell, outside=float(outside.mean()) if known else None))
        columns.append(with_changes(trials.bonafide, [scores for scores, _, _ in found], cells, draws))
    corpus = data_dir / "corpus.json"
    return StressTest(
        corpus=corpus_label(read_json(corpus) if corpus.exists() else None),
        data_dir=str(data_dir),
        n_bonafide=int(trials.bonafide.sum()),
        n_spoof=int((~trials.bonafide).sum()),
        seed=seed,
        detectors=[
            DetectorUnderTest(
                one.label,
                one.experiment,
                str(one.path),
                one.made_of["sha256"],
                float(one.detector.decision.threshold or 0.0),
            )
            for one in models
        ],
        rows=[Row(one.name, one.family, [column[i] for column in columns]) for i, one in enumerate(manipulations)],
    )
