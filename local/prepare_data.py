#!/usr/bin/env python3
"""Turns the protocols of ASVspoof 2019 into Kaldi data directories, one per set.

    DATA/<set>/wav.scp      UTT /path/to/UTT.flac        utt2label   UTT bonafide|spoof
               utt2spk      UTT UTT                      utt2attack  UTT A07, `-` for bona fide
               spk2utt      UTT UTT                      utt2dur     UTT seconds
               utt2speaker  UTT SPEAKER of the protocol
               utt2env      UTT abc (PA only: room size, T60, talker-to-ASV distance)
               asv_scores   ATTACK KEY SCORE of the set's ASV (not for train), for the t-DCF
               corpus.json  which corpus this is; .source.json: what this directory was made from

Kaldi's scripts want utt2spk in the order of utt2spk and spk2utt at once, which takes ids that begin with their speaker;
ASVspoof's do not. So utt2spk gives each utterance a speaker of its own, as Kaldi advises where speakers play no part,
and utt2speaker has the real one. With --protocol-speakers utt2spk has the real ones too; Kaldi's own scripts refuse
that.

Trials come from the protocol, never from a listing of the audio folder, which holds the ASV's enrolment files too.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import utils.environment

from local.layout import OFFICIAL_SETS, Layout
from utils import audio
from utils.cli import ProgressLog, UserError, make_parser, run_program, warn
from utils.files import make_dir_aside, read_json, read_table, sha256_of, write_json, write_lines

# (trials, bona fide among them) of the official protocols
OFFICIAL_COUNTS = {
    "la": {"train": (25380, 2580), "dev": (24844, 2548), "eval": (71237, 7355)},
    "pa": {"train": (54000, 5400), "dev": (29700, 5400), "eval": (134730, 18090)},
}

NAME = re.compile(r"[A-Za-z0-9_.-]+")  # a speaker or an utterance: it becomes a key and a file name
ATTACK = {"la": re.compile(r"A[0-9]{2}"), "pa": re.compile(r"[A-C]{2}")}
ATTACK_FORM = {"la": "A and two digits, such as A07", "pa": "two letters A-C, such as AB"}
ENVIRONMENT = {"la": re.compile(r"-"), "pa": re.compile(r"[a-c]{3}")}
ENVIRONMENT_FORM = {"la": "'-'", "pa": "three letters a-c, such as abc"}

# Opening a file on a network file system waits for the server: threads overlap those waits.
READERS = 16
PER_TASK = 512


class Trial(NamedTuple):
    utt: str
    speaker: str
    label: str  # bonafide or spoof
    attack: str  # "-" for bona fide
    environment: str  # "-" for LA
    line: int  # in the protocol, from 1


def find_corpus(corpus_dir: str, recipe: str) -> Layout:
    """The corpus at `corpus_dir`. Raises UserError, with the folder that was probably meant, where it is not one."""
    layout = Layout(Path(os.path.abspath(corpus_dir)), recipe)  # noqa: PTH100 (a link to the corpus stays in wav.scp)
    if not str(layout.root).isprintable():
        raise UserError(
            f"--corpus-dir {str(layout.root)!r}: Kaldi's tables cannot hold a path with a line break, a tab or bytes"
            " that are no UTF-8 text; give it a plain name, or a link of one"
        )
    if not layout.root.is_dir():
        raise UserError(f"--corpus-dir {corpus_dir}: no such folder")
    if not layout.protocols.is_dir():
        inner = Layout(layout.root / recipe.upper(), recipe)
        other = "pa" if recipe == "la" else "la"
        if inner.protocols.is_dir():
            hint = f"did you mean --corpus-dir {inner.root}?"
        elif Layout(layout.root, other).protocols.is_dir():
            hint = f"this is the {other.upper()} part: give --recipe {other}, or the folder of {recipe.upper()}"
        else:
            part = recipe.upper()
            hint = f"give the folder {part} that {part}.zip unpacks to (local/download.py fetches it)"
        raise UserError(f"--corpus-dir {corpus_dir}: there is no {layout.protocols.name} in it; {hint}")
    return layout


def read_protocol(path: Path, recipe: str) -> list[Trial]:
    """The trials of a protocol in its own order.

    Raises UserError, naming file, line and utterance, for a malformed line or an utterance that stands there twice,
    and for a protocol without trials.
    """
    mend = "correct the line, or unpack the corpus again"
    trials: list[Trial] = []
    first_line: dict[str, int] = {}
    for number, fields in read_table(path, columns=None):
        if len(fields) != 5:
            columns = "SPEAKER UTT - ATTACK KEY" if recipe == "la" else "SPEAKER UTT ENVIRONMENT ATTACK KEY"
            raise UserError(
                f"{path}: line {number}: {len(fields)} columns where 5 are expected ({columns}): "
                f"{' '.join(fields)!r}; {mend}"
            )
        speaker, utt, environment, attack, label = fields

        def refuse(why: str, number: int = number, utt: str = utt) -> UserError:
            return UserError(f"{path}: line {number}: utterance {utt}: {why}; {mend}")

        if not NAME.fullmatch(utt) or not NAME.fullmatch(speaker):
            raise refuse(f"{utt!r} of speaker {speaker!r}: ids are letters, digits and _ . - only")
        if label not in ("bonafide", "spoof"):
            raise refuse(f"the key {label!r} is neither bonafide nor spoof")
        if label == "bonafide" and attack != "-":
            raise refuse(f"bona fide, yet with the attack {attack!r} where '-' is expected")
        if label == "spoof" and attack == "-":
            raise refuse("a spoof without an attack")
        if label == "spoof" and not ATTACK[recipe].fullmatch(attack):
            raise refuse(f"the attack {attack!r} is not {ATTACK_FORM[recipe]}")
        if not ENVIRONMENT[recipe].fullmatch(environment):
            raise refuse(f"the third column is {environment!r} where {recipe.upper()} has {ENVIRONMENT_FORM[recipe]}")
        if utt in first_line:
            raise refuse(f"stands there twice, first on line {first_line[utt]}")
        first_line[utt] = number
        trials.append(Trial(utt, speaker, label, attack, environment, number))
    if not trials:
        raise UserError(f"{path}: holds no trials; unpack the corpus again")
    return trials


def seconds_of(path: str) -> float | str | None:
    """The length in seconds of the audio file; None if there is no such file; a text that says why it cannot be
    used."""
    if not os.path.exists(path):  # noqa: PTH110 (quicker, and there are hundreds of thousands)
        return None
    try:
        return audio.seconds_of(path)
    except UserError as error:
        return str(error).removeprefix(f"{path}: ")


def durations(folder: Path, utts: list[str]) -> list[float | str | None]:
    """`seconds_of` each utterance's flac in `folder`, in the order given."""
    prefix = f"{folder}/"
    tasks = [utts[at : at + PER_TASK] for at in range(0, len(utts), PER_TASK)]
    progress = ProgressLog(len(utts), "lengths", folder.parent.name) if sys.stderr.isatty() else None
    found: list[float | str | None] = []
    with ThreadPoolExecutor(READERS) as pool:
        for part in pool.map(lambda task: [seconds_of(f"{prefix}{utt}.flac") for utt in task], tasks):
            found += part
            if progress:
                progress.update(len(part))
    if progress:
        progress.close()
    return found


