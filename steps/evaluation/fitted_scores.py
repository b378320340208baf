"""Score files made by a model that was itself trained on scores (calibration, fusion): which trials it may be trained
on, how the model is kept, and how its score files are marked.

A model may be trained on a score file if all of this holds; else UserError, unless the user insists:
  1. By name: the file's name, and the name of each set of the data folder that has one of its trials, has a word of
     TO_TRAIN_ON, and none has a word of TO_EVALUATE. A word is a run of letters: dev_head2 has dev.
  2. By utterance: no id is one of ASVspoof's for evaluation (LA_E_1000147, E_0000000001).
  3. By trial: the scores that it is applied to share no trial with those that it was trained on, unless these too are
     a set to train on by 1 and 2. Then the scores are marked as those of its own training trials.
  4. By descent: none of the score files was made by a model that broke these rules.
So a file of the evaluation set is refused under any name, if the ids or the data folder know its trials or if it is
applied to some of them. If the user insists, the model and each score file it writes say `trained_on_eval`.

A score file SET.txt made so has SET.json beside it, which steps/evaluate.py turns into warnings.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steps.evaluation.evaluation import stem_of
from steps.evaluation.labels import corpus_label, figure_text
from steps.evaluation.protocols import Protocol
from steps.evaluation.score_files import CmScores, read_cm_scores_by, same_trials, score_lines
from steps.metrics.calibration import LlrModel, Unusable, fit, fit_mean
from steps.metrics.error_rates import det_curve, equal_error_rate
from steps.metrics.llr_cost import cllr
from utils.cli import UserError, warn
from utils.files import read_json, read_map, sha256_of, write_aside, write_json

TO_TRAIN_ON = {"train", "dev", "development", "valid", "validation", "calibration"}
TO_EVALUATE = {"eval", "evaluation", "test", "progress"}
EVALUATION_ID = re.compile(r"(^|_)E_\d")
FITS = {"logistic": fit, "mean": fit_mean}
UNUSABLE = "unusable"  # key of a calibration.json that says why there is none
MADE_ON_EVAL = (
    "these scores were calibrated or fused by a model trained on evaluation trials; their figures stand for nothing"
)
MADE_ON_ITSELF = (
    "these scores were calibrated or fused by a model trained on these very trials; their figures are better than those"
    " of other trials would be"
)


@dataclass(frozen=True)
class SystemScores:
    """Scores of K systems over the same trials. trials: of the first file; score: (N, K); paths: K files."""

    paths: list[Path]
    trials: CmScores
    score: NDArray[np.float64]


def read_systems(
    paths: Sequence[Path], protocols: Sequence[Protocol] = (), columns: Sequence[str] | None = None
) -> SystemScores:
    """protocols, columns: as read_cm_scores_by takes them. Raises UserError for a file that cannot be used, and unless
    all are of the same trials; their order may differ."""
    aligned = same_trials([read_cm_scores_by(path, protocols, columns) for path in paths], paths)
    return SystemScores(list(paths), aligned[0], np.column_stack([one.score for one in aligned]))


def mark_path(scores: Path) -> Path:
    return scores.with_suffix(".json")


def read_mark(scores: Path) -> dict[str, Any] | None:
    """What stands beside a score file that a model made; None for a detector's own scores. Raises UserError for a mark
    that is of other scores than those."""
    path = mark_path(scores)
    if not path.is_file():
        return None
    mark = read_json(path)
    if not isinstance(mark, dict) or not isinstance(mark.get("trained_on_eval"), bool):
        raise UserError(f"{path}: it does not say how {scores} was made; make the scores again, or move the file away")
    if mark.get("scores_sha256") != sha256_of(scores):
        raise UserError(
            f"{path}: it was written for another {scores.name} than the one beside it; make the scores again, or remove"
            f" {path} if a detector made them"
        )
    return mark


def mark_warnings(scores: Path) -> list[str]:
    """Warnings on figures of these scores; none on a detector's own. Raises UserError as read_mark does."""
    mark = read_mark(scores) or {}
    texts = [MADE_ON_EVAL] if mark.get("trained_on_eval") else []
    return texts + [MADE_ON_ITSELF] * bool(mark.get("trained_on_these_trials"))


def data_sets(data_dir: Path | None) -> dict[str, Path]:
    """The Kaldi data dirs in `data_dir` by name; none for None."""
    return {} if data_dir is None else {path.parent.name: path.parent for path in sorted(data_dir.glob("*/utt2label"))}


