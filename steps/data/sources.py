"""Where a network's input comes from: features that the feature stage dumped, or computed when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from steps.frontend import FrontEndBase, read_utterance
from steps.frontend.processing.audio import read_wav_scp
from utils.ark import ScpReader
from utils.cli import UserError
from utils.files import read_map

WaveformChange = Callable[[np.ndarray], np.ndarray]


class FeatureSource(Protocol):
    """Features by utterance. `place` is the file that lists `utts`, and `mend` what to do where it lacks some, for
    messages; `left_out` what the user chose to do without. `storage`: where utterances lie, as ScpReader.storage tells;
    None where they do not lie in arks."""

    place: Path
    mend: str
    utts: Sequence[str]
    left_out: frozenset[str]
    storage: Callable[[Iterable[str]], tuple[np.ndarray, np.ndarray]] | None

    def __contains__(self, utt: str) -> bool: ...

    def read(self, utt: str, change: WaveformChange | None = None) -> np.ndarray:
        """float32 (frames, columns) of `utt`, `change` applied to its waveform. Raises UserError naming `utt`."""

    def read_at_once(self, count: int) -> None:
        """Get so many bytes of a file at once from now on, for utterances that are read as they lie there."""


class DumpedFeatures:
    """The features of a feats dir. Waveforms are gone: `change` is refused."""

    mend = "remove it and run again from --stage 1"

    def __init__(self, feats_dir: str | Path):
        feats_dir = Path(feats_dir)
        self.place = feats_dir / "feats.scp"
        self._reader = ScpReader(self.place)
        self.utts = self._reader.places.key_column
        self.storage = self._reader.storage
        skipped = feats_dir / "skipped"
        self.left_out = frozenset(read_map(skipped)) if skipped.exists() else frozenset()

    def __contains__(self, utt: str) -> bool:
        return utt in self._reader

    def read(self, utt: str, change: WaveformChange | None = None) -> np.ndarray:
        if change is not None:
            raise ValueError("dumped features have no waveform to change")
        return self._reader.read(utt)

    def read_at_once(self, count: int) -> None:
        self._reader.buffering = count


class ComputedFeatures:
    """Features computed from the audio of a data dir: the same numbers as uncompressed dumped ones."""

    left_out: frozenset[str] = frozenset()
    storage = None
    mend = "add them there, or take them out of the other"

    def __init__(self, data_dir: str | Path, frontend: FrontEndBase, allow_pipes: bool = False):
        if frontend.conf.compress != "none":
            raise UserError(
                f"compress: {frontend.conf.compress} is for features on disk; with --online true set"
                " frontend.compress=none"
            )
        self._wavs, self._frontend = read_wav_scp(Path(data_dir) / "wav.scp", allow_pipes), frontend
        self.place, self.utts = self._wavs.place, self._wavs.utts

    def __contains__(self, utt: str) -> bool:
        return utt in self._wavs

    def read(self, utt: str, change: WaveformChange | None = None) -> np.ndarray:
        waveform = read_utterance(utt, self._wavs[utt], self._frontend.conf)
        if change is not None:
            waveform = change(waveform)
        features = self._frontend.compute(waveform)
        if not np.isfinite(features).all():
            raise UserError(f"{utt} ({self._wavs[utt]}): its features are not finite")
        return features

    def levels(self, utt: str) -> np.ndarray:
        """Of `utt` in the front end's bands, in decibels: FrontEndBase.levels. Raises UserError naming `utt`."""
        waveform = read_utterance(utt, self._wavs[utt], self._frontend.conf)
        return self._frontend.levels(self._frontend.standardised(waveform))

    def read_at_once(self, count: int) -> None:
        """An audio file is read whole anyway."""
