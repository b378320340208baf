"""The result of evaluating one score file, and the one file it is kept in.

Rates are fractions from 0 to 1 here and in the file, and percent when shown. None stands for a figure that is not
defined or was not asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steps.evaluation.labels import corpus_label
from steps.evaluation.overlap import Overlap
from steps.metrics.bootstrap import Interval
from steps.metrics.error_rates import DetCurve
from steps.metrics.risk_coverage import RiskCoverage
from steps.metrics.tandem import AsvRates
from utils.cli import UserError
from utils.files import read_json, write_json

FILE = "evaluation.json"  # in results/<set>/
_OLDER_FILE = "metrics.json"
AGAIN = "evaluate again: run.sh --stage 5"
ERRORS = (0.01, 0.05, 0.1)  # of Coverage.within
COVERAGES = tuple(step / 20 for step in range(1, 21))  # of Coverage.errors


@dataclass(frozen=True)
class DetectionFigures:
    """Figures beside the EER, of the CM alone. auc: 0 to 1; min_dcf, act_dcf: normalised costs of ASVspoof 5; cllr,
    min_cllr: bits.

    act_dcf, cllr and balanced_accuracy (at 0) take the scores as log-likelihood ratios; a monotone transform of the
    scores changes these, and none of the others.
    """

    rocch_eer: float
    auc: float
    min_dcf: float
    act_dcf: float
    cllr: float
    min_cllr: float
    balanced_accuracy: float


@dataclass(frozen=True)
class Figures:
    """Figures of the bona fide trials against some spoof trials.

    threshold: the score at the EER; tdcf_threshold: that of min_tdcf_2019. The t-DCF is None without ASV scores.
    asv_rate: "attack" where the ASV's spoof error rate is that of this attack's trials, "pooled" where it is that of
    all spoof trials, None without ASV scores. curve: not in the file.
    """

    eer: float
    threshold: float
    n_spoof: int
    min_tdcf_2019: float | None
    min_tdcf_2021: float | None
    tdcf_threshold: float | None
    asv_rate: str | None
    detection: DetectionFigures
    curve: DetCurve | None = field(default=None, compare=False, repr=False, metadata={"in_file": False})


@dataclass(frozen=True)
class AsvOperatingPoint:
    """The ASV at its own EER threshold, an ASV score."""

    eer: float
    threshold: float
    rates: AsvRates


@dataclass(frozen=True)
class Decisions:
    """Error rates of accepting scores of `threshold` and more. accuracy, f1 (of the bona fide class): as
    steps.metrics.error_rates computes them; None in files of older versions."""

    threshold: float
    miss: float
    false_alarm: float
    accuracy: float | None = None
    f1: float | None = None

    @property
    def balanced_accuracy(self) -> float:
        return 1 - (self.miss + self.false_alarm) / 2


@dataclass(frozen=True)
class Coverage:
    """Three answers at stated costs, and coverage against error (steps/metrics/risk_coverage.py). Shares and errors are
    those at the prior of bona fide, where no class is named.

    spoof_up_to, bonafide_above: LLRs of steps.evaluation.costs.Costs.thresholds; undecided: share of the trials between
    them, undecided_bonafide and undecided_spoof: of one class; error: among the trials with an answer, None if there
    are none; error_of_all: with an answer for each; aurc: the mean error over all coverages; within: the most coverage
    with at most each of ERRORS; errors: (20,), at each of COVERAGES; curve: not in the file.
    """

    prior: float
    cost_miss: float
    cost_false_alarm: float
    cost_undecided: float | None
    spoof_up_to: float
    bonafide_above: float
    undecided: float
    undecided_bonafide: float
    undecided_spoof: float
    error: float | None
    error_of_all: float
    aurc: float
    within: list[float]
    errors: NDArray[np.float64] = field(compare=False)
    curve: RiskCoverage | None = field(default=None, compare=False, repr=False, metadata={"in_file": False})

    def __post_init__(self) -> None:
        if len(self.within) != len(ERRORS) or self.errors.shape != (len(COVERAGES),):
            raise ValueError("coverage has other errors or coverages than this version")

    @property
    def rule(self) -> str:
        """Prior and costs in words."""
        costs = f"a miss costs {self.cost_miss:g}, a false alarm {self.cost_false_alarm:g}"
        no_answer = "" if self.cost_undecided is None else f", no answer {self.cost_undecided:g}"
        return f"prior of bona fide {self.prior:g}; {costs}{no_answer}"


@dataclass(frozen=True)
class GroupFigures:
    """Figures of some bona fide trials against some spoof trials, either of which may be none: then they are None.

    asv_rate: as that of Figures, for the attacks of these spoof trials.
    """

    n_bonafide: int
    n_spoof: int
    eer: float | None
    min_tdcf_2019: float | None
    min_tdcf_2021: float | None
    asv_rate: str | None
    detection: DetectionFigures | None


@dataclass(frozen=True)
class AttackGroup:
    """Some attacks, by name, and their trials together against all bona fide trials."""

    attacks: list[str]
    figures: GroupFigures


@dataclass(frozen=True)
class DurationGroup:
    """Trials of utterances of `shortest` to `longest` seconds, both among them."""

    shortest: float
    longest: float
    figures: GroupFigures


@dataclass(frozen=True)
class ConditionGroup:
    """Trials of one value of a condition, such as one codec. against: "own" bona fide trials, those of the value, or
    "all" of the set, for a condition that only spoof trials have; intervals: of figures, by drawing trials."""

    figures: GroupFigures
    against: str
    intervals: dict[str, Interval]


@dataclass(frozen=True)
class SpeakerFigures:
    """Figures of one speaker.

    n_bonafide: trials that the speaker spoke; n_spoof: spoof trials that the corpus lists under the speaker, whom they
    claim to be;
    miss: share of the speaker's bona fide trials that score no more than the threshold; None without such trials;
    eer: of the speaker's bona fide trials against all spoof trials of the set; None with fewer than 10 of them;
    own_eer: the same against the spoof trials of the speaker alone; None with fewer than 10 of either.
    """

    n_bonafide: int
    n_spoof: int
    miss: float | None
    eer: float | None
    own_eer: float | None


@dataclass(frozen=True)
class Grid:
    """EER of each attack in each of R kinds of room. n_bonafide: (R,); n_spoof: (R, 9), columns as ATTACKS; eer:
    (R, 9), NaN where either class has fewer than 10 trials."""

    n_bonafide: NDArray[np.int64]
    n_spoof: NDArray[np.int64]
    eer: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not self.eer.shape == self.n_spoof.shape == (self.n_bonafide.size, 9):
            raise ValueError("a grid's arrays are not of one size")


@dataclass(frozen=True)
class EnvironmentFigures:
    """per_environment, per_attack_factor: by the factor's key, then by letter; by_factor: rows as FACTOR_LEVELS;
    by_environment: rows as ENVIRONMENTS."""

    per_environment: dict[str, dict[str, GroupFigures]]
    per_attack_factor: dict[str, dict[str, GroupFigures]]
    by_factor: Grid
    by_environment: Grid


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All figures of one score file.

    set_name, head: whose scores these are, and of which block's own classifier, None for the detector's; system: the
    training in words; corpus: the set's corpus.json;
    min_adcf: of the CM as a gate before the ASV at its EER threshold; tandem_eer: the concurrent t-EER of the two, up
    to 0.5. Both take all attacks together;
    conditions: by condition, then by its value; intervals: by "trial" or "speaker", which is drawn, then by figure;
    protocol, phase: where cm_scores has trials of other phases too, by which file trials were left out; decisions: at
    the threshold that was given, in a recipe that of the EER on dev; overlap: with the detector's training set, None if
    it was not asked for; place: the file that this was read from.
    """

    n_bonafide: int
    pooled: Figures
    per_attack: dict[str, Figures]
    asv: AsvOperatingPoint | None = None
    min_adcf: float | None = None
    tandem_eer: float | None = None
    set_name: str = ""
    head: int | None = None
    system: str | None = None
    title: str = ""
    corpus: dict[str, Any] | None = None
    cm_scores: str = ""
    asv_scores: str | None = None
    protocol: str | None = None
    phase: str | None = None
    intervals: dict[str, dict[str, Interval]] = field(default_factory=dict)
    decisions: Decisions | None = None
    coverage: Coverage | None = None
    per_speaker: dict[str, SpeakerFigures] | None = None
    environments: EnvironmentFigures | None = None
    known_attacks: dict[str, AttackGroup] | None = None
    per_duration: list[DurationGroup] | None = None
    conditions: dict[str, dict[str, ConditionGroup]] | None = None
    overlap: Overlap | None = None
    warnings: list[str] = field(default_factory=list)
    place: Path | None = field(default=None, compare=False, metadata={"in_file": False})

    @property
    def corpus_name(self) -> str:
        return corpus_label(self.corpus)


