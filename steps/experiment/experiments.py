"""Reading what the recipe leaves in exp/: which detectors were trained, with which seeds, and what they scored.

exp/<train set>_<frontend>_<model>_<training conf>[_<tag>]/seed<N>/
    conf.yaml                            frontend, model, train (and augment): groups of keys; seed, frontend_name,
                                         model_name, method; train_name (may lack: as the method), augment_name,
                                         train_set_name, tag (may lack: not named)
    detector.json                        parameters, multiply_adds, input_shape           (may lack)
    results/<set>/evaluation.json           as steps/evaluate.py writes it                (may lack: not evaluated)
    results/<set>_head<k>/evaluation.json   the same of block k's own classifier          (may lack)
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steps.evaluation.evaluation import Evaluation, read_evaluations
from steps.sections import WITHOUT_EFFECT
from utils.cli import UserError, warn
from utils.conf import differences, read_yaml
from utils.files import read_json

CONF_SECTIONS = ("frontend", "model", "train", "augment")


@dataclass(frozen=True)
class Seed:
    """conf: its conf.yaml, empty without one; results: by set; heads: by set, then by block from 1."""

    number: int
    conf: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Evaluation] = field(default_factory=dict)
    heads: dict[str, dict[int, Evaluation]] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """One network trained by one method, with one or more seeds. `conf` is that of its first seed.

    train_set: the training set's name; recipe: the names of the training conf and the augmentation, and the tag;
    variant: what of the recipe is not the method, so that baseline_mini and self_distill_mini have the same;
    parameters, multiply_adds, input_shape (frames, bins; channels before them where there are several): None where no
    seed has a detector.json.
    """

    name: str
    folder: Path
    train_set: str
    frontend: str
    model: str
    method: str
    recipe: str
    variant: str
    conf: dict[str, Any]
    parameters: int | None
    multiply_adds: int | None
    input_shape: tuple[int, ...] | None
    seeds: list[Seed]
    notes: list[str]


def natural_order(text: str) -> list[tuple[int, int, str]]:
    """A sort key by which senet9 comes before senet18."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.findall(r"\d+|\D+", text)]


def _finite(value: float | None) -> bool:
    try:
        return value is None or math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _read_seed(folder: Path, number: int, conf: dict[str, Any]) -> Seed:
    seed = Seed(number, conf)
    for one in read_evaluations(folder):
        if one.head is None:
            seed.results[one.set_name] = one
        else:
            seed.heads.setdefault(one.set_name, {})[one.head] = one
    return seed


def _seed_name(folder: Path) -> str:
    return f"seed {folder.name.removeprefix('seed')}"


def _read_detector(folders: Iterable[Path], notes: list[str]) -> dict[str, Any]:
    """The seeds' detector.json, which must agree; an empty dict where there is none."""
    found: dict[str, Any] = {}
    first: Path | None = None
    for folder in folders:
        path = folder / "detector.json"
        if not path.exists():
            notes.append(f"{_seed_name(folder)} has no detector.json")
            continue
        values = read_json(path)
        if not isinstance(values, dict):
            raise UserError(f"{path}: not an object of names and values; train again to make this file")
        shape = values.get("input_shape") or []
        for key, numbers in (
            ("parameters", [values.get("parameters", 0)]),
            ("multiply_adds", [values.get("multiply_adds", 0)]),
            ("input_shape", shape if isinstance(shape, list) else [shape]),
        ):
            if not all(type(number) is int and _finite(number) for number in numbers):
                raise UserError(f"{path}: {key} is {values[key]!r}; train again to make this file")
        if first is not None and values != found:
            raise UserError(
                f"{path}: another detector than that of {first}: seeds of one experiment must share parameters and "
                "input; train the one that differs under another --tag"
            )
        found, first = values, path
    return found


