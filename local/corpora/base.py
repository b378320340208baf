"""What the modules of the corpora share: trials, the checks of key files, ids that Kaldi's tables can hold.

A module has CORPORA, a Corpus for each of its parts, and where they can be downloaded DOWNLOADS; both by the name that
the programs take. All are found by their files.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import local.corpora
from utils.cli import UserError
from utils.files import quoted, read_table
from utils.rttm import Stretches

NAME = re.compile(r"[A-Za-z0-9_.-]+")  # an utterance: it becomes a key and a file name
NO_ATTACK, UNKNOWN = "-", "unknown"
FIX = "correct the line, or unpack the corpus again"


class Trial(NamedTuple):
    """audio: its file, below the corpus's folder or absolute; attack: `-` for bona fide; conditions: in the order of
    their TrialList's; line: in the key file, from 1; original: what the id was made from, empty where it was kept."""

    utt: str
    speaker: str
    label: str  # bonafide or spoof
    attack: str
    audio: str
    conditions: tuple[str, ...]
    line: int
    original: str = ""


@dataclass(frozen=True)
class Form:
    """What a value has to look like: a pattern, and the same in words."""

    pattern: re.Pattern[str]
    words: str


PLAIN = Form(NAME, "made of letters, digits and _ . - only")


class TrialList:
    """Trials of a key file in its own order, checked as they are added.

    conditions: names of the tables utt2<condition> that they have; forms: of conditions, `speaker` and `attack`.
    """

    def __init__(self, path: Path, conditions: Sequence[str] = (), forms: Mapping[str, Form] | None = None):
        self.path, self.conditions, self.forms = path, tuple(conditions), dict(forms or {})
        self.trials: list[Trial] = []
        self._first_line: dict[str, int] = {}
        self._good: dict[str, set[str]] = {name: set() for name in (*self.conditions, "speaker", "attack")}

    def refuse(self, line: int, utt: str, why: str) -> UserError:
        return UserError(f"{self.path}: line {line}: utterance {utt}: {why}; {FIX}")

    def _check(self, line: int, utt: str, name: str, value: str) -> None:
        """The value of a column of few values, each of which is looked at once."""
        good = self._good[name]
        if value in good:
            return
        form = self.forms.get(name)
        if form and not form.pattern.fullmatch(value):
            raise self.refuse(line, utt, f"the {name} {value!r} is not {form.words}")
        if len(value.split()) != 1 or not value.isprintable():
            raise self.refuse(line, utt, f"the {name} {value!r} is not one word")
        good.add(value)

    def add(self, trial: Trial) -> None:
        """Raises UserError, naming file, line and utterance, for what no table can hold, a key that is neither
        bonafide nor spoof, an attack that does not go with it, and an utterance that stands there twice."""
        utt, speaker, label, attack, audio, conditions, line, _ = trial
        if not NAME.fullmatch(utt):
            raise self.refuse(line, utt, f"{utt!r} of speaker {speaker!r}: ids are letters, digits and _ . - only")
        if not audio.isprintable() or audio.endswith("|"):
            raise self.refuse(line, utt, f"no table can hold a file's name such as {audio!r}")
        self._check(line, utt, "speaker", speaker)
        if label == "bonafide":
            if attack != NO_ATTACK:
                raise self.refuse(line, utt, f"bona fide, yet with the attack {attack!r} where '-' is expected")
        elif label != "spoof":
            raise self.refuse(line, utt, f"the key {label!r} is neither bonafide nor spoof")
        elif attack == NO_ATTACK:
            raise self.refuse(line, utt, "a spoof without an attack")
        else:
            self._check(line, utt, "attack", attack)
        for name, value in zip(self.conditions, conditions, strict=True):
            self._check(line, utt, name, value)
        if utt in self._first_line:
            raise self.refuse(line, utt, f"stands there twice, first on line {self._first_line[utt]}")
        self._first_line[utt] = line
        self.trials.append(trial)

    def done(self) -> TrialList:
        """Raises UserError where there are none."""
        if not self.trials:
            raise UserError(f"{self.path}: holds no trials; unpack the corpus again")
        return self


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """One part of a corpus.

    name, part: as in corpus.json; part is empty where there is one only. markers: files or folders, one of which each
    unpacked corpus has. unpacked: which folder is to be given, in words. sets: those that a folder has. keys: the key
    file of a set. read: its trials. conditions: names of tables that every set has. is_list: a file is given instead of
    a folder.

    Of the official corpus, by set: counts: trials, and bona fide ones among them; sums: MD5 sums of key files. phases:
    trials of eval by phase.

    stretch_file: the file that lists the spoofed stretches of a set, if it is there. read_stretches: those of some
    trials, by utterance, given that file, the trials and the seconds of each.

    asv: files of the ASV's scores of a set. asv_lines: their lines `ATTACK KEY SCORE` by phase; None where the one file
    is copied.
    """

    name: str
    part: str = ""
    markers: tuple[str, ...] = ()
    unpacked: str = ""
    sets: Callable[[Path], list[str]]
    keys: Callable[[Path, str], Path]
    read: Callable[[Path, str], TrialList]
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    phases: Mapping[str, int] = field(default_factory=dict)
    sums: Mapping[str, str] = field(default_factory=dict)
    conditions: tuple[str, ...] = ()
    asv: Callable[[Path, str], tuple[Path, ...]] = lambda root, subset: ()
    asv_lines: Callable[[tuple[Path, ...]], dict[str, list[str]]] | None = None
    is_list: bool = False
    stretch_file: Callable[[Path, str], Path] | None = None
    read_stretches: Callable[[Path, Sequence[Trial], Sequence[float]], dict[str, Stretches]] | None = None

    @property
    def recipe(self) -> str:
        return self.part.lower()

    @property
    def identity(self) -> dict[str, str]:
        """What corpus.json says of the official corpus."""
        return {"name": self.name, "recipe": self.part} if self.part else {"name": self.name}

    def is_at(self, root: Path) -> bool:
        return any((root / marker).exists() for marker in self.markers)

    def audio_root(self, root: Path) -> Path:
        """The folder that the names of audio files start from."""
        return root.parent if self.is_list else root


