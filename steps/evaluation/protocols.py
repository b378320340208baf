"""Which trials a set has, what each of them is, and of which attack: from a challenge's protocol or a Kaldi data
dir."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from steps.evaluation.text_columns import Columns, form_by_number, read_columns
from utils.cli import UserError
from utils.tables import Coded, Table, read_big_map, require_keys, table_of

BONAFIDE, SPOOF = "bonafide", "spoof"
NO_ATTACK = "-"
UNKNOWN_ATTACK = "unknown"
PHASES = ("eval", "progress", "hidden", "hidden_simulated", "hidden_real", "all")
_ALL = "all"  # trials of every phase
_TRIM, _PA = 10, 12  # a column of PA, which has as many: its phase hidden is two sets, simulated and, trimmed, real
_OLDER_PHASES = {"hidden_track": "hidden"}  # as the keys of the challenge's first stage spell it


@dataclass(frozen=True)
class Layout:
    """Where a protocol has what, columns counted from 0. attack: the columns whose names, joined by `-`, name the
    attack; without any the attacks are not known."""

    columns: str
    key: int
    attack: tuple[int, ...] = ()
    utterance: int = 1
    phase: int | None = None


# The layouts that the challenges publish, by their number of columns:
# 2 is Kaldi's utt2label; 5 ASVspoof 2019, LA and PA; 8, 12 and 13 ASVspoof 2021's trial_metadata.txt of LA (and of DF
# in its first stage), PA and DF (the published evaluation package of ASVspoof 2021, config.py); 10 ASVspoof 5.
# PA 2021 names no attacks: as in PA 2019, an attack is the attacker-to-talker distance and the replay device.
LAYOUTS = {
    2: Layout("UTT KEY", key=1, utterance=0),
    5: Layout("SPEAKER UTT ENV ATTACK KEY", key=4, attack=(3,)),
    8: Layout("SPEAKER UTT CODEC TRANSMISSION ATTACK KEY TRIM PHASE", key=5, attack=(4,), phase=7),
    10: Layout("SPEAKER UTT GENDER CODEC QUALITY SEED TAG ATTACK KEY -", key=8, attack=(7,)),
    12: Layout("SPEAKER UTT ROOM MIC DISTANCE r m s c KEY TRIM PHASE", key=9, attack=(8, 7), phase=11),
    13: Layout("SPEAKER UTT CODEC SOURCE ATTACK KEY TRIM PHASE VOCODER - - - -", key=5, attack=(4,), phase=7),
}
_EXAMPLE = (
    "SPEAKER UTT ENV ATTACK KEY as ASVspoof 2019 does (ENV - in LA), or give ASVspoof 2021's trial_metadata.txt, an "
    "ASVspoof 5 protocol, Kaldi's utt2label or a Kaldi data dir"
)
_ONE_LINE = "each trial has one line: remove the other"


@dataclass(frozen=True)
class Protocol:
    """The trials of a set.

    path: the file or folder, for messages; attack: of each trial, `-` for a bona fide one; names_attacks: False where
    the attacks are not known and all spoof trials have the attack `unknown`; other_phases: the utterances that are
    trials too, of phases that are not evaluated.
    """

    path: Path
    attack: Table
    names_attacks: bool
    other_phases: frozenset[str]


def read_protocol(path: str | os.PathLike, phase: str | None = None) -> Protocol:
    """The protocol at `path`, plain or gzipped: a file in one of LAYOUTS, or a Kaldi data dir with utt2label and, if
    the attacks are known, utt2attack.

    phase: which of PHASES counts where the protocol, or the data dir's utt2phase, has phases, eval if it is None; the
    progress and hidden trials of an ASVspoof 2021 set are no part of its official figures.

    Raises UserError, with file, line and utterance, for a key that is neither bonafide nor spoof, an attack on a bona
    fide trial or none on a spoof one, an utterance that stands there twice, a phase without trials, `phase` where there
    are no phases, and as read_columns does.
    """
    path = Path(path)
    if path.is_dir():
        return _read_data_dir(path, phase)
    forms = {number: layout.columns for number, layout in LAYOUTS.items()}
    table = read_columns(path, form_by_number(forms, _EXAMPLE))
    layout = LAYOUTS[len(table.columns)]
    utterance, key = table.columns[layout.utterance], table.columns[layout.key]
    if not set(key) <= {BONAFIDE, SPOOF}:
        row = next(i for i, name in enumerate(key) if name not in (BONAFIDE, SPOOF))
        text = f"{utterance[row]}: the key {key[row]!r} is neither bonafide nor spoof; is this the CM's protocol?"
        raise table.error(row, f"{text} It should have the columns {layout.columns}")
    table.refuse_repeated(utterance, _ONE_LINE)
    attack = Table(utterance, Coded(_attacks(table, layout, utterance, key)))
    if layout.phase is None:
        if phase is not None:
            raise UserError(f"--phase {phase}: {path} has no phases ({layout.columns}); leave --phase out")
        return Protocol(path, attack, bool(layout.attack), frozenset())
    phases = [_OLDER_PHASES.get(name, name) for name in table.columns[layout.phase]]
    if len(table.columns) == _PA:
        apart = {"trim": "hidden_real", "notrim": "hidden_simulated"}
        trims = table.columns[_TRIM]
        phases = [apart.get(trim, name) if name == "hidden" else name for name, trim in zip(phases, trims)]
    return _of_phase(Protocol(path, attack, bool(layout.attack), frozenset()), zip(utterance, phases), phase)


def _of_phase(protocol: Protocol, phases: Iterable[tuple[str, str]], phase: str | None) -> Protocol:
    """The protocol's trials of one phase. phases: of each utterance. Raises UserError for a phase without trials."""
    wanted = phase or PHASES[0]
    if wanted == _ALL:
        return protocol
    others, there = set(), set()
    for utt, name in phases:
        there.add(name)
        if name != wanted:
            others.add(utt)
    if wanted not in there:
        raise UserError(
            f"{protocol.path}: it has no trials of the phase {wanted}, only of {', '.join(sorted(there))}; give one of"
            " them as --phase, or all"
        )
    attack = table_of((utt, name) for utt, name in protocol.attack.pairs() if utt not in others)
    return Protocol(protocol.path, attack, protocol.names_attacks, frozenset(others))


