"""Score files of the countermeasure (CM) and of the speaker verifier (ASV), read into arrays and checked."""

from __future__ import annotations

import itertools
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from steps.evaluation.protocols import BONAFIDE, NO_ATTACK, SPOOF, UNKNOWN_ATTACK, Protocol
from steps.evaluation.score_layouts import ATTACK, KEY, OTHER, OURS, SCORE, UTT, form_of, is_number, number
from steps.evaluation.text_columns import Columns, first_names, form_by_number, read_columns
from utils.cli import UserError, warn
from utils.tables import Coded, Strings

ASV_FORM = "ATTACK KEY SCORE, KEY target, nontarget or spoof"


@dataclass(frozen=True)
class CmScores:
    """Trials of one CM score file, in the file's order.

    utterance: N ids, each once; bonafide: N booleans; score: N finite float64, higher = more bona fide;
    attack_names: the attacks of the spoof trials, sorted; attack: N indices into them, -1 for bona fide.
    """

    utterance: Sequence[str]
    bonafide: NDArray[np.bool_]
    score: NDArray[np.float64]
    attack_names: list[str]
    attack: NDArray[np.int64]

    @property
    def classes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores of the bona fide and of the spoof trials."""
        return self.score[self.bonafide], self.score[~self.bonafide]


@dataclass(frozen=True)
class AsvScores:
    """Scores of one ASV score file, float64, finite, each vector non-empty; higher = more like the target speaker.

    spoof: all spoof trials; spoof_by_attack: the same, for each attack.
    """

    target: NDArray[np.float64]
    nontarget: NDArray[np.float64]
    spoof: NDArray[np.float64]
    spoof_by_attack: dict[str, NDArray[np.float64]]


def _numbers(table: Columns, texts: Sequence[str], names: Sequence[str]) -> NDArray[np.float64]:
    """`texts` as float64; `names`: the trial of each line, for the messages."""
    try:
        values = np.fromiter(map(number, texts), np.float64, len(texts))
    except ValueError:
        row = next(i for i, text in enumerate(texts) if not is_number(text))
        hint = ", write decimals with a point" if is_number(texts[row].replace(",", ".", 1)) else ""
        fault = f"{names[row]}: the score {texts[row]!r} is not a number{hint}"
        raise table.error(row, fault + _other_columns(table, row)) from None
    bad = np.flatnonzero(~np.isfinite(values))
    for row in bad[:1].tolist():
        count = f"{bad.size} of {values.size} scores are not finite"
        fix = "look at the features of that utterance and at the training log, then score again"
        raise table.error(row, f"{names[row]}: the score is {texts[row]} ({count}); {fix}")
    return values


def _other_columns(table: Columns, row: int) -> str:
    """Added to a fault of the first line, which may be right and of another layout."""
    if row or table.form.heading:
        return ""
    heading = "; if the line is a heading, remove it"
    if not table.form.guessed:
        return heading
    return f"{heading}, and if the columns are not {table.form.words}, say what they are by --columns"


def _codes(labels: Sequence[str], known: Sequence[str]) -> NDArray[np.int64]:
    """Index of each label in `known`; -1 for one that is not there."""
    coded = labels if isinstance(labels, Coded) else Coded(labels)
    index = {label: i for i, label in enumerate(known)}
    return np.array([index.get(name, -1) for name in coded.names], dtype=np.int64)[np.asarray(coded.codes)]


def read_cm_scores(
    path: str | os.PathLike, protocol: Protocol | None = None, columns: Sequence[str] | None = None
) -> CmScores:
    """Read a CM score file, plain or gzipped. Its columns are those of its heading or of the one of
    score_layouts.LAYOUTS that its first line fits, or `columns`, their roles there. A warning names a layout other than
    the toolkit's own that is guessed from the first line.

    protocol: has the keys and attacks that the file lacks; those that the file has must be the same. Then each trial of
    the protocol must have a score, and no other utterance but those of its other phases, which are left out.

    Raises UserError, with file, line and utterance, for: a file that read_columns refuses, one without keys and without
    a protocol, an unknown key, an attack on a bona fide trial or none on a spoof one, a score that is no finite number,
    an utterance that stands there twice, trials that are not the protocol's, one class only, fewer than 3 distinct
    scores.
    """
    return _cm_scores(_read_table(path, columns), protocol)


def read_cm_scores_by(
    path: str | os.PathLike, protocols: Sequence[Protocol], columns: Sequence[str] | None = None
) -> CmScores:
    """read_cm_scores by the one of the protocols that has the file's first utterance; without any by the file alone.

    Raises UserError if none of them has it, and as read_cm_scores does.
    """
    table = _read_table(path, columns)
    first = table[UTT][0]
    fitting = [one for one in protocols if first in one.attack or first in one.other_phases]
    if protocols and not fitting:
        names = ", ".join(str(one.path) for one in protocols)
        raise UserError(f"{path}: its first utterance, {first}, is no trial of {names}; give the protocol of its set")
    return _cm_scores(table, fitting[0] if fitting else None)


def _read_table(path: str | os.PathLike, roles: Sequence[str] | None) -> Columns:
    table = read_columns(path, lambda line: form_of(line, roles))
    form = table.form
    if form.guessed and form.words not in OURS:
        warn(f"{path}: its columns are read as {form.words}, not as {OURS[0]}; --columns can say otherwise")
    if form.split is not str.split:  # fields may have blanks in them
        for column in filter(None, (table.get(UTT), table.get(ATTACK))):
            for row in (row for row, name in enumerate(column) if len(name.split()) != 1):
                raise table.error(row, f"{column[row]!r} is empty or has blanks in it; write names without")
    return table


def _cm_scores(table: Columns, protocol: Protocol | None) -> CmScores:
    path, utterance, key, own_attack = table.path, table[UTT], table.get(KEY), table.get(ATTACK)
    if key is not None:
        _check_keys(table, key)
    elif protocol is None:
        raise UserError(
            f"{path}: its columns are read as {table.form.words}, which do not tell bona fide from spoof; give"
            " --protocol, the set's protocol or data dir"
        )
    score = _numbers(table, table[SCORE], utterance)
    table.refuse_repeated(utterance, "each trial has one score: remove the other")
    rows = None if protocol is None else _rows_of_trials(table, protocol)
    if rows is not None and rows.size < score.size:
        utterance, score = Strings(utterance[row] for row in rows), score[rows]
    if own_attack is not None and key is not None:
        attack = Coded(own_attack if rows is None else map(own_attack.__getitem__, rows))
    elif protocol is not None:
        attack = Coded(map(protocol.attack.__getitem__, utterance))
    else:
        assert key is not None
        attack = Coded(NO_ATTACK if one == BONAFIDE else UNKNOWN_ATTACK for one in key)
    names = sorted(set(attack.names) - {NO_ATTACK})
    attack_code = _codes(attack, names)
    bonafide = attack_code == -1
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
    return CmScores(list(utterance), bonafide, score, names, attack_code)


def _check_keys(table: Columns, key: Sequence[str]) -> None:
    """Raise UserError for an unknown key, and for a key and an attack that do not go together."""
    utterance, attack = table[UTT], table.get(ATTACK)
    if table.form.guessed and table.form.words in OURS:
        fix = "take the keys from the protocol (data/<set>/utt2label) and score again"
    else:
        without_key = " ".join(OTHER if role == KEY else role for role in table.form.columns)
        fix = f'leave that column out by --columns "{without_key}", and give --protocol'
    attacks = itertools.repeat(None) if attack is None else attack
    faults = {pair: fault for pair in set(zip(key, attacks)) if (fault := _fault_of(*pair, fix))}
    if faults:
        row, fault = next((row, faults[pair]) for row, pair in enumerate(zip(key, attacks)) if pair in faults)
        raise table.error(row, f"{utterance[row]}: {fault}{_other_columns(table, row)}")


def _fault_of(key: str, attack: str | None, fix: str) -> str | None:
    if key not in (BONAFIDE, SPOOF):
        return f"the key {key!r} is neither bonafide nor spoof; {fix}"
    if key == BONAFIDE and attack not in (None, NO_ATTACK):
        return f"a bona fide trial has the attack {attack!r}; write - as its attack, or fix its key"
    if key == SPOOF and attack in (NO_ATTACK, BONAFIDE):
        own = f"a name of your own, such as `{UNKNOWN_ATTACK}`, where the corpus has none"
        return f"a spoof trial has the attack {attack!r}; write the attack's name ({own}), or fix its key"
    return None


def _rows_of_trials(table: Columns, protocol: Protocol) -> NDArray[np.int64]:
    """The rows of the protocol's trials, in the file's order; UserError unless they are all there, as the protocol has
    them, with nothing else but its other phases."""
    path, utterance = table.path, table[UTT]
    in_order = utterance == protocol.attack.key_column  # as a rule; looking each up takes longer
    rows = array("q", range(len(utterance)) if in_order else _rows_looked_up(path, utterance, protocol))
    attack_of = protocol.attack.column if in_order else [protocol.attack[utterance[row]] for row in rows]
    for role, right, words in ((KEY, _key_of, "{} there but {}"), (ATTACK, str, "of attack {} there but of {}")):
        own = table.get(role)
        if own is None or (role == ATTACK and not protocol.names_attacks):
            continue
        there = own if in_order else [own[row] for row in rows]
        wrong = {pair for pair in set(zip(there, attack_of)) if pair[0] != right(pair[1])}
        for row, pair in zip(rows, zip(there, attack_of)) if wrong else ():
            if pair in wrong:
                fault = words.format(pair[0], right(pair[1]))
                raise table.error(row, f"{utterance[row]} is {fault} in {protocol.path}; score again")
    return np.array(rows, dtype=np.int64)


def _key_of(attack: str) -> str:
    return BONAFIDE if attack == NO_ATTACK else SPOOF


def _rows_looked_up(path: str | os.PathLike, utterance: Coded | Strings, protocol: Protocol) -> Iterator[int]:
    unknown = [utt for utt in utterance if utt not in protocol.attack and utt not in protocol.other_phases]
    if unknown:
        plain = {Path(utt).stem for utt in unknown}
        known = plain <= protocol.attack.keys() | protocol.other_phases
        fix = "write utterances without folder and extension" if known else "were they scored on another set?"
        raise UserError(
            f"{path}: {len(unknown)} of its {len(utterance)} utterances are no trials of {protocol.path} "
            f"({first_names(unknown)}); {fix}"
        )
    missing = protocol.attack.keys() - set(utterance)
    if missing:
        raise UserError(
            f"{path}: it lacks {len(missing)} of the {len(protocol.attack)} trials of {protocol.path} "
            f"({first_names(sorted(missing))}); score them too"
        )
    return (row for row, utt in enumerate(utterance) if utt in protocol.attack)


def read_asv_scores(path: str | os.PathLike) -> AsvScores:
    """Read an ASV score file, lines `ATTACK KEY SCORE`, as the challenge publishes them, plain or gzipped.

    Raises UserError for the faults that read_cm_scores names (there is no utterance here), and if targets, nontargets
    or spoof trials are missing altogether.
    """
    table = read_columns(path, form_by_number({3: "ATTACK KEY SCORE"}, ASV_FORM))
    attack, key, text = table.columns
    kinds = ("target", "nontarget", "spoof")
    code = _codes(key, kinds)
    for row in np.flatnonzero(code < 0)[:1].tolist():
        raise table.error(row, f"the key {key[row]!r} is none of target, nontarget, spoof; write {ASV_FORM}")
    score = _numbers(table, text, key)
    for i, kind in enumerate(kinds):
        if not (code == i).any():
            raise UserError(
                f"{path}: it has no {kind} trial, and the t-DCF needs target, nontarget and spoof; give the ASV scores "
                "of the complete set, or evaluate without --asv-scores"
            )
    spoof_attacks = sorted({name for name, kind in set(zip(attack, key)) if kind == "spoof"})
    attack_code = _codes(attack, spoof_attacks)
    by_attack = {name: score[(code == 2) & (attack_code == i)] for i, name in enumerate(spoof_attacks)}
    return AsvScores(score[code == 0], score[code == 1], score[code == 2], by_attack)


def foreign_asv_scores(cm: CmScores, asv: AsvScores) -> str | None:
    """Why the ASV scores cannot be those of the CM's own set; None where they can.

    In ASVspoof 2019 (LA and PA, dev and eval) each spoof trial of the CM is one spoof trial of the ASV, of the same
    attack; and each target trial is a bona fide trial of the CM, which stands there once. So the numbers of trials
    distinguish dev from eval even if the attacks have the same names, as they do in PA. Attacks of only one of the
    files are ignored here.
    """
    n_target, n_bonafide = asv.target.size, int(cm.bonafide.sum())
    n_spoof = cm.score.size - n_bonafide
    if cm.attack_names == [UNKNOWN_ATTACK] and UNKNOWN_ATTACK not in asv.spoof_by_attack:
        if n_spoof != asv.spoof.size:
            return f"they have {asv.spoof.size} spoof trials, where the CM scores have {n_spoof}"
    else:
        in_both = [name for name in cm.attack_names if name in asv.spoof_by_attack]
        if not in_both:
            names = sorted(asv.spoof_by_attack)
            several = f"{', '.join(names[:6])}{', ...' * (len(names) > 6)}"
            return f"they have none of the attacks that the CM scores have, such as {cm.attack_names[0]}, but {several}"
        counts = np.bincount(cm.attack[~cm.bonafide], minlength=len(cm.attack_names))
        of_cm = dict(zip(cm.attack_names, counts.tolist()))
        differ = [name for name in in_both if asv.spoof_by_attack[name].size != of_cm[name]]
        if differ:
            name = differ[0]
            more = f" ({len(differ)} of {len(in_both)} attacks differ)" if len(differ) > 1 else ""
            return (
                f"they have {asv.spoof_by_attack[name].size} trials of attack {name}, the CM scores {of_cm[name]}{more}"
            )
    if n_target > n_bonafide:
        return f"they have {n_target} target trials, more than the {n_bonafide} bona fide trials"
    return None


def same_trials(scores: Sequence[CmScores], paths: Sequence[str | os.PathLike]) -> list[CmScores]:
    """The same scores, all in the first file's order. Files without attacks take those of the first file that has some.

    Raises UserError, naming file and utterances, unless all are of the same trials, with the same keys and attacks."""
    first = scores[0]
    place = {utt: i for i, utt in enumerate(first.utterance)}
    trials, named_by = first, paths[0]
    aligned = [first.score]
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
        for i in np.flatnonzero(trials.bonafide != one.bonafide[order])[:1]:
            key, other_key = (BONAFIDE, SPOOF) if trials.bonafide[i] else (SPOOF, BONAFIDE)
            raise UserError(
                f"{path}: {first.utterance[i]} is {other_key} there but {key} in {paths[0]}; score again the one that"
                " is of other trials"
            )
        if trials.attack_names == [UNKNOWN_ATTACK]:
            trials, named_by = replace(trials, attack_names=one.attack_names, attack=one.attack[order]), path
        elif one.attack_names != [UNKNOWN_ATTACK]:
            theirs, ours = (np.array([*of.attack_names, NO_ATTACK])[of.attack] for of in (one, trials))  # -1: bona fide
            for i in np.flatnonzero(ours != theirs[order])[:1]:
                raise UserError(
                    f"{path}: {first.utterance[i]} has the attack {theirs[order][i]} there but {ours[i]} in {named_by};"
                    " score again the one that is of other trials"
                )
        aligned.append(one.score[order])
    return [replace(trials, score=score) for score in aligned]


def score_lines(trials: CmScores, score: NDArray[np.float64]) -> Iterator[str]:
    """Lines `UTT ATTACK KEY SCORE` of a score file, at full precision. score: (N,), in the order of `trials`."""
    names = [*trials.attack_names, "-"]  # index -1: bona fide
    for utt, attack, bonafide, value in zip(trials.utterance, trials.attack, trials.bonafide, score.tolist()):
        yield f"{utt} {names[attack]} {'bonafide' if bonafide else 'spoof'} {value!r}"