def read_experiment(folder: Path) -> Experiment:
    """The experiment in `folder`; what is missing or odd without being wrong stands in its `notes`.

    Raises UserError when the folder has no seed<N>, none of its seeds has a conf.yaml that names the front end, the
    network and the method, or the seeds' names or detectors differ.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such experiment folder")
    numbered = sorted((int(path.name[4:]), path) for path in folder.iterdir() if re.fullmatch(r"seed\d+", path.name))
    if not numbered:
        raise UserError(f"{folder}: it has no folder seed<N>; give experiment folders, such as exp/train_*")
    notes: list[str] = []
    confs: dict[int, dict[str, Any]] = {}
    for number, path in numbered:
        if (path / "conf.yaml").exists():
            confs[number] = read_yaml(path / "conf.yaml")
            for key in CONF_SECTIONS:
                if not isinstance(confs[number].get(key) or {}, dict):
                    raise UserError(f"{path / 'conf.yaml'}: {key} is no group of keys; train again")
        else:
            notes.append(f"{_seed_name(path)} has no conf.yaml: was its training begun?")
    if not confs:
        raise UserError(f"{folder}: none of its seeds has a conf.yaml; train it, or leave it out")
    first, *others = confs
    conf = confs[first]
    names = {}
    for key in ("frontend_name", "model_name", "method"):
        names[key] = conf.get(key)
        if not isinstance(names[key], str) or not names[key]:
            raise UserError(f"{folder}/seed{first}/conf.yaml: the key {key!r} is missing; train again")
    for number in others:
        for key, name in names.items():
            if confs[number].get(key) != name:
                raise UserError(
                    f"{folder}: {key} is {name!r} in seed{first} but {confs[number].get(key)!r} in seed{number}; "
                    "one experiment holds seeds of one configuration"
                )
        changed = [
            text
            for section in CONF_SECTIONS
            for text in differences(conf.get(section) or {}, confs[number].get(section) or {}, f"{section}.")
            if not text.startswith(tuple(f"train.{key}: " for key in WITHOUT_EFFECT))
        ]
        if changed:
            notes.append(f"seed {number} was configured otherwise than seed {first}: {'; '.join(changed)}")

    texts = {key: str(conf.get(key) or "") for key in ("train_name", "augment_name", "tag", "train_set_name")}
    train_name = texts["train_name"] or names["method"]
    recipe = "_".join(filter(None, [train_name, texts["augment_name"], texts["tag"]]))
    trained_by = names["method"] if train_name.startswith(names["method"]) else train_name
    detector = _read_detector([path for _, path in numbered], notes)
    shape = detector.get("input_shape")
    return Experiment(
        name=folder.resolve().name,
        folder=folder,
        train_set=texts["train_set_name"],
        frontend=names["frontend_name"],
        model=names["model_name"],
        method=names["method"],
        recipe=recipe,
        variant=recipe.removeprefix(trained_by).lstrip("_"),
        conf={section: conf.get(section) or {} for section in CONF_SECTIONS},
        parameters=detector.get("parameters"),
        multiply_adds=detector.get("multiply_adds"),
        input_shape=tuple(shape) if isinstance(shape, list) else None,
        seeds=[_read_seed(path, number, confs.get(number, {})) for number, path in numbered],
        notes=notes,
    )


def read_experiments(folders: Iterable[Path]) -> list[Experiment]:
    """All experiments, each once, ordered by network, front end, training set, then baseline first."""
    unique = {folder.resolve(): folder for folder in folders}
    return sorted((read_experiment(folder) for folder in unique.values()), key=_order)


def _order(e: Experiment) -> tuple:
    return (
        natural_order(e.model),
        natural_order(e.frontend),
        e.train_set,
        e.variant,
        e.method != "baseline",
        e.method,
        e.name,
    )


def read_below(folders: Iterable[Path]) -> list[Experiment]:
    """All experiments that are among the folders or directly in them, as read_experiments orders them. One that cannot
    be read is left out with a warning. Raises UserError for a folder that does not exist, and if there are none."""
    found, given = [], list(folders)
    for folder in given:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give exp/ folders or experiments in them")
        seeds = [*folder.glob("seed*/conf.yaml"), *folder.glob("*/seed*/conf.yaml")]
        found += sorted({path.parents[1] for path in seeds})
    experiments = {}
    for folder in found:
        try:
            experiments[folder.resolve()] = read_experiment(folder)
        except UserError as error:
            warn(f"left out of the results: {folder}: {error}")
    if not experiments:
        raise UserError(f"{' '.join(map(str, given))}: no experiment seed<N>/conf.yaml in there; train one first")
    return sorted(experiments.values(), key=_order)


def _made_of(folder: Path) -> list[Any]:
    """Front end and corpus of an experiment's first finished training; of joined corpora the first, the recipe's."""
    confs = sorted(final.with_name("conf.yaml") for final in folder.glob("seed*/final.pt"))
    conf = read_yaml(confs[0])
    corpus = conf.get("corpus")
    parts = corpus.get("combined_from") if isinstance(corpus, dict) else None
    return [conf.get("frontend_name"), conf.get("frontend"), parts[0] if parts else corpus]


def read_with_those_beside(folders: Sequence[Path]) -> list[Experiment]:
    """As read_experiments, with all experiments beside them that have a finished training of the same front end and
    corpus. One that cannot be read, or was measured on other trials, is left out with a warning."""
    own = _by_set(read_experiments(folders))
    corpora = {corpus for corpus, _ in own}
    given = {folder.resolve() for folder in folders}
    wanted = [_made_of(folder) for folder in folders if any(folder.glob("seed*/final.pt"))]
    found = list(folders)
    for parent in sorted({folder.parent for folder in folders}):
        for folder in sorted({final.parents[1] for final in parent.glob("*/seed*/final.pt")}):
            if folder.resolve() in given:
                continue
            try:
                if _made_of(folder) not in wanted:
                    continue
                for (corpus, name), results in _by_set([read_experiment(folder)]).items():
                    if corpora and corpus not in corpora:
                        raise UserError(f"measured on {corpus}, not on {' and '.join(sorted(corpora))}")
                    check_same_trials([*own.get((corpus, name), []), *results])
            except UserError as error:
                warn(f"left out of the results: {folder}: {error}")
                continue
            found.append(folder)
    return read_experiments(found)


def _by_set(experiments: Iterable[Experiment]) -> dict[tuple[str, str], list[Evaluation]]:
    """All results, those of heads too, by corpus and set."""
    found: dict[tuple[str, str], list[Evaluation]] = {}
    for e in experiments:
        for seed in e.seeds:
            for name, result in seed.results.items():
                found.setdefault((result.corpus_name, name), []).append(result)
            for name, heads in seed.heads.items():
                for result in heads.values():
                    found.setdefault((result.corpus_name, name), []).append(result)
    return found


def add_beside(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--beside",
        action="store_true",
        help=(
            "also take the experiments beside the given ones that have a finished training of the same front end "
            "and corpus"
        ),
    )


def check_same_trials(results: Iterable[Evaluation]) -> None:
    """Raise UserError unless all `results` were measured on one corpus, on equally many trials of the same attacks, and
    those with ASV scores with the same ASV."""
    first: Evaluation | None = None
    first_asv: Evaluation | None = None
    for result in results:
        first = first or result
        changed = differences(first.corpus or {}, result.corpus or {})
        if changed:
            raise UserError(
                f"{first.place} and {result.place} were measured on two corpora of one name, {first.corpus_name} "
                f"({changed[0]}); evaluate again the one that is of an older corpus, or leave it out"
            )
        ours, theirs = (
            (r.n_bonafide, r.pooled.n_spoof, {name: one.n_spoof for name, one in r.per_attack.items()})
            for r in (first, result)
        )
        if ours != theirs:
            raise UserError(
                f"{first.place} was measured on {ours[0]} bona fide and {ours[1]} spoof trials, {result.place} on"
                f" {theirs[0]} and {theirs[1]}, or on other attacks. Figures of one table are of the same trials. Score"
                " and evaluate again the one that is not of the complete set"
            )
        if result.asv is not None:
            first_asv = first_asv or result
            if first_asv.asv is not None and result.asv.eer != first_asv.asv.eer:
                raise UserError(
                    f"{first_asv.place} was measured with an ASV of EER {100 * first_asv.asv.eer:.3f} %, {result.place}"
                    f" with one of {100 * result.asv.eer:.3f} %; t-DCFs of one table are with the same ASV scores:"
                    " evaluate again"
                )
