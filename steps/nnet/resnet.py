"""Thin residual networks with channel attention: SENet and ECANet of depth 9, 18, 34 and 50.

He et al., "Deep residual learning for image recognition", CVPR 2016, with widths 16, 32, 64, 128.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from steps.nnet.attention import EfficientChannelAttention, SqueezeExcitation
from steps.nnet.base import BackboneBase, ModelConf

_BLOCKS = {9: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_STAGE_STRIDES = (1, 2, 2, 2)
_BOTTLENECK_EXPANSION = 2


@dataclass(frozen=True, kw_only=True)
class Conf(ModelConf):
    depth: Literal[9, 18, 34, 50]
    stem: Literal["conv7", "conv3"]
    widths: tuple[int, ...]
    attention: Literal["se", "eca", "none"]
    se_reduction: int
    eca_kernel: int | None

    def __post_init__(self) -> None:
        if len(self.widths) != 4 or min(self.widths) < 1:
            raise ValueError(f"widths: {list(self.widths)} are not four positive numbers")
        if self.se_reduction < 1:
            raise ValueError(f"se_reduction: {self.se_reduction} is not positive")
        if self.eca_kernel is not None and (self.eca_kernel < 1 or self.eca_kernel % 2 == 0):
            raise ValueError(f"eca_kernel: {self.eca_kernel} is not a positive odd number")


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class ResidualBlock(nn.Module):
    """`basic`: two 3x3 convolutions; `bottleneck`: 1x1, 3x3, 1x1. Attention acts after the last batch norm."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool, attention: Callable[[int], nn.Module]):
        super().__init__()
        outputs = width * _BOTTLENECK_EXPANSION if bottleneck else width
        if bottleneck:
            convs = [_conv(inputs, width, 1), _conv(width, width, 3, stride), _conv(width, outputs, 1)]
        else:
            convs = [_conv(inputs, width, 3, stride), _conv(width, outputs, 3)]
        layers: list[nn.Module] = []
        for conv in convs:
            layers += [conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU(inplace=True)]
        self.residual = nn.Sequential(*layers[:-1], attention(outputs))
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.residual(x) + self.shortcut(x))


class Backbone(BackboneBase):
    def __init__(self, conf: Conf, in_channels: int = 1):
        super().__init__()
        first, bottleneck = conf.widths[0], conf.depth == 50
        if conf.stem == "conv7":
            # ReLU and max pooling change places: the same numbers, and ReLU has a quarter of them to look at.
            self.stem = nn.Sequential(
                _conv(in_channels, first, 7, 2), nn.BatchNorm2d(first), nn.MaxPool2d(3, 2, 1), nn.ReLU(inplace=True)
            )
        else:
            layers: list[nn.Module] = []
            for inputs in (in_channels, first, first):
                layers += [_conv(inputs, first, 3), nn.BatchNorm2d(first), nn.ReLU(inplace=True)]
            self.stem = nn.Sequential(*layers)

        def attention(channels: int) -> nn.Module:
            if conf.attention == "se":
                return SqueezeExcitation(channels, conf.se_reduction)
            if conf.attention == "eca":
                return EfficientChannelAttention(channels, conf.eca_kernel)
            return nn.Identity()

        self.stages = nn.ModuleList()
        channels = first
        for width, blocks, stride in zip(conf.widths, _BLOCKS[conf.depth], _STAGE_STRIDES):
            stage = []
            for i in range(blocks):
                stage.append(ResidualBlock(channels, width, stride if i == 0 else 1, bottleneck, attention))
                channels = width * _BOTTLENECK_EXPANSION if bottleneck else width
            self.stages.append(nn.Sequential(*stage))
        factor = _BOTTLENECK_EXPANSION if bottleneck else 1
        self.stage_channels = tuple(width * factor for width in conf.widths)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
