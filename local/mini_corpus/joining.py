"""Each speaker's bona fide utterances, joined from the sources' files: kept whole in the folder of work, read by
all."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from local.mini_corpus.added_speech import AddedSpeaker, join_added, one_word
from local.mini_corpus.chain import rng_of
from local.mini_corpus.conf import MiniCorpusConf
from local.mini_corpus.speech import Joined, join_items, prepare_item, read_file
from utils.cli import UserError
from utils.files import read_json, write_aside, write_json


def speaker_files(folder: Path, speaker) -> list[Path]:
    """A speaker's files, sorted, less those that hold no speech."""
    files = sorted({path for glob in speaker.globs for path in folder.glob(glob) if path.is_file()})
    return [
        path
        for path in files
        if not any(fnmatch(str(path.relative_to(folder)), "*" + pattern) for pattern in speaker.leave_out)
    ]


def join_speaker(name: str, speaker, folder: Path, out: Path, seed: int, conf: MiniCorpusConf) -> int:
    """Write a speaker's joined utterances to OUT.npy (one after another, float32) and OUT.json (ends and files).

    Returns how many there are. The files are taken in a random order, each in one utterance.
    """
    index = out.with_suffix(".json")
    if index.exists():
        return len(read_json(index)["ends"])
    files = speaker_files(folder, speaker)
    if not files:
        raise UserError(
            f"{folder}: no file matches {' '.join(speaker.globs)} (speaker {name}); does another version have it?"
        )
    rng = rng_of(seed, f"join:{name}")

    def items() -> Iterable[tuple[str, np.ndarray]]:
        for i in rng.permutation(len(files)):
            speech = read_file(files[i])
            item = None if speech is None else prepare_item(speech, conf.utterance)
            if item is not None:
                yield str(files[i].relative_to(folder)), item

    made = []
    for joined in join_items(items(), rng_of(seed, f"lengths:{name}"), conf.utterance):
        made.append(joined)
        if len(made) == speaker.utterances:
            break
    if not made:
        raise UserError(
            f"{folder}: {' '.join(speaker.globs)} holds too little speech for one utterance (speaker {name})"
        )
    _write_joined(out, made)
    return len(made)


def _write_joined(out: Path, made: Sequence[Joined], **more: str) -> None:
    if made:
        with write_aside(out.with_suffix(".npy"), "wb") as handle:
            np.save(handle, np.concatenate([j.speech for j in made]).astype(np.float32))
    ends = np.cumsum([len(j.speech) for j in made]).tolist()
    write_json(out.with_suffix(".json"), {"ends": ends, "items": [list(j.items) for j in made], **more})


def join_added_speaker(speaker: AddedSpeaker, out: Path, seed: int, conf: MiniCorpusConf) -> int:
    """As join_speaker, for a speaker of an added folder; 0 where there is too little speech."""
    index = out.with_suffix(".json")
    if index.exists():
        return len(read_json(index)["ends"])
    made = join_added(speaker, seed, conf.utterance)
    _write_joined(out, made, added=f"added {one_word(speaker.folder.name, ' ')}")
    return len(made)


@functools.lru_cache(maxsize=64)
def _read(work: str, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    stem = Path(work) / "joined" / name
    return np.load(stem.with_suffix(".npy"), mmap_mode="r"), read_json(stem.with_suffix(".json"))


def joined_utterance(work: Path, name: str, number: int) -> tuple[np.ndarray, list[str], str | None]:
    """The number-th joined utterance of a speaker, (samples,) float64; its files; what it was added as, if it was."""
    speech, index = _read(str(work), name)
    start = index["ends"][number - 1] if number else 0
    return np.array(speech[start : index["ends"][number]], np.float64), index["items"][number], index.get("added")