def stem_of(name: str, head: int | str | None) -> str:
    """The stem of a set's file names, or of a calibration's: NAME, NAME_headK where stage K's own head scored, or
    NAME_adaptive for the head `adaptive`."""
    return name if head is None else f"{name}_{head}" if isinstance(head, str) else f"{name}_head{head}"


def to_json(value: Any) -> Any:
    """Plain values of an Evaluation or a part of it, fit for a JSON file; NaN, a grid's empty cell, is null."""
    if dataclasses.is_dataclass(value):
        kept = (one.name for one in dataclasses.fields(value) if one.metadata.get("in_file", True))
        return {name: to_json(getattr(value, name)) for name in kept}
    if isinstance(value, np.ndarray):
        return np.where(np.isnan(value), np.array(None), value).tolist()
    if isinstance(value, Mapping):
        return {name: to_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(one) for one in value]
    return value


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write the folder's file; one of an older form goes."""
    write_json(folder / FILE, to_json(evaluation))
    (folder / _OLDER_FILE).unlink(missing_ok=True)


def read_evaluation(path: Path) -> Evaluation:
    """The evaluation in the file `path`, without curves. Raises UserError for a file that is not write_evaluation's."""
    try:
        return dataclasses.replace(_typed(read_json(path), Evaluation, ""), place=path)
    except ValueError as error:
        raise UserError(f"{path}: {error}; {AGAIN}") from None


