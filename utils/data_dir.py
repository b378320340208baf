#!/usr/bin/env python3
"""Kaldi data directories: validate, fix, split, subset, combine. Called by the shell scripts of those names.

A data directory is a folder of text tables, one line `KEY VALUE...` per utterance (utt2spk, wav.scp, utt2label, text,
feats.scp and so on), per speaker (spk2utt, spk2gender, cmvn.scp) or per recording (reco2dur; wav.scp too, where there
is a `segments`), each sorted by key in the C locale's order. Every table whose name begins with utt2, spk2 or reco2
counts, so that one of your own is split and filtered along with the others.

Time is linear in the number of lines. Tables are read and written line by line; what is held are the utterances' ids
and speakers, a few arrays (utils/tables.py), and one table more while it is sorted, if it is not in order.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import fcntl
import heapq
import itertools
import json
import os
import random
import re
import shutil
import sys
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from utils.cli import UserError, make_parser, run_program, warn, whole_number
from utils.files import make_dir_aside, read_filled_lines, read_json, write_json, write_lines
from utils.segments import MOST_OVERSHOOT, SEGMENTS, SIDES, durations, parse_segment, parse_side
from utils.tables import Coded, Keys, Strings, Table, order_of, table_of

TABLE = re.compile(r"(utt2|spk2|reco2)[A-Za-z0-9_]+")
MORE_UTT_TABLES = ("text", "feats.scp", "vad.scp", "segments")
MORE_SPK_TABLES = ("cmvn.scp",)
LABELS = ("bonafide", "spoof")
_LINES_AT_ONCE = 100_000  # of a table that is split

T = TypeVar("T")


def rows(path: Path, blank_values: bool = False) -> Iterator[tuple[int, str, str]]:
    """The lines of a table as (number from 1, key, whole line without the spaces at its end).

    Raises UserError, naming file and line, for a key without a value unless `blank_values`, and as read_filled_lines
    does.
    """
    for number, line in read_filled_lines(path):
        line = line.rstrip()
        fields = line.split(None, 1)
        if len(fields) < 2 and not blank_values:
            raise UserError(f"{path}: line {number}: {line!r} where `KEY VALUE` is expected; correct the line")
        yield number, fields[0], line


def value_of(line: str) -> str:
    return line.split(None, 1)[1]


class DataDir:
    """The tables of the data directory at `path`. Raises UserError if it is none."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_dir():
            raise UserError(f"{self.path}: no such data directory")
        if not (self.path / "utt2spk").is_file():
            raise UserError(f"{self.path}/utt2spk: no such file; a data directory has one")
        self.names = sorted(
            entry.name for entry in self.path.iterdir() if entry.is_file() and not entry.name.startswith(".")
        )
        self.has_segments = "segments" in self.names

    def __getitem__(self, name: str) -> Path:
        return self.path / name

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def utt_tables(self, extra: Collection[str] = ()) -> list[str]:
        """Names of the tables with a line per utterance, utt2spk first."""
        own = {name for name in self.names if name.startswith("utt2") and TABLE.fullmatch(name)}
        own |= {name for name in (*MORE_UTT_TABLES, *extra) if name in self}
        if "wav.scp" in self and not self.has_segments:
            own.add("wav.scp")
        return ["utt2spk", *sorted(own - {"utt2spk"})]

    def spk_tables(self, extra: Collection[str] = ()) -> list[str]:
        """Names of the tables with a line per speaker, without spk2utt, which follows from utt2spk."""
        own = {name for name in self.names if name.startswith("spk2") and TABLE.fullmatch(name)}
        return sorted((own | {name for name in (*MORE_SPK_TABLES, *extra) if name in self}) - {"spk2utt"})

    def reco_tables(self) -> list[str]:
        own = {name for name in self.names if name.startswith("reco2") and TABLE.fullmatch(name)}
        if "wav.scp" in self and self.has_segments:
            own.add("wav.scp")
        return sorted(own)

    def rows(self, name: str) -> Iterator[tuple[int, str, str]]:
        return rows(self[name], blank_values=name == "text")

    def table(self, name: str) -> Table:
        """A table as {key: value}. Raises UserError naming a key that stands there twice."""
        table = table_of((key, value_of(line)) for _, key, line in self.rows(name))
        place = table.first_repeated()
        if place >= 0:
            raise UserError(
                f"{self[name]}: line {place + 1}: {table.key_column[place]} stands there twice; "
                f"utils/fix_data_dir.sh {self.path} fixes it"
            )
        return table


def corpus_of(data: DataDir) -> dict[str, Any]:
    """Its corpus.json, which names the corpus. Raises UserError where that is something else."""
    corpus = read_json(data["corpus.json"])
    if not isinstance(corpus, dict):
        raise UserError(f"{data['corpus.json']}: it is no object of names and values; make the data directory again")
    return corpus


