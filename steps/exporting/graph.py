"""The detector as one module, and its two forms on disk."""

from __future__ import annotations

from torch import Tensor, nn

from steps.experiment import TrainedDetector
from steps.exporting.frontend import FrontEnd
from steps.frontend import make_frontend
from steps.nnet.base import score_of


class WaveformDetector(nn.Module):
    """waveform (batch, samples) float32, full scale 1; lengths (batch,) int64, samples of each that count -> score (batch,)
    float32, higher = bona fide: what steps/score.py gives an utterance. Raises UserError as FrontEnd does."""

    def __init__(self, trained: TrainedDetector):
        super().__init__()
        self.front_end = FrontEnd(make_frontend(trained.frontend_conf))
        self.network = trained.detector

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        return score_of(self.network(self.front_end(waveform, lengths)))