def _attacks(table: Columns, layout: Layout, utterance: Sequence[str], key: Sequence[str]) -> Iterator[str]:
    if not layout.attack:
        yield from (NO_ATTACK if one == BONAFIDE else UNKNOWN_ATTACK for one in key)
        return
    parts = zip(*(table.columns[column] for column in layout.attack))
    # ASVspoof 2019 writes `-` as the attack of bona fide trials, ASVspoof 2021 and 5 `bonafide`. If the attack is made
    # of several columns, they describe how a bona fide trial was recorded.
    without = {NO_ATTACK, BONAFIDE}
    for row, (names, one) in enumerate(zip(parts, key)):
        if one == SPOOF and without.intersection(names):
            raise table.error(row, f"{utterance[row]}: a spoof trial without an attack; name it")
        if one == BONAFIDE and len(names) == 1 and names[0] not in without:
            text = f"{utterance[row]}: a bona fide trial has the attack {names[0]!r}"
            raise table.error(row, f"{text}; write - as its attack, or fix its key")
        yield NO_ATTACK if one == BONAFIDE else "-".join(names)


def _read_data_dir(path: Path, phase: str | None) -> Protocol:
    everything = _read_labels_and_attacks(path)
    if not (path / "utt2phase").exists():
        if phase is not None:
            raise UserError(f"--phase {phase}: {path} has no phases (no utt2phase); leave --phase out")
        return everything
    phases = read_big_map(path / "utt2phase")
    require_keys(path / "utt2phase", phases, path / "utt2label", everything.attack, "fix the data dir")
    return _of_phase(everything, phases.pairs(), phase)


def _read_labels_and_attacks(path: Path) -> Protocol:
    labels = read_protocol(path / "utt2label")
    attacks = path / "utt2attack"
    if not attacks.exists():
        return Protocol(path, labels.attack, False, frozenset())
    table = read_columns(attacks, form_by_number({2: "UTT ATTACK"}, "UTT ATTACK, ATTACK - for bona fide"))
    attack_of = Table(table["UTT"], table["ATTACK"])
    names: Sequence[str | None] = attack_of.column
    if attack_of.key_column != labels.attack.key_column:  # as a rule they are the same; looking each up takes longer
        table.refuse_repeated(table["UTT"], _ONE_LINE)
        names = [attack_of.get(utt) for utt in labels.attack]
    wrong = {pair for pair in set(zip(labels.attack.column, names)) if not _go_together(*pair)}
    for utt, pair in zip(labels.attack, zip(labels.attack.column, names)) if wrong else ():
        if pair in wrong:
            label, name = pair
            key = BONAFIDE if label == NO_ATTACK else SPOOF
            says = "it has no line of" if name is None else f"the attack {name!r} does not go with"
            raise UserError(f"{attacks}: {says} {utt}, {key} in {path / 'utt2label'}; fix the data dir")
    require_keys(path / "utt2label", labels.attack, attacks, attack_of, "fix the data dir")
    return Protocol(path, Table(labels.attack.key_column, Coded(filter(None, names))), True, frozenset())


def _go_together(label: str, attack: str | None) -> bool:
    return attack is not None and (attack == NO_ATTACK) == (label == NO_ATTACK)


def add_protocol_option(parser: ArgumentParser) -> None:
    """--protocol, which may be given several times, for programs that read score files of several sets."""
    parser.add_argument(
        "--protocol",
        dest="protocols",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help=(
            "a set's trials and keys, which files of UTT SCORE need, as steps/evaluate.py takes it; give one for"
            " each set"
        ),
    )