class BySpeaker:
    """The utterances of a utt2spk by speaker."""

    def __init__(self, utt2spk: Table):
        self.utts, self._speakers = utt2spk.key_column, utt2spk.column
        self._order = order_of(self._speakers)

    def __iter__(self) -> Iterator[tuple[str, list[int]]]:
        """Each speaker, sorted, and the places of its utterances."""
        return ((name, list(places)) for name, places in itertools.groupby(self._order, self._speakers.__getitem__))

    def speakers(self) -> Iterator[str]:
        """The speakers, sorted."""
        return (name for name, _ in itertools.groupby(self._order, self._speakers.__getitem__))

    def lines(self) -> Iterator[str]:
        """The lines of spk2utt."""
        return (f"{speaker} {' '.join(self.utts[place] for place in places)}" for speaker, places in self)


# --- validate ---------------------------------------------------------------------------------------------------------


def _positive(text: str, kind: type) -> bool:
    try:
        return 0 < kind(text) < float("inf")
    except ValueError:
        return False


def _refusal_of(parse: Callable[[str], Any]) -> Callable[[str], str]:
    def refusal(value: str) -> str:
        try:
            parse(value)
        except ValueError as error:
            return str(error)
        return ""

    return refusal


# What is wrong with a value of a table; an empty text where nothing is
CHECKS: dict[str, Callable[[str], str]] = {
    "utt2spk": lambda value: "is not one speaker" if len(value.split()) != 1 else "",
    "utt2dur": lambda value: "" if _positive(value, float) else "is not a number of seconds above 0",
    "utt2num_frames": lambda value: "" if _positive(value, int) else "is not a whole number of frames above 0",
    "utt2label": lambda value: "" if value in LABELS else "is neither bonafide nor spoof",
    "utt2attack": lambda value: "is not one attack" if len(value.split()) != 1 else "",
    "wav.scp": lambda value: "begins with ~, which only a shell understands" if value.startswith("~") else "",
    "spk2gender": lambda value: "" if value in ("m", "f") else "is neither m nor f",
    SEGMENTS: _refusal_of(parse_segment),
    SIDES: _refusal_of(parse_side),
}


def _check_form(path: Path) -> None:
    """Raises UserError for what readers here pass over and Kaldi's do not: byte order marks, line ends of Windows,
    blank lines; and for a last line without a newline, which may be cut off."""
    mend = f"utils/fix_data_dir.sh {path.parent} fixes it"
    line = b""
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            if line.startswith(codecs.BOM_UTF8):
                raise UserError(f"{path}: line {number}: it begins with a byte order mark; {mend}")
            if b"\r" in line:
                raise UserError(f"{path}: line {number}: its end is that of Windows; {mend}")
            if not line.strip():
                raise UserError(f"{path}: line {number}: empty; remove it, or write what it was")
    if not line:
        raise UserError(f"{path}: is empty; make the data directory again")
    if not line.endswith(b"\n"):
        raise UserError(
            f"{path}: its last line has no newline, so that the file may be cut off; make it again, or {mend}"
        )


