"""Folders of the user's own speech as further bona fide speakers of a mini corpus: LibriSpeech, VCTK, any other.

A speaker is a first-level folder below the one given, with whatever folders are in it, or what DIR/utt2spk says (an
utterance is a file's name without its ending). The conf's own utterances stay what they are without the addition.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from local.mini_corpus.attack import RATE
from local.mini_corpus.chain import rng_of
from local.mini_corpus.settings import SPLITS, Utterances
from local.mini_corpus.speech import Joined, join_items, prepare_item, resample
from utils import audio
from utils.cli import ProgressLog, UserError, warn
from utils.files import read_map

AT_MOST = 60  # utterances of one added speaker, unless told otherwise
_ENDINGS = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd",
    ".caf", ".w64", ".rf64", ".sph",
)  # fmt: skip
_SHOWN = 3  # names in a message


@dataclass(frozen=True)
class AddedSpeaker:
    """One person of an added folder."""

    key: str  # names this speaker among all bona fide speakers of the corpus; safe as a file name
    label: str  # VCTK/p225, for the manifest
    split: str
    folder: Path  # the added one
    files: tuple[str, ...]  # sorted, relative to it, at 16 kHz or above
    utterances: int  # at most so many


@dataclass(frozen=True)
class AddedFolder:
    """One folder of speech in one split."""

    folder: Path
    split: str
    at_most: int  # utterances of each speaker
    files: dict[str, tuple[str, ...]]  # speaker -> its files, sorted, relative to the folder; whatever their rate
    digest: str  # of the files' names and sizes and of who speaks in them: 16 hex digits

    @property
    def name(self) -> str:
        return self.folder.name

    def __str__(self) -> str:
        count = sum(map(len, self.files.values()))
        return (
            f"{self.name} in {self.split} ({len(self.files)} speakers, {count} files {self.digest}, "
            f"{self.at_most} utterances each at most)"
        )


# ---------------------------------------------------------------- the folders, without a look into their files


def parse_folders(given: Sequence[str], split: str = "train") -> list[tuple[Path, str]]:
    """(folder, split) of each DIR or DIR:SPLIT; `split` where none is named.

    Raises UserError for a folder that is not there, and for one that is given twice or stands inside another.
    """
    found: list[tuple[Path, str]] = []
    for text in given:
        head, colon, tail = text.rpartition(":")
        path, to = (Path(head), tail) if colon and tail in SPLITS else (Path(text), split)
        if not path.is_dir():
            hint = f" (after the colon comes one of {', '.join(SPLITS)})" if colon and Path(head).is_dir() else ""
            raise UserError(f"--bonafide-dir {text}: no such folder{hint}")
        path = path.resolve()
        for other, there in found:
            if path == other or path in other.parents or other in path.parents:
                why = f"stands there twice, for {there} and {to}" if path == other else f"and {other} share files"
                raise UserError(
                    f"--bonafide-dir {text}: {path} {why}: a speaker belongs into one split; give every folder once"
                )
            if path.name == other.name:
                raise UserError(
                    f"--bonafide-dir {text}: {other} has the same name {path.name}, by which the corpus would be known;"
                    " rename one, or give a folder of links"
                )
        found.append((path, to))
    return found


def list_added(folders: Sequence[tuple[Path, str]], at_most: int = AT_MOST) -> tuple[AddedFolder, ...]:
    """The folders with their speakers and files, by names and sizes alone.

    Raises UserError for a folder without speech files, a file of no speaker, a utt2spk that does not fit its folder,
    and a speaker who stands in two splits.
    """
    added = tuple(_list_folder(folder, split, at_most) for folder, split in folders)
    seen: dict[str, AddedFolder] = {}
    for one in added:
        for speaker in one.files:
            other = seen.setdefault(speaker, one)
            if other.split != one.split:
                raise UserError(
                    f"{one.folder / speaker}: speaker {speaker} is added to {one.split}, and from {other.folder} to "
                    f"{other.split}: a speaker belongs into one split. Give both folders the same split, or, if they "
                    f"are two persons, name them apart in {one.folder / 'utt2spk'}"
                )
    return added


def _list_folder(folder: Path, split: str, at_most: int) -> AddedFolder:
    sizes = dict(_walk(folder))
    if not sizes:
        raise UserError(
            f"{folder}: no speech file is in it (looked for {' '.join(_ENDINGS)}); give the folder that holds the "
            "speakers' folders"
        )
    utt2spk = folder / "utt2spk"
    speaker_of = _by_utt2spk(folder, sizes, utt2spk) if utt2spk.is_file() else _by_folder(folder, sizes)
    files: dict[str, list[str]] = defaultdict(list)
    digest = hashlib.sha256()
    for path in sorted(sizes):
        files[speaker_of[path]].append(path)
        digest.update(f"{path}\t{sizes[path]}\t{speaker_of[path]}\n".encode("utf-8", "surrogateescape"))
    listed = {speaker: tuple(files[speaker]) for speaker in sorted(files)}
    return AddedFolder(folder, split, at_most, listed, digest.hexdigest()[:16])


def _walk(folder: Path) -> Iterator[tuple[str, int]]:
    """(path relative to `folder`, bytes) of every speech file below it; links are followed, hidden names left out."""
    visited = set()
    for top, inner, names in os.walk(folder, followlinks=True):
        here = Path(top)
        status = here.stat()
        if (status.st_dev, status.st_ino) in visited:  # a link that leads back up
            inner.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in names:
            path = here / name
            if name.lower().endswith(_ENDINGS) and not name.startswith(".") and path.is_file():
                yield path.relative_to(folder).as_posix(), path.stat().st_size


def _by_folder(folder: Path, paths: dict[str, int]) -> dict[str, str]:
    loose = sorted(path for path in paths if "/" not in path)
    if loose:
        raise UserError(
            f"{folder}: {_some(loose)} in no speaker's folder; lay each file into a folder of its speaker, or "
            f"write {folder / 'utt2spk'} (lines `<file name without its ending> <speaker>`)"
        )
    return {path: path.partition("/")[0] for path in paths}


def _by_utt2spk(folder: Path, paths: dict[str, int], utt2spk: Path) -> dict[str, str]:
    speakers = read_map(utt2spk)
    of: dict[str, str] = {}
    for path in sorted(paths):
        utterance = Path(path).stem
        if utterance in of:
            raise UserError(
                f"{folder}: {of[utterance]} and {path} are both the utterance {utterance} of {utt2spk}; rename one"
            )
        of[utterance] = path
    unknown = [utterance for utterance in speakers if utterance not in of]
    if unknown:
        raise UserError(f"{utt2spk}: {_some(unknown)} without a speech file in {folder}; take the lines out, or add it")
    lacking = [path for utterance, path in of.items() if utterance not in speakers]
    if lacking:
        raise UserError(f"{folder}: {_some(lacking)} not in {utt2spk}; add the lines, or move the files elsewhere")
    return {path: speakers[utterance] for utterance, path in of.items()}


def _some(names: Sequence[str]) -> str:
    """ "a, b, c and 7 more are", for messages."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more} {'is' if len(names) == 1 else 'are'}"


