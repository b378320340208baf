"""Which trainings the page compares, and what it reads from their folders and from the data dirs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steps.evaluation.evaluation import Evaluation
from steps.evaluation.score_files import CmScores, read_cm_scores
from steps.experiment.experiments import Experiment
from steps.metrics.paired_tests import mean_and_spread
from steps.results.report.figures import Look, look
from steps.results.tables import BASELINE, DEV, SetTable, collect, of_which
from utils.cli import UserError


@dataclass(frozen=True)
class System:
    """An experiment with figures of the set shown.

    network: the network, with front end and training set where the systems have several.
    shown: the seed that stands for it where only one training can be drawn: that of the median EER, of two the lower.
    """

    experiment: Experiment
    network: str
    results: dict[int, Evaluation]
    look: Look
    shown: int

    @property
    def name(self) -> str:
        return f"{self.network}, {self.recipe}"

    @property
    def recipe(self) -> str:
        return self.experiment.recipe

    def folder(self, seed: int | None = None) -> Path:
        return self.experiment.folder / f"seed{self.shown if seed is None else seed}"

    def score_file(self, set_name: str, seed: int | None = None) -> Path:
        return self.folder(seed) / "scores" / f"{set_name}.txt"

    def scores(self, set_name: str, seed: int | None = None) -> CmScores | None:
        """None without a score file."""
        path = self.score_file(set_name, seed)
        return cm_scores_of(path) if path.exists() else None

    def mean(self, figure: Callable[[Evaluation], float | None]) -> tuple[float, float | None] | None:
        """Mean and standard deviation over the seeds that have the figure; None without any."""
        values = [value for result in self.results.values() if (value := figure(result)) is not None]
        return mean_and_spread(values) if values else None


@functools.cache
def cm_scores_of(path: Path) -> CmScores:
    return read_cm_scores(path)


def carried_threshold(comparison: Comparison, system: System) -> float | None:
    """The threshold of the EER on the development set, of the seed shown; None on that set itself, and if the seed was
    not evaluated on it."""
    (seed,) = [one for one in system.experiment.seeds if one.number == system.shown]
    known = comparison.set_name != DEV and DEV in seed.results
    return seed.results[DEV].pooled.threshold if known else None


def error_rates(cm: CmScores, threshold: float) -> tuple[float, float]:
    """Misses and false alarms, fractions from 0 to 1, where higher scores than `threshold` are accepted."""
    return float(np.mean(cm.score[cm.bonafide] <= threshold)), float(np.mean(cm.score[~cm.bonafide] > threshold))


@dataclass(frozen=True)
class Group:
    """One network on one front end and training set, trained in one or more ways."""

    title: str
    key: str
    systems: list[System]


@dataclass(frozen=True)
class Comparison:
    """All that sections are made from. tables: of every set, for the summary; table: of the set shown in detail."""

    experiments: list[Experiment]
    tables: list[SetTable]
    table: SetTable
    groups: list[Group]
    data_dir: Path
    feats_dir: Path | None
    allow_pipes: bool = False  # run the commands in wav.scp

    @property
    def set_name(self) -> str:
        return self.table.set_name

    @property
    def corpus(self) -> str:
        """With the set, as figures are marked."""
        return f"{self.table.corpus}, {self.set_name}"

    @property
    def systems(self) -> list[System]:
        return [system for group in self.groups for system in group.systems]

    @property
    def data(self) -> Path:
        return self.data_dir / self.set_name

    def key_of(self, system: System) -> str:
        return f"s{self.systems.index(system) + 1}"


def median_seed(results: dict[int, Evaluation]) -> int:
    """The seed of the median EER, of two the lower; of equal ones the lower number."""
    by_eer = sorted(results, key=lambda seed: (results[seed].pooled.eer, seed))
    return by_eer[(len(by_eer) - 1) // 2]


def _looks(experiments: Sequence[Experiment]) -> dict[str, Look]:
    """By recipe, baselines first: a method has one colour whatever the network. The baseline takes the second colour, a
    warm one, and the method compared with it the first."""
    recipes = dict.fromkeys(e.recipe for e in sorted(experiments, key=lambda e: e.method != BASELINE))
    return {recipe: look((1, 0)[i] if i < 2 else i) for i, recipe in enumerate(recipes)}


def compare(experiments: list[Experiment], set_name: str | None, data_dir: Path, feats_dir: Path | None) -> Comparison:
    """set_name: the set to show; None takes eval, or the only one there is. Raises UserError where that set is not
    evaluated, or several corpora have it, and for two experiments of one name."""
    folders: dict[str, Path] = {}
    for e in experiments:
        if e.name in folders:
            raise UserError(f"{folders[e.name]} and {e.folder} have one name; train one of them under another --tag")
        folders[e.name] = e.folder
    tables = collect(experiments)
    names = list(dict.fromkeys(table.set_name for table in tables))
    if not names:
        raise UserError(
            f"{', '.join(e.name for e in experiments)}: no seed has results/<set>/evaluation.json; run the recipe's"
            " scoring and evaluation stages (--stage 4)"
        )
    wanted = set_name or ("eval" if "eval" in names else names[0])
    found = [table for table in tables if table.set_name == wanted]
    if not found:
        raise UserError(f"--set {wanted}: not evaluated; there are results of {', '.join(names)}")
    if len(found) > 1:
        raise UserError(
            f"{wanted}: measured on several corpora ({'; '.join(table.corpus for table in found)}); figures of two"
            " corpora cannot be compared: make a report of each"
        )
    (table,) = found
    looks = _looks([e for e, _ in table.rows])
    groups: dict[tuple[str, ...], Group] = {}
    several = len({(e.frontend, e.train_set) for e, _ in table.rows}) > 1
    for e, results in table.rows:
        title = f"{e.model}{of_which(e)}" if several else e.model
        group = groups.setdefault((e.model, e.frontend, e.train_set), Group(title, f"g{len(groups) + 1}", []))
        group.systems.append(System(e, title, results, looks[e.recipe], median_seed(results)))
    return Comparison(experiments, tables, table, list(groups.values()), data_dir, feats_dir)
