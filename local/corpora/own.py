"""A corpus of one's own: any list of audio files with labels, as CSV or TSV.

The first line names the columns: path and label (bonafide or spoof), and if known attack, speaker and split. Further
columns become tables utt2<column>, by which figures are broken down: codec, language, source, ... Paths start from the
list's folder. Ids are made from the paths, and utt2orig maps them back. Without an attack a spoof trial's is `unknown`.
Without a column split speakers are divided over train, dev and eval, 60, 20 and 20 % of the trials of either class, as
near as complete speakers allow: no speaker is in two sets, and the same list gives the same sets. Where the list has
splits, a speaker of train or dev who is in another set too is refused.

Beside list.csv may stand list.rttm, with the spoofed stretches of recordings that are spoofed in part, by their paths.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from local.corpora.base import NO_ATTACK, UNKNOWN, Corpus, Trial, TrialList, made_id, word
from utils.cli import UserError
from utils.files import read_csv
from utils.rttm import Stretches, read_rttm

SHARES = {"train": 0.6, "dev": 0.2, "eval": 0.2}
FIXED = ("path", "label", "attack", "speaker", "split")
LABELS = {"bona-fide": "bonafide", "bona fide": "bonafide"}
_COLUMN = re.compile(r"[a-z0-9_]+")
# Tables of data dirs with another meaning, or with numbers: utt2dur is measured
RESERVED = ("spk", "dur", "orig", "num_frames", "uniq", "env", "phase")


def divide(speakers: dict[str, Counter[str]]) -> dict[str, str]:
    """A set for each speaker, the largest first, each to the set that lacks most of what the speaker has.

    speakers: trials by class. Ties go by a digest of the name, not by its place in the list.
    """
    total: Counter[str] = sum(speakers.values(), Counter())
    filled: dict[str, Counter[str]] = {name: Counter() for name in SHARES}

    def order(speaker: str) -> tuple[int, str]:
        return -speakers[speaker].total(), hashlib.sha256(speaker.encode()).hexdigest()

    chosen = {}
    for speaker in sorted(speakers, key=order):
        own = speakers[speaker]

        def lack(name: str, own: Counter[str] = own) -> float:
            """How much of the set's share is open, in the classes that the speaker has."""
            return sum(own[key] / total[key] * (1 - filled[name][key] / total[key] / SHARES[name]) for key in own)

        best = max(SHARES, key=lack)
        filled[best].update(own)
        chosen[speaker] = best
    return chosen


def _check_speakers(path: Path, set_of: dict[str, dict[str, int]]) -> None:
    """set_of: the first line of each speaker in each set."""
    for speaker, lines in set_of.items():
        for name in ("train", "dev"):
            others = [other for other in lines if other != name]
            if name in lines and others:
                raise UserError(
                    f"{path}: line {lines[others[0]]}: the speaker {speaker} is in {others[0]}, and on line"
                    f" {lines[name]} in {name}; a detector would be tested on voices that it knows: leave the speaker"
                    " in one set, or leave the column split out"
                )


@functools.lru_cache(maxsize=1)
def _read(path: Path, _changed: tuple[int, int]) -> dict[str, TrialList]:
    rows = list(read_csv(path, ("path", "label")))
    names = list(rows[0][1]) if rows else []
    conditions = tuple(name for name in names if name not in FIXED)
    for name in conditions:
        if not _COLUMN.fullmatch(name) or name in RESERVED:
            raise UserError(f"{path}: line 1: the column {name!r} gives no table utt2{name}; give it another name")
    everything = TrialList(path, conditions)
    splits: list[str] = []
    speakers: dict[str, Counter[str]] = {}
    set_of: dict[str, dict[str, int]] = {}
    spoken: dict[str, str] = {}
    for line, row in rows:
        text = row["path"]
        if not text:
            raise everything.refuse(line, "-", "the path is empty")
        utt, label = made_id(text), LABELS.get(row["label"].lower(), row["label"].lower())
        attack = NO_ATTACK if label == "bonafide" else word(row.get("attack", "") or UNKNOWN)
        if label == "bonafide" and row.get("attack", "") not in ("", "-", "bonafide"):
            raise everything.refuse(line, utt, f"bona fide, yet with the attack {row['attack']!r}")
        speaker = word(row.get("speaker", "") or utt)
        if spoken.setdefault(speaker, row.get("speaker", "")) != row.get("speaker", ""):
            raise everything.refuse(
                line, utt, f"the speakers {spoken[speaker]!r} and {row['speaker']!r} become the same word"
            )
        values = tuple(word(row[name]) for name in conditions)
        everything.add(Trial(utt, speaker, label, attack, text, values, line, "" if utt == text else text))
        speakers.setdefault(speaker, Counter())[label] += 1
        if "split" in row:
            if not re.fullmatch(r"[A-Za-z0-9_.-]*[A-Za-z0-9_-][A-Za-z0-9_.-]*", row["split"]):
                raise everything.refuse(line, utt, f"the split {row['split']!r} is not the name of a set")
            splits.append(row["split"])
            set_of.setdefault(speaker, {}).setdefault(row["split"], line)
    everything.done()
    if splits:
        _check_speakers(path, set_of)
    else:
        if "speaker" not in names:
            raise UserError(
                f"{path}: line 1: no column speaker and no column split; name the speakers, so that none gets into two"
                " sets, or say by split which file is in which set"
            )
        chosen = divide(speakers)
        splits = [chosen[trial.speaker] for trial in everything.trials]
    found: dict[str, TrialList] = {}
    for name, trial in zip(splits, everything.trials):
        found.setdefault(name, TrialList(path, conditions)).trials.append(trial)
    for name, part in found.items():
        if len({trial.label for trial in part.trials}) < 2:
            raise UserError(
                f"{path}: the set {name} has trials of one class only ({len(part.trials)} {part.trials[0].label});"
                f" every set needs both: {'correct the column split' if set_of else 'add speakers'}"
            )
    return dict(sorted(found.items(), key=lambda one: (list(SHARES).index(one[0]) if one[0] in SHARES else 9, one[0])))


def read_list(path: Path) -> dict[str, TrialList]:
    """The trials of a list by set: train, dev, eval first. Raises UserError, naming file and line."""
    try:
        state = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; give another list") from None
    return _read(path, (state.st_mtime_ns, state.st_size))


def read_stretches(rttm: Path, trials: Sequence[Trial], seconds: Sequence[float]) -> dict[str, Stretches]:
    """The spoofed stretches of these trials, by the paths of their audio.

    Raises UserError for those of a bona fide trial, and as read_rttm does.
    """
    by_name, found = read_rttm(rttm), {}
    for trial in trials:
        stretches = by_name.get(trial.audio, ())
        if stretches and trial.label == "bonafide":
            raise UserError(
                f"{rttm}: {trial.audio} has spoofed stretches, but its label is bonafide; correct one of them"
            )
        found[trial.utt] = stretches
    return found


CORPORA = {
    "own": Corpus(
        name="own list",
        unpacked="a CSV or TSV list whose first line names its columns: path,label[,attack,speaker,split,...]",
        sets=lambda path: list(read_list(path)),
        keys=lambda path, subset: path,
        read=lambda path, subset: read_list(path)[subset],
        is_list=True,
        stretch_file=lambda path, subset: path.with_suffix(".rttm"),
        read_stretches=read_stretches,
    )
}