def _first(items: list[str], n: int = 3) -> str:
    return ", ".join(items[:n]) + (f" and {len(items) - n} more" if len(items) > n else "")


def check_counts(protocol: Path, trials: list[Trial], official: tuple[int, int], allow_subset: bool) -> bool:
    """True if the protocol has the official numbers of trials; without `allow_subset` others are a UserError."""
    found = (len(trials), sum(trial.label == "bonafide" for trial in trials))
    if found == official:
        return True
    text = (
        f"{protocol}: {found[0]} trials ({found[1]} bona fide) where the official list has {official[0]} "
        f"({official[1]} bona fide)"
    )
    if not allow_subset:
        raise UserError(f"{text}; unpack the corpus again, or give --allow-subset if you want a part of it")
    warn(f"{text}; continuing with them (--allow-subset)")
    return False


def with_durations(
    layout: Layout, subset: str, trials: list[Trial], allow_subset: bool
) -> tuple[list[Trial], list[float]]:
    """The trials whose audio is there, with its length in seconds.

    Raises UserError for audio that cannot be read and, without `allow_subset`, for audio that is not there.
    """
    folder, protocol = layout.audio(subset), layout.protocol(subset)
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder, though {protocol} lists {len(trials)} trials in it; unpack the corpus again"
        )
    found = durations(folder, [trial.utt for trial in trials])
    bad = [(trial, why) for trial, why in zip(trials, found) if isinstance(why, str)]
    if bad:
        trial, why = bad[0]
        names = [trial.utt for trial, _ in bad]
        raise UserError(
            f"{folder / trial.utt}.flac: {why}; utterance {trial.utt}, line {trial.line} of {protocol}. "
            f"{len(bad)} of {len(trials)} files are so: {_first(names)}; unpack the corpus again"
        )
    missing = [trial for trial, seconds in zip(trials, found) if seconds is None]
    if missing:
        text = (
            f"{folder}: {len(missing)} of the {len(trials)} trials in {protocol} have no flac file: "
            f"{_first([f'{trial.utt} (line {trial.line})' for trial in missing])}"
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
    folder: Path, audio: Path, trials: list[Trial], seconds: list[float], recipe: str, protocol_speakers: bool
) -> None:
    """The data directory's tables, all in the C locale's order of utterances (Python's order of ASCII text)."""
    rows = sorted(zip(trials, seconds), key=lambda row: row[0].utt)
    write_lines(folder / "wav.scp", (f"{trial.utt} {audio}/{trial.utt}.flac" for trial, _ in rows))
    speaker_of = (lambda trial: trial.speaker) if protocol_speakers else (lambda trial: trial.utt)
    write_lines(folder / "utt2spk", (f"{trial.utt} {speaker_of(trial)}" for trial, _ in rows))
    write_lines(folder / "utt2speaker", (f"{trial.utt} {trial.speaker}" for trial, _ in rows))
    write_lines(folder / "utt2label", (f"{trial.utt} {trial.label}" for trial, _ in rows))
    write_lines(folder / "utt2attack", (f"{trial.utt} {trial.attack}" for trial, _ in rows))
    write_lines(folder / "utt2dur", (f"{trial.utt} {_decimal(length)}" for trial, length in rows))
    if recipe == "pa":
        write_lines(folder / "utt2env", (f"{trial.utt} {trial.environment}" for trial, _ in rows))
    spk2utt: dict[str, list[str]] = {}
    for trial, _ in rows:
        spk2utt.setdefault(speaker_of(trial), []).append(trial.utt)
    write_lines(folder / "spk2utt", (f"{speaker} {' '.join(utts)}" for speaker, utts in sorted(spk2utt.items())))


