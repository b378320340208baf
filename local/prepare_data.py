#!/usr/bin/env python3
"""Turns the key files of a corpus into Kaldi data directories, one per set.

    DATA/<set>/wav.scp      UTT /path/to/UTT.flac        utt2label   UTT bonafide|spoof
               utt2spk      UTT UTT                      utt2attack  UTT A07, `-` for bona fide
               spk2utt      UTT UTT                      utt2dur     UTT seconds
               utt2speaker  UTT SPEAKER of the key file
               utt2<condition>  such as utt2codec, utt2phase, utt2env: the columns that the corpus has beside these
               utt2orig     what ids were made from, if any had to be made (spaces, wide characters, folders)
               asv_scores   ATTACK KEY SCORE of the set's ASV, if the corpus has them, for the t-DCF
               corpus.json  which corpus this is; .source.json: what this directory was made from

Kaldi's scripts want utt2spk in the order of utt2spk and spk2utt at once, which takes ids that begin with their speaker;
these corpora's do not. So utt2spk gives each utterance a speaker of its own, as Kaldi advises where speakers play no
part, and utt2speaker has the real one. With --protocol-speakers utt2spk has the real ones too; Kaldi's own scripts
refuse that.

Trials come from the key file, never from a listing of the audio folder, which may hold other files too. The modules of
local/corpora/ know the corpora.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import utils.environment

from local.corpora.base import NAME, Corpus, Trial, TrialList, absent_audio, known_corpora
from utils import audio
from utils.cli import ProgressLog, UserError, make_parser, run_program, warn
from utils.files import make_dir_aside, read_json, sha256_of, write_json, write_lines
from utils.rttm import RTTM, lines_of
from utils.tables import read_big_map

# Opening a file on a network file system waits for the server: threads overlap those waits.
READERS = 16
PER_TASK = 512


def find_corpus(corpus_dir: str, name: str, corpora: dict[str, Corpus]) -> Path:
    """The folder (or list) of the corpus `name`. Raises UserError, with what was probably meant, for another one."""
    root = Path(os.path.abspath(corpus_dir))  # noqa: PTH100 (a link to the corpus stays in wav.scp)
    corpus = corpora[name]
    if not str(root).isprintable():
        raise UserError(
            f"--corpus-dir {str(root)!r}: Kaldi's tables cannot hold a path with a line break, a tab or bytes"
            " that are no UTF-8 text; give it a plain name, or a link of one"
        )
    if corpus.is_list:
        if not root.is_file():
            raise UserError(
                f"--corpus-dir {corpus_dir}: {'this is a folder' if root.is_dir() else 'no such file'};"
                f" give {corpus.unpacked}"
            )
        return root
    if not root.is_dir():
        raise UserError(f"--corpus-dir {corpus_dir}: no such folder")
    if not corpus.is_at(root):
        inner = next((one for one in (*sorted(root.iterdir()), root.parent) if corpus.is_at(one)), None)
        other = next((one for one in corpora if corpora[one].is_at(root)), None)
        if inner is not None:
            hint = f"did you mean --corpus-dir {inner}?"
        elif other is not None:
            hint = f"this is {corpora[other].name} {corpora[other].part}".rstrip() + f": give --corpus {other}"
        else:
            hint = f"give {corpus.unpacked} (local/download.py {name} fetches it)"
        raise UserError(f"--corpus-dir {corpus_dir}: there is no {corpus.markers[0]} in it; {hint}")
    return root


def seconds_of(path: str) -> float | str | None:
    """The length in seconds of the audio file; None if there is no such file; a text that says why it cannot be
    used."""
    if not os.path.exists(path):  # noqa: PTH110 (quicker, and there are hundreds of thousands)
        return None
    try:
        return audio.seconds_of(path)
    except UserError as error:
        return str(error).removeprefix(f"{path}: ")


def durations(files: list[str], of: str) -> list[float | str | None]:
    """`seconds_of` each file, in the order given. of: the set's name."""
    tasks = [files[at : at + PER_TASK] for at in range(0, len(files), PER_TASK)]
    progress = ProgressLog(len(files), "lengths", of) if sys.stderr.isatty() else None
    found: list[float | str | None] = []
    with ThreadPoolExecutor(READERS) as pool:
        for part in pool.map(lambda task: [seconds_of(path) for path in task], tasks):
            found += part
            if progress:
                progress.update(len(part))
    if progress:
        progress.close()
    return found


