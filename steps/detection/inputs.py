"""Which recordings the arguments of a command line name."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from steps.detection.audio import Recording, looks_like_audio, open_recording, refused
from steps.frontend.processing.audio import Command, wav_scp_entries
from utils.cli import UserError
from utils.segments import Stretch

Found = tuple[str, str | Command | contextlib.AbstractContextManager[Recording]]


def find_recordings(arguments: Iterable[str], allow_pipes: bool = False) -> Iterator[Found]:
    """(name, path) of each recording; with `allow_pipes`, a wav.scp's commands too, else what refuses each when it is opened.

    A wav.scp (any name in .scp), or a data dir that has one: its utterances, by their ids, cut as the `segments` beside it
    says. Another folder: what in it, or in
    folders within it, is audio by its ending or its first bytes, sorted by path; nothing that begins with a dot. Anything
    else is a recording by itself, whether it is there or not.

    Raises UserError for a wav.scp that cannot be read, and for a folder without audio.
    """
    for argument in arguments:
        path = Path(argument)
        if path.suffix == ".scp" and path.is_file():
            yield from _entries(path, allow_pipes)
        elif (path / "wav.scp").is_file():
            yield from _entries(path / "wav.scp", allow_pipes)
        elif path.is_dir():
            found = sorted(_audio_under(path))
            if not found:
                raise UserError(f"{argument}: no audio in this folder")
            yield from ((str(one), str(one)) for one in found)
        else:
            yield argument, argument


def _entries(wav_scp: Path, allow_pipes: bool) -> Iterator[Found]:
    for utt, entry in wav_scp_entries(wav_scp, allow_pipes):
        if isinstance(entry, UserError):
            yield utt, refused(entry)
        else:
            yield utt, _open_stretch(entry, utt) if isinstance(entry, Stretch) else entry


@contextlib.contextmanager
def _open_stretch(stretch: Stretch, where: str) -> Iterator[Recording]:
    """The samples of a stretch as a recording of their own. Raises UserError, also while it is read, where they are not
    there."""
    with open_recording(stretch.path, where) as whole:
        channel = stretch.channel_of(whole.channels, None)
        told = None if whole.told_seconds is None or stretch.end is None else stretch.end - stretch.begin
        blocks, channels = _within(stretch, whole, channel), whole.channels if channel is None else 1
        yield dataclasses.replace(whole, channels=channels, blocks=blocks, told_seconds=told)


def _within(stretch: Stretch, whole: Recording, channel: int | None) -> Iterator[np.ndarray]:
    """Blocks (n, channels) of a recording's stretch, of all its channels or one. Nothing after it is decoded."""
    first, last = int(stretch.begin * whole.rate), None if stretch.end is None else int(stretch.end * whole.rate)
    done = 0
    for block in whole.blocks:
        part = block[max(0, first - done) : None if last is None else last - done]
        done += len(block)
        if len(part):
            yield part if channel is None else part[:, channel : channel + 1]
        if last is not None and done >= last:
            return
    stretch.span(whole.where, whole.rate, done)  # a recording that ends before it


def _audio_under(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(place) / name
            if not name.startswith(".") and path.is_file() and looks_like_audio(path):
                yield path