def _differing(keys: Iterable[str], wanted: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Of two sorted runs of keys those that are in one of them only, and whether that is `wanted`."""
    merged = heapq.merge(((key, False) for key in keys), ((key, True) for key in wanted))
    for key, one in itertools.groupby(merged, lambda pair: pair[0]):
        whose = [is_wanted for _, is_wanted in one]
        if len(whose) == 1:
            yield key, whose[0]


def _check_table(
    data: DataDir, name: str, wanted: Callable[[], Iterable[str]] | None, of: str, non_print: bool = True
) -> None:
    """Check a table: sorted, no key twice, good values, and the same keys as `wanted` if that is given, sorted too."""
    path, check = data[name], CHECKS.get(name)
    _check_form(path)
    mend = f"utils/fix_data_dir.sh {data.path} fixes it"
    last, same = "", True
    expected = iter(wanted()) if wanted else itertools.repeat(None)
    for number, key, line in data.rows(name):
        if number > 1 and key <= last:
            what = "stands there twice" if key == last else f"stands after {last}: not in the C locale's order"
            raise UserError(f"{path}: line {number}: {key} {what}; {mend}")
        if check and (wrong := check(value_of(line))):
            raise UserError(f"{path}: line {number}: {key}: {value_of(line)!r} {wrong}; correct the line")
        if not non_print and not line.replace("\t", " ").isprintable():
            raise UserError(
                f"{path}: line {number}: {key}: a character that cannot be printed; say --non-print to allow it"
            )
        last = key
        same = same and next(expected, "") in (key, None)
    if wanted is not None and not (same and next(expected, None) is None):
        first: dict[bool, str] = {}
        count = {True: 0, False: 0}
        for key, is_wanted in _differing((key for _, key, _ in data.rows(name)), wanted()):
            first.setdefault(is_wanted, key)
            count[is_wanted] += 1
        found = [f"{count[True]} of {of} are not in it (first: {first[True]})"] if count[True] else []
        found += [f"{count[False]} in it are not in {of} (first: {first[False]})"] if count[False] else []
        raise UserError(f"{path}: {', '.join(found)}; {mend}")


def validate(
    data: DataDir,
    feats: bool = True,
    wav: bool = True,
    text: bool = True,
    spk_sort: bool = True,
    non_print: bool = False,
) -> None:
    """Raises UserError, naming file, line and key, where the data directory is not as it should be."""
    for name, needed, option in (
        ("feats.scp", feats, "--no-feats"),
        ("wav.scp", wav, "--no-wav"),
        ("text", text, "--no-text"),
    ):
        if needed and name not in data:
            raise UserError(f"{data[name]}: no such file (if that is meant so, say {option})")
    if "spk2utt" not in data:
        raise UserError(f"{data['spk2utt']}: no such file; utils/fix_data_dir.sh {data.path} makes it")
    _check_table(data, "utt2spk", None, "")
    utt2spk = data.table("utt2spk")
    if spk_sort:
        last = ""
        for utt, speaker in utt2spk.pairs():
            if speaker < last:
                raise UserError(
                    f"{data['utt2spk']}: {utt} of {speaker} stands after an utterance of {last}: the utterances are not"
                    " in order of their speakers; say --no-spk-sort if the speaker is no prefix of the utterance's id"
                )
            last = speaker
    by_speaker = BySpeaker(utt2spk)
    _check_table(data, "spk2utt", by_speaker.speakers, "the speakers of utt2spk")
    for (number, speaker, line), (_, places) in zip(data.rows("spk2utt"), by_speaker):
        if value_of(line).split() != [utt2spk.key_column[place] for place in places]:
            raise UserError(
                f"{data['spk2utt']}: line {number}: {speaker}: not the utterances that utt2spk gives this speaker; "
                f"utils/fix_data_dir.sh {data.path} makes it again"
            )
    if len(speakers := list(itertools.islice(by_speaker.speakers(), 2))) == 1:
        warn(f"{data['spk2utt']}: there is one speaker only, {speakers[0]}")
    if data.has_segments and "wav.scp" not in data:
        raise UserError(f"{data['wav.scp']}: no such file, though there are segments; make the data directory again")
    for name in data.utt_tables()[1:]:
        _check_table(data, name, lambda: utt2spk, "the utterances of utt2spk", non_print or name != "text")
    for name in data.spk_tables():
        _check_table(data, name, by_speaker.speakers, "the speakers of spk2utt")
    recordings: Iterable[str] = utt2spk
    if data.has_segments:
        recordings = sorted({value_of(line).split()[0] for _, _, line in data.rows("segments")})
    for name in data.reco_tables():
        _check_table(data, name, lambda: recordings, "the recordings" + (" of segments" if data.has_segments else ""))
    if data.has_segments and "utt2dur" in data:
        for (number, utt, line), (_, _, length) in zip(data.rows(SEGMENTS), data.rows("utt2dur")):
            _, begin, end = parse_segment(value_of(line))
            if end is not None and abs(float(value_of(length)) - (end - begin)) > MOST_OVERSHOOT:
                raise UserError(
                    f"{data['utt2dur']}: line {number}: {utt}: {value_of(length)} s, where its segment has "
                    f"{end - begin:g} s; correct the line"
                )
    if "utt2label" in data and "utt2attack" in data:
        for (number, utt, label), (_, _, attack) in zip(data.rows("utt2label"), data.rows("utt2attack")):
            if (value_of(label) == "bonafide") != (value_of(attack) == "-"):
                raise UserError(
                    f"{data['utt2attack']}: line {number}: {utt}: the attack {value_of(attack)!r} does not go with the "
                    f"label {value_of(label)!r} in utt2label (bona fide has '-'); correct the line"
                )


def main_validate() -> None:
    parser = make_parser(
        "Check that the tables of a data directory are sorted, complete and agree with each other. The --no- "
        "options let a file be missing; if it exists, it is checked.",
        "utils/validate_data_dir.sh --no-text --no-feats --no-spk-sort data/train",
    )
    for option, text in (
        ("--no-feats", "feats.scp may be missing"),
        ("--no-wav", "wav.scp may be missing"),
        ("--no-text", "text may be missing"),
        ("--no-spk-sort", "utterances need not be in the order of their speakers (their ids do not begin with them)"),
        ("--non-print", "let text have characters that cannot be printed"),
    ):
        parser.add_argument(option, action="store_true", help=text)
    parser.add_argument("data_dir", metavar="DATA-DIR", help="such as data/train")
    args = parser.parse_args()
    data = DataDir(args.data_dir)
    validate(data, not args.no_feats, not args.no_wav, not args.no_text, not args.no_spk_sort, args.non_print)
    print(f"{parser.prog}: {data.path} is valid")


# --- fix --------------------------------------------------------------------------------------------------------------


Pairs = Callable[[], Iterator[tuple[str, str]]]  # (key, line), anew at each call


def _keyed(data: DataDir, name: str) -> Iterator[tuple[str, str]]:
    return ((key, line) for _, key, line in data.rows(name))


def _in_order(lines: Pairs) -> Iterator[tuple[str, str]]:
    """Sorted by key, those of one key as they stand; held only if they are not in order."""
    if all(one[0] <= other[0] for one, other in itertools.pairwise(lines())):
        return lines()
    return table_of(lines()).pairs_in_order()


def _sorted_unique(data: DataDir, name: str) -> Pairs:
    """A table in the C locale's order; of lines with one key the first one is kept."""
    keys = (key for _, key, _ in data.rows(name))
    if all(one < other for one, other in itertools.pairwise(keys)):
        return lambda: _keyed(data, name)
    table = table_of(_keyed(data, name))
    firsts, twice = array("q"), []
    for _, own in itertools.groupby(table.places_in_order(), table.key_column.__getitem__):
        places = list(own)
        firsts.append(places[0])
        twice += [place for place in places[1:] if table.column[place] != table.column[places[0]]]
    if twice:
        warn(
            f"{data[name]}: {len(twice)} line(s) give a key another value than a line above; the first is kept "
            f"(line {min(twice) + 1}: {table.key_column[min(twice)]})"
        )
    return lambda: ((table.key_column[place], table.column[place]) for place in firsts)


def _rewrite(data: DataDir, name: str, lines: Callable[[], Iterator[str]]) -> bool:
    """Give a table these lines, the old ones kept in .backup; False if they are what it has already."""
    path = data[name]
    if path.is_file():
        with path.open("rb") as old:
            if all(line.encode() + b"\n" == old.readline() for line in lines()) and not old.read(1):
                return False
        backup = data.path / ".backup"
        backup.mkdir(exist_ok=True)
        shutil.copy2(path, backup / name)
    write_lines(path, lines())
    return True


def fix(
    data: DataDir, utt_extra: Collection[str] = (), spk_extra: Collection[str] = (), shown: Path | None = None
) -> tuple[int, int]:
    """Sort every table and keep what is in all of them. Returns the utterances (before, after).

    `shown` is the name that messages give the directory. Raises UserError, with nothing changed, where no utterance
    would be left.
    """
    shown = shown or data.path
    names = data.utt_tables(utt_extra)
    all_utts = Keys(Strings(key for key, _ in _sorted_unique(data, "utt2spk")()))
    total = len(all_utts.texts)
    kept = bytearray(b"\1") * total
    notes = []
    recordings: set[str] | None = None
    if data.has_segments:
        if "wav.scp" not in data:
            raise UserError(
                f"{data['wav.scp']}: no such file, though there are segments; make the data directory again"
            )
        there = {key for _, key, _ in data.rows("wav.scp")}
        recordings = {value_of(line).split()[0] for _, _, line in data.rows("segments")} & there
    for name in names[1:]:
        has = bytearray(total + 1)  # the last one is that of keys that utt2spk has not
        for _, key, line in data.rows(name):
            if name != "segments" or recordings is None or value_of(line).split()[0] in recordings:
                has[all_utts.place(key)] = 1
        del has[total]
        if lacking := has.count(0):
            notes.append(f"{name} lacks {lacking} (such as {all_utts.texts[has.find(0)]})")
            kept = bytearray(map(min, kept, has))
    after = kept.count(1)
    if not after:
        raise UserError(
            f"{shown}: no utterance is in all of {' '.join(names)} ({'; '.join(notes)}); nothing was changed. "
            "Remove the table that does not belong here, or make it again"
        )
    changed = []

    def keep(name: str, inside: Callable[[str], bool]) -> None:
        pairs, counts = _sorted_unique(data, name), [0, 0]

        def lines() -> Iterator[str]:
            counts[:] = 0, 0
            for key, line in pairs():
                counts[0] += 1
                if inside(key):
                    counts[1] += 1
                    yield line

        if _rewrite(data, name, lines):
            changed.append(f"{name} ({counts[0]} -> {counts[1]})")

    def utt_is_kept(utt: str) -> bool:
        place = all_utts.place(utt)
        return place >= 0 and kept[place] == 1

    for name in names:
        keep(name, utt_is_kept)
    used = {value_of(line).split()[0] for _, _, line in data.rows("segments")} if data.has_segments else set()
    by_speaker = BySpeaker(data.table("utt2spk"))
    if _rewrite(data, "spk2utt", by_speaker.lines):
        changed.append("spk2utt")
    spk_tables = data.spk_tables(spk_extra)
    speakers = Keys(Strings(by_speaker.speakers() if spk_tables else ()))
    for name in spk_tables:
        keep(name, lambda speaker: speakers.place(speaker) >= 0)
    for name in data.reco_tables():
        keep(name, used.__contains__ if data.has_segments else utt_is_kept)
    for note in notes:
        warn(f"{shown}: {note} of the {total} utterances of utt2spk: they were left out everywhere")
    if changed:
        print(f"{shown}: sorted and filtered: {', '.join(changed)}; the old files are in {shown}/.backup")
    return total, after


def main_fix() -> None:
    parser = make_parser(
        "Sort the tables of a data directory and filter them to the utterances that all of them have; spk2utt is made "
        "from utt2spk. The old files are kept in DATA-DIR/.backup.",
        "utils/fix_data_dir.sh data/train",
    )
    parser.add_argument("--utt-extra-files", default="", help="further tables by utterance, such as 'f1 f2'")
    parser.add_argument("--spk-extra-files", default="", help="further tables by speaker")
    parser.add_argument("data_dir", metavar="DATA-DIR", help="such as data/train")
    args = parser.parse_args()
    before, after = fix(DataDir(args.data_dir), args.utt_extra_files.split(), args.spk_extra_files.split())
    print(f"{parser.prog}: kept {'all ' if before == after else ''}{after} of {before} utterances of {args.data_dir}")


# --- split and subset -------------------------------------------------------------------------------------------------


class Parts:
    """Which part each utterance of a data directory goes to, from 0; -1: to none."""

    def __init__(self, utts: Coded | Strings):
        self.keys, self._part = Keys(utts), array("i", [-1]) * len(utts)

    def put(self, places: Iterable[int], part: int) -> None:
        """Let the utterances at these places of utt2spk go to a part."""
        for place in places:
            self._part[place] = part

    def at(self, place: int) -> tuple[int, ...]:
        """The part of the utterance at a place of utt2spk; none, or one."""
        return () if self._part[place] < 0 else (self._part[place],)

    def count(self, part: int) -> int:
        return self._part.count(part)


def write_parts(data: DataDir, folders: Sequence[Path], parts: Parts) -> None:
    """Write a data directory per folder, with the utterances of its part.

    Speakers and recordings go wherever an utterance of theirs goes. Each table is read once. Raises UserError for a
    table that lacks utterances of utt2spk or has others, and for one that lacks speakers or recordings of theirs.
    """
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)

    def distribute(name: str, keys: Keys, parts_at: Callable[[int], Iterable[int]]) -> None:
        waiting: list[list[str]] = [[] for _ in folders]
        seen, stranger = bytearray(len(keys.texts)), ""

        def write() -> None:  # not all files are open at once: there may be more than a process may open
            for folder, own in zip(folders, waiting):
                with (folder / name).open("a", encoding="utf-8", newline="\n") as handle:
                    handle.writelines(own)
                own.clear()

        for number, key, line in data.rows(name):
            place = keys.place(key)
            if place >= 0:
                seen[place] = 1
                for part in parts_at(place):
                    waiting[part].append(line + "\n")
            else:
                stranger = stranger or key
            if number % _LINES_AT_ONCE == 0:
                write()
        write()
        mend = f"utils/fix_data_dir.sh {data.path} leaves them out"
        if lacking := seen.count(0):
            of = "of utt2spk" if keys is parts.keys else "that its utterances have"
            raise UserError(f"{data[name]}: {lacking} {of} are not in it (first: {keys.texts[seen.find(0)]}); {mend}")
        if stranger and keys is parts.keys:
            raise UserError(f"{data[name]}: it has utterances that are not in utt2spk (first: {stranger}); {mend}")

    spk_parts: dict[str, set[int]] = {}
    reco_parts: dict[str, set[int]] = {}
    spk_tables = data.spk_tables()
    for name in data.utt_tables():
        distribute(name, parts.keys, parts.at)
        for part, folder in enumerate(folders):
            if name == "utt2spk":
                by_speaker = BySpeaker(DataDir(folder).table("utt2spk"))
                write_lines(folder / "spk2utt", by_speaker.lines())
                for speaker in by_speaker.speakers() if spk_tables else ():
                    spk_parts.setdefault(speaker, set()).add(part)
            elif name == "segments":
                for _, _, line in rows(folder / "segments"):
                    reco_parts.setdefault(line.split()[1], set()).add(part)
    for names, parts_of in ((spk_tables, spk_parts), (data.reco_tables() if data.has_segments else (), reco_parts)):
        keys, own = Keys(Strings(parts_of)), list(parts_of.values())
        for name in names:
            distribute(name, keys, own.__getitem__)
    if not data.has_segments:
        for name in data.reco_tables():
            distribute(name, parts.keys, parts.at)
    done = {"spk2utt", *data.utt_tables(), *spk_tables, *data.reco_tables()}
    for name in data.names:  # what is said of the whole, such as corpus.json or frame_shift
        if name not in done:
            for folder in folders:
                shutil.copy2(data[name], folder / name)