# ---------------------------------------------------------------- their speakers, after a look at every file's header


def speakers_of(added: Sequence[AddedFolder]) -> list[AddedSpeaker]:
    """The speakers with usable files. What is left out is told with one line for each folder and reason; UserError if
    a folder has nothing left."""
    speakers = []
    for one in added:
        rates = _rates(one)
        narrow = [path for path, rate in rates.items() if isinstance(rate, int) and rate < RATE]
        broken = [path for path, rate in rates.items() if isinstance(rate, str)]
        for paths, why in ((narrow, f"below {RATE // 1000} kHz"), (broken, "not to be read as sound")):
            if paths:
                reason = f": {rates[paths[0]]}" if paths is broken else ""
                warn(f"{one.folder}: {len(paths)} of {len(rates)} files left out: {why} (such as {paths[0]}{reason})")
        if len(narrow) + len(broken) == len(rates):
            raise UserError(
                f"{one.folder}: none of its {len(rates)} files is usable: {RATE} Hz or more is needed, and a format"
                f" that libsndfile reads (such as {(narrow or broken)[0]})"
            )
        left_out = {*narrow, *broken}
        for name, files in one.files.items():
            usable = tuple(path for path in files if path not in left_out)
            if usable:
                label = f"{one.name}/{name}"
                speakers.append(AddedSpeaker(_key(label), label, one.split, one.folder, usable, one.at_most))
    return speakers