def given_durations(path: Path, absent: list[bool], trials: list[Trial]) -> list[float | str | None]:
    """Seconds of each trial whose audio is there by the table `path`, as durations() gives them. Raises UserError,
    naming the utterance, for a trial without a line and a value that is no number above 0."""
    table = read_big_map(path)
    found: list[float | str | None] = []
    for gone, trial in zip(absent, trials):
        text = table.get(trial.utt, "")
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not gone and not 0 < seconds < float("inf"):
            raise UserError(
                f"{path}: {trial.utt}: "
                + (f"{text!r} is not a number of seconds above 0" if text else "it has no line")
                + "; correct it, or leave --durations out: lengths are then read from the audio"
            )
        found.append(None if gone else seconds)
    return found


def _first(items: list[str], n: int = 3) -> str:
    return ", ".join(items[:n]) + (f" and {len(items) - n} more" if len(items) > n else "")


def check_counts(read: TrialList, corpus: Corpus, subset: str, allow_subset: bool) -> bool:
    """True if the key file has the official numbers of trials; without `allow_subset` others are a UserError."""
    if subset not in corpus.counts:
        return True
    trials, official = read.trials, corpus.counts[subset]
    found = (len(trials), sum(trial.label == "bonafide" for trial in trials))
    text = ""
    if found != official:
        text = (
            f"{read.path}: {found[0]} trials ({found[1]} bona fide) where the official list has {official[0]} "
            f"({official[1]} bona fide)"
        )
    elif corpus.phases:
        column = read.conditions.index("phase")
        of_phase = Counter(trial.conditions[column] for trial in trials)
        if of_phase != corpus.phases:
            said, wanted = (
                ", ".join(f"{n} {one}" for one, n in sorted(counts.items())) for counts in (of_phase, corpus.phases)
            )
            text = f"{read.path}: trials by phase: {said} where the official list has {wanted}"
    if not text:
        return True
    if not allow_subset:
        raise UserError(f"{text}; unpack the corpus again, or give --allow-subset if you want a part of it")
    warn(f"{text}; continuing with them (--allow-subset)")
    return False


def check_sum(keys: Path, corpus: Corpus, subset: str, allow_subset: bool) -> bool:
    """True if the key file is the official one by its MD5 sum, where that is known; without `allow_subset` another one
    is a UserError."""
    if subset not in corpus.sums:
        return True
    with keys.open("rb") as handle:
        found = hashlib.file_digest(handle, "md5").hexdigest()
    if found == corpus.sums[subset]:
        return True
    text = f"{keys}: MD5 {found}, but the official list has {corpus.sums[subset]}"
    if not allow_subset:
        raise UserError(f"{text}; unpack the corpus again, or give --allow-subset to take it as it is")
    warn(f"{text}; continuing with it (--allow-subset)")
    return False


