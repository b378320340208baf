"""Detectors by corpora: the figures of each detector on each corpus, wherever its evaluations lie, as a Markdown page.

A detector is what its conf.yaml says, whichever exp/ folder its results are in: a recipe that only evaluates links the
conf of each training (steps/adopt_training.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steps.evaluation.evaluation import Evaluation
from steps.evaluation.labels import corpus_label
from steps.evaluation.protocols import read_protocol
from steps.evaluation.score_files import read_cm_scores
from steps.experiment.experiments import Experiment, Seed, check_same_trials
from steps.metrics.error_rates import det_curve, equal_error_rate
from steps.results.markdown import bullets, made_by, markdown_table, opening
from steps.results.tables import EER, BySeed, Measure, marked, naming
from steps.sections import WITHOUT_EFFECT
from utils.cli import UserError

DASH = "-"
DECISIONS = (  # at the EER threshold of dev
    (Measure("accuracy", "accuracy %", "accuracy", 2, 100), "Accuracy, %"),
    (Measure("F1", "F1", "f1", 4), "F1 of the bona fide class"),
    (Measure("miss", "bona fide rejected, %", "miss", 2, 100), "Bona fide trials rejected, %"),
    (Measure("false alarm", "spoof accepted, %", "false_alarm", 2, 100), "Spoof trials accepted, %"),
)
READING = """\
Each cell is the mean ± sample standard deviation over a detector's seeds; `-`: not evaluated.

- **mean**: the mean of a row's EERs, each corpus counted once.
- **pooled**: the EER of all corpora's trials together, at one threshold. Large corpora weigh more, and a detector whose
  scores shift from corpus to corpus has a pooled EER above the mean.
- Both are of seeds that were evaluated on all corpora of the table.""".splitlines()
AT_DEV = """\
Decisions at one threshold: a trial is accepted as bona fide if its score is at least that of the EER on the dev set of
the detector's own training. It is read from the training's calibration.""".splitlines()

Column = tuple[str, str]  # corpus and set


@dataclass
class Row:
    """A detector. experiment: one of those that hold it; first: its first seed; results: by column, then by seed;
    pooled: EER of all columns' trials together, by seed."""

    experiment: Experiment
    first: Seed
    results: dict[Column, BySeed] = field(default_factory=dict)
    pooled: dict[int, float] = field(default_factory=dict)

    def complete_seeds(self, columns: Sequence[Column]) -> list[int]:
        """Seeds with results in all columns."""
        return sorted(set.intersection(*({*self.results.get(column, {})} for column in columns)))

    def means(self, columns: Sequence[Column]) -> list[float]:
        """The mean EER over the columns of each complete seed."""
        return [fmean(self.results[c][seed].pooled.eer for c in columns) for seed in self.complete_seeds(columns)]


@dataclass(frozen=True)
class CorpusTable:
    """columns: in order; headings, names: of the cells that name a detector, and those cells of each row; notes: on
    figures that could not be computed."""

    columns: list[Column]
    rows: list[Row]
    headings: list[str]
    names: list[list[str]]
    notes: list[str]

    def title_of(self, column: Column) -> str:
        """The corpus, with the set where a corpus has several in the table."""
        several = sum(corpus == column[0] for corpus, _ in self.columns) > 1
        return f"{column[0]}, {column[1]}" if several else column[0]


def _identity(conf: Mapping[str, Any]) -> str:
    """A text that all seeds of one detector share and no other detector has."""
    train = {key: value for key, value in (conf.get("train") or {}).items() if key not in WITHOUT_EFFECT}
    kept = {**{key: value for key, value in conf.items() if key != "seed"}, "train": train}
    return json.dumps(kept, sort_keys=True, default=str)


def _add(results: BySeed, number: int, one: Evaluation) -> None:
    """Raises UserError if the seed has another evaluation there already."""
    other = results.setdefault(number, one)
    if other is not one and (other.pooled, other.n_bonafide) != (one.pooled, one.n_bonafide):
        raise UserError(
            f"{other.place} and {one.place} are different evaluations of one detector on one corpus; leave one of their"
            " folders out"
        )


def collect_corpora(experiments: Iterable[Experiment], sets: Sequence[str]) -> CorpusTable:
    """The table of these experiments' results on `sets`, pooled EERs included, which are computed from the score files.

    Raises UserError where one detector has two evaluations on one corpus, and if the results on one corpus are of
    different trials.
    """
    found: dict[str, Row] = {}
    for e in experiments:
        for seed in e.seeds:
            for name in sets:
                if name not in seed.results:
                    continue
                one = seed.results[name]
                row = found.setdefault(_identity(seed.conf), Row(e, seed))
                _add(row.results.setdefault((one.corpus_name, name), {}), seed.number, one)
    rows = list(found.values())
    columns = sorted({column for row in rows for column in row.results}, key=lambda c: (c[0], sets.index(c[1])))
    for column in columns:
        check_same_trials(one for row in rows for one in row.results.get(column, {}).values())
    notes = _pool(rows, columns) if len(columns) > 1 else []
    return CorpusTable(columns, rows, *_names(rows), notes)


