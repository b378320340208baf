"""The detector as one module, waveform in and score out, and as a file of torch.export."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from steps.experiment.training_folder import TrainedDetector
from steps.exporting.frontend import FrontEnd
from steps.frontend import make_frontend
from steps.inference.domain import Domain
from steps.inference.onnx_model import DISTANCE, FRAMES, SCORE
from steps.nnet.base import score_of
from utils.files import write_aside

# waveform (batch, samples), lengths (batch,) -> outputs by name, as OnnxModel.look_at
Scorer = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]
ABOUT = "about.json"  # a file in the .pt2


class WaveformDetector(nn.Module):
    """waveform (batch, samples) float32, full scale 1; lengths (batch,) int64, samples of each that count -> score
    (batch,) float32, higher = bona fide: what steps/score.py gives an utterance. With a `domain` the distance from what
    the detector was trained on comes next, (batch,) float32; of a detector that scores frames their scores come last,
    (batch, frames) float32. Attribute outputs: the names. Raises UserError as FrontEnd does."""

    def __init__(self, trained: TrainedDetector, domain: Domain | None = None):
        super().__init__()
        self.front_end = FrontEnd(make_frontend(trained.frontend_conf))
        self.network, self.domain = trained.detector, domain
        self.outputs = [SCORE]
        if domain is not None:
            self.outputs.append(DISTANCE)
        if trained.detector.frame_head is not None:
            self.outputs.append(FRAMES)
        self.eval().requires_grad_(False)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor | tuple[Tensor, ...]:
        x = self.front_end(waveform, lengths)
        if len(self.outputs) == 1:
            return score_of(self.network(x))
        maps = self.network.stage_maps(x)
        embedding = self.network.embedding_of(maps[-1])
        found = [score_of(self.network.head(embedding))]
        if self.domain is not None:
            found.append(self.domain(embedding))
        if self.network.frame_head is not None:
            found.append(self.network.frame_head(maps))
        return tuple(found)


def write_program(path: Path, module: WaveformDetector, about: dict[str, Any]) -> None:
    """As torch.export saves it (.pt2), with `about` as JSON in it: torch.export.load reads it, without this toolkit."""
    batch, samples = torch.export.Dim("batch", min=1), torch.export.Dim("samples", min=1)
    example = torch.zeros(2, 4000), torch.full((2,), 4000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            module, example, dynamic_shapes={"waveform": {0: batch, 1: samples}, "lengths": {0: batch}}
        )
        with write_aside(path, "wb") as handle:
            torch.export.save(program, handle, extra_files={ABOUT: json.dumps(about)})


def read_program(path: Path) -> Scorer:
    """What a .pt2 makes of waveforms. It has no distances."""
    module = torch.export.load(str(path)).module()

    def look_at(waveform: np.ndarray, lengths: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            found = module(torch.from_numpy(waveform), torch.from_numpy(lengths))
        both = found if isinstance(found, tuple) else (found,)
        return {name: values.numpy() for name, values in zip((SCORE, FRAMES), both)}

    return look_at