def with_durations(
    corpus: Corpus, root: Path, subset: str, read: TrialList, allow_subset: bool, table: Path | None
) -> tuple[list[Trial], list[float]]:
    """The trials whose audio is there, with its length in seconds: by `table`, or by the audio's headers.

    Raises UserError for audio that cannot be read and, without `allow_subset`, for audio that is not there.
    """
    trials, base = read.trials, corpus.audio_root(root)
    files = [os.path.join(base, trial.audio) for trial in trials]  # noqa: PTH118 (quicker, and there are many)
    folders = {trial.audio.rpartition("/")[0] for trial in trials}
    folder = base / folders.pop() if len(folders) == 1 else base
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder, though {read.path} lists {len(trials)} trials in it; unpack the corpus again"
        )
    if table is not None:
        found = given_durations(table, absent_audio(corpus, root, trials), trials)
    else:
        found = durations(files, subset)
    bad = [(trial, path, why) for trial, path, why in zip(trials, files, found) if isinstance(why, str)]
    if bad:
        trial, path, why = bad[0]
        names = [trial.utt for trial, _, _ in bad]
        raise UserError(
            f"{path}: {why}; utterance {trial.utt}, line {trial.line} of {read.path}. "
            f"{len(bad)} of {len(trials)} files are so: {_first(names)}; unpack the corpus again"
        )
    missing = [trial for trial, seconds in zip(trials, found) if seconds is None]
    if missing:
        text = (
            f"{folder}: {len(missing)} of the {len(trials)} trials in {read.path} have no audio file: "
            f"{_first([f'{trial.utt} (line {trial.line}, {Path(trial.audio).name})' for trial in missing])}"
        )
        if not allow_subset:
            raise UserError(f"{text}; unpack the corpus again, or say --allow-subset to leave such trials out")
        if len(missing) == len(trials):
            raise UserError(f"{text}; none is left; give the right --corpus-dir, or leave {subset} out of --sets")
        warn(f"{text}; leaving them out (--allow-subset)")
    kept = [(trial, seconds) for trial, seconds in zip(trials, found) if isinstance(seconds, float)]
    return [trial for trial, _ in kept], [seconds for _, seconds in kept]


def _decimal(seconds: float) -> str:
    return f"{seconds:.7f}".rstrip("0").rstrip(".")  # exact for any length at 16 kHz


def write_tables(
    folder: Path,
    base: Path,
    trials: list[Trial],
    seconds: list[float],
    conditions: tuple[str, ...],
    protocol_speakers: bool,
) -> None:
    """The data directory's tables, all in the C locale's order of utterances (Python's order of ASCII text).

    base: the folder that names of audio files start from."""
    rows = sorted(zip(trials, seconds), key=lambda row: row[0].utt)
    write_lines(folder / "wav.scp", (f"{trial.utt} {os.path.join(base, trial.audio)}" for trial, _ in rows))  # noqa: PTH118
    speaker_of = (lambda trial: trial.speaker) if protocol_speakers else (lambda trial: trial.utt)
    write_lines(folder / "utt2spk", (f"{trial.utt} {speaker_of(trial)}" for trial, _ in rows))
    write_lines(folder / "utt2speaker", (f"{trial.utt} {trial.speaker}" for trial, _ in rows))
    write_lines(folder / "utt2label", (f"{trial.utt} {trial.label}" for trial, _ in rows))
    write_lines(folder / "utt2attack", (f"{trial.utt} {trial.attack}" for trial, _ in rows))
    write_lines(folder / "utt2dur", (f"{trial.utt} {_decimal(length)}" for trial, length in rows))
    for i, name in enumerate(conditions):
        write_lines(folder / f"utt2{name}", (f"{trial.utt} {trial.conditions[i]}" for trial, _ in rows))
    if any(trial.original for trial in trials):
        write_lines(folder / "utt2orig", (f"{trial.utt} {trial.original or trial.utt}" for trial, _ in rows))
    spk2utt: dict[str, list[str]] = {}
    for trial, _ in rows:
        spk2utt.setdefault(speaker_of(trial), []).append(trial.utt)
    write_lines(folder / "spk2utt", (f"{speaker} {' '.join(utts)}" for speaker, utts in sorted(spk2utt.items())))


def tables_of(conditions: tuple[str, ...]) -> list[str]:
    tables = ["wav.scp", "utt2spk", "spk2utt", "utt2speaker", "utt2label", "utt2attack", "utt2dur", "corpus.json"]
    return [*tables, *(f"utt2{name}" for name in conditions)]


