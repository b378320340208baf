"""Which recordings the arguments of a command line name."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from steps.frontend.processing.audio import Audio, wav_scp_entries
from utils.audio import Recording, looks_like_audio, refused
from utils.cli import UserError

Found = tuple[str, Audio | contextlib.AbstractContextManager[Recording]]


def find_recordings(arguments: Iterable[str], allow_pipes: bool = False) -> Iterator[Found]:
    """(name, path) of each recording; with `allow_pipes`, a wav.scp's commands too, else what refuses each when it is
    opened.

    A wav.scp (any name in .scp), or a data dir that has one: its utterances, by their ids, cut as the `segments` beside
    it says. Another folder: what in it, or in folders within it, is audio by its ending or its first bytes, sorted by
    path; nothing that begins with a dot. Anything else is a recording by itself, whether it is there or not.

    Raises UserError for a wav.scp that cannot be read, and for a folder without audio.
    """
    for argument in arguments:
        path = Path(argument)
        if path.suffix == ".scp" and path.is_file():
            yield from _entries(path, allow_pipes)
        elif (path / "wav.scp").is_file():
            yield from _entries(path / "wav.scp", allow_pipes)
        elif path.is_dir():
            files = sorted(_files_under(path))
            found = [one for one in files if looks_like_audio(one)]
            if not found:
                raise UserError(f"{argument}: no audio in this folder")
            if others := len(files) - len(found):
                first = next(one for one in files if not looks_like_audio(one))
                sys.stderr.write(
                    f"{argument}: {others} of {len(files)} files are no audio and are skipped, such as {first}\n"
                )
            yield from ((str(one), str(one)) for one in found)
        else:
            yield argument, argument


def _entries(wav_scp: Path, allow_pipes: bool) -> Iterator[Found]:
    for utt, entry in wav_scp_entries(wav_scp, allow_pipes):
        yield utt, refused(entry) if isinstance(entry, UserError) else entry


def _files_under(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(place) / name
            if not name.startswith(".") and path.is_file():
                yield path