def known_corpora() -> dict[str, Corpus]:
    """All parts of all corpora, by name."""
    return {name: one for module in _modules() for name, one in getattr(module, "CORPORA", {}).items()}


def known_downloads() -> dict[str, local.corpora.Download]:
    return {name: one for module in _modules() for name, one in getattr(module, "DOWNLOADS", {}).items()}


def _modules() -> Iterator:
    for found in sorted(pkgutil.iter_modules(local.corpora.__path__), key=lambda one: one.name):
        yield importlib.import_module(f"local.corpora.{found.name}")


def there(root: Path, *names: str) -> Path:
    """The first of some files or folders below `root` that exists; the first where none does."""
    return next((root / name for name in names if (root / name).exists()), root / names[0])


def read_rows(path: Path, columns: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of a key file whose columns are separated by blanks. columns: their names.

    Raises UserError, naming file and line, for another number of columns.
    """
    count = len(columns.split())
    for number, fields in read_table(path, columns=None):
        if len(fields) != count:
            raise UserError(
                f"{path}: line {number}: {len(fields)} columns where {count} are expected ({columns}): "
                f"{quoted(' '.join(fields))}; {FIX}"
            )
        yield number, fields


def word(text: str) -> str:
    """A name as a table's column holds it: runs of blanks become one `_`, `/` too; nothing becomes `-`."""
    return "_".join(text.split()).replace("/", "_") or "-"


def made_id(text: str) -> str:
    """An utterance's id: `text` itself if it may be one; else its letters, digits and _ . - with a digest that keeps
    ids of different texts apart."""
    if NAME.fullmatch(text) and text.strip("."):
        return text
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.")
    return f"{plain[-80:]}-{hashlib.sha256(os.fsencode(text)).hexdigest()[:10]}".lstrip("-")


def absent_audio(corpus: Corpus, root: Path, trials: Sequence[Trial]) -> list[bool]:
    """Is each trial's audio missing? By one listing of each folder, as hundreds of thousands of single questions take
    minutes on a network file system."""
    base = str(corpus.audio_root(root))
    listed: dict[str, frozenset[str]] = {}
    found = []
    for trial in trials:
        folder, _, name = trial.audio.rpartition("/")
        names = listed.get(folder)
        if names is None:
            try:
                names = frozenset(os.listdir(os.path.join(base, folder)))  # noqa: PTH118, PTH208 (base is no Path)
            except OSError:
                names = frozenset()
            listed[folder] = names
        found.append(name not in names)
    return found


def missing_of(corpus: Corpus, root: Path) -> str:
    """What an unpacked corpus lacks: key files, or audio of trials. There may be more files than trials."""
    lacking = []
    for subset in corpus.counts or ("eval",):
        keys = corpus.keys(root, subset)
        if not keys.is_file():
            lacking.append(str(keys.relative_to(root)))
            continue
        trials = corpus.read(root, subset).trials
        absent = [trial for trial, gone in zip(trials, absent_audio(corpus, root, trials)) if gone]
        if absent:
            lacking.append(f"{len(absent)} of {len(trials)} files in {os.path.dirname(absent[0].audio)}")  # noqa: PTH120
    return ", ".join(lacking)