def already_made(folder: Path, source: dict[str, Any], conditions: tuple[str, ...], allow_subset: bool) -> bool:
    """True if the data directory is there and was made from `source`. Raises UserError if it was made otherwise."""
    if not folder.exists():
        return False
    fix = f"remove {folder}, or give another data folder"
    if not (folder / ".source.json").is_file():
        raise UserError(f"{folder}: exists and was not made by this program (it has no .source.json); {fix}")
    made = read_json(folder / ".source.json")
    if not isinstance(made, dict):
        raise UserError(f"{folder / '.source.json'}: it does not say what {folder} was made from; {fix}")
    for key, name in (
        ("recipe", "recipe"),
        ("speakers", "speakers"),
        ("corpus_dir", "corpus"),
        ("corpus", "corpus.json"),
        ("protocol_sha256", "protocol (sha256)"),
        ("asv_scores_sha256", "ASV scores (sha256)"),
    ):
        if made.get(key) != source[key]:
            raise UserError(f"{folder}: was made from the {name} {made.get(key)}, and now it is {source[key]}; {fix}")
    lacking = [name for name in tables_of(conditions) if not (folder / name).is_file()]
    if lacking:
        raise UserError(f"{folder}: {', '.join(lacking)} is no longer there; {fix}")
    if made.get("subset") and not allow_subset:
        raise UserError(f"{folder}: was made as a subset (--allow-subset); to make the complete set now, {fix}")
    text = f" as a subset (to add what the corpus has got since then, remove {folder})" if made.get("subset") else ""
    print(f"{folder}: already made from {source['protocol']}{text}; going on")
    return True


def corpus_in(root: Path, corpus: Corpus) -> tuple[dict[str, Any], bool]:
    """What corpus.json is to say of the corpus in `root`, and whether it is the official one: it has no such file."""
    own = corpus.audio_root(root) / "corpus.json"
    if not own.is_file():
        return ({"name": root.stem} if corpus.is_list else corpus.identity), True
    said = read_json(own)
    if not isinstance(said, dict) or "name" not in said:
        raise UserError(f'{own}: has no "name"; make that corpus again')
    if str(said.get("recipe", corpus.recipe)).lower() != corpus.recipe:
        raise UserError(
            f"{own}: this corpus is made for the recipe {said['recipe']}, not {corpus.part}; give another --corpus, or"
            " another --corpus-dir"
        )
    return said, False


def prepare(
    corpus: Corpus,
    root: Path,
    subset: str,
    data: Path,
    allow_subset: bool = False,
    protocol_speakers: bool = False,
    table: Path | None = None,
) -> None:
    """Make `data`/`subset`, or say that it is there already. table: durations by utterance; None: by the audio."""
    keys = corpus.keys(root, subset)
    if not keys.is_file() or subset not in corpus.sets(root):
        there = [name for name in corpus.sets(root) if corpus.keys(root, name).is_file()]
        raise UserError(
            f"{keys}: no such {'set' if keys.is_file() else 'protocol'}; the corpus has those of: "
            f"{' '.join(there) or 'no set'}. Unpack the corpus again, or name what you want in --sets"
        )
    said, official = corpus_in(root, corpus)
    asv = tuple(path for path in corpus.asv(root, subset) if path.is_file())
    stretch_file = corpus.stretch_file(root, subset) if corpus.stretch_file is not None else None
    listed = [stretch_file] if stretch_file is not None and stretch_file.is_file() else []
    source = {
        "recipe": corpus.recipe,
        "corpus_dir": str(root),
        "corpus": said,
        "speakers": "as in the protocol (--protocol-speakers)" if protocol_speakers else "one per utterance",
        "protocol": str(keys),
        "protocol_sha256": " ".join(map(sha256_of, [keys, *listed])),
        "asv_scores_sha256": " ".join(map(sha256_of, asv)) or None,
    }
    folder = data / subset
    if already_made(folder, source, corpus.conditions, allow_subset):
        return
    read = corpus.read(root, subset)
    complete = not official or (
        check_counts(read, corpus, subset, allow_subset) and check_sum(keys, corpus, subset, allow_subset)
    )
    kept, seconds = with_durations(corpus, root, subset, read, allow_subset, table)
    is_subset = not complete or len(kept) < len(read.trials)

    with make_dir_aside(folder) as temporary:
        write_tables(temporary, corpus.audio_root(root), kept, seconds, read.conditions, protocol_speakers)
        if listed and corpus.read_stretches is not None:
            write_lines(temporary / RTTM, lines_of(corpus.read_stretches(listed[0], kept, seconds)))
        if asv and len(asv) == len(corpus.asv(root, subset)):
            if corpus.asv_lines is None:
                shutil.copyfile(asv[0], temporary / "asv_scores")
            else:
                for phase, lines in corpus.asv_lines(asv).items():
                    write_lines(temporary / ("asv_scores" if phase == "eval" else f"asv_scores_{phase}"), lines)
        else:
            for path in corpus.asv(root, subset)[:1]:
                warn(f"{path}: no such file; there will be no t-DCF of {subset}")
        write_json(temporary / "corpus.json", {**said, "subset": True} if is_subset else said)
        write_json(temporary / ".source.json", {**source, "subset": is_subset})
    labels = Counter(trial.label for trial in kept)
    attacks = {trial.attack for trial in kept} - {"-"}
    speakers = {trial.speaker for trial in kept}
    print(
        f"{folder}: {len(kept)} trials ({labels['bonafide']} bona fide, {labels['spoof']} spoof by {len(attacks)} "
        f"attacks) of {len(speakers)} speakers, {sum(seconds) / 3600:.2f} hours"
    )