def read_evaluations(training: Path) -> list[Evaluation]:
    """All evaluations in a training's results/, by their folders' names. Raises UserError as read_evaluation does, for
    one of an older form, and for two of the same scores."""
    found: dict[tuple[str, int | None], Evaluation] = {}
    for folder in sorted(path for path in training.glob("results/*") if path.is_dir()):
        if not (folder / FILE).exists():
            if (folder / _OLDER_FILE).exists():
                raise UserError(f"{folder / _OLDER_FILE}: written by an older version; {AGAIN}")
            continue
        one = read_evaluation(folder / FILE)
        other = found.setdefault((one.set_name, one.head), one)
        if other is not one:
            raise UserError(f"{other.place} and {one.place} are evaluations of the same scores; remove one of them")
    return list(found.values())


_hints = functools.cache(typing.get_type_hints)
_NAMES = {int: "a whole number", float: "a number", str: "text"}


def _typed(value: Any, kind: Any, key: str) -> Any:
    """A JSON value as the type `kind`. Raises ValueError, which names the key, for another value."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or (value is None and types.NoneType in args):
        return value
    if origin in (typing.Union, types.UnionType):  # of one type and None
        return _typed(value, args[0], key)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _typed_fields(value, kind, f"{key}." if key else "")
    if origin is dict and isinstance(value, dict):
        return {name: _typed(one, args[1], f"{key}.{name}") for name, one in value.items()}
    if origin is list and isinstance(value, list):
        return [_typed(one, args[0], f"{key}[{i}]") for i, one in enumerate(value)]
    if origin is tuple and isinstance(value, list) and len(value) == len(args):
        return tuple(_typed(one, each, key) for one, each in zip(value, args))
    if origin is np.ndarray and isinstance(value, list):
        try:
            return np.array(value, dtype=typing.get_args(args[1])[0])  # null becomes NaN
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{key} is no table of numbers") from None
    if kind is float and type(value) in (int, float):
        with contextlib.suppress(OverflowError):  # an integer of hundreds of digits
            return float(value)
    if kind in (int, str) and type(value) is kind:
        return value
    raise ValueError(f"{key or 'the file'} is {str(value)[:60]!r}, not {_NAMES.get(kind, 'a group of values')}")


def _typed_fields(value: Mapping[str, Any], kind: Any, prefix: str) -> Any:
    hints, made = _hints(kind), {}
    for one in dataclasses.fields(kind):
        if one.name in value and one.metadata.get("in_file", True):
            made[one.name] = _typed(value[one.name], hints[one.name], prefix + one.name)
        elif one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            raise ValueError(f"{prefix}{one.name} is missing")
    return kind(**made)
