"""A detector as Speech Anti-Spoofing Arena's benchmark program takes models.

    FSD_MODEL=exp/NAME/seed1 PYTHONPATH=. speech-spoof-bench run --model-module steps.inference.arena:ArenaModel ...

The program calls load, score_batch for each batch, then unload. It needs no base class, so this module does not need
the program.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from steps.inference.detector import FakeSpeechDetector
from utils.cli import UserError

MODEL = "FSD_MODEL"  # environment variable: the folder of a training, or an ONNX file


class ArenaModel:
    """Scores as FakeSpeechDetector.score gives them: the mean over the windows of a recording, higher for bona fide."""

    name = "fake-speech-detector"
    expected_sample_rate = 16000
    batch_size = 16

    def __init__(self) -> None:
        self._detector: FakeSpeechDetector | None = None

    def load(self) -> None:
        """Load the detector that the environment variable FSD_MODEL names. Raises UserError without it."""
        model = os.environ.get(MODEL)
        if not model:
            raise UserError(f"{MODEL}: not set; set it to the folder of a training, such as exp/NAME/seed1")
        self._detector = FakeSpeechDetector.load(model)

    def score_batch(self, audios: Sequence[np.ndarray], srs: Sequence[int]) -> list[float]:
        """audios: float32 (samples,) each, full scale 1; srs: their sample rates, Hz -> a score of each.

        Raises UserError, naming the place in the batch, for a recording that cannot be scored, and RuntimeError before
        load.
        """
        if self._detector is None:
            raise RuntimeError("load() first")
        scores = []
        for number, (audio, rate) in enumerate(zip(audios, srs, strict=True)):
            (result,) = self._detector.score(
                np.asarray(audio, np.float32), int(rate), f"recording {number} of the batch"
            )
            scores.append(result.score)
        return scores

    def unload(self) -> None:
        """Let go of the detector."""
        self._detector = None
