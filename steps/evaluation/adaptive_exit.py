"""The adaptive exit's rule: an input leaves at the first exit whose LLR is sure enough. Decided on dev alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steps.evaluation.evaluation import stem_of
from steps.evaluation.fitted_scores import figures_of, read_model, read_systems
from steps.metrics.error_rates import det_curve, equal_error_rate
from utils.cli import UserError
from utils.files import sha256_of

DEV = "dev"
_BOUNDS = 200  # that are tried, evenly spread over the LLRs of dev


@dataclass(frozen=True)
class AdaptiveRule:
    """An input leaves at the first exit whose LLR has at least the magnitude `bound`, at the latest at the last.

    lines: (weight, offset) of each exit's calibration, by its stage; multiply_adds: mean on dev; trained_on: figures of
    the LLRs on dev, as FittedModel's; trained_on_eval: of any of the calibrations.
    """

    bound: float
    lines: dict[int, tuple[float, float]]
    multiply_adds: int
    trained_on: dict[str, Any]
    trained_on_eval: bool


def leaving(llrs: NDArray[np.float64], bound: float) -> NDArray[np.int64]:
    """llrs: (exits, trials), shallow to deep -> (trials,), the number from 0 of the exit at which each trial leaves."""
    sure = np.abs(llrs) >= bound
    sure[-1] = True
    return sure.argmax(axis=0)


def choose_bound(llrs: NDArray[np.float64], bonafide: NDArray[np.bool_], costs: Sequence[float]) -> float:
    """The bound of least mean cost whose EER is not above that of the last exit.

    llrs: (exits, trials), shallow to deep; bonafide: (trials,); costs: of leaving at each exit.
    """

    def eer(llr: NDArray[np.float64]) -> float:
        return equal_error_rate(det_curve(llr[bonafide], llr[~bonafide]))[0]

    sizes = np.abs(llrs[:-1])
    bounds = np.append(np.quantile(sizes, np.linspace(0, 1, _BOUNDS)), np.nextafter(sizes.max(), np.inf))
    allowed = eer(llrs[-1])
    trials = np.arange(llrs.shape[1])
    taken = [(float(bound), leaving(llrs, bound)) for bound in bounds]
    fair = [(bound, exits) for bound, exits in taken if eer(llrs[exits, trials]) <= allowed]
    return min(fair, key=lambda one: np.asarray(costs)[one[1]].mean())[0]


def choose_rule(training: Path, costs: Mapping[int, int]) -> AdaptiveRule:
    """By a training's scores and calibrations of dev. costs: multiply-adds of leaving at each exit, by its stage; the
    last is the complete network. Raises UserError, which names the commands, where any of them is missing or old."""
    last = max(costs)
    heads = {stage: None if stage == last else stage for stage in costs}
    scores = {stage: training / "scores" / f"{stem_of(DEV, head)}.txt" for stage, head in heads.items()}
    files = {stage: training / f"{stem_of('calibration', head)}.json" for stage, head in heads.items()}
    for path in (*scores.values(), *files.values()):
        if not path.is_file():
            raise UserError(f"--exit adaptive: {path}: no such file; {_how_to_make(training, costs)}")
    models = {stage: read_model(path) for stage, path in files.items()}
    for stage, model in models.items():
        if sha256_of(scores[stage]) not in model.trained_on.get("sha256", []):
            raise UserError(
                f"--exit adaptive: {files[stage]} was learnt on other scores than those of {scores[stage]} now;"
                f" {_how_to_make(training, costs)}"
            )
    systems = read_systems(list(scores.values()))
    lines = {stage: (model.llr.weights[0], model.llr.offset) for stage, model in models.items()}
    llrs = np.array([weight * row + offset for (weight, offset), row in zip(lines.values(), systems.score.T)])
    bonafide = systems.trials.bonafide
    bound = choose_bound(llrs, bonafide, list(costs.values()))
    exits = leaving(llrs, bound)
    return AdaptiveRule(
        bound,
        lines,
        round(float(np.array(list(costs.values()))[exits].mean())),
        {
            "sets": models[last].trained_on.get("sets"),
            "files": [str(path) for path in scores.values()],
            **figures_of(llrs[exits, np.arange(bonafide.size)], bonafide),
        },
        any(model.broken for model in models.values()),
    )


def _how_to_make(training: Path, stages: Mapping[int, int]) -> str:
    options = " ".join(f"--exit {stage}" for stage in stages)
    return f"run steps/score.py --online {options} {training} {DEV}, then steps/evaluate_experiment.py {training} {DEV}"