def tables_of(recipe: str) -> list[str]:
    tables = ["wav.scp", "utt2spk", "spk2utt", "utt2speaker", "utt2label", "utt2attack", "utt2dur", "corpus.json"]
    return tables + ["utt2env"] if recipe == "pa" else tables


def already_made(folder: Path, source: dict[str, Any], allow_subset: bool) -> bool:
    """True if the data directory is there and was made from `source`. Raises UserError if it was made otherwise."""
    if not folder.exists():
        return False
    mend = f"remove {folder}, or give another data folder"
    if not (folder / ".source.json").is_file():
        raise UserError(f"{folder}: exists and was not made by this program (it has no .source.json); {mend}")
    made = read_json(folder / ".source.json")
    if not isinstance(made, dict):
        raise UserError(f"{folder / '.source.json'}: it does not say what {folder} was made from; {mend}")
    for key, name in (
        ("recipe", "recipe"),
        ("speakers", "speakers"),
        ("corpus_dir", "corpus"),
        ("corpus", "corpus.json"),
        ("protocol_sha256", "protocol (sha256)"),
        ("asv_scores_sha256", "ASV scores (sha256)"),
    ):
        if made.get(key) != source[key]:
            raise UserError(f"{folder}: was made from the {name} {made.get(key)}, and now it is {source[key]}; {mend}")
    lacking = [name for name in tables_of(source["recipe"]) if not (folder / name).is_file()]
    if lacking:
        raise UserError(f"{folder}: {', '.join(lacking)} is no longer there; {mend}")
    if made.get("subset") and not allow_subset:
        raise UserError(f"{folder}: was made as a subset (--allow-subset); to make the complete set now, {mend}")
    text = f" as a subset (to add what the corpus has got since then, remove {folder})" if made.get("subset") else ""
    print(f"{folder}: already made from {source['protocol']}{text}; going on")
    return True


