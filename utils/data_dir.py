#!/usr/bin/env python3
"""Kaldi data directories: validate, fix, subset, combine. Called by the shell scripts of those names.

A data directory is a folder of text tables, one line `KEY VALUE...` per utterance (utt2spk, wav.scp, utt2label, text,
feats.scp and so on), per speaker (spk2utt, spk2gender, cmvn.scp) or per recording (reco2dur; wav.scp too, where there
is a `segments`), each sorted by key in the C locale's order. Every table whose name begins with utt2, spk2 or reco2
counts, so that one of your own is filtered along with the others. One table at a time is in memory.
"""

from __future__ import annotations

import argparse
import codecs
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from utils.cli import UserError, make_parser, run_program, warn, whole_number
from utils.files import make_dir_aside, read_filled_lines, read_json, write_json, write_lines
from utils.segments import MOST_OVERSHOOT, SEGMENTS, SIDES, parse_segment, parse_side

TABLE = re.compile(r"(utt2|spk2|reco2)[A-Za-z0-9_]+")
MORE_UTT_TABLES = ("text", "feats.scp", "vad.scp", "segments")
MORE_SPK_TABLES = ("cmvn.scp",)
LABELS = ("bonafide", "spoof")

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

    def lines(self, name: str) -> dict[str, str]:
        """Each key's line, sorted; of lines with one key the first. Warns of one whose value is another."""
        found: dict[str, str] = {}
        other = []
        for number, key, line in self.rows(name):
            if found.setdefault(key, line) != line:
                other.append(f"line {number}: {key}")
        if other:
            warn(
                f"{self[name]}: {len(other)} line(s) give a key another value than a line above; the first is kept "
                f"({other[0]})"
            )
        return dict(sorted(found.items()))

    def recordings(self) -> set[str]:
        """Those that the segments are of."""
        return {value_of(line).split()[0] for _, _, line in self.rows(SEGMENTS)}


def corpus_of(data: DataDir) -> dict[str, Any]:
    """Its corpus.json, which names the corpus. Raises UserError where that is something else."""
    corpus = read_json(data["corpus.json"])
    if not isinstance(corpus, dict):
        raise UserError(f"{data['corpus.json']}: it is no object of names and values; make the data directory again")
    return corpus


