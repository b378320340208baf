"""Which recordings the arguments of a command line name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from steps.detection.audio import looks_like_audio
from utils.cli import UserError
from utils.files import read_map


def find_recordings(arguments: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(name, path) of each recording.

    A wav.scp (any name in .scp), or a data dir that has one: its utterances, by their ids. Another folder: what in it, or in
    folders within it, is audio by its ending or its first bytes, sorted by path; nothing that begins with a dot. Anything
    else is a recording by itself, whether it is there or not.

    Raises UserError for a wav.scp that cannot be read, and for a folder without audio.
    """
    for argument in arguments:
        path = Path(argument)
        if path.suffix == ".scp" and path.is_file():
            yield from read_map(path).items()
        elif (path / "wav.scp").is_file():
            yield from read_map(path / "wav.scp").items()
        elif path.is_dir():
            found = sorted(_audio_under(path))
            if not found:
                raise UserError(f"{argument}: no audio in this folder")
            yield from ((str(one), str(one)) for one in found)
        else:
            yield argument, argument


def _audio_under(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(place) / name
            if not name.startswith(".") and path.is_file() and looks_like_audio(path):
                yield path