def _key(label: str) -> str:
    return "added-" + re.sub(r"[^A-Za-z0-9_-]", lambda found: f"%{ord(found[0]):02x}", label)


def _rates(one: AddedFolder) -> dict[str, int | str]:
    """Path -> sampling rate in Hz, or why the file cannot be used."""

    def rate(path: str) -> int | str:
        try:
            with audio.open_recording(one.folder / path, "") as recording:
                return recording.rate if recording.samples != 0 else "no samples"
        except UserError as error:
            return str(error).removeprefix(": ")

    paths = [path for files in one.files.values() for path in files]
    progress = ProgressLog(len(paths), "files", f"looking at {one.name}", every_seconds=10.0)
    rates: dict[str, int | str] = {}
    with ThreadPoolExecutor(4) as pool:  # they wait for the disk most of the time
        for path, found in zip(paths, pool.map(rate, paths)):
            rates[path] = found
            progress.update()
    progress.close()
    return rates


def one_word(text: str, keep: str = "") -> str:
    """`text` without blanks or what else would break a manifest's line, each as %XX of its bytes; `keep` stays."""

    def percent(found: re.Match) -> str:
        return found[0] if found[0] in keep else "".join(f"%{byte:02X}" for byte in os.fsencode(found[0]))

    return re.sub(r"[\s%\udc80-\udcff]|:(?= )", percent, text)


def join_added(speaker: AddedSpeaker, seed: int, conf: Utterances) -> list[Joined]:
    """At most `speaker.utterances` utterances from files in a random order; none where they hold too little speech.

    A file longer than an utterance goes on in the next one. Raises UserError for a file that turns out to be damaged.
    """
    longest = speaker.utterances * conf.seconds[1] * 3 + 60  # seconds of one file: all that could be needed, and more

    def items() -> Iterator[tuple[str, np.ndarray]]:
        for i in rng_of(seed, f"join:{speaker.key}").permutation(len(speaker.files)):
            path = speaker.folder / speaker.files[i]
            try:
                with audio.open_recording(path) as recording:
                    rate = recording.rate
                    samples = np.concatenate([*recording.within(0, int(longest * rate))])
            except UserError as error:
                raise UserError(f"{error}; fix it or take it out of {speaker.folder}") from None
            item = prepare_item(resample(samples.mean(axis=1), rate), conf)
            if item is not None:
                yield one_word(speaker.files[i]), item

    made: list[Joined] = []
    for joined in join_items(items(), rng_of(seed, f"lengths:{speaker.key}"), conf, keep_rest=True):
        made.append(joined)
        if len(made) == speaker.utterances:
            break
    return made


def with_utterances(speakers: Sequence[AddedSpeaker], counts: Sequence[int]) -> list[AddedSpeaker]:
    """The speakers who have utterances, in the order given. `counts`: how many each has.

    The others are told with one line a folder; UserError if a folder has no speaker left.
    """
    by_folder: dict[Path, list[tuple[AddedSpeaker, int]]] = defaultdict(list)
    for speaker, count in zip(speakers, counts, strict=True):
        by_folder[speaker.folder].append((speaker, count))
    for folder, those in by_folder.items():
        without = [speaker.label for speaker, count in those if not count]
        if len(without) == len(those):
            raise UserError(f"{folder}: no speaker has enough speech for one utterance; give another folder")
        if without:
            warn(f"{folder}: left out: {_some(without)} too short for one utterance")
    return [speaker for speaker, count in zip(speakers, counts) if count]


def entries(added: Sequence[AddedFolder], utterances: dict[str, int], speakers: Sequence[AddedSpeaker]) -> list[dict]:
    """What corpus.json says of the added folders. `utterances`: how many bona fide ones each speaker's key has."""
    listed: list[dict[str, Any]] = []
    for one in added:
        those = [speaker for speaker in speakers if speaker.folder == one.folder]
        listed.append(
            {
                "name": one.name,
                "split": one.split,
                "speakers": len(those),
                "utterances": sum(utterances[speaker.key] for speaker in those),
                "files": sum(map(len, one.files.values())),
                "digest": one.digest,
            }
        )
    return listed
