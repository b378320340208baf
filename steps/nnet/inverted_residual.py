"""Inverted residuals: few channels between blocks, many within them, where each is filtered by itself.

Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018; with squeeze-and-excitation as in
Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019 (there MBConv).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from steps.nnet.base import ModelConf
from steps.nnet.staged import STAGE_STRIDES, StagedBackbone, Stem, check_four, conv, make_stem


@dataclass(frozen=True, kw_only=True)
class InvertedResidualConf(ModelConf):
    """last_width: channels of the 1x1 convolution after the last block, which is what is pooled."""

    stem: Stem
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    expansions: tuple[int, ...]
    last_width: int

    def __post_init__(self) -> None:
        for name in ("widths", "blocks", "expansions"):
            check_four(name, getattr(self, name))
        if self.last_width < 1:
            raise ValueError(f"last_width: {self.last_width} is not positive")


class InvertedResidual(nn.Module):
    """1x1 to `expansion` times as many channels (left out where that is 1), depthwise, attention, 1x1 back; no
    activation after the last. (batch, inputs, frames, bins) -> (batch, outputs, frames / stride, bins / stride)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        expansion: int,
        activation: type[nn.Module],
        attention: Callable[[int, int], nn.Module] | None,
    ):
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [conv(inputs, hidden, 1), nn.BatchNorm2d(hidden), activation(inplace=True)]
        layers += [conv(hidden, hidden, kernel, stride, hidden), nn.BatchNorm2d(hidden), activation(inplace=True)]
        if attention is not None:
            layers.append(attention(hidden, inputs))
        layers += [conv(hidden, outputs, 1), nn.BatchNorm2d(outputs)]
        self.residual = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.residual(x) if self.has_shortcut else self.residual(x)


class InvertedResidualBackbone(StagedBackbone):
    """attention: module from a block's inner channels and its inputs' channels; kernels: of each stage's depthwise
    convolutions."""

    def __init__(
        self,
        conf: InvertedResidualConf,
        in_channels: int,
        kernels: tuple[int, ...],
        activation: type[nn.Module],
        attention: Callable[[int, int], nn.Module] | None = None,
    ):
        channels = conf.widths[0]
        stem = make_stem(conf.stem, in_channels, channels, activation)
        stages = []
        for width, blocks, kernel, expansion, stride in zip(
            conf.widths, conf.blocks, kernels, conf.expansions, STAGE_STRIDES
        ):
            stage: list[nn.Module] = []
            for i in range(blocks):
                step = stride if i == 0 else 1
                stage.append(InvertedResidual(channels, width, kernel, step, expansion, activation, attention))
                channels = width
            stages.append(stage)
        last = conf.last_width
        stages[-1] += [conv(channels, last, 1), nn.BatchNorm2d(last), activation(inplace=True)]
        super().__init__(stem, [nn.Sequential(*stage) for stage in stages], (*conf.widths[:3], last))
