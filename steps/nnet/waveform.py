"""What the networks that read raw samples share: the shape of their input, and fixed band-pass filters."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from steps.nnet.staged import StagedBackbone
from utils.cli import UserError

_SAMPLE_RATE = 16000


class WaveformBackbone(StagedBackbone):
    """A backbone whose input is (batch, 1, samples, 1): frames are samples. Raises UserError for any other input."""

    input_bins = 1

    def forward(self, x: Tensor) -> list[Tensor]:
        check_waveform(x)
        return super().forward(x)


def check_waveform(x: Tensor) -> None:
    """Raises UserError unless the input of a network is (batch, 1, samples, 1)."""
    if x.shape[1] != 1 or x.shape[3] != 1:
        raise UserError(
            f"this network reads raw samples, and the front end makes {x.shape[1]} x {x.shape[3]} columns; take "
            "--frontend conf/frontend/waveform.yaml"
        )


def band_filters(count: int, length: int) -> Tensor:
    """(count, 1, length): windowed-sinc band-pass filters side by side on the mel scale, from 0 Hz to 8 kHz.

    Each is the difference of two low-pass filters under a Hamming window, Ravanelli and Bengio, "Speaker recognition
    from raw waveform with SincNet", SLT 2018, equation 4; here the cut-off frequencies are not learnt.
    """
    mel = np.linspace(0, 2595 * np.log10(1 + _SAMPLE_RATE / 2 / 700), count + 1)
    edges = 2 * 700 * (10 ** (mel / 2595) - 1) / _SAMPLE_RATE  # of half the sample rate
    times = np.arange(length) - (length - 1) / 2
    low_pass = edges[:, None] * np.sinc(edges[:, None] * times)
    return torch.from_numpy(np.diff(low_pass, axis=0) * np.hamming(length)).float()[:, None]


class BandFilters(nn.Module):
    """(batch, 1, samples, 1) -> (batch, 1, samples + 1 - length, count): the waveform through each of the filters."""

    filters: Tensor

    def __init__(self, count: int, length: int):
        super().__init__()
        self.register_buffer("filters", band_filters(count, length), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(x[..., 0], self.filters).transpose(1, 2)[:, None]