def by_speaker(utt2spk: Iterable[str]) -> dict[str, list[str]]:
    """Each speaker, sorted, and their utterances in the order of these lines."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in utt2spk:
        found[value_of(line)].append(line.split()[0])
    return dict(sorted(found.items()))


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
    fix = f"utils/fix_data_dir.sh {path.parent} fixes it"
    line = b""
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            if line.startswith(codecs.BOM_UTF8):
                raise UserError(f"{path}: line {number}: it begins with a byte order mark; {fix}")
            if b"\r" in line:
                raise UserError(f"{path}: line {number}: its end is that of Windows; {fix}")
            if not line.strip():
                raise UserError(f"{path}: line {number}: empty; remove it, or write what it was")
    if not line:
        raise UserError(f"{path}: is empty; make the data directory again")
    if not line.endswith(b"\n"):
        raise UserError(
            f"{path}: its last line has no newline, so that the file may be cut off; make it again, or {fix}"
        )


def _check_table(
    data: DataDir, name: str, wanted: Collection[str] | None, of: str = "", non_print: bool = True
) -> list[str]:
    """The lines of a table that is sorted, with no key twice, good values, and the same keys as `wanted` if that is
    given. Raises UserError for any other."""
    path, check = data[name], CHECKS.get(name)
    _check_form(path)
    fix = f"utils/fix_data_dir.sh {data.path} fixes it"
    found: dict[str, str] = {}
    last = ""
    for number, key, line in data.rows(name):
        if number > 1 and key <= last:
            what = "stands there twice" if key == last else f"stands after {last}: not in the C locale's order"
            raise UserError(f"{path}: line {number}: {key} {what}; {fix}")
        if check and (wrong := check(value_of(line))):
            raise UserError(f"{path}: line {number}: {key}: {value_of(line)!r} {wrong}; correct the line")
        if not non_print and not line.replace("\t", " ").isprintable():
            raise UserError(
                f"{path}: line {number}: {key}: a character that cannot be printed; say --non-print to allow it"
            )
        found[key], last = line, key
    if wanted is not None and found.keys() != set(wanted):
        lacking, more = sorted(wanted - found.keys()), sorted(found.keys() - wanted)
        said = [f"{len(lacking)} of {of} are not in it (first: {lacking[0]})"] if lacking else []
        said += [f"{len(more)} in it are not in {of} (first: {more[0]})"] if more else []
        raise UserError(f"{path}: {', '.join(said)}; {fix}")
    return list(found.values())


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
    lines = _check_table(data, "utt2spk", None)
    utts = {line.split()[0] for line in lines}
    last = ""
    for utt, speaker in map(str.split, lines if spk_sort else ()):
        if speaker < last:
            raise UserError(
                f"{data['utt2spk']}: {utt} of {speaker} stands after an utterance of {last}: the utterances are not"
                " in order of their speakers; say --no-spk-sort if the speaker is no prefix of the utterance's id"
            )
        last = speaker
    speakers = by_speaker(lines)
    lines = _check_table(data, "spk2utt", speakers.keys(), "the speakers of utt2spk")
    for number, (line, (speaker, own)) in enumerate(zip(lines, speakers.items()), 1):
        if value_of(line).split() != own:
            raise UserError(
                f"{data['spk2utt']}: line {number}: {speaker}: not the utterances that utt2spk gives this speaker; "
                f"utils/fix_data_dir.sh {data.path} makes it again"
            )
    if len(speakers) == 1:
        warn(f"{data['spk2utt']}: there is one speaker only, {speaker}")
    if data.has_segments and "wav.scp" not in data:
        raise UserError(f"{data['wav.scp']}: no such file, though there are segments; make the data directory again")
    for name in data.utt_tables()[1:]:
        _check_table(data, name, utts, "the utterances of utt2spk", non_print or name != "text")
    for name in data.spk_tables():
        _check_table(data, name, speakers.keys(), "the speakers of spk2utt")
    recordings = data.recordings() if data.has_segments else utts
    for name in data.reco_tables():
        _check_table(data, name, recordings, "the recordings" + (" of segments" if data.has_segments else ""))
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


def _rewrite(data: DataDir, name: str, lines: Sequence[str]) -> bool:
    """Give a table these lines, the old ones kept in .backup; False if they are what it has already."""
    path = data[name]
    if path.is_file():
        if path.read_bytes() == "".join(f"{line}\n" for line in lines).encode():
            return False
        backup = data.path / ".backup"
        backup.mkdir(exist_ok=True)
        shutil.copy2(path, backup / name)
    write_lines(path, lines)
    return True


def fix(
    data: DataDir, utt_extra: Collection[str] = (), spk_extra: Collection[str] = (), shown: Path | None = None
) -> tuple[int, int]:
    """Sort every table and keep what is in all of them. Returns the utterances (before, after).

    `shown`: the name that messages give a directory which is being made. Raises UserError, with nothing changed, where
    no utterance would be left.
    """
    names = data.utt_tables(utt_extra)
    utts = {key for _, key, _ in data.rows("utt2spk")}
    kept, notes = set(utts), []
    if data.has_segments and "wav.scp" not in data:
        raise UserError(f"{data['wav.scp']}: no such file, though there are segments; make the data directory again")
    recordings = {key for _, key, _ in data.rows("wav.scp")} if data.has_segments else set()
    for name in names[1:]:
        has = {key for _, key, line in data.rows(name) if name != SEGMENTS or value_of(line).split()[0] in recordings}
        if lacking := utts - has:
            notes.append(f"{name} lacks {len(lacking)} (such as {min(lacking)})")
            kept &= has
    if not kept:
        raise UserError(
            f"{shown or data.path}: no utterance is in all of {' '.join(names)} ({'; '.join(notes)}); nothing was "
            "changed. Remove the table that does not belong here, or make it again"
        )
    changed = []

    def keep(name: str, keys: Collection[str]) -> list[str]:
        lines = data.lines(name)
        left = [line for key, line in lines.items() if key in keys]
        if _rewrite(data, name, left):
            changed.append(f"{name} ({len(lines)} -> {len(left)})")
        return left

    speakers = by_speaker(keep("utt2spk", kept))
    for name in names[1:]:
        keep(name, kept)
    if _rewrite(data, "spk2utt", [f"{speaker} {' '.join(own)}" for speaker, own in speakers.items()]):
        changed.append("spk2utt")
    for name in data.spk_tables(spk_extra):
        keep(name, speakers)
    used = data.recordings() if data.has_segments else kept
    for name in data.reco_tables():
        keep(name, used)
    for note in notes:
        warn(f"{shown or data.path}: {note} of the {len(utts)} utterances of utt2spk: they were left out everywhere")
    if changed and shown is None:
        print(f"{data.path}: sorted and filtered: {', '.join(changed)}; the old files are in {data.path}/.backup")
    return len(utts), len(kept)


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


# --- subset -----------------------------------------------------------------------------------------------------------


def spread(items: Sequence[T], n: int) -> list[T]:
    """`n` of the items, evenly spaced over all; all where there are fewer."""
    return [items[i * len(items) // n] for i in range(n)] if n < len(items) else list(items)


def _listed(path: str, known: Collection[str], what: str, data: DataDir) -> set[str]:
    """The keys of a list that are known. Raises UserError if none is."""
    wanted = {key for _, key, _ in rows(Path(path), blank_values=True)}
    if not wanted & set(known):
        raise UserError(f"{path}: none of its {len(wanted)} {what} is in {data.path}; give the list that goes with it")
    if lacking := wanted - set(known):
        warn(f"{path}: {len(lacking)} of its {len(wanted)} {what} are not in {data.path}")
    return wanted - lacking


def select(data: DataDir, utt2spk: dict[str, str], args: argparse.Namespace, n: int) -> set[str]:
    """The utterances that subset_data_dir.sh's options choose; `n` is 0 where a list is given."""
    if args.utt_list:
        return _listed(args.utt_list, utt2spk, "utterances", data)
    speakers = by_speaker(utt2spk.values())
    if args.spk_list:
        return {utt for name in _listed(args.spk_list, speakers, "speakers", data) for utt in speakers[name]}
    if args.per_spk:
        return {utt for own in speakers.values() for utt in spread(own, n)}
    if n > len(utt2spk):
        raise UserError(f"{data.path}: {n} utterances asked for, and it has {len(utt2spk)}; ask for fewer")
    return set(list(utt2spk)[:n] if args.first else spread(list(utt2spk), n))


