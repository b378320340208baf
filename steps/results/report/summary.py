"""The result: a headline and its figure, the figures of the set shown, then those of the other sets, folded away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from steps.evaluation.evaluation import Evaluation
from steps.evaluation.groups import values_of_trials
from steps.experiment.experiments import Experiment
from steps.metrics.bootstrap import CmFigures, Interval, bootstrap, draws_of, percentile_interval
from steps.metrics.paired_tests import CONFIDENCE, interval_of_mean, mean_and_spread
from steps.results.report import det
from steps.results.report.page import Block, Cell, Folded, Heading, Section, Table, Text, filled_table
from steps.results.report.systems import Comparison, cm_scores_of
from steps.results.tables import (
    EER,
    LARGEST,
    MEASURES,
    MINI_CORPUS,
    SHOWN,
    Measure,
    SetTable,
    compared,
    is_mini,
    mean_over_seeds,
    naming,
    not_evaluated_at_all,
    of_which,
    p_text,
    shown_first,
    significance_sentences,
    speaker_rows,
    trials_text,
)
from utils.cli import UserError

DRAWS = 1000
UNITS = ("trial", "speaker")


def section(comparison: Comparison) -> Section:
    blocks: list[Block] = [Text(sentence, "headline") for sentence in compared(comparison.table)]
    blocks += det.blocks(comparison)
    if any(is_mini(table.corpus) for table in comparison.tables):
        blocks.append(Text(MINI_CORPUS, "note"))
    blocks += [Heading(comparison.set_name), *_of_set(comparison, comparison.table)]
    others = [table for table in comparison.tables if table is not comparison.table]
    for table in sorted(others, key=shown_first):
        title = "; ".join(compared(table)) or table.set_name
        blocks.append(Folded(title, list(_of_set(comparison, table))))
    notes = [f"Not evaluated on any set: {name}." for name in not_evaluated_at_all(comparison.experiments)]
    notes += [f"{e.name}: {note}." for e in comparison.experiments for note in e.notes]
    return Section("summary", "Result", [*blocks, *(Text(note, "note") for note in notes)])


def _of_set(comparison: Comparison, table: SetTable) -> Iterator[Block]:
    headings, names = naming([e for e, _ in table.rows])
    rows = [
        [*map(Cell, names(e)), *(_measure(results, m) for m in SHOWN), Cell(str(len(results)), len(results))]
        for e, results in table.rows
    ]
    how = "Mean ± standard deviation over seeds; lower is better"
    caption = f"{table.corpus}, {table.set_name}: {trials_text(table)}. {how}"
    measures = [measure.heading for measure in SHOWN]
    yield filled_table(caption, [*headings, *measures, "seeds"], rows, len(headings))
    yield from (Text(note, "note") for note in table.notes)
    yield from _differences(table)
    if intervals := list(_intervals(comparison, table)):
        yield Folded("95 % intervals by trial and by speaker", intervals)
    if speakers := _speakers(table):
        yield Folded("By speaker", [speakers])
    if table is comparison.table and (sizes := _sizes(table)):
        yield Folded("Sizes of the networks", [sizes])


def _measure(results: dict[int, Evaluation], measure: Measure) -> Cell:
    values = list(measure.by_seed(results).values())
    if not values:
        return Cell("-")
    mean, spread = mean_and_spread(values)
    lacking = "" if len(values) == len(results) else f" ({len(values)} of {len(results)} seeds)"
    deviation = "" if spread is None else f" ±\N{NO-BREAK SPACE}{measure.text(spread)}"
    return Cell(f"{measure.text(mean)}{deviation}{lacking}", mean)


def _sizes(table: SetTable) -> Table | None:
    rows = [
        [
            Cell(e.model),
            Cell(e.recipe),
            Cell("-") if e.parameters is None else Cell(f"{e.parameters:,}", e.parameters),
            Cell("-") if e.multiply_adds is None else Cell(f"{e.multiply_adds / 1e9:.3g} G", e.multiply_adds),
        ]
        for e, _ in table.rows
    ]
    headings = ["network", "method", "parameters", "multiply-adds"]
    made = filled_table(f"{table.corpus}, {table.set_name}", headings, rows, 2)
    return made if len(made.headings) > 2 else None


def _speakers(table: SetTable) -> Table | None:
    rows = []
    for name, trials, missed in speaker_rows(table):
        means = [mean_over_seeds(results, missed) for _, results in table.rows]
        shares = [Cell("-") if mean is None else Cell(EER.text(mean), mean) for mean in means]
        rows.append([Cell(name), Cell(trials), *shares])
    caption = "Bona fide trials rejected at the threshold of the set's EER, %, mean over seeds"
    headings = ["speaker", "bona fide trials", *(f"{e.model}, {e.recipe}" for e, _ in table.rows)]
    return Table(f"{caption}; {table.corpus}, {table.set_name}", headings, rows) if rows else None


def _differences(table: SetTable) -> Iterator[Block]:
    for family in table.families:
        rows = []
        for tested in family.tests:
            measure, one_network = tested.measure, len(tested.corrected) == 1
            for network, test, corrected in tested.rows():
                rows.append(
                    [
                        Cell(measure.name),
                        Cell(network),
                        Cell(measure.text(test.mean, "+"), test.mean),
                        Cell(measure.span(test.interval, "+"), test.interval[1] - test.interval[0]),
                        Cell(p_text(test.p_t), test.p_t),
                        Cell("-") if corrected is None or one_network else Cell(p_text(corrected), corrected),
                        Cell(str(test.count), test.count),
                    ]
                )
        caption = (
            f"{family.other} minus {family.base}{of_which(family.pairs[0].other)}, paired by seed; {table.corpus},"
            f" {table.set_name}. The test weighs the chance of training only: other trials, speakers or attacks may"
            " decide otherwise"
        )
        headings = ["figure", "network", "difference", "95 % interval", "p, t-test", "p, corrected", "pairs"]
        if rows:
            yield filled_table(caption, headings, rows, 2)
        yield from (Text(sentence) for sentence in significance_sentences(family))


# ---------------------------------------------------------------- intervals of means over seeds


def _intervals(comparison: Comparison, table: SetTable) -> Iterator[Block]:
    """How far the means would move with other seeds, trials or speakers; a note where scores are missing."""
    rows = []
    for e, results in table.rows:
        drawn = _drawn_intervals(comparison, table.set_name, e, results)
        if drawn is None:
            note = f"No intervals by trial for {e.name}: not all of its scores of {table.set_name} are there."
            yield Text(note, "note")
        for measure in MEASURES:
            by_unit = ((drawn or {}).get(unit, {}).get(measure.attribute) for unit in UNITS)
            ends = [over_seeds(results, measure), *by_unit]
            cells = [Cell("-") if one is None else Cell(measure.span(one), one[1] - one[0]) for one in ends]
            if any(ends):
                rows.append([Cell(e.model), Cell(e.recipe), Cell(measure.heading), *cells])
    caption = (
        f"{table.corpus}, {table.set_name}: {100 * CONFIDENCE:.0f} % intervals of the mean over seeds. Over seeds:"
        f" Student's. By trial and by speaker: {DRAWS:,} draws of trials, or of speakers with all their trials"
    )
    if rows:
        headings = ["network", "method", "figure", "over seeds", *(f"by {unit}" for unit in UNITS)]
        yield filled_table(caption, headings, rows, 3)


def over_seeds(results: dict[int, Evaluation], measure: Measure) -> Interval | None:
    values = list(measure.by_seed(results).values())
    return interval_of_mean(values, LARGEST) if values else None


def _drawn_intervals(
    comparison: Comparison, set_name: str, e: Experiment, results: dict[int, Evaluation]
) -> dict[str, dict[str, Interval]] | None:
    """By unit drawn, then by figure's attribute; None if a score file is missing."""
    paths = [e.folder / f"seed{seed}" / "scores" / f"{set_name}.txt" for seed in results]
    if not all(path.is_file() for path in paths):
        return None
    scores = [cm_scores_of(path) for path in paths]
    if any(one.utterance != scores[0].utterance for one in scores):
        return None
    asvs = [one.asv for one in results.values() if one.asv is not None and one.pooled.min_tdcf_2019 is not None]
    rates = asvs[0].rates if len(asvs) == len(results) else None
    figures = [CmFigures(one.bonafide, one.score, rates) for one in scores]

    def means(counts: np.ndarray) -> np.ndarray:
        return np.mean([one(counts) for one in figures], axis=0)

    table = comparison.data_dir / set_name / "utt2speaker"
    speakers = None
    if table.is_file():
        with contextlib.suppress(UserError):  # a data dir of another corpus; the trials' own intervals stay
            speakers = values_of_trials(table, scores[0])
    found = {}
    for unit, draw in draws_of(scores[0].bonafide, speakers).items():
        found[unit] = dict(zip(figures[0].names, map(percentile_interval, bootstrap(means, draw, DRAWS).T)))
    return found
