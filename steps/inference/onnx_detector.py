"""An exported ONNX file in the place of a training, for steps/detect.py and programs of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from steps import frontend as frontends
from steps.exporting.graph import padded
from steps.frontend import FrontEndBase
from steps.frontend.processing.band import BandLimits
from steps.inference.calibration import Calibration, Decision
from steps.inference.detector import Channels, Evidence, FakeSpeechDetector, Pool
from steps.inference.onnx_runtime import OnnxModel
from utils.cli import UserError


class OnnxDetector(FakeSpeechDetector):
    """A FakeSpeechDetector whose front end and network ONNX Runtime computes, on the CPU."""

    def __init__(self, model: OnnxModel, decision: Decision, *arguments: Any):
        """arguments: those of FakeSpeechDetector from `corpus` on. Raises UserError for a file that steps/export.py did not
        make."""
        frontend_conf = frontends.conf_from_dict(_kept(model, "frontend"), str(model.path))
        super().__init__(None, frontend_conf, decision, *arguments)
        self._onnx = model

    def _input(self, waveform: np.ndarray, standard: np.ndarray, frontend: FrontEndBase, where: str) -> np.ndarray:
        return waveform.astype(np.float32)

    def _network_scores(self, features: Sequence[np.ndarray]) -> np.ndarray:
        return self._onnx.scores(*padded(features)).astype(np.float64)

    def evidence(self, *_: Any) -> list[Evidence]:
        """Raises UserError: it takes gradients."""
        raise UserError(f"{self.model}: an ONNX file cannot tell what the network looked at; load the training")


def _kept(model: OnnxModel, key: str) -> Any:
    try:
        return json.loads(model.metadata[key])
    except (KeyError, ValueError):
        raise UserError(f"{model.path}: not an ONNX file of steps/export.py: its metadata have no {key}") from None


def load_onnx(
    path: Path,
    calibration: Calibration | None,
    decide: Callable[[Calibration | None, str], Decision],
    hop: float | None,
    pool: Pool,
    channels: Channels | None,
    device: torch.device,
    batch_size: int,
    num_threads: int,
) -> OnnxDetector:
    """As FakeSpeechDetector.load. calibration: in the place of the one that the file carries; decide: makes the decision of a
    calibration, or of why there is none."""
    if device.type != "cpu":
        raise UserError(f"{path}: an ONNX file runs on the CPU only here; leave --ngpu out")
    model = OnnxModel(path, num_threads)
    missing = ""
    if calibration is None:
        made = _kept(model, "about")["calibration"]
        if made is None:
            missing = f"{path} carries no calibration, as there was none when it was exported"
        else:
            said = Path(f"{path}, of {made['path']}")
            calibration = Calibration(said, made["weight"], made["offset"], made["trained_on"], made["trained_on_eval"])
    band = _kept(model, "about").get("band")
    limits = band and BandLimits(tuple(band["centres"]), tuple(band["lowest"]))
    settings = limits, hop, pool, channels, device, batch_size, num_threads
    found = OnnxDetector(model, decide(calibration, missing), _kept(model, "corpus"), *settings)
    found.model = f"{path}, of {_kept(model, 'about')['model']}"
    return found
