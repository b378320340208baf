"""Fusion among the recipe's experiments: of an experiment's seeds, and of the front ends that one network was trained
on.

Models are trained on the scores of the development set and applied to the other sets. The scores are looked for where
the recipe puts them, beside the results: seed<N>/scores/<set>.txt and seed<N>/results/<set>/evaluation.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steps.evaluation.breakdown import figures_against
from steps.evaluation.evaluation import Evaluation
from steps.evaluation.fitted_scores import check_use, ratios_of, read_systems, train
from steps.experiment.experiments import Experiment
from steps.metrics.error_rates import det_curve, equal_error_rate
from steps.metrics.llr_cost import cllr
from steps.metrics.tandem import AsvRates
from steps.results.tables import DEV, BySeed, SetTable
from utils.cli import UserError

SEEDS, FRONT_ENDS, BOTH = "seeds", "front ends", "seeds and front ends"
Group = list[tuple[Experiment, BySeed]]  # one network, one method; an experiment for each front end


@dataclass(frozen=True)
class FusedFigures:
    """min_tdcf_2019: None without the ASV's rates or if not defined; cllr: bits."""

    eer: float
    min_tdcf_2019: float | None
    cllr: float


@dataclass(frozen=True)
class Fusion:
    """One row. alone: of each experiment, its trainings that were fused, each by itself; fused: of each fusion, one for
    each seed if front ends are fused seed by seed; systems: in one fusion."""

    kind: str
    experiments: list[Experiment]
    systems: int
    alone: list[list[Evaluation]]
    fused: list[FusedFigures]


def _scores_of(result: Evaluation, set_name: str) -> Path:
    assert result.place is not None
    return result.place.parents[2] / "scores" / f"{set_name}.txt"


def _fuse(method: str, results: Sequence[Evaluation], set_name: str, rates: AsvRates | None) -> FusedFigures:
    """Train on dev, apply to the set. Raises UserError for other scores than those that the results were measured on,
    and as train and check_use do."""
    dev, test = (read_systems([_scores_of(result, name) for result in results]) for name in (DEV, set_name))
    bonafide = test.trials.bonafide
    for column, path, result in zip(test.score.T, test.paths, results):
        eer, _ = equal_error_rate(det_curve(column[bonafide], column[~bonafide]))
        if abs(eer - result.pooled.eer) > 1e-11:
            raise UserError(f"{path} is not what {result.place} was measured on; evaluate again")
    model = train(dev, method)
    check_use(model, test, None)
    llr = ratios_of(model.llr, test)
    found = figures_against(llr[bonafide], llr[~bonafide], None, rates, "the fusion", [])
    return FusedFigures(found.eer, found.min_tdcf_2019, cllr(llr[bonafide], llr[~bonafide]))


def fusions_of(table: SetTable) -> tuple[list[Fusion], list[str]]:
    """The fusions of a table's experiments, and notes on what could not be fused, and why. None for dev, on which they
    are trained, and for an experiment without scores beside its results."""
    rows: list[Fusion] = []
    notes: list[str] = []
    if table.set_name == DEV:
        return rows, notes
    asv = table.any_result.asv
    groups: dict[tuple[str, str, str], Group] = {}
    for e, results in table.rows:
        scored = {
            seed: result
            for seed, result in results.items()
            if all(_scores_of(result, name).is_file() for name in (DEV, table.set_name))
        }
        if scored:
            groups.setdefault((e.model, e.recipe, e.train_set), []).append((e, scored))
    for group in groups.values():
        try:
            rows += _group_fusions(group, table.set_name, None if asv is None else asv.rates)
        except UserError as error:
            notes.append(f"not fused: {', '.join(e.name for e, _ in group)}: {error}")
    return rows, notes


def _group_fusions(group: Group, set_name: str, rates: AsvRates | None) -> list[Fusion]:
    """Of each experiment's seeds; of all front ends, seed by seed for the seeds that all have; and of all trainings."""

    def fusion(kind: str, method: str, of: Group, seed_by_seed: bool = False) -> Fusion:
        results = [[*by_seed.values()] for _, by_seed in of]
        sets = [list(of_seed) for of_seed in zip(*results)] if seed_by_seed else [[r for one in results for r in one]]
        fused = [_fuse(method, systems, set_name, rates) for systems in sets]
        return Fusion(kind, [e for e, _ in of], len(sets[0]), results, fused)

    rows = [fusion(SEEDS, "mean", [one]) for one in group if len(one[1]) > 1]
    if len(group) > 1 and len({e.frontend for e, _ in group}) == len(group):
        common = sorted(set.intersection(*(set(by_seed) for _, by_seed in group)))
        if common:
            paired = [(e, {seed: by_seed[seed] for seed in common}) for e, by_seed in group]
            rows.append(fusion(FRONT_ENDS, "logistic", paired, seed_by_seed=True))
        if any(len(by_seed) > 1 for _, by_seed in group):
            rows.append(fusion(BOTH, "mean", group))
    return rows
