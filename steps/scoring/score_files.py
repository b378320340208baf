"""Score files of the countermeasure (CM) and of the speaker verifier (ASV), read into arrays and checked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from utils.cli import UserError
from utils.files import read_map, read_table

CM_FORM = "UTT ATTACK KEY SCORE, KEY bonafide or spoof, ATTACK - for bona fide"
ASV_FORM = "ATTACK KEY SCORE, KEY target, nontarget or spoof"


@dataclass(frozen=True)
class CmScores:
    """Trials of one CM score file, in the file's order.

    utterance: list of N ids, each once; bonafide: N booleans; score: N finite float64, higher = more bona fide;
    attack_names: the attacks of the spoof trials, sorted; attack: N indices into them, -1 for bona fide.
    """

    utterance: list[str]
    bonafide: NDArray[np.bool_]
    score: NDArray[np.float64]
    attack_names: list[str]
    attack: NDArray[np.int64]


@dataclass(frozen=True)
class AsvScores:
    """Scores of one ASV score file, float64, finite, each vector non-empty; higher = more like the target speaker.

    spoof: all spoof trials; spoof_by_attack: the same, for each attack.
    """

    target: NDArray[np.float64]
    nontarget: NDArray[np.float64]
    spoof: NDArray[np.float64]
    spoof_by_attack: dict[str, NDArray[np.float64]]


def _read_columns(path: str | os.PathLike, count: int, form: str) -> list[tuple[str, ...]]:
    rows = []
    for number, fields in read_table(path, None):
        if len(fields) != count:
            raise UserError(
                f"{path}: line {number}: {len(fields)} columns where {count} are expected: {' '.join(fields)!r}; "
                f"write {form}"
            )
        rows.append(fields)
    if not rows:
        raise UserError(f"{path}: the file is empty; make the scores again")
    return list(zip(*rows))


def _numbers(path: str | os.PathLike, texts: Sequence[str], names: Sequence[str]) -> NDArray[np.float64]:
    """`texts` as float64; `names` tells for each line whose score it is, for the messages."""
    try:
        values = np.array([float(text) for text in texts])
    except ValueError:
        line = next(i for i, text in enumerate(texts) if not _is_number(text))
        raise UserError(f"{path}: line {line + 1}: {names[line]}: the score {texts[line]!r} is not a number") from None
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        line = int(bad[0])
        raise UserError(
            f"{path}: line {line + 1}: {names[line]}: the score is {texts[line]} ({bad.size} of {values.size} scores "
            "are not finite); look at the features of that utterance and at the training log, then score again"
        )
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _codes(labels: Sequence[str], known: dict[str, int]) -> NDArray[np.int64]:
    """Index of each label in `known`; -1 for one that is not there."""
    return np.fromiter((known.get(label, -1) for label in labels), dtype=np.int64, count=len(labels))


def read_cm_scores(path: str | os.PathLike) -> CmScores:
    """Read a CM score file, lines `UTT ATTACK KEY SCORE` (Unix or Windows line ends).

    Raises UserError, with file, line and utterance, for: no such file, an empty file, a wrong number of columns, an
    unknown key, an attack on a bona fide trial or none on a spoof one, a score that is no finite number, an
    utterance that stands there twice, one class only, fewer than 3 distinct scores.
    """
    utterance, attack, key, text = _read_columns(path, 4, CM_FORM)
    key_code = _codes(key, {"spoof": 0, "bonafide": 1})
    for line in np.flatnonzero(key_code < 0)[:1]:
        raise UserError(
            f"{path}: line {line + 1}: {utterance[line]}: the key {key[line]!r} is neither bonafide nor spoof; "
            "take the keys from the protocol (data/<set>/utt2label) and score again"
        )
    bonafide = key_code == 1
    without_attack = _codes(attack, {"-": 1, "bonafide": 2})
    for line in np.flatnonzero(bonafide & (without_attack != 1))[:1]:
        raise UserError(
            f"{path}: line {line + 1}: {utterance[line]}: a bona fide trial has the attack {attack[line]!r}; "
            "write - as its attack, or mend its key"
        )
    for line in np.flatnonzero(~bonafide & (without_attack != -1))[:1]:
        raise UserError(
            f"{path}: line {line + 1}: {utterance[line]}: a spoof trial has the attack {attack[line]!r}; write the "
            "attack's name (a name of your own, such as `unknown`, where the corpus has none), or mend its key"
        )
    score = _numbers(path, text, utterance)
    if len(set(utterance)) < len(utterance):
        first: dict[str, int] = {}
        for line, utt in enumerate(utterance):
            if utt in first:
                raise UserError(
                    f"{path}: line {line + 1}: {utt} stands there twice (first on line {first[utt] + 1}); each trial "
                    "has one score: remove the other"
                )
            first[utt] = line
    if bonafide.all() or not bonafide.any():
        have, lack = ("bona fide", "spoof") if bonafide.any() else ("spoof", "bona fide")
        raise UserError(
            f"{path}: all {score.size} trials are {have}; error rates need both classes: add the {lack} trials"
        )
    distinct = np.unique(score).size
    if distinct < 3:
        raise UserError(
            f"{path}: only {distinct} distinct score{'s' * (distinct > 1)} among {score.size} trials, "
            "where at least 3 are needed; these look like decisions or a detector that says the same of everything: "
            "write its scores at full precision"
        )
    names = sorted({name for name in set(attack) if name != "-"})
    return CmScores(list(utterance), bonafide, score, names, _codes(attack, {n: i for i, n in enumerate(names)}))


def read_asv_scores(path: str | os.PathLike) -> AsvScores:
    """Read an ASV score file, lines `ATTACK KEY SCORE`, as the challenge publishes them.

    Raises UserError for what read_cm_scores names (there is no utterance here), and when targets, nontargets or
    spoof trials are missing altogether.
    """
    attack, key, text = _read_columns(path, 3, ASV_FORM)
    kinds = ("target", "nontarget", "spoof")
    code = _codes(key, {kind: i for i, kind in enumerate(kinds)})
    for line in np.flatnonzero(code < 0)[:1]:
        raise UserError(
            f"{path}: line {line + 1}: the key {key[line]!r} is none of target, nontarget, spoof; write {ASV_FORM}"
        )
    score = _numbers(path, text, key)
    for i, kind in enumerate(kinds):
        if not (code == i).any():
            raise UserError(
                f"{path}: it has no {kind} trial, and the t-DCF needs target, nontarget and spoof; give the ASV scores "
                "of the whole set, or evaluate without --asv-scores"
            )
    spoof_attacks = sorted({name for name, kind in set(zip(attack, key)) if kind == "spoof"})
    attack_code = _codes(attack, {name: i for i, name in enumerate(spoof_attacks)})
    return AsvScores(
        target=score[code == 0],
        nontarget=score[code == 1],
        spoof=score[code == 2],
        spoof_by_attack={name: score[(code == 2) & (attack_code == i)] for i, name in enumerate(spoof_attacks)},
    )


def check_trials(scores: CmScores, score_path: str | os.PathLike, trial_path: str | os.PathLike) -> None:
    """Raise UserError unless the scores are of exactly the trials of `trial_path` (utt2label), with the same keys."""
    trials = read_map(trial_path)
    scored = dict(zip(scores.utterance, scores.bonafide))
    for missing, text in (
        ([utt for utt in trials if utt not in scored], f"of {trial_path} have no score in {score_path}; score again"),
        (
            [utt for utt in scored if utt not in trials],
            f"of {score_path} are no trials of {trial_path}; were they scored on another set?",
        ),
    ):
        if missing:
            raise UserError(f"{len(missing)} utterances {text} (the first: {', '.join(missing[:3])})")
    for line, (utt, bonafide) in enumerate(scored.items(), 1):
        label = "bonafide" if bonafide else "spoof"
        if trials[utt] != label:
            raise UserError(
                f"{score_path}: line {line}: {utt} is {label} there but {trials[utt]} in {trial_path}; score again"
            )


def same_trials(scores: Sequence[CmScores], paths: Sequence[str | os.PathLike]) -> list[CmScores]:
    """The same scores, all in the first file's order. Raises UserError, naming file and utterances, unless all are of the
    same trials, with the same keys and attacks."""
    first = scores[0]
    place = {utt: i for i, utt in enumerate(first.utterance)}
    aligned = [first]
    for one, path in zip(scores[1:], paths[1:]):
        own = set(one.utterance)
        for lacking, who, other in (
            ([utt for utt in first.utterance if utt not in own], path, paths[0]),
            ([utt for utt in one.utterance if utt not in place], paths[0], path),
        ):
            if lacking:
                raise UserError(
                    f"{who}: {len(lacking)} utterances of {other} have no score in it (the first: "
                    f"{', '.join(lacking[:3])}); score the same trials by all systems"
                )
        order = np.empty(len(place), dtype=np.int64)
        order[[place[utt] for utt in one.utterance]] = np.arange(len(place))
        attack_names = np.array([*one.attack_names, "-"])  # index -1: bona fide
        ours = np.array([*first.attack_names, "-"])[first.attack]
        for i in np.flatnonzero(ours != attack_names[one.attack][order])[:1]:
            utt, theirs = first.utterance[i], attack_names[one.attack][order][i]
            raise UserError(
                f"{path}: {utt} has the attack {theirs} there but {ours[i]} in {paths[0]} (- is bona fide); score again "
                "the one that is of other trials"
            )
        aligned.append(replace(first, score=one.score[order]))
    return aligned


def score_lines(trials: CmScores, score: NDArray[np.float64]) -> Iterator[str]:
    """Lines `UTT ATTACK KEY SCORE` of a score file, at full precision. score: (N,), in the order of `trials`."""
    names = [*trials.attack_names, "-"]  # index -1: bona fide
    for utt, attack, bonafide, value in zip(trials.utterance, trials.attack, trials.bonafide, score.tolist()):
        yield f"{utt} {names[attack]} {'bonafide' if bonafide else 'spoof'} {value!r}"