def replace_dir(target: Path, sources: Iterable[DataDir], write: Callable[[Path], None]) -> int:
    """Make the data directory `target` by `write` and fix it; an older data directory of that name gives way when it is
    complete. Returns how many utterances it has."""
    if any(target.resolve() == data.path.resolve() for data in sources):
        raise UserError(f"{target}: is the directory to read; give another place to write to")
    if target.exists() and not (target / "utt2spk").is_file() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target}: exists and is no data directory; remove it, or give another place to write to")
    with make_dir_aside(target) as temporary:
        write(temporary)
        _, count = fix(DataDir(temporary), shown=target)
        shutil.rmtree(temporary / ".backup", ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
    return count


def main_subset() -> None:
    parser = make_parser(
        "Make a data directory of some of the utterances of another. Without an option, N evenly spread ones.",
        "utils/subset_data_dir.sh --first data/train 500 data/train_500\n"
        "utils/subset_data_dir.sh --utt-list some_utterances data/train data/train_some",
    )
    parser.usage = (
        "%(prog)s [--first|--per-spk] SRC-DIR N DEST-DIR\n"
        "       %(prog)s (--spk-list FILE | --utt-list FILE) SRC-DIR DEST-DIR"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--first", action="store_true", help="the first N utterances")
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
    utt2spk = data.lines("utt2spk")
    chosen = select(data, utt2spk, args, n)

    def write(folder: Path) -> None:
        tables = {*data.utt_tables(), *data.spk_tables(), *data.reco_tables()}
        for name in {*data.names} - {"spk2utt"}:
            if name in tables:
                write_lines(folder / name, data.lines(name).values())
            else:  # what is said of all of it, such as corpus.json or frame_shift
                shutil.copy2(data[name], folder / name)
        write_lines(folder / "utt2spk", [line for utt, line in utt2spk.items() if utt in chosen])
        if "corpus.json" in data and len(chosen) < len(utt2spk):
            write_json(folder / "corpus.json", {**corpus_of(data), "subset": True})

    count = replace_dir(target, [data], write)
    print(f"{parser.prog}: {target} has {count} of the {len(utt2spk)} utterances of {data.path}")


# --- combine ----------------------------------------------------------------------------------------------------------

# the line that an utterance has where its data dir lacks the table: it is no copy of another, and a recording of its
# own
_WITHOUT = {"utt2uniq": "{0} {0}", SEGMENTS: "{0} {0} 0 -1"}


def _merged(sources: Sequence[DataDir], name: str) -> list[str]:
    """The lines of a table of all sources. Raises UserError for a key to which two give other values."""
    merged: dict[str, tuple[str, DataDir]] = {}
    for data in sources:
        if name in data:
            lines = data.lines(name)
        else:
            lines = {utt: _WITHOUT[name].format(utt) for utt in data.lines("utt2spk")}
        for key, line in lines.items():
            first, origin = merged.setdefault(key, (line, data))
            if first != line:
                raise UserError(
                    f"{data[name]}: {key} is {value_of(line)!r} here and {value_of(first)!r} in {origin[name]}; rename"
                    " one of them, or leave it out"
                )
    return [line for line, _ in merged.values()]


def combine(sources: Sequence[DataDir], folder: Path, extra: Collection[str] = ()) -> None:
    """Write the tables that all sources have, put together; says which ones are left out as some lack them.

    Raises UserError where only some have a `reco2file_and_channel`."""
    tables = {name for data in sources for name in (*data.utt_tables(extra), *data.spk_tables(), *data.reco_tables())}
    for name in sorted(tables):
        lacking = ", ".join(str(data.path) for data in sources if name not in data)
        if lacking and name == SIDES:  # without it channels are mixed, or refused
            have = next(str(data.path) for data in sources if name in data)
            raise UserError(
                f"{lacking}: no {SIDES}, which {have} has; write it, a line `RECORDING FILE A` or `RECORDING FILE B` "
                "for each recording, or remove it from all"
            )
        if lacking and name not in _WITHOUT:
            warn(f"{name} is left out: it is not in {lacking}")
        else:
            write_lines(folder / name, _merged(sources, name))
    corpora = [corpus_of(data) if "corpus.json" in data else None for data in sources]
    if any(corpus != corpora[0] for corpus in corpora):
        names = dict.fromkeys("null" if corpus is None else str(corpus.get("name", "?")) for corpus in corpora)
        write_json(folder / "corpus.json", {"name": " + ".join(names), "combined_from": corpora})
    elif corpora[0] is not None:
        write_json(folder / "corpus.json", corpora[0])


def main_combine() -> None:
    parser = make_parser(
        "Join data directories. Tables that some of them lack are left out, except segments: an utterance of a "
        "directory without them becomes its own recording. An older data directory of the name DEST-DIR is "
        "replaced.",
        "utils/combine_data.sh data/train_dev data/train data/dev",
    )
    parser.add_argument("--extra-files", default="", help="further tables by utterance, such as 'f1 f2'")
    parser.add_argument("dest", metavar="DEST-DIR", help="data directory to write")
    parser.add_argument("sources", metavar="SRC-DIR", nargs="+", help="data directories")
    args = parser.parse_args()
    sources = [DataDir(source) for source in args.sources]
    count = replace_dir(Path(args.dest), sources, lambda folder: combine(sources, folder, args.extra_files.split()))
    print(f"{parser.prog}: {args.dest} has {count} utterances from {' '.join(args.sources)}")


PROGRAMS = {
    "validate_data_dir.sh": main_validate,
    "fix_data_dir.sh": main_fix,
    "subset_data_dir.sh": main_subset,
    "combine_data.sh": main_combine,
}


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in PROGRAMS:
        sys.exit(f"data_dir.py: call it through utils/{', utils/'.join(PROGRAMS)}")
    del sys.argv[0]  # its messages bear the name of the script that called it
    run_program(PROGRAMS[sys.argv[0]])