def main() -> None:
    parser = make_parser(
        "Turn the key files of a corpus into Kaldi data directories DATA/<set>, with durations of the decoded audio. "
        "An existing data directory made from the same key file is kept. docs/corpora.md lists the corpora.",
        "local/prepare_data.py --corpus asvspoof2019-la --corpus-dir /corpora/LA data\n"
        'local/prepare_data.py --corpus asvspoof2019-pa --corpus-dir /corpora/PA --sets "train dev" data\n'
        "local/prepare_data.py --corpus own --corpus-dir my/list.csv data",
    )
    corpora = known_corpora()
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--corpus", choices=sorted(corpora), metavar="NAME", help=", ".join(sorted(corpora)))
    which.add_argument(  # as scripts name the parts of ASVspoof 2019 that are older than the other corpora
        "--recipe", choices=("la", "pa"), help=argparse.SUPPRESS
    )
    parser.add_argument(
        "--corpus-dir", required=True, metavar="DIR", help="the folder of the unpacked corpus; of `own` the list"
    )
    parser.add_argument("--sets", default="", help='such as "train dev"; empty: all that the corpus has')
    parser.add_argument(
        "--allow-subset", action="store_true", help="take a corpus with missing parts, and mark it as a subset"
    )
    parser.add_argument(
        "--protocol-speakers",
        action="store_true",
        help="the key file's speakers in utt2spk, which Kaldi's own scripts refuse",
    )
    parser.add_argument(
        "--durations",
        metavar="UTT2DUR",
        type=Path,
        help="take seconds from this table, such as another run's utt2dur, instead of reading each file's header",
    )
    parser.add_argument("data_dir", metavar="DATA", help="where to make the data directories")
    args = parser.parse_args()
    name = args.corpus or f"asvspoof2019-{args.recipe}"
    root = find_corpus(args.corpus_dir, name, corpora)
    corpus = corpora[name]
    sets = args.sets.replace(",", " ").split() or corpus.sets(root)
    for subset in sets:
        if not NAME.fullmatch(subset) or not subset.strip("."):  # . and .. are folders
            raise UserError(f"--sets: {subset!r} is not the name of a set")
        prepare(corpus, root, subset, Path(args.data_dir), args.allow_subset, args.protocol_speakers, args.durations)


if __name__ == "__main__":
    run_program(main)
