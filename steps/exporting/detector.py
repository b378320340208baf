"""An exported ONNX file in the place of a training, for steps/detect.py and programs of one's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from steps import frontend as frontends
from steps.detection.calibration import Calibration, Decision
from steps.detection.detector import FakeSpeechDetector
from steps.exporting.graph import padded
from steps.exporting.runtime import OnnxModel
from utils.cli import UserError


class OnnxDetector(FakeSpeechDetector):
    """A FakeSpeechDetector whose front end and network ONNX Runtime computes, on the CPU."""

    def __init__(self, model: OnnxModel, decision: Decision, *arguments: Any):
        """arguments: those of FakeSpeechDetector from `corpus` on. Raises UserError for a file that steps/export.py did not
        make."""
        frontend_conf = frontends.conf_from_dict(_kept(model, "frontend"), str(model.path))
        super().__init__(None, frontend_conf, decision, *arguments)
        self._onnx = model

    def _features(self, waveform: np.ndarray, where: str) -> np.ndarray:
        return waveform.astype(np.float32)

    def _network_scores(self, features: Sequence[np.ndarray]) -> np.ndarray:
        return self._onnx.scores(*padded(features)).astype(np.float64)


def _kept(model: OnnxModel, key: str) -> Any:
    try:
        return json.loads(model.metadata[key])
    except (KeyError, ValueError):
        raise UserError(f"{model.path}: not an ONNX file of steps/export.py: its metadata have no {key}") from None


def corpus_of(model: OnnxModel) -> dict[str, Any]:
    return _kept(model, "corpus")


def calibration_in(model: OnnxModel) -> tuple[Calibration | None, str]:
    """The calibration that the file carries; or None, and why there is none."""
    about = _kept(model, "about")
    made = about["calibration"]
    if made is None:
        return None, f"{model.path} carries none, as there was none when it was exported"
    path = Path(f"{model.path}, {made['path']}")
    return Calibration(path, made["weight"], made["offset"], made["trained_on"], made["trained_on_eval"]), ""
