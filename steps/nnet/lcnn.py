"""LCNN: convolutions with max feature maps and two recurrent layers, of the LFCC-LCNN baseline of ASVspoof 2021.

Wang and Yamagishi, "A comparative study on recent neural spoofing countermeasures for synthetic speech detection",
Interspeech 2021: LCNN-LSTM-sum, 276 K parameters by Jung et al., "AASIST", ICASSP 2022, table 2. Light CNN: Wu et al.,
"A light CNN for deep face representation with noisy labels", 2018. Stages 1 to 3 end with the second, third and fourth
pooling; stage 4 is the recurrent layers and a linear one, whose mean over time is the embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from steps.nnet.base import ModelConf
from steps.nnet.staged import StagedBackbone
from utils.cli import UserError

_DROP = 0.7  # of what the recurrent layers read
_POOLINGS = 4  # each halves frames and bins


@dataclass(frozen=True, kw_only=True)
class Conf(ModelConf):
    """`bins`: of the front end."""

    bins: int
    embedding: int

    def __post_init__(self) -> None:
        if self.bins < 2**_POOLINGS:
            raise ValueError(f"bins: {self.bins} is less than {2**_POOLINGS}, so that nothing is left of them")
        if self.embedding < 1:
            raise ValueError(f"embedding: {self.embedding} is not positive")


class MaxFeatureMap(nn.Module):
    """A convolution to twice as many channels, and the greater of each two: (batch, outputs, frames, bins)."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.outputs = outputs
        self.conv = nn.Conv2d(inputs, 2 * outputs, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return torch.maximum(x[:, : self.outputs], x[:, self.outputs :])


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, affine=False)


def two_convs(inputs: int, outputs: int) -> list[nn.Module]:
    """1x1, then 3x3, batch normalisation between them."""
    return [MaxFeatureMap(inputs, inputs, 1), norm(inputs), MaxFeatureMap(inputs, outputs, 3)]


class Recurrent(nn.Module):
    """Two recurrent layers in both directions, their input added to what comes out, then a linear one.

    (batch, channels, frames, bins) -> (batch, outputs, frames, 1).
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.layers = nn.LSTM(inputs, inputs // 2, num_layers=2, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(inputs, outputs)
        self.dropout = nn.Dropout(_DROP)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(x).transpose(1, 2).flatten(2)
        return self.linear(x + self.layers(x)[0]).transpose(1, 2)[..., None]


class Backbone(StagedBackbone):
    def __init__(self, conf: Conf, in_channels: int = 1):
        """Raises UserError in `forward` where the input has another number of bins than the conf says."""
        stem = nn.Sequential(MaxFeatureMap(in_channels, 32, 5), nn.MaxPool2d(2))
        stages = [
            nn.Sequential(*two_convs(32, 48), nn.MaxPool2d(2), norm(48)),
            nn.Sequential(*two_convs(48, 64), nn.MaxPool2d(2)),
            nn.Sequential(*two_convs(64, 32), norm(32), *two_convs(32, 32), nn.MaxPool2d(2)),
            Recurrent(32 * (conf.bins // 2**_POOLINGS), conf.embedding),
        ]
        super().__init__(stem, stages, (48, 64, 32, conf.embedding))
        self.input_bins = conf.bins

    def forward(self, x: Tensor) -> list[Tensor]:
        if x.shape[3] != self.input_bins:
            raise UserError(
                f"model.bins: {self.input_bins} is not the front end's {x.shape[3]}; set model.bins={x.shape[3]}"
            )
        return super().forward(x)