def _cuts(sizes: Sequence[int], parts: int) -> list[int]:
    """Where to cut a row of groups of these sizes into `parts` runs of about equal size, none empty.

    Returns the index of each run's first group. Each cut is made as near to its even share as the groups allow.
    """
    total, cuts, before, at = sum(sizes), [0], 0, 0
    for part in range(1, parts):
        goal = total * part / parts
        last = len(sizes) - (parts - part)  # leave a group for each run to come
        before += sizes[at]
        at += 1
        while at < last and before + sizes[at] / 2 <= goal:
            before += sizes[at]
            at += 1
        cuts.append(at)
    return cuts


def assign(data: DataDir, parts: int, per_utt: bool) -> Parts:
    """Runs of utterances, or (not `per_utt`) of whole speakers, of about equal size."""
    utt2spk = data.table("utt2spk")
    total = len(utt2spk)
    sizes = None if per_utt else [len(places) for _, places in BySpeaker(utt2spk)]
    groups = total if sizes is None else len(sizes)
    if groups < parts:
        what = "utterances" if per_utt else "speakers"
        mend = "" if per_utt or total < parts else ", or say --per-utt"
        raise UserError(
            f"{data.path}: {groups} {what} cannot be split into {parts} parts; ask for {groups} at most{mend}"
        )
    part_of = Parts(utt2spk.key_column)
    if sizes is None:  # the first parts get the odd ones, as in Kaldi
        size, odd = divmod(total, parts)
        cuts = [part * size + min(part, odd) for part in range(parts + 1)]
        for part, (begin, end) in enumerate(itertools.pairwise(cuts)):
            part_of.put(range(begin, end), part)
    else:
        part, ends = 0, [*_cuts(sizes, parts)[1:], groups]
        for number, (_, places) in enumerate(BySpeaker(utt2spk)):
            if number == ends[part]:
                part += 1
            part_of.put(places, part)
    return part_of


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time: recipes may share a data directory and split it at the same moment."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def split(data: DataDir, parts: int, per_utt: bool) -> bool:
    """Make DATA/split{parts}[utt]/{1..parts}; False if it is there already, made from the same tables."""
    target = data.path / f"split{parts}{'utt' if per_utt else ''}"
    stamps = {}
    for name in data.names:
        status = data[name].stat()
        stamps[name] = [status.st_size, status.st_mtime_ns]
    with locked(data.path):
        stamp_file = target / ".made_from.json"
        if stamp_file.is_file():
            with contextlib.suppress(UserError):
                if read_json(stamp_file) == stamps:
                    return False
        parts_of_utts = assign(data, parts, per_utt)
        with make_dir_aside(target) as temporary:
            write_parts(data, [temporary / str(part + 1) for part in range(parts)], parts_of_utts)
            write_json(temporary / ".made_from.json", stamps)
            shutil.rmtree(target, ignore_errors=True)
    return True


