"""Recordings of a Kaldi data dir, such as MUSAN's noises or a set of room responses, drawn by chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from steps.augment.processing.signals import fit, resample
from steps.frontend.processing.audio import WavScp, open_audio, read_channel, refuse_command
from utils.cli import UserError
from utils.files import read_map, sha256_of
from utils.segments import Stretch, beside


class Recordings:
    """The utterances of `data_dir`, a recording or a segment each. Raises UserError if that is missing, empty, or has commands."""

    def __init__(self, data_dir: str, sample_rate: int):
        self.table = Path(data_dir) / "wav.scp"
        if not self.table.parent.is_dir():
            raise UserError(f"{data_dir}: no such data dir (a data_dir of the augmentation names it)")
        self.sample_rate = sample_rate
        self._recordings = WavScp(self.table)
        for name, path in read_map(self.table).items():
            refuse_command(f"{self.table}: {name} ({path})", path)
        if not self._recordings:
            raise UserError(f"{self.table}: empty")
        self.sha256 = " ".join(map(sha256_of, (self.table, *beside(self.table))))

    def draw(self, rng: np.random.Generator, samples: int | None = None) -> np.ndarray:
        """A recording, or a random stretch of one: float64 (samples,) at sample_rate, repeated if it is shorter.

        Of several channels one is drawn; another rate is resampled. Raises UserError naming a file that is missing,
        not audio, truncated, empty, has NaN or infinite samples, or, where it is taken whole, nothing but zeros.
        """
        name = self._recordings.utts[rng.integers(len(self._recordings))]
        audio = self._recordings[name]
        where = f"{self.table}: {name} ({audio})"
        stretch = audio if isinstance(audio, Stretch) else Stretch(audio)
        with open_audio(where, stretch.path) as sound:
            rate = sound.samplerate
            first, last = stretch.span(where, rate, sound.frames)
            wanted = last - first
            if samples is not None:
                wanted = min(wanted, -(-samples * rate // self.sample_rate))
            sound.seek(int(rng.integers(first, last - wanted + 1)))
            channel = stretch.channel_of(sound.channels, int(rng.integers(sound.channels)))
            waveform = read_channel(sound, where, channel, wanted)
        waveform = resample(waveform, rate, self.sample_rate)
        if samples is None:
            if not waveform.any():
                raise UserError(f"{where}: nothing but zeros")
            return waveform
        return fit(np.tile(waveform, -(-samples // len(waveform))), samples)
