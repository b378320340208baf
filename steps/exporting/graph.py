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
from steps.nnet.base import score_of
from utils.files import write_aside

Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]  # waveform (batch, samples), lengths (batch,) -> (batch,)
ABOUT = "about.json"  # a file in the .pt2


class WaveformDetector(nn.Module):
    """waveform (batch, samples) float32, full scale 1; lengths (batch,) int64, samples of each that count -> score
    (batch,) float32, higher = bona fide: what steps/score.py gives an utterance; with a `domain`, the distance from
    what the detector was trained on, too, (batch,) float32. Raises UserError as FrontEnd does."""

    def __init__(self, trained: TrainedDetector, domain: Domain | None = None):
        super().__init__()
        self.front_end = FrontEnd(make_frontend(trained.frontend_conf))
        self.network, self.domain = trained.detector, domain
        self.eval().requires_grad_(False)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.front_end(waveform, lengths)
        if self.domain is None:
            return score_of(self.network(x))
        embedding = self.network.embed(x)
        return score_of(self.network.head(embedding)), self.domain(embedding)


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
    """The scores of a .pt2."""
    module = torch.export.load(str(path)).module()

    def scores(waveform: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(waveform), torch.from_numpy(lengths)).numpy()

    return scores