def main_split() -> None:
    parser = make_parser(
        "Split a data directory into N of about equal size: DATA-DIR/splitN/{1..N}, each speaker in one of them, or"
        " with --per-utt DATA-DIR/splitNutt/{1..N}. Does nothing if that was made from the same tables already.",
        "utils/split_data.sh --per-utt data/train 8",
    )
    parser.add_argument("--per-utt", action="store_true", help="split regardless of the speakers")
    parser.add_argument("data_dir", metavar="DATA-DIR", help="such as data/train")
    parser.add_argument("parts", metavar="N", type=whole_number(1), help="number of parts")
    args = parser.parse_args()
    split(DataDir(args.data_dir), args.parts, args.per_utt)


def spread(items: Sequence[T], n: int) -> list[T]:
    """`n` of the items, evenly spaced over the whole."""
    return [items[i * len(items) // n] for i in range(n)]


def _listed(path: str, known: Callable[[str], bool], what: str, data: DataDir) -> Keys:
    """The keys of a list, of which some must be known."""
    wanted = Keys(Strings(key for _, key, _ in rows(Path(path), blank_values=True)))
    count = kept = 0
    for key, _ in itertools.groupby(wanted.in_order()):
        count += 1
        kept += known(key)
    if not kept:
        raise UserError(f"{path}: none of its {count} {what} is in {data.path}; give the list that goes with it")
    if kept < count:
        warn(f"{path}: {count - kept} of its {count} {what} are not in {data.path}")
    return wanted


def select(data: DataDir, args: argparse.Namespace, n: int) -> Parts:
    """The utterances that subset_data_dir.sh's options choose, as part 0; `n` is 0 where a list is given."""
    utt2spk = data.table("utt2spk")
    utts, chosen = utt2spk.key_column, Parts(utt2spk.key_column)
    if args.utt_list:
        wanted = _listed(args.utt_list, lambda utt: utt2spk.place(utt) >= 0, "utterances", data)
        chosen.put((place for place, utt in enumerate(utts) if wanted.place(utt) >= 0), 0)
        return chosen
    by_speaker = BySpeaker(utt2spk)
    if args.spk_list:
        speakers = Keys(Strings(by_speaker.speakers()))
        wanted = _listed(args.spk_list, lambda speaker: speakers.place(speaker) >= 0, "speakers", data)
        for speaker, places in by_speaker:
            chosen.put(places if wanted.place(speaker) >= 0 else (), 0)
        return chosen
    if args.per_spk:
        for _, places in by_speaker:
            chosen.put(spread(places, min(n, len(places))), 0)
        return chosen
    if n > len(utts):
        raise UserError(f"{data.path}: {n} utterances asked for, and it has {len(utts)}; ask for fewer")
    if args.speakers:
        counts = [len(places) for _, places in by_speaker]
        order = list(range(len(counts)))
        random.Random(0).shuffle(order)  # the same choice each time
        some, count = set(), 0
        for number in order:
            if count >= n:
                break
            some.add(number)
            count += counts[number]
        for number, (_, places) in enumerate(by_speaker):
            chosen.put(places if number in some else (), 0)
        return chosen
    if args.shortest:
        name = next((name for name in ("utt2num_frames", "utt2dur") if name in data), None)
        if name is None and not data.has_segments:
            raise UserError(f"{data.path}: --shortest needs utt2num_frames, utt2dur or segments, and none is there")
        if name is None:
            name = SEGMENTS
            table = table_of((utt, repr(seconds)) for utt, seconds in durations(data.path))
        else:
            table = data.table(name)
        lengths = array("d")
        for utt in utts:
            place = table.place(utt)
            if place < 0:
                raise UserError(f"{data[name]}: has no line for {utt}; utils/fix_data_dir.sh {data.path} fixes it")
            length = table.column[place]
            if not _positive(length, float):
                raise UserError(f"{data[name]}: {utt}: {length!r} is not a number above 0; correct the line")
            lengths.append(float(length))
        chosen.put(sorted(order_of(utts), key=lengths.__getitem__)[:n], 0)
        return chosen
    everything = range(len(utts))
    if args.first:
        chosen.put(everything[:n], 0)
    elif args.last:
        chosen.put(everything[len(utts) - n :], 0)
    else:
        chosen.put(spread(everything, n), 0)
    return chosen


def replace_dir(target: Path, sources: Iterable[DataDir], write: Callable[[Path], None]) -> None:
    """Make the data directory `target` by `write`; an older data directory of that name gives way when it is whole."""
    if any(target.resolve() == data.path.resolve() for data in sources):
        raise UserError(f"{target}: is the directory to read; give another place to write to")
    if target.exists() and not (target / "utt2spk").is_file() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target}: exists and is no data directory; remove it, or give another place to write to")
    with make_dir_aside(target) as temporary:
        write(temporary)
        shutil.rmtree(target, ignore_errors=True)


def main_subset() -> None:
    parser = make_parser(
        "Make a data directory of some of the utterances of another. Without an option, N evenly spread ones.",
        "utils/subset_data_dir.sh --first data/train 500 data/train_500\n"
        "utils/subset_data_dir.sh --utt-list some_utterances data/train data/train_some",
    )
    parser.usage = (
        "%(prog)s [--first|--last|--shortest|--speakers|--per-spk] SRC-DIR N DEST-DIR\n"
        "       %(prog)s (--spk-list FILE | --utt-list FILE) SRC-DIR DEST-DIR"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--first", action="store_true", help="the first N utterances")
    how.add_argument("--last", action="store_true", help="the last N utterances")
    how.add_argument("--shortest", action="store_true", help="the N shortest, by utt2num_frames, utt2dur or segments")
    how.add_argument("--speakers", action="store_true", help="as many random speakers as have N utterances")
    how.add_argument("--per-spk", action="store_true", help="N utterances of each speaker, or all if there are fewer")
    how.add_argument("--spk-list", metavar="FILE", help="the speakers in the first column of FILE")
    how.add_argument("--utt-list", metavar="FILE", help="the utterances in the first column of FILE")
    parser.add_argument("places", nargs="+", metavar="SRC-DIR [N] DEST-DIR", help="source, number, target")
    args = parser.parse_args()
    listed = bool(args.spk_list or args.utt_list)
    if len(args.places) != (2 if listed else 3):
        parser.error("SRC-DIR DEST-DIR are expected" if listed else "SRC-DIR N DEST-DIR are expected")
    n = 0
    if not listed:
        try:
            n = whole_number(1)(args.places[1])
        except argparse.ArgumentTypeError as error:
            parser.error(f"N: {error}")
    data, target = DataDir(args.places[0]), Path(args.places[-1])
    chosen = select(data, args, n)

    def write(folder: Path) -> None:
        write_parts(data, [folder], chosen)
        if "corpus.json" in data and chosen.count(0) < sum(1 for _ in data.rows("utt2spk")):
            write_json(folder / "corpus.json", {**corpus_of(data), "subset": True})

    replace_dir(target, [data], write)
    print(
        f"{parser.prog}: {target} has {chosen.count(0)} of the {sum(1 for _ in data.rows('utt2spk'))} utterances of"
        f" {data.path}"
    )


# --- combine ----------------------------------------------------------------------------------------------------------


def _merge(
    sources: Sequence[DataDir], name: str, lines_of: Callable[[DataDir], Iterator[tuple[str, str]]]
) -> Iterator[str]:
    """The lines of a table of all sources, sorted by key. Raises UserError for a key to which two give other values."""

    def numbered(number: int, data: DataDir) -> Iterator[tuple[str, int, str]]:
        return ((key, number, line) for key, line in _in_order(lambda: lines_of(data)))

    merged = heapq.merge(*(numbered(number, data) for number, data in enumerate(sources)), key=lambda one: one[0])
    for key, own in itertools.groupby(merged, lambda one: one[0]):
        (_, origin, line), *others = own
        for _, number, other in others:
            if other != line:
                raise UserError(
                    f"{sources[number][name]}: {key} is {value_of(other)!r} here and {value_of(line)!r} in "
                    f"{sources[origin][name]}; rename one of them, or leave it out"
                )
        yield line


# the line that an utterance has where its data dir lacks the table: it is no copy of another, and a recording of its
# own
_WITHOUT = {"utt2uniq": lambda utt: f"{utt} {utt}", SEGMENTS: lambda utt: f"{utt} {utt} 0 -1"}


def combine(sources: Sequence[DataDir], folder: Path, extra: Collection[str] = ()) -> None:
    """Write the tables that all sources have, put together; says which ones are left out as some lack them.

    Raises UserError where only some have a `reco2file_and_channel`."""
    per_source = [
        {*data.utt_tables(), *data.spk_tables(), *data.reco_tables(), *(name for name in extra if name in data)}
        for data in sources
    ]
    for name in sorted(set.union(*per_source)):
        lacking = [str(data.path) for data, names in zip(sources, per_source) if name not in names]
        if lacking and name == SIDES:  # without it channels are mixed, or refused
            have = next(str(data.path) for data, names in zip(sources, per_source) if name in names)
            raise UserError(
                f"{', '.join(lacking)}: no {SIDES}, which {have} has; write it, a line `RECORDING FILE A` or `RECORDING"
                " FILE B` for each recording, or remove it from all"
            )
        if lacking and name in _WITHOUT:

            def given_or_made(data: DataDir, name: str = name) -> Iterator[tuple[str, str]]:
                if name in data:
                    return ((key, line) for _, key, line in data.rows(name))
                return ((key, _WITHOUT[name](key)) for _, key, _ in data.rows("utt2spk"))

            write_lines(folder / name, _merge(sources, name, given_or_made))
        elif lacking:
            warn(f"{name} is left out: it is not in {', '.join(lacking)}")
        else:

            def lines(data: DataDir, name: str = name) -> Iterator[tuple[str, str]]:
                return _keyed(data, name)

            write_lines(folder / name, _merge(sources, name, lines))
    write_lines(folder / "spk2utt", BySpeaker(DataDir(folder).table("utt2spk")).lines())
    corpora = [corpus_of(data) if "corpus.json" in data else None for data in sources]
    if all(corpus == corpora[0] for corpus in corpora):
        if corpora[0] is not None:
            write_json(folder / "corpus.json", corpora[0])
    else:
        names = dict.fromkeys(
            json.dumps(corpus) if corpus is None else str(corpus.get("name", "?")) for corpus in corpora
        )
        write_json(folder / "corpus.json", {"name": " + ".join(map(str, names)), "combined_from": corpora})


def main_combine() -> None:
    parser = make_parser(
        "Join data directories. Tables that some of them lack are left out, except segments: an utterance of a "
        "directory without them becomes its own recording. An older data directory of the name DEST-DIR is "
        "replaced.",
        "utils/combine_data.sh data/train_dev data/train data/dev",
    )
    parser.add_argument("--extra-files", default="", help="further tables to join, such as 'f1 f2'")
    parser.add_argument("--skip-fix", default="false", choices=("true", "false"), help="do not filter the tables after")
    parser.add_argument("dest", metavar="DEST-DIR", help="data directory to write")
    parser.add_argument("sources", metavar="SRC-DIR", nargs="+", help="data directories")
    args = parser.parse_args()
    sources = [DataDir(source) for source in args.sources]

    def write(folder: Path) -> None:
        combine(sources, folder, args.extra_files.split())
        if args.skip_fix == "false":
            fix(DataDir(folder), args.extra_files.split(), shown=Path(args.dest))

    replace_dir(Path(args.dest), sources, write)
    count = sum(1 for _ in rows(Path(args.dest) / "utt2spk"))
    print(f"{parser.prog}: {args.dest} has {count} utterances from {' '.join(args.sources)}")


PROGRAMS = {
    "validate_data_dir.sh": main_validate,
    "fix_data_dir.sh": main_fix,
    "split_data.sh": main_split,
    "subset_data_dir.sh": main_subset,
    "combine_data.sh": main_combine,
}


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in PROGRAMS:
        sys.exit(f"data_dir.py: call it through utils/{', utils/'.join(PROGRAMS)}")
    del sys.argv[0]  # its messages bear the name of the script that called it
    run_program(PROGRAMS[sys.argv[0]])
