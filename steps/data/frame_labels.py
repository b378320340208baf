"""Which frames of an utterance are spoofed, by its data dir's `rttm` (utils/rttm.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from steps.frontend import FrontEndConf
from utils.cli import UserError
from utils.rttm import RTTM, Stretches, read_rttm
from utils.tables import read_big_map


def bonafide_frames(stretches: Stretches, frames: int, seconds: float) -> np.ndarray:
    """(frames,) booleans: False where the middle of a frame lies in a spoofed stretch. The frames divide an utterance
    of so many seconds into equal parts."""
    middles = (np.arange(frames) + 0.5) * (seconds / frames)
    bonafide = np.ones(frames, bool)
    for begin, end in stretches:
        bonafide[np.searchsorted(middles, begin) : np.searchsorted(middles, end)] = False
    return bonafide


class FrameLabels:
    """The labels of the frames that the feature stage made of a data dir's utterances.

    Raises UserError where the data dir has no rttm, the features are not on disk, or the front end cuts something out,
    so that a frame's number does not tell its time.
    """

    def __init__(self, data_dir: Path, feats_dir: Path, conf: FrontEndConf):
        path = data_dir / RTTM
        if not path.is_file():
            raise UserError(
                f"{path}: no such file, but train.frames needs the spoofed stretches; take a corpus that has them, or"
                " set train.frames=null"
            )
        if not conf.keeps_time:
            raise UserError(
                "train.frames: this front end cuts something out of utterances; set frontend.standardise=in_place,"
                " frontend.max_samples=null and no trim, as conf/frontend/f0_subband_frames.yaml has it"
            )
        counts = feats_dir / "utt2num_frames"
        if not counts.is_file():
            raise UserError(f"{counts}: no such file; train.frames needs features on disk, so leave --online out")
        self._stretches = read_rttm(path)
        self._labels = read_big_map(data_dir / "utt2label")
        self._frames, self._seconds = read_big_map(counts), read_big_map(data_dir / "utt2dur")
        for utt in self._stretches:
            if self._labels.get(utt) == "bonafide":
                raise UserError(f"{path}: {utt} is bona fide by {data_dir / 'utt2label'}, yet has spoofed stretches")

    def of(self, utt: str) -> np.ndarray:
        """(frames,) booleans, True for bona fide."""
        frames = int(self._frames[utt])
        if self._labels[utt] == "spoof" and utt not in self._stretches:
            return np.zeros(frames, bool)
        return bonafide_frames(self._stretches.get(utt, ()), frames, float(self._seconds[utt]))