def sets_of(utterances: Iterable[str], data_dir: Path | None) -> list[str]:
    """The sets of `data_dir` that have any of the utterances."""
    wanted = set(utterances)
    return [name for name, path in data_sets(data_dir).items() if not wanted.isdisjoint(read_map(path / "utt2label"))]


def set_reasons(names: Mapping[str, str], utterances: Iterable[str]) -> list[str]:
    """Why sets with such names and utterances must not be trained on, by rules 1 and 2. names: by how a message names
    the set."""
    reasons = []
    for what, name in names.items():
        words = set(re.split(r"[^a-z]+", name.lower()))
        if words & TO_EVALUATE:
            reasons.append(f"{what} is named as one to evaluate on")
        elif not words & TO_TRAIN_ON:
            reasons.append(f"{what} is not named as one to train on ({', '.join(sorted(TO_TRAIN_ON))})")
    evaluation = [utt for utt in utterances if EVALUATION_ID.search(utt)]
    if evaluation:
        reasons.append(f"{len(evaluation)} utterances have ids of an evaluation set (the first: {evaluation[0]})")
    return reasons


def evaluation_reasons(systems: SystemScores, data_dir: Path | None) -> list[str]:
    """Why these trials must not be trained on, by rules 1, 2 and 4; empty if they may."""
    names = {str(path): path.stem for path in systems.paths}
    names |= {f"data set {name}": name for name in sets_of(systems.trials.utterance, data_dir)}
    return set_reasons(names, systems.trials.utterance) + _broken_before(systems)


def _broken_before(systems: SystemScores) -> list[str]:
    """Rule 4."""
    broken = [path for path in systems.paths if (read_mark(path) or {}).get("trained_on_eval")]
    return [f"{path} was made by a model trained on evaluation trials" for path in broken]


@dataclass(frozen=True)
class FittedModel:
    """llr: of K systems; method: of FITS; utterances: trained on; trained_on: set, files, their sha256, counts, corpus,
    and Cllr, EER, the LLR that is its threshold, and lowest and highest LLR, of those trials; broken: the rules that
    the user overrode, empty where the training was fair."""

    llr: LlrModel
    method: str
    trained_on: dict[str, Any]
    utterances: frozenset[str]
    broken: list[str]

    def write(self, path: Path) -> None:
        write_json(
            path,
            {
                "method": self.method,
                "weights": list(self.llr.weights),
                "offset": self.llr.offset,
                "prior": self.llr.prior,
                "trained_on": self.trained_on,
                "trained_on_eval": bool(self.broken),
                "overridden": self.broken,
                "utterances": " ".join(sorted(self.utterances)),
            },
        )


def _finite(*values: Any) -> list[float]:
    """Raises ValueError or OverflowError for any that is no finite number."""
    if not all(type(value) in (int, float) and math.isfinite(value) for value in values):
        raise ValueError("no finite number")
    return list(map(float, values))


def _checked_training(values: Mapping[str, Any]) -> dict[str, Any]:
    """FittedModel's trained_on. Raises as _finite does, TypeError and KeyError."""
    if not values["files"] or not all(isinstance(values.get(key, []), list) for key in ("files", "sets", "sha256")):
        raise TypeError("not lists")
    low, high = _finite(*(values.get("llr_range") or (0, 0)))
    if low > high:
        raise ValueError("lowest above highest")
    _finite(*(values[key] for key in ("cllr", "eer", "eer_threshold") if values.get(key) is not None))
    if not all(isinstance(values[key], int) for key in ("n_bonafide", "n_spoof")):
        raise TypeError("not counts")
    return dict(values)


