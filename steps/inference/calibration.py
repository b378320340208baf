"""What turns a score into a verdict: the calibration learnt on dev, and the thresholds."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from steps.evaluation.evaluation import stem_of
from steps.evaluation.fitted_scores import UNUSABLE, read_model
from utils.cli import UserError, real_number, word_or
from utils.files import read_json, sha256_of

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
    values = read_json(path)
    if isinstance(values, dict) and UNUSABLE in values:
        raise UserError(f"{path}: these scores could not be calibrated: {values[UNUSABLE]}")
    model = read_model(path)
    if len(model.llr.weights) != 1:
        raise UserError(f"{path}: a fusion of {len(model.llr.weights)} systems; a calibration of one is wanted")
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
class Costs:
    """What answers cost. miss: bona fide called spoof; false_alarm: spoof called bona fide; undecided: no answer; None:
    there is always one."""

    miss: float = 1.0
    false_alarm: float = 1.0
    undecided: float | None = None

    def thresholds(self, prior: float) -> tuple[float, float]:
        """The LLRs up to which `spoof` and above which `bonafide` is the answer of the least expected cost; between
        them `undecided` is. prior: of bona fide, between 0 and 1.

        Chow, "On optimum recognition error and reject tradeoff", IEEE Trans. Information Theory 1970, for two kinds of
        errors: with p the posterior of bona fide, p miss, (1 - p) false_alarm and undecided are compared. Raises
        UserError for costs that are not positive, and for an undecided answer that never costs least.
        """
        for name, cost in (("miss", self.miss), ("false-alarm", self.false_alarm), ("undecided", self.undecided)):
            if cost is not None and not (cost > 0 and math.isfinite(cost)):
                raise UserError(f"--cost-{name} {cost:g}: it is above 0")
        before = math.log(prior / (1 - prior))
        if self.undecided is None:
            both = math.log(self.false_alarm / self.miss) - before + 0.0
            return both, both
        most = self.miss * self.false_alarm / (self.miss + self.false_alarm)
        if self.undecided >= most:
            raise UserError(
                f"--cost-undecided {self.undecided:g}: nothing would ever be undecided; with these costs of a miss"
                f" and a false alarm it has to be below {most:g}"
            )
        spoof = math.log(self.undecided / (self.miss - self.undecided)) - before
        return spoof, math.log((self.false_alarm - self.undecided) / self.undecided) - before


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
    parser.add_argument(
        "--prior", type=real_number(0, 1), default=0.5, help="prior of bona fide, for the Bayes threshold of the LLR"
    )
    for name, of in (("miss", "bona fide called spoof"), ("false-alarm", "spoof called bona fide")):
        parser.add_argument(
            f"--cost-{name}",
            type=real_number(0),
            metavar="C",
            help=f"cost of {of}, for the Bayes threshold; 1 if not given",
        )
    parser.add_argument(
        "--cost-undecided",
        type=real_number(0),
        metavar="C",
        help="cost of no answer: the third verdict, undecided, is given where each answer would cost more",
    )
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


def costs_of(args: argparse.Namespace) -> Costs | None:
    """What add_decision_options was given; None where no cost was."""
    given = args.cost_miss, args.cost_false_alarm, args.cost_undecided
    if given == (None, None, None):
        return None
    miss, false_alarm = (1.0 if cost is None else cost for cost in given[:2])
    return Costs(miss, false_alarm, args.cost_undecided)
