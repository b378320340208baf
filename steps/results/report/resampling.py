"""How far the systems' figures would move with other trials or other speakers: bootstrap intervals of means over
seeds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from steps.evaluation.evaluation import Evaluation
from steps.evaluation.groups import values_of_trials
from steps.evaluation.score_files import CmScores
from steps.experiment.experiments import Experiment
from steps.metrics.bootstrap import (
    FEWEST_SPEAKERS,
    CmFigures,
    Draw,
    Interval,
    SpeakerDraw,
    TrialDraw,
    bootstrap,
    percentile_interval,
)
from steps.metrics.paired_tests import CONFIDENCE, interval_of_mean
from steps.results.report.blocks import Block, Cell, Text, filled_table
from steps.results.report.systems import Comparison, cm_scores_of
from steps.results.tables import LARGEST, MEASURES, Measure, SetTable
from utils.cli import UserError

DRAWS = 1000
UNITS = ("trial", "speaker")


def intervals_table(comparison: Comparison, table: SetTable) -> Iterator[Block]:
    """A table of one set: over seeds, by trial and by speaker; a note where scores are missing."""
    rows = []
    for e, results in table.rows:
        drawn = _intervals(comparison, table.set_name, e, results)
        if drawn is None:
            yield Text(
                f"No intervals by trial for {e.name}: not all of its scores of {table.set_name} are there.", "note"
            )
        for measure in MEASURES:
            by_unit = ((drawn or {}).get(unit, {}).get(measure.attribute) for unit in UNITS)
            ends = [over_seeds(results, measure), *by_unit]
            if any(ends):
                rows.append(
                    [Cell(e.model), Cell(e.recipe), Cell(measure.heading), *(_cell(one, measure) for one in ends)]
                )
    if rows:
        yield filled_table(
            f"{table.corpus}, {table.set_name}: {100 * CONFIDENCE:.0f} % intervals of the mean over seeds. Over seeds:"
            f" Student's. By trial and by speaker: {DRAWS:,} draws of trials, or of speakers with all their trials",
            ["network", "method", "figure", "over seeds", *(f"by {unit}" for unit in UNITS)],
            rows,
            3,
        )


def over_seeds(results: dict[int, Evaluation], measure: Measure) -> Interval | None:
    values = list(measure.by_seed(results).values())
    return interval_of_mean(values, LARGEST) if values else None


def _cell(ends: Interval | None, measure: Measure) -> Cell:
    if ends is None:
        return Cell("-")
    return Cell(measure.span(ends), ends[1] - ends[0])


def _intervals(
    comparison: Comparison, set_name: str, e: Experiment, results: dict[int, Evaluation]
) -> dict[str, dict[str, Interval]] | None:
    """By what is drawn, then by figure's attribute; None where a score file lacks."""
    paths = [e.folder / f"seed{seed}" / "scores" / f"{set_name}.txt" for seed in results]
    if not all(path.is_file() for path in paths):
        return None
    scores = [cm_scores_of(path) for path in paths]
    if any(one.utterance != scores[0].utterance for one in scores):
        return None
    asvs = [None if one.pooled.min_tdcf_2019 is None else one.asv for one in results.values()]
    rates = asvs[0].rates if asvs[0] is not None and None not in asvs else None
    figures = [CmFigures(one.bonafide, one.score, rates) for one in scores]
    names = figures[0].names

    def means(counts: np.ndarray) -> np.ndarray:
        return np.mean([one(counts) for one in figures], axis=0)

    drawn = {by: bootstrap(means, draw, DRAWS) for by, draw in _draws(comparison, set_name, scores[0]).items()}
    return {by: dict(zip(names, map(percentile_interval, values.T))) for by, values in drawn.items()}


def _draws(comparison: Comparison, set_name: str, trials: CmScores) -> dict[str, Draw]:
    draws: dict[str, Draw] = {"trial": TrialDraw(trials.bonafide)}
    table = comparison.data_dir / set_name / "utt2speaker"
    if table.is_file():
        try:
            speakers = values_of_trials(table, trials)
        except UserError:  # the data dir is of another corpus; the trials' own intervals stay
            return draws
        if len(set(speakers)) >= FEWEST_SPEAKERS:
            draws["speaker"] = SpeakerDraw(trials.bonafide, speakers)
    return draws
