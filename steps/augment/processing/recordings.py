"""Recordings of a Kaldi data dir, such as MUSAN's noises or a set of room responses, drawn by chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from steps.augment.processing.signals import fit, resample
from steps.frontend.processing.audio import WavScp
from utils.audio import Recording, open_recording, refuse_command
from utils.cli import UserError
from utils.files import read_map, sha256_of
from utils.segments import beside


class Recordings:
    """The utterances of `data_dir`, a recording or a segment each. Raises UserError if that is missing, empty, or has
    commands."""

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
        name = self._recordings.utts[int(rng.integers(len(self._recordings)))]
        audio = self._recordings[name]
        where = f"{self.table}: {name} ({audio})"
        with open_recording(audio, where, strict=True) as recording:
            rate, wanted = recording.rate, None if samples is None else -(-samples * recording.rate // self.sample_rate)
            waveform = _stretch(recording, wanted, rng)
        waveform = resample(waveform, rate, self.sample_rate)
        if samples is None:
            if not waveform.any():
                raise UserError(f"{where}: nothing but zeros")
            return waveform
        return fit(np.tile(waveform, -(-samples // len(waveform))), samples)


def _stretch(recording: Recording, wanted: int | None, rng: np.random.Generator) -> np.ndarray:
    """A random stretch of so many samples, or of all where there are fewer or `wanted` is None, of a random channel:
    (samples,)."""
    held, blocks = recording.samples, None
    if held is None:  # nothing but decoding tells
        blocks = np.concatenate([np.zeros((0, recording.channels)), *recording.blocks])
        held = len(blocks)
    wanted = held if wanted is None else min(wanted, held)
    begin, channel = int(rng.integers(held - wanted + 1)), int(rng.integers(recording.channels))
    found = recording.within(begin, begin + wanted) if blocks is None else [blocks[begin : begin + wanted]]
    waveform = [block[:, channel] for block in found]
    if not waveform or not len(waveform[0]):
        raise UserError(f"{recording.where}: empty: no samples")
    return np.concatenate(waveform)