def _names(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Heading and cells that name the detectors: network, method, front end if they differ, corpus of the training; and
    the folder if these do not tell all detectors apart."""
    headings, cells_of = naming([row.experiment for row in rows])
    kept = [i for i, heading in enumerate(headings) if heading != "trained on"]
    names = [[*(cells_of(row.experiment)[i] for i in kept), _trained_on(row.experiment, row.first)] for row in rows]
    headings = [*(headings[i] for i in kept), "trained on"]
    if len({tuple(cells) for cells in names}) < len(names):
        headings.append("folder")
        names = [[*cells, row.experiment.name] for cells, row in zip(names, rows)]
    return headings, names


def _trained_on(e: Experiment, seed: Seed) -> str:
    """The corpus, and the training set where it is not named `train`."""
    corpus = corpus_label(seed.conf.get("corpus"))
    return corpus if e.train_set in ("", "train") else f"{corpus} ({e.train_set})"


def scores_behind(result: Evaluation) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The bona fide and the spoof scores that an evaluation in seed<N>/results was measured on, read from
    seed<N>/scores; None if they are gone or are others now."""
    if result.place is None:
        return None
    path = result.place.parents[2] / "scores" / Path(result.cm_scores).name
    protocol = Path(result.protocol) if result.protocol else None
    for by in (None, protocol) if protocol and protocol.exists() else (None,):
        try:
            cm = read_cm_scores(path, by and read_protocol(by, result.phase))
        except UserError:  # no keys of its own, or no longer there
            continue
        bonafide, spoof = cm.classes
        if (bonafide.size, spoof.size) == (result.n_bonafide, result.pooled.n_spoof):
            eer, _ = equal_error_rate(det_curve(bonafide, spoof))
            if abs(eer - result.pooled.eer) <= 1e-11:
                return bonafide, spoof
    return None


def _pool(rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    """Give the rows their pooled EERs; returns a note on the score files that are lacking."""
    lacking = []
    for row in rows:
        for seed in row.complete_seeds(columns):
            parts = []
            for column in columns:
                result = row.results[column][seed]
                scores = scores_behind(result)
                if scores is None:
                    lacking.append(result.place)
                    break
                parts.append(scores)
            else:
                bonafide, spoof = (np.concatenate(of_class) for of_class in zip(*parts))
                row.pooled[seed] = equal_error_rate(det_curve(bonafide, spoof))[0]
    if not lacking:
        return []
    return [
        f"No pooled EER of {len(lacking)} trainings: their score files are gone, or are not those that were evaluated"
        f" (the first: that of {lacking[0]})."
    ]


def corpus_page(table: CorpusTable, command: str | None, picture: str | None) -> str:
    """The page. picture: a file beside it."""
    lines = opening("Detectors by corpora", sorted({corpus for corpus, _ in table.columns}))
    lines += ["## EER, %", "", *_eer_table(table), *bullets(table.notes)]
    if picture:
        lines += [f"![EER of each detector on each corpus]({picture})", ""]
    lines += [*READING, "", "## Decisions at the threshold of dev", "", *AT_DEV, ""]
    for measure, title in DECISIONS:

        def figure(one: Evaluation, key: str = measure.attribute) -> float | None:
            return getattr(one.decisions, key, None)

        lines += [f"### {title}", "", *_table(table, measure, figure)]
    return "\n".join([*lines, *made_by(command)]).rstrip() + "\n"


def _eer_table(table: CorpusTable) -> list[str]:
    several, width = len(table.columns) > 1, len(table.columns)
    cells_of = [row.results.get(column, {}) for row in table.rows for column in table.columns]
    marks, footnotes = marked(cells_of)
    rows = []
    for i, (names, row) in enumerate(zip(table.names, table.rows)):
        here = slice(width * i, width * (i + 1))
        cells = [EER.stat(results) + mark for results, mark in zip(cells_of[here], marks[here])]
        if several:
            means, pooled = row.means(table.columns), list(row.pooled.values())
            cells += [EER.stat_of(means, len(means)), EER.stat_of(pooled, len(means))]
        rows.append([*names, *cells])
    titles = [*map(table.title_of, table.columns), *["mean", "pooled"] * several]
    return [*markdown_table([*table.headings, *titles], rows, len(table.headings)), *bullets(footnotes)]


def _table(table: CorpusTable, measure: Measure, figure: Callable[[Evaluation], float | None]) -> list[str]:
    rows = []
    for names, row in zip(table.names, table.rows):
        cells = []
        for column in table.columns:
            results = row.results.get(column, {})
            values = [value for one in results.values() if (value := figure(one)) is not None]
            cells.append(measure.stat_of(values, len(results)))
        rows.append([*names, *cells])
    return markdown_table([*table.headings, *map(table.title_of, table.columns)], rows, len(table.headings))
