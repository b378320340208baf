"""How far the systems' figures would move with other trials or other speakers: bootstrap intervals of means over
seeds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from steps.evaluation.groups import values_of_trials
from steps.evaluation.score_files import CmScores
from steps.evaluation.set_results import SetResult
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
from steps.results.report.systems import Comparison, cm_scores_of, evaluation_of
from steps.results.tables import LARGEST, MEASURES, SetTable, by_seed
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
        for name, attribute, digits in MEASURES:
            ends = [over_seeds(results, attribute), *((drawn or {}).get(unit, {}).get(attribute) for unit in UNITS)]
            if any(ends):
                rows.append([Cell(e.model), Cell(e.recipe), Cell(name), *(_cell(one, digits) for one in ends)])
    if rows:
        yield filled_table(
            f"{table.corpus}, {table.set_name}: {100 * CONFIDENCE:.0f} % intervals of the mean over seeds. Over seeds:"
            f" Student's. By trial and by speaker: {DRAWS:,} draws of trials, or of speakers with all their trials",
            ["network", "method", "figure", "over seeds", *(f"by {unit}" for unit in UNITS)],
            rows,
            3,
        )


def over_seeds(results: dict[int, SetResult], attribute: str) -> Interval | None:
    values = list(by_seed(results, attribute).values())
    return interval_of_mean(values, LARGEST[attribute]) if values else None


def _cell(ends: Interval | None, digits: int) -> Cell:
    if ends is None:
        return Cell("-")
    return Cell(" to ".join(f"{end:.{digits}f}" for end in ends), ends[1] - ends[0])


def _intervals(
    comparison: Comparison, set_name: str, e: Experiment, results: dict[int, SetResult]
) -> dict[str, dict[str, Interval]] | None:
    """By what is drawn, then by figure as SetResult has it; None where a score file lacks."""
    paths = [e.folder / f"seed{seed}" / "scores" / f"{set_name}.txt" for seed in results]
    if not all(path.is_file() for path in paths):
        return None
    data = comparison.data_dir / set_name
    asv = data / "asv_scores"
    evaluations = [evaluation_of(path, asv if asv.is_file() else None) for path in paths]
    scores = [cm_scores_of(path) for path in paths]
    if any(one.utterance != scores[0].utterance for one in scores):
        return None
    defined = all(one.asv is not None and one.pooled.min_tdcf_2019 is not None for one in evaluations)
    rates = evaluations[0].asv.rates if defined and evaluations[0].asv is not None else None
    figures = [CmFigures(one.bonafide, one.score, rates) for one in scores]
    names = figures[0].names
    units = np.array([100 if name == "eer" else 1 for name in names])

    def means(counts: np.ndarray) -> np.ndarray:
        return units * np.mean([one(counts) for one in figures], axis=0)

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
