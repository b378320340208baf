"""steps/inference/arena.py: a detector as Speech Anti-Spoofing Arena's program takes models."""

from __future__ import annotations

import numpy as np
import pytest

from steps.inference.arena import ArenaModel
from steps.inference.detector import FakeSpeechDetector
from utils.cli import UserError


def test_scores_are_the_detectors_and_a_batch_may_have_any_length(training, monkeypatch):
    monkeypatch.setenv("FSD_MODEL", str(training))
    draw = np.random.default_rng(1)
    audios = [draw.normal(0, 0.1, seconds * 16000).astype(np.float32) for seconds in (1, 6)]
    model = ArenaModel()
    model.load()
    scores = model.score_batch(audios, [16000, 16000])
    assert scores == [FakeSpeechDetector.load(training).score(audio, 16000)[0].score for audio in audios]
    assert model.score_batch(audios[:1], [16000]) == scores[:1]
    with pytest.raises(UserError, match="recording 1 of the batch"):
        model.score_batch([audios[0], np.zeros(16000, np.float32)], [16000, 16000])
    model.unload()
    with pytest.raises(RuntimeError, match="load"):
        model.score_batch(audios, [16000, 16000])


def test_without_a_model_it_says_what_to_set(monkeypatch):
    monkeypatch.delenv("FSD_MODEL", raising=False)
    with pytest.raises(UserError, match="FSD_MODEL: not set"):
        ArenaModel().load()
