"""How far the systems' figures would move with other trials or other speakers: bootstrap intervals of means over
seeds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from steps.evaluation.groups import values_of_trials
from steps.evaluation.score_files import CmScores
from steps.experiment.experiments import Experiment, SetResult
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
from steps.metrics.paired_tests import CONFIDENCE
from steps.results.report.blocks import Block, Cell, Text, filled_table
from steps.results.report.systems import Comparison, cm_scores_of, evaluation_of
from steps.results.tables import MEASURES, SetTable
from utils.cli import UserError

DRAWS = 1000


def blocks(comparison: Comparison, table: SetTable) -> Iterator[Block]:
    """A table of one set; a sentence where the scores are not there."""
    measures = [(name, attribute, digits) for name, attribute, digits in MEASURES if attribute != "min_tdcf_2021"]
    rows, units = [], ["trial", "speaker"]
    for e, results in table.rows:
        intervals = _intervals(comparison, table.set_name, e, results)
        if intervals is None:
            yield Text(
                f"No intervals by trial for {e.name}: not all of its scores of {table.set_name} are there.", "note"
            )
            continue
        cells = [Cell(e.model), Cell(e.recipe)]
        for _, attribute, digits in measures:
            for unit in units:
                ends = intervals.get(unit, {}).get(attribute)
                cells.append(
                    Cell("-")
                    if ends is None
                    else Cell(" to ".join(f"{end:.{digits}f}" for end in ends), ends[1] - ends[0])
                )
        rows.append(cells)
    if rows:
        headings = ["network", "method"]
        for name, _, _ in measures:
            headings += [f"{name}, by {unit}" for unit in units]
        yield filled_table(
            f"{table.corpus}, {table.set_name}: {100 * CONFIDENCE:.0f} % intervals of the mean over seeds, {DRAWS:,}"
            " draws of trials, or of speakers with all their trials",
            headings,
            rows,
            2,
        )


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