def prepare(layout: Layout, subset: str, data: Path, allow_subset: bool, protocol_speakers: bool) -> None:
    """Make `data`/`subset`, or say that it is there already."""
    protocol = layout.protocol(subset)
    if not protocol.is_file():
        there = [name for name in layout.sets() if layout.protocol(name).is_file()]
        raise UserError(
            f"{protocol}: no such protocol; the corpus has those of: {' '.join(there) or 'no set'}. "
            "Unpack the corpus again, or name what you want in --sets"
        )
    own_corpus_json = layout.root / "corpus.json"
    official = not own_corpus_json.is_file()
    corpus = {"name": "ASVspoof 2019", "recipe": layout.recipe.upper()} if official else read_json(own_corpus_json)
    if not isinstance(corpus, dict) or "name" not in corpus:
        raise UserError(f'{own_corpus_json}: has no "name"; make that corpus again')
    if str(corpus.get("recipe", layout.recipe)).lower() != layout.recipe:
        raise UserError(
            f"{own_corpus_json}: this corpus is made for the recipe {corpus['recipe']}, not {layout.recipe.upper()}; "
            f"give --recipe {str(corpus['recipe']).lower()}, or another --corpus-dir"
        )
    asv_scores = layout.asv_scores(subset)
    source = {
        "recipe": layout.recipe,
        "corpus_dir": str(layout.root),
        "corpus": corpus,
        "speakers": "as in the protocol (--protocol-speakers)" if protocol_speakers else "one per utterance",
        "protocol": str(protocol),
        "protocol_sha256": sha256_of(protocol),
        "asv_scores_sha256": sha256_of(asv_scores) if asv_scores.is_file() else None,
    }
    folder = data / subset
    if already_made(folder, source, allow_subset):
        return
    trials = read_protocol(protocol, layout.recipe)
    whole = True
    if official and subset in OFFICIAL_SETS:
        whole = check_counts(protocol, trials, OFFICIAL_COUNTS[layout.recipe][subset], allow_subset)
    kept, seconds = with_durations(layout, subset, trials, allow_subset)
    is_subset = not whole or len(kept) < len(trials)

    with make_dir_aside(folder) as temporary:
        write_tables(temporary, layout.audio(subset), kept, seconds, layout.recipe, protocol_speakers)
        if asv_scores.is_file():
            shutil.copyfile(asv_scores, temporary / "asv_scores")
        elif subset != "train":
            warn(f"{asv_scores}: no such file; there will be no t-DCF of {subset}")
        write_json(temporary / "corpus.json", {**corpus, "subset": True} if is_subset else corpus)
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
        "Turn the protocols of ASVspoof 2019 into Kaldi data directories DATA/<set>, with durations of the "
        "decoded audio. An existing data directory made from the same protocol is kept.",
        "local/prepare_data.py --corpus-dir /corpora/LA --recipe la data\n"
        'local/prepare_data.py --corpus-dir /corpora/PA --recipe pa --sets "train dev" data',
    )
    parser.add_argument("--corpus-dir", required=True, metavar="DIR", help="the folder LA or PA of the unpacked corpus")
    parser.add_argument("--recipe", required=True, choices=sorted(OFFICIAL_COUNTS), help="which part of the corpus")
    parser.add_argument(
        "--sets", default="", help='such as "train dev"; empty: train, dev, eval and others in the corpus'
    )
    parser.add_argument(
        "--allow-subset", action="store_true", help="take a corpus with missing parts, and mark it as a subset"
    )
    parser.add_argument(
        "--protocol-speakers",
        action="store_true",
        help="the protocol's speakers in utt2spk, which Kaldi's own scripts refuse",
    )
    parser.add_argument("data_dir", metavar="DATA", help="where to make the data directories")
    args = parser.parse_args()
    layout = find_corpus(args.corpus_dir, args.recipe)
    sets = args.sets.replace(",", " ").split() or layout.sets()
    for subset in sets:
        if not NAME.fullmatch(subset) or not subset.strip("."):  # . and .. are folders
            raise UserError(f"--sets: {subset!r} is not the name of a set")
        prepare(layout, subset, Path(args.data_dir), args.allow_subset, args.protocol_speakers)


if __name__ == "__main__":
    run_program(main)
