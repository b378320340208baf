"""What turns a score into a verdict: the calibration learnt on dev, and the thresholds."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from steps.evaluation.costs import Costs, add_cost_options
from steps.evaluation.evaluation import stem_of
from steps.evaluation.fitted_scores import read_calibration_model
from utils.cli import UserError, real_number, word_or
from utils.files import sha256_of

BONAFIDE, SPOOF = "bonafide", "spoof"
PARTIAL = "partial"  # bona fide by its mean, but not every window of it
UNDECIDED = "undecided"  # either answer would cost more, on average, than none
EER = "eer"


@dataclass(frozen=True)
class Calibration:
    """LLR = weight * score + offset, natural logarithm, above 0 for bona fide; trained_on: of
    fitted_scores.FittedModel."""

    path: Path
    weight: float
    offset: float
    trained_on: dict[str, Any]
    trained_on_eval: bool

    def llr(self, score: float) -> float:
        return self.weight * score + self.offset


def _how_to_make(training: Path, stage: int | None) -> str:
    if stage is not None:
        return (
            f"make it by steps/score.py --online --exit {stage} {training} dev, then steps/evaluate_experiment.py"
            f" {training} dev, or by the recipe's stages 4 and 5"
        )
    return (
        f"make it by steps/calibrate.py --train {training / 'scores' / 'dev.txt'} --out-dir {training}, or by the"
        " recipe's stages 4 and 5"
    )


def read_calibration(path: Path) -> Calibration:
    """Raises UserError for a file that calibrate.py did not make of one system's scores."""
    model = read_calibration_model(path)
    return Calibration(path, model.llr.weights[0], model.llr.offset, model.trained_on, bool(model.broken))


def check_exit(calibration: Calibration, stage: int | str | None) -> None:
    """Raises UserError unless the calibration was learnt on scores of this exit; None: of the complete network."""
    for file in calibration.trained_on["files"]:
        found = re.search(r"(_head\d+|_adaptive)?$", Path(file).stem)
        if (found and found[0]) != stem_of("", stage):
            wanted = "the complete network" if stage is None else f"exit {stage} (such as {stem_of('dev', stage)}.txt)"
            raise UserError(f"{calibration.path}: learnt on {file}, not on scores of {wanted}; leave --calibration out")


def calibration_of(training: Path, stage: int | None = None) -> tuple[Calibration | None, str]:
    """That of a training's folder, learnt on its own scores of dev: calibration.json of the complete network,
    calibration_headK.json of the exit after `stage` K; or None and why there is none, with the fix."""
    path = training / f"{stem_of('calibration', stage)}.json"
    dev = training / "scores" / f"{stem_of('dev', stage)}.txt"
    if not path.exists():
        return None, f"no {path}; {_how_to_make(training, stage)}"
    try:
        found = read_calibration(path)
    except UserError as error:
        return None, str(error)
    known = found.trained_on.get("sha256")
    if dev.exists() and known and sha256_of(dev) not in known:
        return None, f"{path} was learnt on other scores than those of {dev} now; {_how_to_make(training, stage)}"
    return found, ""


@dataclass(frozen=True)
class Decision:
    """A verdict is bonafide where the LLR is above `bonafide_above`, spoof where it is at most `threshold`, which is
    never larger, and undecided between them. Without a calibration there are none, and `missing` says why. rule: how
    they were chosen, in words. No verdict either where the LLR is beyond `limits`."""

    calibration: Calibration | None
    missing: str
    threshold: float | None
    bonafide_above: float | None
    rule: str

    def llr(self, score: float | None) -> float | None:
        return None if score is None or self.calibration is None else self.calibration.llr(score)

    @property
    def limits(self) -> tuple[float, float] | None:
        """The LLRs within which the calibration is taken to hold: those of dev, and as far again to either side."""
        of_dev = self.calibration and self.calibration.trained_on.get("llr_range")
        if not of_dev:
            return None
        low, high = of_dev
        return low - (high - low), high + (high - low)

    def holds(self, llr: float | None) -> bool:
        """False for an LLR beyond `limits`: nothing that was learnt from resembles what got it."""
        return llr is None or self.limits is None or self.limits[0] <= llr <= self.limits[1]

    def below(self, llr: float | None) -> bool | None:
        """Whether it is at or below the threshold, however far; None where there is none."""
        return None if llr is None else not llr > self.threshold

    def verdict(self, llr: float | None) -> str | None:
        if llr is None or not self.holds(llr):
            return None
        return SPOOF if self.below(llr) else BONAFIDE if llr > self.bonafide_above else UNDECIDED


def decision(
    calibration: Calibration | None,
    missing: str = "",
    prior: float = 0.5,
    threshold: float | Literal["eer"] | None = None,
    costs: Costs | None = None,
) -> Decision:
    """threshold: an LLR; `eer`: that of the EER on dev; None: the Bayes thresholds for the `prior` of bona fide and the
    `costs`, 1 for each error if not given, which make it -ln(prior / (1 - prior)) [Brummer 2006, see
    steps/metrics/calibration.py].

    Raises UserError for a prior that is not between 0 and 1, for costs beside a threshold or as Costs.thresholds does,
    and for a threshold asked for that there is not.
    """
    if not 0 < prior < 1:
        raise UserError(f"--prior {prior:g}: it lies between 0 and 1")
    if threshold is not None and costs is not None:
        raise UserError("--threshold and costs: give one of them; costs and --prior make a threshold")
    spoof, bonafide = (costs or Costs()).thresholds(prior)
    if calibration is None:
        if threshold is not None:
            raise UserError(f"--threshold is an LLR, which needs a calibration: {missing}")
        return Decision(None, missing, None, None, "")
    if threshold is None:
        words = f"Bayes threshold for a prior of bona fide of {prior:g}"
        if costs is not None:
            words += f", a miss costing {costs.miss:g}, a false alarm {costs.false_alarm:g}"
            words += "" if costs.undecided is None else f", no answer {costs.undecided:g}"
        return Decision(calibration, "", spoof, bonafide, words)
    if threshold == EER:
        of_eer = calibration.trained_on.get("eer_threshold")
        if of_eer is None:
            raise UserError(f"{calibration.path}: it does not have the EER's threshold; make it again by calibrate.py")
        return Decision(calibration, "", float(of_eer), float(of_eer), "threshold of the EER on dev")
    if not math.isfinite(threshold):
        raise UserError(f"--threshold {threshold}: not a number")
    return Decision(calibration, "", float(threshold), float(threshold), "threshold as given")


def add_decision_options(parser: argparse.ArgumentParser) -> None:
    """--calibration, --prior, --threshold, the costs and --judge-outside."""
    parser.add_argument(
        "--calibration", type=Path, help="calibration by calibrate.py; EXP/calibration.json if not given"
    )
    add_cost_options(parser)
    parser.add_argument(
        "--threshold",
        type=word_or(real_number(), EER),
        metavar="LLR",
        help="threshold of the LLR instead of that of prior and costs; eer: that of the EER on dev",
    )
    parser.add_argument(
        "--judge-outside",
        action="store_true",
        help="give verdicts on recordings unlike what the detector was trained on too, with a note",
    )
