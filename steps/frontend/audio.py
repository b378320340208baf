"""Reading an utterance's audio, and saying what is wrong with one that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from utils.cli import UserError


def read_waveform(utt: str, path: str | Path, sample_rate: int) -> np.ndarray:
    """float64 (samples,), full scale 1.

    Raises UserError naming the utterance and file: missing, unreadable, truncated, empty, not mono, another rate
    than `sample_rate` (Hz), NaN or infinite samples.
    """
    where = f"{utt} ({path})"
    if str(path).rstrip().endswith("|"):
        raise UserError(f"{where}: wav.scp entries that are commands are not run; write the audio to files first")
    if not Path(path).is_file():
        raise UserError(f"{where}: no such file")
    try:
        with soundfile.SoundFile(str(path)) as sound:
            if sound.samplerate != sample_rate:
                raise UserError(
                    f"{where}: {sound.samplerate} Hz where the conf's sample_rate is {sample_rate}: resample it"
                )
            if sound.channels != 1:
                raise UserError(f"{where}: {sound.channels} channels where one is expected: choose or mix them first")
            expected = sound.frames
            waveform = sound.read(dtype="float64")
    except soundfile.LibsndfileError as error:
        raise UserError(f"{where}: cannot be read as audio: {error.error_string}") from None
    if expected > 0 and len(waveform) < expected:
        raise UserError(f"{where}: truncated: {len(waveform)} of {expected} samples")
    if len(waveform) == 0:
        raise UserError(f"{where}: empty: no samples")
    if not np.isfinite(waveform).all():
        raise UserError(f"{where}: NaN or infinite samples")
    return waveform
