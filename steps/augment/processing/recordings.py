"""Recordings of a Kaldi data dir, such as MUSAN's noises or a set of room responses, drawn by chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from steps.augment.processing.signals import fit, resample
from utils.cli import UserError
from utils.files import read_map


class Recordings:
    """What the wav.scp of `data_dir` lists. Raises UserError if that is missing, empty, or has commands."""

    def __init__(self, data_dir: str, sample_rate: int):
        table = Path(data_dir) / "wav.scp"
        if not table.parent.is_dir():
            raise UserError(f"{data_dir}: no such data dir (a data_dir of the augmentation names it)")
        self.sample_rate = sample_rate
        self._recordings = list(read_map(table).items())
        if not self._recordings:
            raise UserError(f"{table}: empty")
        for name, path in self._recordings:
            if path.endswith("|"):
                raise UserError(
                    f"{table}: {name}: entries that are commands are not run; write the audio to files first"
                )
        self._table = table

    def draw(self, rng: np.random.Generator, samples: int | None = None) -> np.ndarray:
        """A recording, or a random stretch of one: float64 (samples,) at sample_rate, repeated if it is shorter.

        Of several channels one is drawn; another rate is resampled. Raises UserError naming a file that is missing,
        not audio, truncated, empty, or has NaN or infinite samples.
        """
        name, path = self._recordings[rng.integers(len(self._recordings))]
        where = f"{self._table}: {name} ({path})"
        if not Path(path).is_file():
            raise UserError(f"{where}: no such file")
        try:
            with soundfile.SoundFile(path) as sound:
                rate, frames = sound.samplerate, sound.frames
                wanted = frames if samples is None else min(frames, -(-samples * rate // self.sample_rate))
                sound.seek(int(rng.integers(frames - wanted + 1)))
                channel = int(rng.integers(sound.channels))
                waveform = sound.read(wanted, dtype="float64", always_2d=True)[:, channel]
        except soundfile.LibsndfileError as error:
            raise UserError(f"{where}: cannot be read as audio: {error.error_string}") from None
        if len(waveform) == 0:
            raise UserError(f"{where}: empty: no samples")
        if len(waveform) < wanted:
            raise UserError(f"{where}: truncated: {len(waveform)} of {wanted} samples")
        if not np.isfinite(waveform).all():
            raise UserError(f"{where}: NaN or infinite samples")
        waveform = resample(waveform, rate, self.sample_rate)
        if samples is None:
            return waveform
        return fit(np.tile(waveform, -(-samples // len(waveform))), samples)
