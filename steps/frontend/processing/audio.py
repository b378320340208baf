"""Reading an utterance's audio, and saying what is wrong with one that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from utils.cli import UserError


def refuse_command(where: str, path: str | Path) -> None:
    """Raises UserError that begins with `where` for an entry of a wav.scp that is a command."""
    if str(path).rstrip().endswith("|"):
        raise UserError(f"{where}: wav.scp entries that are commands are not run; write the audio to files first")


@contextmanager
def open_audio(where: str, path: str | Path) -> Iterator[soundfile.SoundFile]:
    """The audio file of `path`, open for reading.

    Raises UserError that begins with `where`: a command, missing, unreadable, also while it is read from.
    """
    refuse_command(where, path)
    if not Path(path).is_file():
        raise UserError(f"{where}: no such file")
    try:
        with soundfile.SoundFile(str(path)) as sound:
            yield sound
    except soundfile.LibsndfileError as error:
        raise UserError(f"{where}: cannot be read as audio: {error.error_string}") from None


def read_channel(sound: soundfile.SoundFile, where: str, channel: int, samples: int) -> np.ndarray:
    """The next `samples` of one channel, float64 (samples,), full scale 1.

    Raises UserError that begins with `where`: truncated, empty, NaN or infinite samples.
    """
    waveform = sound.read(samples, dtype="float64", always_2d=True)[:, channel]
    if len(waveform) < samples:
        raise UserError(f"{where}: truncated: {len(waveform)} of {samples} samples")
    if len(waveform) == 0:
        raise UserError(f"{where}: empty: no samples")
    if not np.isfinite(waveform).all():
        raise UserError(f"{where}: NaN or infinite samples")
    return waveform


def read_waveform(
    utt: str, path: str | Path, sample_rate: int, resample: bool = False, channel: int | None = None
) -> np.ndarray:
    """float64 (samples,), full scale 1, at `sample_rate` (Hz).

    Audio of another rate is an error, or with `resample` brought to `sample_rate` (soxr, high quality:
    ceil-like number of samples, duration kept). Audio of several channels is an error, or of it `channel` (from 0) is taken.

    Raises UserError naming the utterance and file: missing, unreadable, truncated, empty, NaN or infinite samples,
    another rate without `resample`, several channels without `channel`, fewer channels than it asks for.
    """
    where = f"{utt} ({path})"
    with open_audio(where, path) as sound:
        rate = sound.samplerate
        if rate != sample_rate and not resample:
            raise UserError(
                f"{where}: {rate} Hz where the conf's sample_rate is {sample_rate}: resample it, or set resample: true"
            )
        if sound.channels != 1 and channel is None:
            raise UserError(
                f"{where}: {sound.channels} channels where one is expected: mix them first, or set channel: 0"
            )
        if channel is not None and channel >= sound.channels:
            raise UserError(f"{where}: no channel {channel}: it has {sound.channels}, counted from 0")
        waveform = read_channel(sound, where, channel or 0, sound.frames)
    if rate != sample_rate:
        import soxr  # here, because few need it and it takes a while to load

        waveform = soxr.resample(waveform, rate, sample_rate, quality="HQ")
        if len(waveform) == 0:
            raise UserError(f"{where}: too short to be resampled from {rate} to {sample_rate} Hz")
    return waveform
