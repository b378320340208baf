"""RawNet2 on raw samples, of the RawNet2 baseline of ASVspoof 2021.

Tak et al., "End-to-end anti-spoofing with RawNet2", ICASSP 2021. Its parameters are known by the size of the published
weights only: 70.5 MB (huggingface.co/MattyB95/pre_trained_DF_RawNet2) of float32. Stages 1 to 3 are two residual blocks
each; stage 4 is the recurrent layers at the last frame and a linear one: (batch, linear, 1, 1).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from steps.nnet.base import ModelConf, pool
from steps.nnet.waveform import BandFilters, WaveformBackbone

_POOL = 3  # samples of which the greatest is kept, after the filters and after each block
_SLOPE = 0.3  # of what is negative


@dataclass(frozen=True, kw_only=True)
class Conf(ModelConf):
    filters: int
    filter_length: int
    widths: tuple[int, ...]
    recurrent_width: int
    recurrent_layers: int
    linear: int

    def __post_init__(self) -> None:
        if len(self.widths) != 3 or min(self.widths) < 1:
            raise ValueError(f"widths: {list(self.widths)} are not three positive numbers")
        for key in ("filters", "filter_length", "recurrent_width", "recurrent_layers", "linear"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}: {getattr(self, key)} is not positive")


class ResidualBlock(nn.Module):
    """Two convolutions over 3 samples, a maximum over 3 samples, and a gate that scales and shifts each channel.

    The first block has no normalisation before its first convolution, as its input is normalised already.
    """

    def __init__(self, inputs: int, width: int, first: bool):
        super().__init__()
        before = [] if first else [nn.BatchNorm2d(inputs), nn.LeakyReLU(_SLOPE)]
        self.residual = nn.Sequential(
            *before,
            nn.Conv2d(inputs, width, (3, 1), padding=(1, 0)),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(width, width, (3, 1), padding=(1, 0)),
        )
        self.shortcut = nn.Identity() if inputs == width else nn.Conv2d(inputs, width, 1)
        self.gate = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.residual(x) + self.shortcut(x), (_POOL, 1))
        scale = self.gate(pool(x)).sigmoid()[:, :, None, None]
        return x * scale + scale


class Recurrent(nn.Module):
    """(batch, channels, frames, 1) -> (batch, linear, 1, 1): what the recurrent layers know after the last frame."""

    def __init__(self, inputs: int, conf: Conf):
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.layers = nn.GRU(inputs, conf.recurrent_width, conf.recurrent_layers, batch_first=True)
        self.linear = nn.Linear(conf.recurrent_width, conf.linear)

    def forward(self, x: Tensor) -> Tensor:
        frames = F.selu(self.norm(x))[..., 0].transpose(1, 2)
        return self.linear(self.layers(frames)[0][:, -1])[:, :, None, None]


class Bands(nn.Module):
    """(batch, 1, samples, 1) -> (batch, filters, a third of the samples, 1): the largest magnitudes in each band."""

    def __init__(self, filters: int, length: int):
        super().__init__()
        self.filters = BandFilters(filters, length)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(self.filters(x).abs().transpose(1, 3), (_POOL, 1))


class Backbone(WaveformBackbone):
    def __init__(self, conf: Conf, in_channels: int = 1):
        """Raises UserError in `forward` unless the input is a raw waveform."""
        stem = nn.Sequential(Bands(conf.filters, conf.filter_length), nn.BatchNorm2d(conf.filters), nn.SELU())
        stages: list[nn.Module] = []
        inputs = conf.filters
        for width in conf.widths:
            stages.append(nn.Sequential(ResidualBlock(inputs, width, not stages), ResidualBlock(width, width, False)))
            inputs = width
        super().__init__(stem, [*stages, Recurrent(inputs, conf)], (*conf.widths, conf.linear))