def read_model(path: Path) -> FittedModel:
    """A model as FittedModel.write leaves it. Raises UserError for any other file."""
    values = read_json(path)
    try:
        weights, offset, prior = values["weights"], values["offset"], values["prior"]
        if not weights:
            raise ValueError("no system")
        return FittedModel(
            LlrModel(tuple(_finite(*weights)), *_finite(offset, prior)),
            str(values["method"]),
            _checked_training(values["trained_on"]),
            frozenset(values["utterances"].split()),
            [str(text) for text in values["overridden"]],
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise UserError(f"{path}: not a model of calibrate.py or fuse.py; train one by --train") from None


def read_calibration_model(path: Path) -> FittedModel:
    """A calibration of one system. Raises UserError for another file, and for scores that could not be calibrated."""
    values = read_json(path)
    if isinstance(values, dict) and UNUSABLE in values:
        raise UserError(f"{path}: these scores could not be calibrated: {values[UNUSABLE]}")
    model = read_model(path)
    if len(model.llr.weights) != 1:
        raise UserError(f"{path}: a fusion of {len(model.llr.weights)} systems; a calibration of one is wanted")
    return model


def _corpora(sets: Iterable[str], data_dir: Path | None) -> list[str]:
    known = data_sets(data_dir)
    files = [known[name] / "corpus.json" for name in sets]
    return sorted({corpus_label(read_json(path)) for path in files if path.is_file()})


def train(
    systems: SystemScores,
    method: str = "logistic",
    prior: float = 0.5,
    data_dir: Path | None = None,
    i_know: bool = False,
) -> FittedModel:
    """Train by `method` of FITS. Raises UserError if the trials must not be trained on, unless `i_know`, and for scores
    that cannot be calibrated."""
    reasons = evaluation_reasons(systems, data_dir)
    _refuse(reasons, i_know)
    trials = systems.trials
    try:
        llr = FITS[method](systems.score, trials.bonafide, prior)
    except Unusable as error:
        paths = systems.paths if error.system is None else [systems.paths[error.system]]
        whose = "" if error.trial is None else f"{trials.utterance[error.trial]}: "
        raise UserError(f"{', '.join(map(str, paths))}: {whose}{error}") from None
    ratios, sets = ratios_of(llr, systems), sets_of(trials.utterance, data_dir)
    trained_on = {
        "sets": sets or sorted({path.stem for path in systems.paths}),
        "corpus": _corpora(sets, data_dir) or None,
        "files": [str(path) for path in systems.paths],
        "sha256": [sha256_of(path) for path in systems.paths],
        **figures_of(ratios, trials.bonafide),
    }
    return FittedModel(llr, method, trained_on, frozenset(trials.utterance), reasons)


def figures_of(llr: NDArray[np.float64], bonafide: NDArray[np.bool_]) -> dict[str, Any]:
    """The part of FittedModel's trained_on that describes the trials' LLRs. llr, bonafide: (N,)."""
    of_bonafide, of_spoof = llr[bonafide], llr[~bonafide]
    eer, eer_threshold = equal_error_rate(det_curve(of_bonafide, of_spoof))
    return {
        "n_bonafide": of_bonafide.size,
        "n_spoof": of_spoof.size,
        "cllr": cllr(of_bonafide, of_spoof),
        "eer": eer,
        "eer_threshold": eer_threshold,
        "llr_range": [float(llr.min()), float(llr.max())],
    }


def ratios_of(llr: LlrModel, systems: SystemScores) -> NDArray[np.float64]:
    """The model's log-likelihood ratios (N,). Raises UserError, with file and utterance, for one that float64 cannot
    hold."""
    with np.errstate(over="ignore", invalid="ignore"):
        ratios = llr.llr(systems.score)
    for trial in np.flatnonzero(~np.isfinite(ratios))[:1]:
        largest = int(np.argmax(np.abs(systems.score[trial])))
        raise UserError(
            f"{systems.paths[largest]}: {systems.trials.utterance[trial]}: the score"
            f" {systems.score[trial, largest]:.6g} is too large to calibrate; score it again, or remove it"
        )
    return ratios


def own_calibration(training: Path, head: int | None = None) -> FittedModel | None:
    """The calibration of a training's folder, learnt on its own dev set; for stage K's `head`, on its own scores. None
    without one that rises with the score."""
    path = training / f"{stem_of('calibration', head)}.json"
    if not path.is_file() or UNUSABLE in read_json(path):
        return None
    model = read_model(path)
    return model if len(model.llr.weights) == 1 and model.llr.weights[0] > 0 else None


def dev_threshold(training: Path, head: int | None = None) -> float | None:
    """The score at the EER of the set that a training's calibration was learnt on, its dev set; for stage K's `head`,
    of its own scores. None without a calibration that rises with the score.

    It is read from the calibration because that file goes with a training that another recipe adopts.
    """
    model = own_calibration(training, head)
    ratio = None if model is None else model.trained_on.get("eer_threshold")
    if model is None or ratio is None:
        return None
    return (ratio - model.llr.offset) / model.llr.weights[0]


def calibrate_training(training: Path, dev: str, data_dir: Path, head: int | None = None) -> None:
    """Write calibration.json of a training's folder, or calibration_headK.json of stage K's `head`, learnt on its own
    scores of the set `dev`; if that fails, a file of that name that says why, and a warning."""
    out = training / f"{stem_of('calibration', head)}.json"
    try:
        train(read_systems([training / "scores" / f"{stem_of(dev, head)}.txt"]), data_dir=data_dir).write(out)
        print(f"calibration learnt on {dev}: {out}")
    except UserError as error:
        warn(f"{training}: no calibration, so steps/detect.py gives scores but no verdicts: {error}")
        write_json(out, {UNUSABLE: str(error)})


def _refuse(reasons: Sequence[str], i_know: bool) -> None:
    if reasons and not i_know:
        raise UserError(
            f"not trained: {'; '.join(reasons)}. Train on the development set; --i-know trains on them anyway, and"
            " marks the model and its scores as trained_on_eval"
        )


def check_use(model: FittedModel, systems: SystemScores, data_dir: Path | None, i_know: bool = False) -> list[str]:
    """The rules that are broken by applying the model to these scores (3 and 4), besides those of its training. Raises
    UserError for any, unless `i_know`, and for scores of another number of systems."""
    if len(systems.paths) != len(model.llr.weights):
        raise UserError(f"the model is of {len(model.llr.weights)} systems, not of {len(systems.paths)}")
    reasons = []
    if (shared := model.utterances & set(systems.trials.utterance)) and evaluation_reasons(systems, data_dir):
        reasons.append(
            f"{len(shared)} of the trials of {systems.paths[0]} are among those that the model was trained on (the"
            f" first: {min(shared)})"
        )
    reasons += _broken_before(systems)
    _refuse(reasons, i_know)
    return reasons


def apply_model(
    model: FittedModel,
    model_path: Path,
    outputs: Mapping[Path, SystemScores],
    data_dir: Path | None,
    i_know: bool = False,
    keep: bool = True,
) -> dict[Path, NDArray[np.float64]]:
    """Write each output, the model's log-likelihood ratios of the scores there, with its mark beside it, and, to `keep`
    it, the model; (N,) of each, in the order of its trials.

    A rule that one use breaks reveals what the model was trained on: all outputs are marked. Raises UserError, before
    anything is written, as check_use and ratios_of do, and if an output is one of the scores read.
    """
    for out, systems in outputs.items():
        if out.resolve() in {path.resolve() for path in systems.paths}:
            raise UserError(f"{out}: that is one of the score files read; give another --out-dir")
    uses = [text for systems in outputs.values() for text in check_use(model, systems, data_dir, i_know)]
    model = replace(model, broken=list(dict.fromkeys([*model.broken, *uses])))
    llrs = {out: ratios_of(model.llr, systems) for out, systems in outputs.items()}
    for text in model.broken:
        warn(f"trained on evaluation trials: {text}")
    if keep:
        model.write(model_path)
    for out, systems in outputs.items():
        text = "".join(line + "\n" for line in score_lines(systems.trials, llrs[out]))
        write_json(  # first, so that no scores are ever without their mark
            mark_path(out),
            {
                "scores_sha256": hashlib.sha256(text.encode()).hexdigest(),
                "model": str(model_path),
                "systems": [str(path) for path in systems.paths],
                "method": model.method,
                "trained_on": model.trained_on,
                "trained_on_eval": bool(model.broken),
                "overridden": model.broken,
                "trained_on_these_trials": not model.utterances.isdisjoint(systems.trials.utterance),
            },
        )
        with write_aside(out) as handle:
            handle.write(text)
    return llrs


def data_dir_given(given: Path | None) -> Path | None:
    """The folder of the data dirs: the one given, else `data` if there is one. Raises UserError for a folder without
    data dirs."""
    if given is not None and not data_sets(given):
        raise UserError(f"{given}: it has no data dirs (<set>/utt2label); give the folder that stage 0 made")
    return given or (Path("data") if Path("data").is_dir() else None)


def say_cost(
    name: str, before: NDArray[np.float64] | None, llr: NDArray[np.float64], bonafide: NDArray[np.bool_]
) -> None:
    """Print the cost of a set's scores as log-likelihood ratios. before: (N,), of one system."""
    was = "" if before is None else f", {figure_text(cllr(before[bonafide], before[~bonafide]), 3)} before"
    print(f"{name}: {bonafide.size} trials, Cllr {figure_text(cllr(llr[bonafide], llr[~bonafide]), 3)} bits{was}")
